"""Convolutions: Conv, ConvTranspose, BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Constant, Expr, Quantised
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear, affine
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules import volume
from openbpu.lower.rules.windows import auto_pad, four_pads, spatial, spatial_shape, window
from openbpu.lower.weights import bias, symmetric


def _rank(operand: Expr, weight_shape: Shape, node: Node) -> int:
    rank = len(operand.shape)
    if rank not in (3, 4) or len(weight_shape) != rank:
        raise node.refuse(
            "it must have one or two spatial dimensions (Conv: or three)",
            seen=f"input {operand.shape}, weights {weight_shape}",
        )
    return rank


def _two_dimensional(codes: np.ndarray) -> np.ndarray:
    """Weights [o, i, kh, kw] from those of one or two spatial dimensions."""
    return codes[:, :, None, :] if codes.ndim == 3 else codes


@rule("Conv", int16=SAME)
def conv(node: Node) -> Expr:
    """CONV2D, DWCONV2D if every channel has its own filter, GCONV2D for other groups; in one to three dimensions."""
    operand = node.operand(0)
    if len(operand.shape) == 5:
        return volume.conv(node)
    weights = symmetric(node.operand(1), 0, node)
    rank = _rank(operand, weights.codes.shape, node)
    x = spatial(operand.value(node), node)
    kernel = _two_dimensional(weights.codes)
    co, per_group, kh, kw = kernel.shape
    groups = int(node.attribute("group", 1))
    n, h, w, ci = x.shape
    if ci != per_group * groups or co % groups:
        raise node.refuse("channels and groups must match", seen=f"{ci} channels, weights {kernel.shape}")
    place = window(node, (kh, kw) if rank == 4 else (kw,), (h, w))
    out = (n, co, place.extent(0, h), place.extent(1, w))
    if min(out) < 1:
        raise node.refuse("its result must not be empty", seen=f"shape {out}")
    attrs: dict[str, Any] = {"stride": place.stride, "dilation": place.dilation, "pads": place.pads}
    depthwise = groups > 1 and per_group == 1 and co == ci
    if not depthwise:
        attrs["groups"] = groups
    return Linear(
        node=node,
        shape=spatial_shape(out, rank),
        origin=(*operand.origin, node.name),
        kind="dwconv2d" if depthwise else "conv2d",
        source=x,
        attrs=attrs,
        weight=np.ascontiguousarray(kernel[:, 0] if depthwise else kernel.transpose(0, 2, 3, 1)),
        weight_scale=weights.scale,
        bias=bias(node.optional(2), co, node),
        extents=memory_shape(out),
        view=out,
    )


@rule("ConvTranspose", int16=SAME)
def conv_transpose(node: Node) -> Expr:
    """TCONV2D, with groups, dilation, output_padding and output_shape."""
    operand = node.operand(0)
    groups = int(node.attribute("group", 1))
    given = node.operand(1)
    rank = _rank(operand, given.shape, node)
    weights = symmetric(_by_output_channel(given, groups, node), 0, node)
    x = spatial(operand.value(node), node)
    kernel = _two_dimensional(weights.codes)
    co, per_group, kh, kw = kernel.shape
    n, h, w, ci = x.shape
    if ci != per_group * groups:
        raise node.refuse("channels and groups must match", seen=f"{ci} channels, weights {given.shape}")
    stride, dilation, pads, out_h, out_w = _transposed_geometry(node, rank, (kh, kw), (h, w))
    out = (n, co, out_h, out_w)
    return Linear(
        node=node,
        shape=spatial_shape(out, rank),
        origin=(*operand.origin, node.name),
        kind="tconv2d",
        source=x,
        attrs={"stride": stride, "dilation": dilation, "pads": pads, "groups": groups},
        weight=np.ascontiguousarray(kernel.transpose(0, 2, 3, 1)),
        weight_scale=weights.scale,
        bias=bias(node.optional(2), co, node),
        extents=memory_shape(out),
        view=out,
    )


def _by_output_channel(operand: Expr, groups: int, node: Node) -> Expr:
    """Weights [ci, co / groups, ...] of a ConvTranspose as [co, ci / groups, ...]; their scales likewise."""
    if not isinstance(operand, Constant) or operand.quantised is None:
        return operand  # `symmetric` says what is wrong with it
    held = operand.quantised
    ci, per_group, *taps = held.codes.shape

    def reordered(array: np.ndarray) -> np.ndarray:
        split = array.reshape(groups, ci // groups, per_group, *taps).swapaxes(1, 2)
        return np.asarray(split.reshape(groups * per_group, ci // groups, *taps))

    codes = reordered(held.codes)
    scale, zero, axis = held.scale, np.broadcast_to(held.zero, held.scale.shape), None
    if scale.size > 1 and held.axis is None:
        scale, zero = reordered(scale).ravel(), reordered(zero).ravel()
    elif scale.size > 1 and held.axis == 1:
        scale, zero, axis = np.tile(scale, groups), np.tile(zero, groups), 0
    elif scale.size > 1:
        if groups > 1:
            raise node.refuse("the weights of a grouped ConvTranspose must have their scales along axis 1")
        axis = 1
    return operand.step(node, shape=codes.shape, quantised=Quantised(codes, scale, zero, axis))


def _transposed_geometry(
    node: Node, rank: int, kernel: tuple[int, int], lengths: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], int, int]:
    """Stride, dilation, pads and output extents of a ConvTranspose."""
    dimensions = rank - 2
    lead = 2 - dimensions

    def pair(name: str, default: int) -> tuple[int, int]:
        values = [int(v) for v in node.attribute(name, [default] * dimensions)]
        full = [default] * lead + values
        return full[0], full[1]

    stride, dilation, extra = pair("strides", 1), pair("dilations", 1), pair("output_padding", 0)
    top, left, bottom, right = four_pads(node.attribute("pads", [0] * (2 * dimensions)))
    pads = [[top, bottom], [left, right]]
    wanted: list[int | None] = [None] * lead + [int(v) for v in node.attribute("output_shape", [])]
    auto = auto_pad(node)
    out = []
    for a in (0, 1):
        full = stride[a] * (lengths[a] - 1) + extra[a] + dilation[a] * (kernel[a] - 1) + 1
        target = wanted[a] if len(wanted) == 2 and wanted[a] is not None else None
        if target is None and auto.startswith("SAME") and a >= lead:
            target = lengths[a] * stride[a]
        if target is not None:
            total = max(full - target, 0)
            pads[a] = [total // 2, total - total // 2]
            if auto != "SAME_UPPER":
                pads[a].reverse()
        elif auto == "VALID":
            pads[a] = [0, 0]
        out.append(full - sum(pads[a]) if target is None else target)
    if min(out) < 1 or min(pads[0] + pads[1]) < 0:
        raise node.refuse("its result must not be empty and its pads not negative", seen=f"{out}, pads {pads}")
    return stride, dilation, (pads[0][0], pads[1][0], pads[0][1], pads[1][1]), out[0], out[1]


@rule("BatchNormalization", int16=SAME)
def batch_normalization(node: Node) -> Expr:
    """Joins the convolution or matrix product before it; on int8 values a DWCONV2D with one tap."""
    operands = [node.operand(i) for i in range(1, 5)]
    arrays = []
    for operand in operands:
        if not isinstance(operand, Constant):
            raise node.refuse("its parameters must be constant", remedy="export the model in inference mode")
        arrays.append(np.asarray(operand.real, np.float64))
    gamma, beta, mean, variance = arrays
    gain = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    x = node.operand(0)
    if x.channel_axis != 1:
        raise node.refuse("its input must have its channels innermost", seen=f"shape {x.shape}")
    return affine(x, gain, beta - mean * gain, node)
