"""Reductions over any axes, and the index of the extreme along one."""

from __future__ import annotations

from math import prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import MAX_EXTENT, Shape, memory_axis, memory_shape
from openbpu.lower.expressions import CODES, Expr, Plain, Unary
from openbpu.lower.node import Node
from openbpu.lower.operators import Mean, Reduced, as_pixels, reduced
from openbpu.lower.registry import rule
from openbpu.lower.rules.operands import integers
from openbpu.lower.rules.windows import Window

_NORMS = {"ReduceL1": "l1", "ReduceL2": "l2", "ReduceSumSquare": "square"}


@rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", int16="The same; MATMUL or MAXPOOL in place of REDUCE.")
def reduce(node: Node) -> Expr:
    """AVGPOOL or MAXPOOL where what is reduced lies in rows and columns, REDUCE where it lies innermost."""
    x = node.operand(0)
    axes = reduced_axes(node, len(x.shape))
    if node.op in ("ReduceMax", "ReduceMin"):
        return extreme(node, x, axes, lowest=node.op == "ReduceMin")
    return mean(node, x, axes)


def mean(node: Node, x: Expr, axes: tuple[int, ...]) -> Expr:
    """The mean over axes, or the sum for ReduceSum."""
    shape, kept = reduced_shapes(node, x.shape, axes)
    place = _window(x.shape, axes)
    origin = (*x.origin, node.name)
    count = 1 if node.op == "ReduceSum" else prod(x.shape[a] for a in axes)
    value = x.value(node)
    if place is None:
        rows = pixels(node, value, axes)
        return Reduced(node=node, shape=shape, origin=origin, source=rows, kind="sum", gain=1 / count)
    source, window = place.of(node, value)
    attrs = {**window.attributes, "count_pad": True}
    n, _, _, c = source.shape
    return Mean(
        node=node,
        shape=shape,
        origin=origin,
        source=source,
        attrs=attrs,
        divisors=[count],
        extents=(n, 1, 1, c),
        view=kept,
    )


@rule("ReduceL1", "GlobalLpPool", int16="Sums of magnitudes: LUT16 and MATMUL.")
@rule("ReduceL2", "ReduceSumSquare")
def norm(node: Node) -> Expr:
    """REDUCE, behind a transposition where the axes do not lie innermost."""
    x, kind = node.operand(0), _NORMS.get(node.op)
    axes = reduced_axes(node, len(x.shape)) if kind else tuple(range(2, len(x.shape)))
    if kind is None:  # GlobalLpPool
        p = int(node.attribute("p", 2))
        if p not in (1, 2):
            raise node.refuse("norms are sums of magnitudes or roots of squares", seen=f"p {p}")
        kind = f"l{p}"
    shape, _ = reduced_shapes(node, x.shape, axes)
    rows = pixels(node, x.value(node), axes)
    return Reduced(node=node, shape=shape, origin=(*x.origin, node.name), source=rows, kind=kind)


@rule("ArgMax", "ArgMin")
def arg_extreme(node: Node) -> Expr:
    """ARGMAX, behind a transposition where the axis does not lie innermost; the first of equal values."""
    x = node.operand(0)
    if node.attribute("select_last_index", 0) and x.shape[_axis(node, x)] > 1:
        raise node.refuse("of equal values, the first index is taken", seen="select_last_index 1")
    axis = _axis(node, x)
    shape, _ = reduced_shapes(node, x.shape, (axis,))
    value = x.value(node)
    if node.op == "ArgMin":
        value = _complement(node, value)
    rows = pixels(node, value, (axis,))
    held = node.graph.emit("argmax", [rows], shape, None, (*x.origin, node.name), name=node.outputs[0], dtype="int64")
    return Plain(node=node, shape=shape, origin=(*x.origin, node.name), held=held)


def _axis(node: Node, x: Expr) -> int:
    return int(node.attribute("axis", 0)) % len(x.shape)


def reduced_axes(node: Node, rank: int) -> tuple[int, ...]:
    axes = integers(node, 1, "axes")
    if not axes and node.attribute("noop_with_empty_axes", 0):
        raise node.refuse("noop_with_empty_axes must be 0", remedy="remove the node")
    return tuple(sorted(a % rank for a in axes or range(rank)))


def reduced_shapes(node: Node, shape: Shape, axes: tuple[int, ...]) -> tuple[Shape, Shape]:
    """Shape of the result, and the same with all dimensions kept."""
    kept = tuple(1 if a in axes else extent for a, extent in enumerate(shape))
    if node.attribute("keepdims", 1):
        return kept, kept
    return tuple(extent for a, extent in enumerate(shape) if a not in axes), kept


class _Place:
    """Reduced axes that lie side by side in memory, but not innermost: the window is all of rows and columns."""

    def __init__(self, extents: tuple[int, int, int, int]) -> None:
        self.extents = extents

    def of(self, node: Node, value: Value) -> tuple[Value, Window]:
        source = node.graph.view(value, self.extents, value.onnx_shape, (node.name,))
        return source, Window(self.extents[1:3], (1, 1), (1, 1), (0, 0, 0, 0))


