"""Softmax and normalisations."""

from __future__ import annotations

from math import prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower.broadcast import Frame
from openbpu.lower.builder import memory_axis
from openbpu.lower.expressions import Constant, Expr, Unary, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear, Norm, Product, Softmax
from openbpu.lower.registry import SAME, rule

_MOST_CHANNELS = 2048  # of LRN: its window over channels is a product of as many rows and columns


@rule("Softmax", int16=SAME)
def softmax(node: Node) -> Expr:
    """SOFTMAX; over other axes than the innermost with a transposition before and after."""
    x = node.operand(0)
    rank, axis = len(x.shape), softmax_axis(node, x.shape)
    origin = (*x.origin, node.name)
    if axis == rank - 1 and rank != 2:  # rows in ONNX order, whatever the order in memory
        flat = node.graph.reshape(x.value(node), _rows(x.shape, axis), (node.name,))
        return Softmax(node=node, shape=x.shape, origin=origin, source=flat)
    value = x.value(node)
    if rank > 4:
        return _softmax_between(node, value, axis, origin)
    if memory_axis(rank, axis) == 3:
        return Softmax(node=node, shape=x.shape, origin=origin, source=value)
    last = 1 if rank == 4 else rank - 1
    order = list(range(rank))
    order[axis], order[last] = order[last], order[axis]  # its own inverse
    inner = node.graph.transpose(value, order, (node.name,))
    swapped = Softmax(node=node, shape=inner.onnx_shape, origin=origin, source=inner)
    return swapped.move(lambda v: node.graph.transpose(v, order, (node.name,)), node, x.shape)


def softmax_axis(node: Node, shape: tuple[int, ...]) -> int:
    """The axis of a Softmax or LogSoftmax; before opset 13 they flatten what lies behind it, which nothing may."""
    axis = int(node.attribute("axis", -1 if node.opset >= 13 else 1)) % len(shape)
    if node.opset < 13 and prod(shape[axis + 1 :]) > 1:
        raise node.refuse(
            "before opset 13 its axis must be the last",
            seen=f"axis {axis} of {shape}",
            remedy="convert the model with onnx.version_converter",
        )
    return axis


def _softmax_between(node: Node, value: Value, axis: int, origin: tuple[str, ...]) -> Expr:
    """Over one of more than four dimensions: what lies before and behind it is joined."""
    graph, names, shape = node.graph, (node.name,), value.onnx_shape
    joined = graph.reshape(value, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])), names)
    rows = graph.transpose(joined, (0, 2, 1), names)
    turned = Softmax(node=node, shape=rows.onnx_shape, origin=origin, source=rows)
    return turned.move(lambda v: graph.reshape(graph.transpose(v, (0, 2, 1), names), shape, names), node, shape)


@rule("LayerNormalization", "RMSNormalization", int16=SAME)
def norm(node: Node) -> Expr:
    """LAYERNORM or RMSNORM over the last axes; gain and offset constant."""
    if any(node.outputs[1:]):
        raise node.refuse("its mean and deviation are not computed", remedy="drop the outputs behind the first")
    x = node.operand(0)
    axis = int(node.attribute("axis", -1)) % len(x.shape)
    channels = prod(x.shape[axis:])
    gamma = _per_element(node, 1, x.shape[axis:], 1.0)
    beta = _per_element(node, 2, x.shape[axis:], 0.0) if node.op == "LayerNormalization" else np.zeros(channels)
    flat = node.graph.reshape(x.value(node), _rows(x.shape, axis), (node.name,))
    return Norm(
        node=node,
        shape=x.shape,
        origin=(*x.origin, node.name),
        source=flat,
        centred=node.op == "LayerNormalization",
        epsilon=float(node.attribute("epsilon", 1e-5)),
        gamma=gamma,
        beta=beta,
    )


