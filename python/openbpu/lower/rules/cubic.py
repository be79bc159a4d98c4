"""Cubic interpolation of images as a weighted sum of bilinear ones.

Along an axis, of four neighbours the two inner ones have weights of one sign, the two outer ones of another: each pair
is a mean, which RESIZE_BILIN computes, times a factor. Over rows and columns that is up to four means, each times a
number per pixel, in 16-bit steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower.broadcast import Frame
from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Expr, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Product, Sum
from openbpu.lower.rules.windows import spatial

_WHOLE = 1 << 20  # sum of the two weights of a mean


@dataclass(frozen=True)
class _Pair:
    """Of an axis: indices int32 and weights uint32 [after, 2] of a mean, and the factor of each, float64 [after]."""

    index: np.ndarray
    weight: np.ndarray
    factor: np.ndarray


def cubic(node: Node, x: Expr, tables: Sequence[tuple[np.ndarray, np.ndarray]], shape: Shape) -> Expr:
    """An image resized by indices and weights [after, 4] of its rows and columns; `shape` is that of the result."""
    graph, origin = node.graph, (*x.origin, node.name)
    source = spatial(widened(graph, x.value(node), origin), node)
    rows, columns = (_pairs(*table) for table in tables)
    inner = (*shape[:2], len(rows[0].factor), len(columns[0].factor))
    terms = [(_mean(node, source, r, c, inner), np.outer(r.factor, c.factor)) for r in rows for c in columns]
    gain = max(float(np.abs(sum(np.abs(factor) for _, factor in terms)).max()), 1.0)
    assert source.quant is not None
    step = QuantParams.per_tensor(source.quant.s * gain, 0, "int16")
    frame = Frame(inner, memory_shape(inner))

    def weighted(mean: Value, factor: np.ndarray) -> Expr:
        number = _per_pixel(node, factor)
        return Product(node=node, shape=inner, origin=origin, frame=frame, a=mean, b=number)

    total = weighted(*terms[0])
    for term in terms[1:]:
        parts = total.quantise(step), weighted(*term).quantise(step)
        total = Sum(node=node, shape=inner, origin=origin, frame=frame, a=parts[0], b=parts[1])
    return total.move(lambda v: graph.reshape(v, shape, (node.name,)), node, shape)


def _pairs(index: np.ndarray, weight: np.ndarray) -> list[_Pair]:
    """The inner and the outer neighbours of an axis; the latter only if they count anywhere."""
    found: list[_Pair] = []
    for first, second in ((1, 2), (0, 3)):
        pair = weight[:, [first, second]]
        factor = pair.sum(axis=1)
        if found and not pair.any():
            continue
        share = np.divide(pair[:, 1], factor, out=np.zeros(len(factor)), where=factor != 0)
        upper = np.rint(np.clip(share, 0, 1) * _WHOLE).astype(np.int64)
        weights = np.stack([_WHOLE - upper, upper], axis=1).astype(np.uint32)
        found.append(_Pair(index[:, [first, second]].astype(np.int32), weights, factor))
    return found


def _mean(node: Node, source: Value, rows: _Pair, columns: _Pair, shape: Shape) -> Value:
    consts = {
        "row_index": rows.index,
        "row_weight": rows.weight,
        "column_index": columns.index,
        "column_weight": columns.weight,
    }
    return node.graph.emit("resize_bilinear", [source], shape, source.quant, (node.name,), consts=consts)


def _per_pixel(node: Node, factor: np.ndarray) -> Value:
    """Numbers [rows, columns] as an int16 constant of one channel."""
    step = max(float(np.abs(factor).max()), 1e-9) / 32767
    shape, quant = (1, 1, *factor.shape), QuantParams.per_tensor(step, 0, "int16")
    data = np.rint(factor / step).astype(np.int16).reshape(memory_shape(shape))
    name = f"{node.name}.factors"
    return node.graph.emit("constant", [], shape, quant, (node.name,), name=name, consts={"data": data})
