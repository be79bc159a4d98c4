"""Normalisations that no one instruction computes, as sums, tables and products: for integers only, in float32 the
operators themselves are quicker."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx

from openbpu.frontend.writing import NodeWriter, attributes_of

if TYPE_CHECKING:
    from openbpu.frontend.decomposition import Context

LONGEST_ROW = 65535  # elements of a row that LAYERNORM takes, and of each extent
_MOST_FACTORS = 64  # of ReduceProd


def long_rows(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """InstanceNormalization and GroupNormalization of more elements than a row has: their statistics by pooling."""
    shape, given = context.shapes.get(node.input[0]), attributes_of(node)
    gain, offset = (context.constants.get(name) for name in node.input[1:3])
    if shape is None or len(shape) < 3 or gain is None or offset is None or gain.size != shape[1]:
        return False
    groups = int(given.get("num_groups", shape[1]))
    image = (shape[0], groups, shape[1] // groups * prod(shape[2:-1]), shape[-1])
    if max(image) > LONGEST_ROW:
        return False
    column = (shape[1], *[1] * (len(shape) - 2))
    as_given = list(image) == shape
    x = node.input[0] if as_given else write.shaped(node.input[0], image)
    centred, inverse = _statistics(x, float(given.get("epsilon", 1e-5)), write)
    if groups == shape[1] and as_given:  # the gain goes to the few numbers
        inverse = write.op("Mul", inverse, write.constant(gain.reshape(column)))
        gain = np.ones_like(gain)
    steps: list[tuple[str, np.ndarray]] = []
    if not (gain == 1).all():
        steps.append(("Mul", gain))
    if offset.any():
        steps.append(("Add", offset))
    normal = write.op("Mul", centred, inverse, output=node.output[0] if as_given and not steps else "")
    if not as_given:
        normal = write.shaped(normal, shape, output="" if steps else node.output[0])
    for k, (op, operand) in enumerate(steps, 1):
        last = node.output[0] if k == len(steps) else ""
        normal = write.op(op, normal, write.constant(operand.reshape(column)), output=last)
    return True


def _statistics(x: str, epsilon: float, write: NodeWriter) -> tuple[str, str]:
    """What is left of images without their means, and one by their deviations."""
    centred = write.op("Sub", x, write.op("GlobalAveragePool", x))
    variance = write.op("GlobalAveragePool", write.op("Mul", centred, centred))
    deviation = write.op("Sqrt", write.op("Add", variance, write.constant(np.float32(epsilon))))
    return centred, write.op("Reciprocal", deviation)


def mean_and_variance(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """MeanVarianceNormalization per image and channel: LayerNormalization of rows."""
    shape = context.shapes.get(node.input[0])
    axes = {int(axis) % 4 for axis in attributes_of(node).get("axes", [0, 2, 3])}
    if shape is None or len(shape) != 4 or prod(shape[2:]) > LONGEST_ROW:
        return False
    if axes != {2, 3} and not (axes == {0, 2, 3} and shape[0] == 1):
        return False
    rows = write.shaped(node.input[0], (*shape[:2], prod(shape[2:])))
    ones = write.constant(np.ones(prod(shape[2:]), np.float32))
    write.shaped(write.op("LayerNormalization", rows, ones, axis=-1, epsilon=1e-9), shape, output=node.output[0])
    return True


def logarithm_of_sum(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ReduceLogSum: ReduceSum and Log."""
    given, axes = attributes_of(node), list(node.input[1:])
    if "axes" in given:
        axes = [write.constant(np.array(given.pop("axes"), np.int64))]
    write.op("Log", write.op("ReduceSum", node.input[0], *axes, **given), output=node.output[0])
    return True


def product_of_slices(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ReduceProd of few elements: products of halves, each with a range of its own."""
    shape, result = context.shapes.get(node.input[0]), context.shapes.get(node.output[0])
    given = attributes_of(node)
    axes = given.get("axes") or [int(a) for name in node.input[1:] for a in context.constants.get(name, np.zeros(0))]
    if shape is None or result is None or (not axes and given.get("noop_with_empty_axes")):
        return False
    axes = [axis % len(shape) for axis in axes or range(len(shape))]
    if not 2 <= prod(shape[axis] for axis in axes) <= _MOST_FACTORS:
        return False
    x = node.input[0]
    for axis in axes:
        left, apart = shape[axis], []
        while left > 1:
            half = left // 2
            first, second, *odd = write.parts(x, [half, half, 1][: 2 + left % 2], axis)
            apart += odd
            x, left = write.op("Mul", first, second), half
        for name in apart:
            x = write.op("Mul", x, name)
    write.shaped(x, result, output=node.output[0])
    return True