@rule("LpNormalization", int16=SAME)
def lp_normalization(node: Node) -> Expr:
    """RMSNORM for the root of squares, behind a transposition where its axis is not the last."""
    x = node.operand(0)
    rank, axis = len(x.shape), int(node.attribute("axis", -1)) % len(x.shape)
    if int(node.attribute("p", 2)) != 2:
        raise node.refuse("the norm is the root of the sum of squares", seen=f"p {node.attribute('p')}")
    order = [a for a in range(rank) if a != axis] + [axis]
    shape = tuple(x.shape[a] for a in order)
    moved = x.value(node) if axis == rank - 1 else node.graph.transpose(x.value(node), order, (node.name,))
    length = x.shape[axis]
    normal = Norm(
        node=node,
        shape=shape,
        origin=(*x.origin, node.name),
        source=node.graph.reshape(moved, _rows(shape, rank - 1), (node.name,)),
        centred=False,
        epsilon=0.0,
        gamma=np.full(length, length**-0.5),
        beta=np.zeros(length),
    )
    if axis == rank - 1:
        return normal
    back = [order.index(a) for a in range(rank)]
    return normal.move(lambda v: node.graph.transpose(v, back, (node.name,)), node, x.shape)


def _rows(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Three dimensions of which the last holds `axis` and all after it."""
    return prod(shape[: max(axis - 1, 0)]), prod(shape[max(axis - 1, 0) : axis]), prod(shape[axis:])


def _per_element(node: Node, index: int, shape: tuple[int, ...], default: float) -> np.ndarray:
    """A constant operand as one number for each element of the normalised axes."""
    operand = node.optional(index)
    if operand is None:
        return np.full(prod(shape), default)
    if not isinstance(operand, Constant):
        raise node.refuse(f"operand {index} must be constant")
    return np.array(np.broadcast_to(np.asarray(operand.real, np.float64), shape)).ravel()


@rule("LRN", int16=SAME)
def local_response(node: Node) -> Expr:
    """MUL, CONV2D over channels with a band of ones, LUT16, MUL, in 16-bit steps; up to 2048 channels."""
    x, graph, names = node.operand(0), node.graph, (node.name,)
    size, offset = int(node.attribute("size")), float(node.attribute("bias", 1.0))
    gain, beta = float(node.attribute("alpha", 1e-4)) / size, float(node.attribute("beta", 0.75))
    if len(x.shape) != 4 or x.shape[1] > _MOST_CHANNELS or offset <= 0 or gain < 0:
        seen = f"shape {x.shape}, bias {offset}, alpha {gain * size}"
        raise node.refuse(f"images of up to {_MOST_CHANNELS} channels, a positive bias, alpha at least 0", seen=seen)
    value, channels, origin = x.value(node), x.shape[1], (*x.origin, node.name)
    assert value.quant is not None
    largest = value.quant.s * max(value.quant.qmax - value.quant.z, value.quant.z - value.quant.qmin)
    wide = widened(graph, value, origin)
    frame = Frame(wide.onnx_shape, wide.shape)

    def product(a: Value, b: Value) -> Product:
        return Product(node=node, shape=wide.onnx_shape, origin=origin, frame=frame, a=a, b=b)

    distance = np.arange(channels)[None] - np.arange(channels)[:, None]  # of an input channel from an output channel
    window = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    sums = Linear(
        node=node,
        shape=wide.onnx_shape,
        origin=origin,
        kind="conv2d",
        source=product(wide, wide).quantise(_fine(largest * largest)),
        attrs={"stride": (1, 1), "dilation": (1, 1), "pads": (0, 0, 0, 0), "groups": 1},
        weight=window.astype(np.int8).reshape(channels, 1, 1, channels),
        weight_scale=np.full(channels, max(gain, 1e-30)),
        bias=np.full(channels, offset),
        extents=wide.shape,
        view=wide.onnx_shape,
    )
    base = sums.quantise(_fine(offset + gain * min(size, channels) * largest * largest))
    power = Unary.of(base, node, names).map(lambda v: np.maximum(v, offset / 2) ** -beta, node)
    return product(wide, power.quantise(_fine(offset**-beta)))


def _fine(largest: float) -> QuantParams:
    """int16 parameters of values up to `largest`."""
    return QuantParams.per_tensor(max(largest, 1e-30) / 32767, 0, "int16")
