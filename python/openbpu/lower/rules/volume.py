"""Three spatial dimensions as images: depth lies beside the batch, the taps along it beside the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear
from openbpu.lower.rules.windows import Window, auto_pad, same_pads
from openbpu.lower.weights import bias, symmetric


@dataclass(frozen=True)
class _Geometry:
    """The window of an operator: along depth, and over rows and columns."""

    depth: Window  # its columns have one tap
    plane: Window


def _geometry(node: Node, kernel: tuple[int, int, int], size: tuple[int, int, int]) -> _Geometry:
    stride, dilation = ([int(v) for v in node.attribute(name, [1, 1, 1])] for name in ("strides", "dilations"))
    pads = [int(v) for v in node.attribute("pads", [0] * 6)]
    auto = auto_pad(node)
    if auto.startswith("SAME"):
        pairs = [same_pads(size[a], kernel[a], stride[a], dilation[a], auto) for a in range(3)]
        pads = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
    elif auto == "VALID":
        pads = [0] * 6
    if min(*pads) < 0 or min(*kernel, *stride, *dilation) < 1:
        raise node.refuse("kernel, strides and dilations are positive, pads not negative", seen=f"{kernel}, {pads}")
    (kd, kh, kw), (sd, sh, sw), (dd, dh, dw) = kernel, stride, dilation
    return _Geometry(
        Window((kd, 1), (sd, 1), (dd, 1), (pads[0], 0, pads[3], 0)),
        Window((kh, kw), (sh, sw), (dh, dw), (pads[1], pads[2], pads[4], pads[5])),
    )


def conv(node: Node) -> Expr:
    """A Conv on [n, c, d, h, w]: one CONV2D, requantised once."""
    operand = node.operand(0)
    weights = symmetric(node.operand(1), 0, node)
    co, per_group, kd, kh, kw = weights.codes.shape
    n, c, d, h, w = operand.shape
    groups = int(node.attribute("group", 1))
    if c != per_group * groups or co % groups:
        raise node.refuse("channels and groups must match", seen=f"{c} channels, weights {weights.codes.shape}")
    place = _geometry(node, (kd, kh, kw), (d, h, w))
    od, oh, ow = place.depth.extent(0, d), place.plane.extent(0, h), place.plane.extent(1, w)
    out = (n * od, co, oh, ow)
    if min(out) < 1:
        raise node.refuse("its result must not be empty", seen=f"shape {(n, co, od, oh, ow)}")
    kernel = weights.codes.transpose(0, 2, 1, 3, 4).reshape(co, kd * per_group, kh, kw)
    attrs: dict[str, Any] = {"stride": place.plane.stride, "dilation": place.plane.dilation, "pads": place.plane.pads}
    flat = Linear(
        node=node,
        shape=out,
        origin=(*operand.origin, node.name),
        kind="conv2d",
        source=_taps(node, operand.value(node), place.depth, od, groups),
        attrs={**attrs, "groups": groups},
        weight=np.ascontiguousarray(kernel.transpose(0, 2, 3, 1)),
        weight_scale=weights.scale,
        bias=bias(node.optional(2), co, node),
        extents=memory_shape(out),
        view=out,
    )
    shape = (n, co, od, oh, ow)
    return flat.move(lambda v: volumes(node, v, shape), node, shape)


def images(node: Node, value: Value) -> Value:
    """[n, c, d, h, w] as [n * d, c, h, w]."""
    n, c, d, h, w = value.onnx_shape
    moved = node.graph.transpose(value, (0, 2, 1, 3, 4), (node.name,))
    return node.graph.reshape(moved, (n * d, c, h, w), (node.name,))


def volumes(node: Node, value: Value, shape: Shape) -> Value:
    """[n * d, c, h, w] as [n, c, d, h, w]."""
    n, c, d, h, w = shape
    split = node.graph.reshape(value, (n, d, c, h, w), (node.name,))
    return node.graph.transpose(split, (0, 2, 1, 3, 4), (node.name,))


def _taps(node: Node, value: Value, place: Window, depth: int, groups: int) -> Value:
    """For each slice of the result the slices under its taps, [n * depth, groups * taps * c / groups, h, w]."""
    graph, origin = node.graph, (node.name,)
    n, c, d, h, w = value.onnx_shape
    slices, taps, stride, dilation = images(node, value), place.kernel[0], place.stride[0], place.dilation[0]
    assert value.quant is not None
    before, after = (place.pads[0], 0, 0, 0), (place.pads[2], 0, 0, 0)
    parts = []
    for image in range(n):
        one = graph.slice(slices, 0, image * d, (image + 1) * d, 1, origin)
        one = graph.pad(one, before, after, value.quant.z, origin) if before[0] or after[0] else one
        starts = [tap * dilation for tap in range(taps)]
        taken = [graph.slice(one, 0, s, s + (depth - 1) * stride + 1, stride, origin) for s in starts]
        parts.append(graph.concat(taken, 1, origin))
    joined = graph.concat(parts, 0, origin)
    if groups == 1 or taps == 1:
        return joined
    split = graph.reshape(joined, (n * depth, taps, groups, c // groups, h * w), origin)
    return graph.reshape(graph.transpose(split, (0, 2, 1, 3, 4), origin), (n * depth, taps * c, h, w), origin)


def max_pool(node: Node) -> Expr:
    """A MaxPool on [n, c, d, h, w]: over rows and columns, then along depth."""
    x = node.operand(0)
    n, c, d, h, w = x.shape
    kd, kh, kw = (int(k) for k in node.attribute("kernel_shape"))
    place = _geometry(node, (kd, kh, kw), (d, h, w))
    extents = []
    for window, axis, length in ((place.depth, 0, d), (place.plane, 0, h), (place.plane, 1, w)):
        count = (window.extent_ceil if node.attribute("ceil_mode", 0) else window.extent)(axis, length)
        if count < 1 or not window.always_inside(axis, length, count):
            raise node.refuse("every window must reach into the input", seen=f"pads {window.pads}")
        extents.append(count)
    od, oh, ow = extents
    shape = (n, c, od, oh, ow)

    def apply(value: Value) -> Value:
        graph, origin, quant = node.graph, (node.name,), value.quant
        flat = (n * d, c, oh, ow)
        best = graph.emit("maxpool", [images(node, value)], flat, quant, origin, attrs=place.plane.attributes)
        deep = graph.view(best, (n, d, oh * ow, c), flat, origin)
        out, wide = (n * od, c, oh, ow), (n, od, oh * ow, c)
        best = graph.emit("maxpool", [deep], out, quant, origin, shape=wide, attrs=place.depth.attributes)
        return volumes(node, graph.view(best, memory_shape(out), out, origin), shape)

    return x.move(apply, node, shape, pointwise=False)
