"""Operators that rearrange elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from onnx import TensorProto, helper

from openbpu.ir.graph import Value
from openbpu.lower.broadcast import common_shape, frame
from openbpu.lower.builder import MAX_EXTENT, Shape, memory_shape
from openbpu.lower.expressions import Codes, Constant, Expr, Join, Plain, Unary
from openbpu.lower.node import CPU_INTEGERS, QUANTISE_BETWEEN, Node
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.operands import integers
from openbpu.lower.selections import Mask

_MAX_PIECES = 64


@rule("Identity", "Dropout", int16=SAME)
def identity(node: Node) -> Expr:
    """Nothing."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("its second result, the mask, cannot be computed", remedy="export in inference mode")
    training = node.optional(2)
    if (
        node.op == "Dropout"
        and training is not None
        and not (isinstance(training, Constant) and not training.real.any())
    ):
        raise node.refuse("training mode is not inference", remedy="export in inference mode")
    return node.operand(0)


@rule("Cast", int16=SAME)
def cast(node: Node) -> Expr:
    """Nothing, from float to float; of 8-bit integers and conditions to float: those numbers."""
    x = node.operand(0)
    if int(node.attribute("to")) == TensorProto.FLOAT:
        if isinstance(x, Codes):
            return Unary.of(x.numbers(node), node, (*x.origin, node.name))
        if isinstance(x, Mask):
            return Unary.of(x.held, node, (*x.origin, node.name))
    if x.dtype != "float32" or int(node.attribute("to")) != TensorProto.FLOAT:
        seen = f"{x.dtype} to {helper.tensor_dtype_to_np_dtype(node.attribute('to')).name}"
        raise node.refuse("floats, 8-bit integers and conditions are cast, to float", seen, CPU_INTEGERS)
    return x


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", int16=SAME)
def reshape(node: Node) -> Expr:
    """The same bytes; a COPY where the order of elements in memory differs."""
    x = node.operand(0)
    shape = _TARGETS[node.op](node, x.shape)
    if prod(shape) != prod(x.shape):
        raise node.refuse("the number of elements must not change", seen=f"{x.shape} to {shape}")
    return x.move(lambda v: node.graph.reshape(v, shape, (node.name,)), node, shape)


def _reshape_target(node: Node, shape: Shape) -> Shape:
    wanted = integers(node, 1)
    if not node.attribute("allowzero", 0):
        wanted = [shape[i] if extent == 0 else extent for i, extent in enumerate(wanted)]
    known = prod(extent for extent in wanted if extent != -1)
    return tuple(prod(shape) // max(known, 1) if extent == -1 else extent for extent in wanted)


def _flatten_target(node: Node, shape: Shape) -> Shape:
    axis = int(node.attribute("axis", 1))
    axis += len(shape) if axis < 0 else 0
    return prod(shape[:axis]), prod(shape[axis:])


def _squeeze_target(node: Node, shape: Shape) -> Shape:
    axes = [axis % len(shape) for axis in integers(node, 1, "axes")]
    return tuple(e for axis, e in enumerate(shape) if axis not in axes and (axes or e != 1))


def _unsqueeze_target(node: Node, shape: Shape) -> Shape:
    given = integers(node, 1, "axes")
    rank = len(shape) + len(given)
    axes = {axis % rank for axis in given}
    if len(axes) != len(given):
        raise node.refuse("its axes must differ", seen=given)
    rest = iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(rank))


_TARGETS = {
    "Reshape": _reshape_target,
    "Flatten": _flatten_target,
    "Squeeze": _squeeze_target,
    "Unsqueeze": _unsqueeze_target,
}


@rule("Transpose", int16=SAME)
def transpose(node: Node) -> Expr:
    """One COPY, or none where only the order in memory changes."""
    x = node.operand(0)
    perm = tuple(int(a) for a in node.attribute("perm", range(len(x.shape))[::-1]))
    shape = tuple(x.shape[a] for a in perm)

    return x.move(lambda v: node.graph.transpose(v, perm, (node.name,)), node, shape)


@rule("Concat", int16=SAME)
def concat(node: Node) -> Expr:
    """A common buffer that the producers write into; RESCALE for parts with other parameters than the result."""
    parts = [node.operand(i) for i in range(len(node.inputs))]
    axis = int(node.attribute("axis")) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    origin = tuple(dict.fromkeys(name for part in parts for name in (*part.origin, node.name)))
    codes = [part for part in parts if isinstance(part, Codes)]
    if len(codes) == len(parts):
        value = node.graph.concat([part.held for part in codes], axis, (node.name,))
        return Codes(node=node, shape=value.onnx_shape, origin=origin, held=value, unsigned=codes[0].unsigned)
    leaves = [part.leaf for part in parts if isinstance(part, Unary) and part.leaf is not None]
    if len(leaves) == len(parts) and len({leaf.quant for leaf in leaves}) == 1:
        return Unary.of(node.graph.concat(leaves, axis, (node.name,)), node, origin)
    return Join(node=node, shape=tuple(shape), origin=origin, parts=parts, axis=axis)


