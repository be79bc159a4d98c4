"""Reads and writes by index as look-ups of rows: index arithmetic on integers, then Gather.

Run-time indices are counted from the front by Mod. Writes whose indices are constant, each of them once, are a look-up
in the data and the updates, one behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx

from openbpu.frontend.writing import NodeWriter, attributes_of

if TYPE_CHECKING:
    from openbpu.frontend.decomposition import Context

LONGEST = 65535  # rows of a look-up, and indices
DATA = {  # float operands
    **dict.fromkeys(("Col2Im", "GatherElements", "GatherND", "ReverseSequence"), (0,)),
    **dict.fromkeys(("ScatterElements", "ScatterND"), (0, 2)),
}


def gather_elements(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """GatherElements: a look-up of slices if all lines of indices are equal, else of elements."""
    shape, indices = context.shapes.get(node.input[0]), context.shapes.get(node.input[1])
    if shape is None or indices is None:
        return False
    axis = int(attributes_of(node).get("axis", 0)) % len(shape)
    line = _line(node.input[1], indices, axis, context, write) if _covers(shape, indices, axis) else None
    if line is not None:
        write.op("Gather", node.input[0], line, output=node.output[0], axis=axis)
        return True
    if max(prod(shape), prod(indices)) > LONGEST:
        return False
    steps = _strides(shape)
    others = [np.arange(extent) if a != axis else np.zeros(1) for a, extent in enumerate(indices)]
    offsets = sum(grid * step for grid, step in zip(np.ix_(*others), steps, strict=True))
    places = _places(node.input[1], [shape[axis]], [steps[axis]], np.asarray(offsets, np.int64), context, write)
    _look_up(write, node.input[0], prod(shape), (), places, indices, node.output[0])
    return True


def gather_nd(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """GatherND: a look-up of rows."""
    shape, indices = context.shapes.get(node.input[0]), context.shapes.get(node.input[1])
    if shape is None or indices is None:
        return False
    batch, depth = int(attributes_of(node).get("batch_dims", 0)), indices[-1]
    rows, rest = prod(shape[: batch + depth]), shape[batch + depth :]
    steps, kept = _strides(shape[: batch + depth]), indices[:-1]
    if max(rows, prod(rest), prod(kept)) > LONGEST:
        return False
    each = prod(shape[batch : batch + depth])
    offsets = (np.arange(prod(shape[:batch])) * each).reshape(*shape[:batch], *[1] * (len(kept) - batch))
    bounds = shape[batch : batch + depth]
    places = _places(node.input[1], bounds, steps[batch:], np.asarray(offsets, np.int64), context, write, summed=True)
    _look_up(write, node.input[0], rows, rest, places, [*kept, *rest], node.output[0])
    return True


def scatter_elements(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ScatterElements with constant indices: a look-up of slices if all lines of them are equal, else of elements."""
    shape, indices = context.shapes.get(node.input[0]), context.constants.get(node.input[1])
    if shape is None or indices is None or prod(indices.shape) == 0:
        return False
    axis = int(attributes_of(node).get("axis", 0)) % len(shape)
    lines = np.moveaxis(indices, axis, 0).reshape(indices.shape[axis], -1)
    if _covers(shape, list(indices.shape), axis) and (lines == lines[:, :1]).all():
        return _written(node, shape, axis, lines[:, 0] % shape[axis], write)
    grid = list(np.indices(indices.shape))
    grid[axis] = indices % shape[axis]
    places = sum(part * step for part, step in zip(grid, _strides(shape), strict=True))
    return _written_flat(node, shape, prod(shape), (), np.asarray(places).ravel(), write)