def _window(shape: Shape, axes: tuple[int, ...]) -> _Place | None:
    """Where a window covers what is reduced; None if it lies innermost or scattered."""
    order = (0, 2, 3, 1) if len(shape) == 4 else tuple(range(len(shape)))
    if len(shape) == 4 and axes == (2, 3):
        n, c, h, w = shape
        return _Place((n, h, w, c)) if c > 1 or h * w > MAX_EXTENT else None
    real = [a for a in order if shape[a] > 1]
    places = [i for i, a in enumerate(real) if a in axes]
    if not places or places[-1] - places[0] + 1 != len(places) or places[-1] + 1 == len(real):
        return None
    extents = [prod(shape[a] for a in part) for part in (real[: places[0]], axes, real[places[-1] + 1 :])]
    return _Place((extents[0], 1, extents[1], extents[2])) if max(extents) <= MAX_EXTENT else None


def pixels(node: Node, value: Value, axes: tuple[int, ...]) -> Value:
    """The value as pixels: those kept in ONNX order, what is reduced in channels."""
    shape, origin = value.onnx_shape, (node.name,)
    rank = len(shape)
    if rank == 4 and axes == (1,):
        return value
    kept = [a for a in range(rank) if a not in axes]
    count, inner = prod(shape[a] for a in kept), prod(shape[a] for a in axes)
    rows = next(d for d in range(min(count, MAX_EXTENT), 0, -1) if count % d == 0)  # as many as can run side by side
    if max(inner, count // rows) > MAX_EXTENT:
        raise node.refuse(f"extents of a reduction are at most {MAX_EXTENT}", seen=f"{inner} of {shape}")
    if rank > 4:
        value = node.graph.transpose(value, (*kept, *axes), origin)
    else:
        order = [*(memory_axis(rank, a) for a in kept), *sorted(memory_axis(rank, a) for a in axes)]
        value = node.graph.permute(value, (*range(4 - rank), *order), shape, origin)
    return node.graph.view(value, (rows, 1, count // rows, inner), (count, inner), origin)


def extreme(node: Node, x: Expr, axes: tuple[int, ...], lowest: bool) -> Expr:
    """The largest or lowest over axes: rounding keeps their order, so that quantisation may stand on either side."""
    graph, origin = node.graph, (node.name,)
    shape, kept = reduced_shapes(node, x.shape, axes)
    place = _window(x.shape, axes)

    def apply(value: Value) -> Value:
        if place is None and value.dtype == "int16":
            return _highest_of_rows(node, value, axes, shape, lowest)
        if place is None:
            attrs = {"kind": "min" if lowest else "max", "m": 0, "sh": 0, "lo": -128, "hi": 127}
            return reduced(graph, pixels(node, value, axes), shape, value.quant, origin, node.name, attrs)
        source, window = place.of(node, _complement(node, value) if lowest else value)
        n, _, _, c = source.shape
        attrs = window.attributes
        best = graph.emit("maxpool", [source], kept, source.quant, origin, shape=(n, 1, 1, c), attrs=attrs)
        best = graph.view(best, memory_shape(kept), kept, origin)
        return graph.reshape(_complement(node, best) if lowest else best, shape, origin)

    return x.move(apply, node, shape, pointwise=False)


def _highest_of_rows(node: Node, value: Value, axes: tuple[int, ...], shape: Shape, lowest: bool) -> Value:
    """Of int16: what is reduced as the columns of a window."""
    graph, origin = node.graph, (node.name,)
    rows = pixels(node, _complement(node, value) if lowest else value, axes)
    n, h, w, c = rows.shape
    columns, kept = (n * h, 1, w, c), (n * h, 1, w, 1)
    source = graph.view(rows, memory_shape(columns), columns, origin)
    attrs = Window((1, c), (1, 1), (1, 1), (0, 0, 0, 0)).attributes
    best = as_pixels(graph, graph.emit("maxpool", [source], kept, source.quant, origin, attrs=attrs), shape, origin)
    return _complement(node, best) if lowest else best


def _complement(node: Node, value: Value) -> Value:
    """-1 - x of each code: the order of values turned around, exactly."""
    if value.dtype == "int16":
        quant = value.quant
        assert quant is not None
        return Unary.of(value, node, (node.name,)).map(lambda x: -quant.s - x, node).quantise(quant)
    root, codes = node.graph.tables.get(value, (value, CODES))
    table = (-1 - codes.astype(np.int64)).astype(np.int8)
    origin, shape = (node.name,), value.onnx_shape
    out = node.graph.emit("lut8", [root], shape, value.quant, origin, shape=value.shape, consts={"table": table})
    node.graph.tables[out] = (root, table)
    return out