@rule("Split", int16=SAME)
def split(node: Node) -> list[Expr]:
    """Views."""
    x = node.operand(0)
    axis = int(node.attribute("axis", 0)) % len(x.shape)
    count = len(node.outputs)
    equal = -(-x.shape[axis] // count)  # the last part may be smaller
    sizes = integers(node, 1, "split") or [min(equal, x.shape[axis] - i * equal) for i in range(count)]
    if len(sizes) != count or sum(sizes) != x.shape[axis] or min(sizes) < 1:
        raise node.refuse("its parts must fill the axis", seen=f"{sizes} of {x.shape[axis]}")
    stops = np.cumsum(sizes).tolist()
    starts = [0, *stops[:-1]]
    return [_sliced(node, x, axis, start, stop, 1) for start, stop in zip(starts, stops, strict=True)]


@rule("Slice", int16=SAME)
def slice_(node: Node) -> Expr:
    """A view; a COPY where channels are taken in steps."""
    x = node.operand(0)
    rank = len(x.shape)
    starts, ends = integers(node, 1), integers(node, 2)
    axes = integers(node, 3) or list(range(len(starts)))
    steps = integers(node, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= rank
        indices = range(x.shape[axis])[start:end:step]
        if len(indices) == 0:
            raise node.refuse("its result must not be empty", seen=f"{start}:{end}:{step} of {x.shape[axis]}")
        if step < 0:
            x = gathered(node, x, axis, list(indices))
        else:
            x = _sliced(node, x, axis, indices[0], indices[-1] + 1, step)
    return x


def _sliced(node: Node, x: Expr, axis: int, start: int, stop: int, step: int) -> Expr:
    shape = list(x.shape)
    shape[axis] = -(-(stop - start) // step)
    return x.move(lambda v: node.graph.slice(v, axis, start, stop, step, (node.name,)), node, tuple(shape))


@rule("Gather", int16=SAME)
def gather(node: Node) -> Expr:
    """Views with constant indices, GATHER with run-time ones; a constant table is quantised as the result is."""
    x = node.operand(0)
    axis = int(node.attribute("axis", 0)) % len(x.shape)
    if not isinstance(node.operand(1), Constant):
        return _looked_up(node, x, axis)
    indices = [i % x.shape[axis] for i in integers(node, 1)]
    taken = gathered(node, x, axis, indices)
    shape = (*x.shape[:axis], *node.operand(1).shape, *x.shape[axis + 1 :])
    return taken.move(lambda v: node.graph.reshape(v, shape, (node.name,)), node, shape)


def _looked_up(node: Node, x: Expr, axis: int) -> Expr:
    """Run-time indices of an axis."""
    indices = node.operand(1)
    if indices.dtype not in ("int32", "int64"):
        raise node.refuse("its indices must be int32 or int64", seen=indices.dtype)
    if x.dtype not in ("float32", "int8", "uint8", "int16") or isinstance(x, Plain):
        raise node.refuse("its data must be int8", seen=x.dtype, remedy=QUANTISE_BETWEEN)
    return _look_up(node, x, axis, lambda: indices.dense(node.where), indices.shape)


def _look_up(node: Node, x: Expr, axis: int, indices: Callable[[], Value], index_shape: Shape) -> Expr:
    """A GATHER: the axis becomes the columns of a surface; what lies inside of it, the channels."""
    graph, origin = node.graph, (node.name,)
    order = (0, 2, 3, 1) if len(x.shape) == 4 else tuple(range(len(x.shape)))
    place, count = order.index(axis), prod(index_shape)
    outer, inner = (prod(x.shape[a] for a in part) for part in (order[:place], order[place + 1 :]))
    extents = (1, outer, x.shape[axis], inner)
    if max(*extents, count) > MAX_EXTENT:
        raise node.refuse(f"extents of a look-up are at most {MAX_EXTENT}", seen=f"{count} indices, data {x.shape}")
    held = indices()
    picked = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    shape = (*x.shape[:axis], *index_shape, *x.shape[axis + 1 :])

    def apply(value: Value) -> Value:
        source = graph.view(value, extents, value.onnx_shape, origin)
        wide = (1, outer, count, inner)
        out = graph.emit("gather", [source, held], picked, value.quant, origin, shape=wide)
        return graph.reshape(graph.view(out, memory_shape(picked), picked, origin), shape, origin)

    return x.move(apply, node, shape)


def gathered(node: Node, x: Expr, axis: int, indices: Sequence[int]) -> Expr:
    """Elements `indices` of an axis: through the index table of a resize if it is a row or column, else slices.

    Where these would be too many, by GATHER.
    """
    shape = list(x.shape)
    shape[axis] = len(indices)
    pieces = _runs(indices)
    if len(pieces) > 1 and len(shape) == 4 and axis in (2, 3):
        return x.move(lambda v: _picked(node, v, axis, indices), node, tuple(shape))
    if len(pieces) > _MAX_PIECES:
        if isinstance(x, Plain):
            raise node.refuse("its data must be int8", seen=x.dtype, remedy=QUANTISE_BETWEEN)
        return _look_up(node, x, axis, lambda: _index_constant(node, indices), (len(indices),))

    def apply(value: Value) -> Value:
        parts = [node.graph.slice(value, axis, start, stop, 1, (node.name,)) for start, stop in pieces]
        return node.graph.concat(parts, axis, (node.name,))

    return x.move(apply, node, tuple(shape))


def _index_constant(node: Node, indices: Sequence[int]) -> Value:
    consts, shape = {"data": np.asarray(indices, np.int32)}, (len(indices),)
    return node.graph.emit("constant", [], shape, None, (), name=f"{node.name}.indices", consts=consts, dtype="int32")


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive indices as (start, stop)."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _picked(node: Node, value: Value, axis: int, indices: Sequence[int]) -> Value:
    """Rows or columns by index."""
    shape = list(value.onnx_shape)
    shape[axis] = len(indices)
    tables = {"rows": np.arange(value.shape[1]), "columns": np.arange(value.shape[2])}
    tables["rows" if axis == 2 else "columns"] = np.asarray(indices)
    consts = {name: table.astype(np.int32) for name, table in tables.items()}
    return node.graph.emit("resize_nearest", [value], tuple(shape), value.quant, (node.name,), consts=consts)


@rule("Expand", int16=SAME)
def expand(node: Node) -> Expr:
    """A COPY that reads elements several times."""
    x = node.operand(0)
    return repeated(node, x, common_shape(node, [x.shape, tuple(integers(node, 1))]))


def repeated(node: Node, x: Expr, shape: Shape) -> Expr:
    """`x` broadcast to `shape`; beyond four dimensions one after the other."""
    if shape == x.shape:
        return x
    steps = [shape]
    if len(shape) > 4:
        padded = (1,) * (len(shape) - len(x.shape)) + x.shape
        steps = [(*padded[:axis], *shape[axis:]) for axis in reversed(range(len(shape))) if padded[axis] != shape[axis]]
    framed, origin, now = [], (node.name,), x.shape
    for step in steps or [shape]:
        framed.append(frame(node, [now, step]))
        now = step

    def apply(value: Value) -> Value:
        for place in framed:
            aligned = place.aligned(node.graph, value, origin)
            value = place.finished(node.graph, place.whole(node.graph, aligned, origin), origin)
        return value

    return x.move(apply, node, shape)


@rule("Tile", int16=SAME)
def tile(node: Node) -> Expr:
    """COPYs into one buffer; extents of 1 as Expand."""
    x, repeats = node.operand(0), integers(node, 1)
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        raise node.refuse("one positive number of repeats per dimension", seen=repeats)
    for axis, count in enumerate(repeats):
        if count > 1 and x.shape[axis] > 1:
            x = gathered(node, x, axis, [*range(x.shape[axis])] * count)
    return repeated(node, x, tuple(extent * count if extent == 1 else extent
                                    for extent, count in zip(x.shape, repeats, strict=True)))  # fmt: skip


# ---- blocks


@rule("DepthToSpace", int16=SAME)
def depth_to_space(node: Node) -> Expr:
    """One COPY per position in the block."""
    block, mode = int(node.attribute("blocksize")), str(node.attribute("mode", "DCR"))
    n, c, h, w = _image_shape(node)
    shape = (n, c // (block * block), h * block, w * block)
    return _blocks(node, "depth_to_space", {"block": block, "mode": mode}, shape)


@rule("SpaceToDepth", int16=SAME)
def space_to_depth(node: Node) -> Expr:
    """One COPY per position in the block."""
    block = int(node.attribute("blocksize"))
    n, c, h, w = _image_shape(node)
    return _blocks(node, "space_to_depth", {"block": block}, (n, c * block * block, h // block, w // block))


def _image_shape(node: Node) -> Shape:
    shape = node.operand(0).shape
    if len(shape) != 4:
        raise node.refuse("its input must be an image [n, c, h, w]", seen=f"shape {shape}")
    return shape


def _blocks(node: Node, kind: str, attrs: dict[str, object], shape: Shape) -> Expr:
    def apply(value: Value) -> Value:
        extents = memory_shape(shape)
        return node.graph.emit(kind, [value], shape, value.quant, (node.name,), shape=extents, attrs=dict(attrs))

    return node.operand(0).move(apply, node, shape)