def scatter_nd(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ScatterND with constant indices: a look-up of rows."""
    shape, indices = context.shapes.get(node.input[0]), context.constants.get(node.input[1])
    if shape is None or indices is None or prod(indices.shape) == 0:
        return False
    depth = indices.shape[-1]
    steps = _strides(shape[:depth])
    places = ((indices % np.array(shape[:depth])) * np.array(steps)).sum(axis=-1).ravel()
    return _written_flat(node, shape, prod(shape[:depth]), tuple(shape[depth:]), places, write)


def reverse_sequence(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ReverseSequence of constant lengths: a look-up of steps."""
    shape, lengths = context.shapes.get(node.input[0]), context.constants.get(node.input[1])
    given = attributes_of(node)
    time, batch = int(given.get("time_axis", 0)), int(given.get("batch_axis", 1))
    if shape is None or lengths is None or sorted((time, batch)) != [0, 1] or max(prod(shape[:2]), 1) > LONGEST:
        return False
    rows = np.moveaxis(np.arange(prod(shape[:2])).reshape(shape[:2]), time, 0).copy()  # [time, batch]
    for item, length in enumerate(lengths.tolist()):
        rows[:length, item] = rows[:length, item][::-1]
    places = write.constant(np.moveaxis(rows, 0, time).ravel().astype(np.int64))
    _look_up(write, node.input[0], prod(shape[:2]), shape[2:], places, shape, node.output[0])
    return True


# ---- reads


def _covers(shape: Sequence[int], indices: Sequence[int], axis: int) -> bool:
    """Whether indices have the extents of the data but along their axis."""
    return all(a == axis or extent == indices[a] for a, extent in enumerate(shape))


def _line(name: str, shape: Sequence[int], axis: int, context: Context, write: NodeWriter) -> str | None:
    """The indices along an axis where they are the same for all others; None if that is not known."""
    array = context.constants.get(name)
    if array is not None:
        lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
        return write.constant(lines[:, 0].astype(np.int64)) if (lines == lines[:, :1]).all() else None
    for op in ("Expand", "Tile"):
        node = context.made(name, op)
        source = context.shapes.get(node.input[0]) if node is not None else None
        if node is not None and source is not None and prod(source) == shape[axis] == source[axis - len(shape) :][0]:
            return write.shaped(node.input[0], (shape[axis],))
    return write.shaped(name, (shape[axis],)) if prod(shape) == shape[axis] else None


def _strides(shape: Sequence[int]) -> list[int]:
    return [prod(shape[a + 1 :]) for a in range(len(shape))]


def _places(
    name: str,
    bounds: Sequence[int],
    steps: Sequence[int],
    offsets: np.ndarray,
    context: Context,
    write: NodeWriter,
    summed: bool = False,
) -> str:
    """Rows of a flat table: indices times steps, over the last axis if `summed`, plus offsets."""
    array, limits, factors = context.constants.get(name), np.array(bounds, np.int64), np.array(steps, np.int64)
    if array is not None:
        numbers = array.astype(np.int64) % limits * factors
        numbers = numbers.sum(axis=-1) if summed else numbers
        return write.constant((numbers + offsets).ravel())
    if context.types.get(name) != onnx.TensorProto.INT64:
        name = write.op("Cast", name, to=onnx.TensorProto.INT64)
    found = write.op("Mod", name, write.constant(limits))
    if (factors != 1).any():
        found = write.op("Mul", found, write.constant(factors))
    if summed:
        found = write.op("ReduceSum", found, write.constant(np.array([-1], np.int64)), keepdims=0)
    if offsets.any():
        found = write.op("Add", found, write.constant(offsets))
    return write.shaped(found, (-1,))


def _look_up(
    write: NodeWriter,
    data: str,
    rows: int,
    rest: Sequence[int],
    places: str,
    shape: Sequence[int],
    output: str,
) -> None:
    """Rows `places` of the data as a table [rows, rest], under a shape."""
    table = write.shaped(data, (rows, *([prod(rest)] if rest else [])))
    write.shaped(write.op("Gather", table, places, axis=0), shape, output=output)


# ---- writes


def _written_flat(
    node: onnx.NodeProto, shape: Sequence[int], rows: int, rest: tuple[int, ...], places: np.ndarray, write: NodeWriter
) -> bool:
    """Updates at rows of the data as a table [rows, rest]."""
    if not _plain(node, places) or max(rows + len(places), prod(rest)) > LONGEST:
        return False
    inner = (prod(rest),)
    table, updates = write.shaped(node.input[0], (rows, *inner)), write.shaped(node.input[2], (len(places), *inner))
    write.shaped(_merged(node, table, updates, places, 0, (rows, *inner), write), shape, output=node.output[0])
    return True


def _written(node: onnx.NodeProto, shape: Sequence[int], axis: int, places: np.ndarray, write: NodeWriter) -> bool:
    """Updates of whole slices along an axis."""
    if not _plain(node, places):
        return False
    merged = _merged(node, node.input[0], node.input[2], places, axis, shape, write)
    write.op("Identity", merged, output=node.output[0])
    return True


def _plain(node: onnx.NodeProto, places: np.ndarray) -> bool:
    """Whether a write replaces or adds, each place once."""
    reduction = attributes_of(node).get("reduction", b"none").decode()
    return reduction in ("none", "add") and len(np.unique(places)) == len(places)


def _merged(
    node: onnx.NodeProto,
    data: str,
    updates: str,
    places: np.ndarray,
    axis: int,
    shape: Sequence[int],
    write: NodeWriter,
) -> str:
    """The data, slices at `places` of an axis replaced by updates, or with them added."""
    count = shape[axis]
    adds = attributes_of(node).get("reduction", b"none") == b"add"
    order = np.zeros(count, np.int64) if adds else np.arange(count)
    order[places] = np.arange(len(places)) + (1 if adds else count)
    if not adds:
        joined = write.op("Concat", data, updates, axis=axis)
        return write.op("Gather", joined, write.constant(order), axis=axis)
    border = np.zeros(2 * len(shape), np.int64)
    border[axis] = 1  # what nothing is added to reads a zero
    padded = write.op("Pad", updates, write.constant(border))
    return write.op("Add", data, write.op("Gather", padded, write.constant(order), axis=axis))
