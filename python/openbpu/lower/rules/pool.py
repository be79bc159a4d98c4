"""Pools and reductions over windows, images and axes."""

from __future__ import annotations

from math import prod
from typing import Any

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node
from openbpu.lower.operators import Mean
from openbpu.lower.registry import rule
from openbpu.lower.rules.operands import integers
from openbpu.lower.rules.windows import Window, lengths, spatial, spatial_shape, window


def _pool_window(node: Node, x: Expr) -> tuple[Window, Shape]:
    """The window of a pool and the ONNX shape [n, c, h, w] of its result."""
    size = lengths(x.shape, node)
    kernel = tuple(int(k) for k in node.attribute("kernel_shape", []))
    if len(kernel) != len(x.shape) - 2:
        raise node.refuse("kernel_shape must have one extent per spatial dimension", seen=kernel)
    place = window(node, kernel, size)
    extent = place.extent_ceil if node.attribute("ceil_mode", 0) else place.extent
    out = (x.shape[0], x.shape[1], extent(0, size[0]), extent(1, size[1]))
    if min(out) < 1:
        raise node.refuse("its result must not be empty", seen=f"shape {out}")
    if not all(place.always_inside(axis, size[axis], out[2 + axis]) for axis in (0, 1)):
        raise node.refuse(
            "every window must reach into the input", seen=f"pads {place.pads}", remedy="use smaller pads"
        )
    return place, out


@rule("MaxPool")
def max_pool(node: Node) -> Expr:
    """MAXPOOL; in front of its quantisation as well as behind."""
    x = node.operand(0)
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("its second result, the indices, cannot be computed", remedy="use the first result only")
    place, out = _pool_window(node, x)
    return _maximum(node, x, place, out, spatial_shape(out, len(x.shape)))


@rule("GlobalMaxPool")
def global_max_pool(node: Node) -> Expr:
    """MAXPOOL over the whole image."""
    x = node.operand(0)
    size = lengths(x.shape, node)
    place = _whole(size)
    out = (x.shape[0], x.shape[1], 1, 1)
    return _maximum(node, x, place, out, spatial_shape(out, len(x.shape)))


def _maximum(node: Node, x: Expr, place: Window, out: Shape, shape: Shape) -> Expr:
    return x.move(lambda v: _largest(node, spatial(v, node), place, out, shape), node, shape, pointwise=False)


def _largest(node: Node, source: Value, place: Window, out: Shape, shape: Shape) -> Value:
    best = node.graph.emit("maxpool", [source], out, source.quant, (node.name,), attrs=_attributes(place))
    return node.graph.reshape(best, shape, (node.name,))


def _attributes(place: Window) -> dict[str, Any]:
    return {"kernel": place.kernel, "stride": place.stride, "dilation": place.dilation, "pads": place.pads}


@rule("AveragePool")
def average_pool(node: Node) -> Expr:
    """AVGPOOL, with or without counting padding."""
    x = node.operand(0)
    place, out = _pool_window(node, x)
    count_pad = bool(node.attribute("count_include_pad", 0)) or not any(place.pads)
    reaches = [out[2 + a] > place.extent(a, size) for a, size in enumerate(lengths(x.shape, node))]
    if any(reaches):  # ceil_mode: taps beyond the padded input never count
        if any(place.pads) and count_pad:
            raise node.refuse(
                "count_include_pad with windows that reach beyond the padded input",
                seen="ceil_mode 1",
                remedy="set ceil_mode to 0 and give the pads explicitly",
            )
        count_pad = False
    source = spatial(x.value(node), node)
    return _mean(node, x, source, place, out, spatial_shape(out, len(x.shape)), count_pad)


@rule("GlobalAveragePool")
def global_average_pool(node: Node) -> Expr:
    """AVGPOOL over the whole image."""
    x = node.operand(0)
    place = _whole(lengths(x.shape, node))
    out = (x.shape[0], x.shape[1], 1, 1)
    return _mean(node, x, spatial(x.value(node), node), place, out, spatial_shape(out, len(x.shape)))


def _mean(node: Node, x: Expr, source: Value, place: Window, out: Shape, shape: Shape, count_pad: bool = True) -> Mean:
    """`out` is the shape of the instruction's result, `shape` that of the node's."""
    taps = prod(place.kernel)
    return Mean(
        node=node,
        shape=shape,
        origin=(*x.origin, node.name),
        source=source,
        attrs={**_attributes(place), "count_pad": count_pad},
        divisors=[1] if node.op == "ReduceSum" else [taps] if count_pad else list(range(1, taps + 1)),
        extents=memory_shape(out),
        view=out,
    )


def _whole(size: tuple[int, int]) -> Window:
    return Window(size, (1, 1), (1, 1), (0, 0, 0, 0))


@rule("ReduceMean", "ReduceSum", "ReduceMax")
def reduce(node: Node) -> Expr:
    """AVGPOOL or MAXPOOL over rows and columns; other axes are moved there first."""
    x = node.operand(0)
    axes = _axes(node, len(x.shape))
    kept = tuple(a for a in range(len(x.shape)) if a not in axes)
    shape = tuple(x.shape[a] for a in kept)
    if node.attribute("keepdims", 1):
        shape = tuple(1 if a in axes else extent for a, extent in enumerate(x.shape))
    if len(x.shape) == 4 and axes == (2, 3):
        size: tuple[int, int] = (x.shape[2], x.shape[3])
        out: Shape = (x.shape[0], x.shape[1], 1, 1)
    else:
        size = (1, prod(x.shape[a] for a in axes))
        out = (1, prod(x.shape[a] for a in kept))

    def arranged(value: Value) -> Value:
        """[reduced, kept], so that reduced elements lie in columns and the others in channels."""
        if len(out) == 4:
            return value
        moved = node.graph.transpose(value, (*axes, *kept), (node.name,))
        return node.graph.reshape(moved, (size[1], out[1]), (node.name,))

    place = _whole(size)
    if node.op == "ReduceMax":
        return x.move(lambda v: _largest(node, arranged(v), place, out, shape), node, shape, pointwise=False)
    return _mean(node, x, arranged(x.value(node)), place, out, shape)


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    axes = integers(node, 1, "axes")
    if not axes and node.attribute("noop_with_empty_axes", 0):
        raise node.refuse("noop_with_empty_axes must be 0", remedy="remove the node")
    return tuple(sorted(a % rank for a in axes or range(rank)))
