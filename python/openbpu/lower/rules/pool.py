"""Pools over windows and images."""

from __future__ import annotations

from math import prod

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node
from openbpu.lower.operators import Mean
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules import volume
from openbpu.lower.rules.reduce import extreme, mean
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


@rule("MaxPool", int16=SAME)
def max_pool(node: Node) -> Expr:
    """MAXPOOL; in front of its quantisation as well as behind."""
    x = node.operand(0)
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("its second result, the indices, cannot be computed", remedy="use the first result only")
    if len(x.shape) == 5:
        return volume.max_pool(node)
    place, out = _pool_window(node, x)
    return _maximum(node, x, place, out, spatial_shape(out, len(x.shape)))


@rule("GlobalMaxPool", int16=SAME)
def global_max_pool(node: Node) -> Expr:
    """MAXPOOL over the whole image; REDUCE in three dimensions."""
    x = node.operand(0)
    if len(x.shape) > 4:
        return extreme(node, x, tuple(range(2, len(x.shape))), lowest=False)
    size = lengths(x.shape, node)
    place = _whole(size)
    out = (x.shape[0], x.shape[1], 1, 1)
    return _maximum(node, x, place, out, spatial_shape(out, len(x.shape)))


def _maximum(node: Node, x: Expr, place: Window, out: Shape, shape: Shape) -> Expr:
    return x.move(lambda v: _largest(node, spatial(v, node), place, out, shape), node, shape, pointwise=False)


def _largest(node: Node, source: Value, place: Window, out: Shape, shape: Shape) -> Value:
    best = node.graph.emit("maxpool", [source], out, source.quant, (node.name,), attrs=place.attributes)
    return node.graph.reshape(best, shape, (node.name,))


@rule("AveragePool", int16=SAME)
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


@rule("GlobalAveragePool", int16=SAME)
def global_average_pool(node: Node) -> Expr:
    """AVGPOOL over the whole image; REDUCE in three dimensions."""
    x = node.operand(0)
    if len(x.shape) > 4:
        return mean(node, x, tuple(range(2, len(x.shape))))
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
        attrs={**place.attributes, "count_pad": count_pad},
        divisors=[taps] if count_pad else list(range(1, taps + 1)),
        extents=memory_shape(out),
        view=out,
    )


def _whole(size: tuple[int, int]) -> Window:
    return Window(size, (1, 1), (1, 1), (0, 0, 0, 0))
