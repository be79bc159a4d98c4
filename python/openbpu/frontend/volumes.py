"""Windows over volumes as windows over images, columns as the image that they are of, and products with a run-time bias
as a product and a sum."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from openbpu.frontend.writing import NodeWriter, attributes_of

if TYPE_CHECKING:
    from openbpu.frontend.decomposition import Context


def mean_of_volume(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """AveragePool in three dimensions: over rows and columns, then over depth; counts of windows are products."""
    shape, result = context.shapes.get(node.input[0]), context.shapes.get(node.output[0])
    given = attributes_of(node)
    if shape is None or result is None or len(shape) != 5 or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        return False
    kernel, pads = given["kernel_shape"], given.get("pads", [0] * 6)
    strides, dilations = given.get("strides", [1] * 3), given.get("dilations", [1] * 3)
    common = {name: given[name] for name in ("ceil_mode", "count_include_pad") if name in given}

    def windows(x: str, axes: list[int | None]) -> str:
        def of(values: list[int], other: int) -> list[int]:
            return [other if axis is None else values[axis] for axis in axes]

        attributes: dict[str, Any] = {"kernel_shape": of(kernel, 1), "strides": of(strides, 1)}
        attributes["pads"] = of(pads[:3], 0) + of(pads[3:], 0)
        if "dilations" in given:
            attributes["dilations"] = of(dilations, 1)
        return write.op("AveragePool", x, **attributes, **common)

    images = write.shaped(node.input[0], (shape[0], shape[1] * shape[2], *shape[3:]))
    rows = write.shaped(windows(images, [1, 2]), (*shape[:3], prod(result[3:])))
    write.shaped(windows(rows, [0, None]), result, output=node.output[0])
    return True


def transposed_volume(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """ConvTranspose in three dimensions whose steps in depth do not overlap: each gives some channels of images."""
    shape, result = context.shapes.get(node.input[0]), context.shapes.get(node.output[0])
    weight, given = context.constants.get(node.input[1]), attributes_of(node)
    bias = context.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if shape is None or result is None or weight is None or len(shape) != 5 or (bias is None) == (len(node.input) > 2):
        return False
    depth, steps = weight.shape[2], given.get("strides", [1] * 3)
    pads, dilations = given.get("pads", [0] * 6), given.get("dilations", [1] * 3)
    plain = steps[0] == depth and dilations[0] == 1 and not pads[0] and not pads[3]
    if not plain or result[2] != shape[2] * depth or "output_shape" in given or "auto_pad" in given:
        return False
    x = write.op("Transpose", node.input[0], perm=[0, 2, 1, 3, 4])
    x = write.shaped(x, (shape[0] * shape[2], shape[1], *shape[3:]))
    operands = [write.constant(weight.reshape(weight.shape[0], -1, *weight.shape[3:]))]
    if bias is not None:
        operands.append(write.constant(np.repeat(bias, depth)))
    attributes = {"strides": steps[1:], "pads": [*pads[1:3], *pads[4:6]], "dilations": dilations[1:]}
    attributes |= {"group": given.get("group", 1), "output_padding": given.get("output_padding", [0] * 3)[1:]}
    x = write.op("ConvTranspose", x, *operands, **attributes)
    x = write.shaped(x, (shape[0], shape[2], result[1], depth, prod(result[3:])))
    x = write.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    write.shaped(x, result, output=node.output[0])
    return True


def product_and_sum(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """Gemm whose bias is computed at run time."""
    if len(node.input) < 3 or not node.input[2] or node.input[2] in context.constants:
        return False
    given = attributes_of(node)
    a, b, c = node.input
    alpha, beta = float(given.get("alpha", 1)), float(given.get("beta", 1))
    constant = context.constants.get(b)
    if given.get("transA"):
        a = write.op("Transpose", a, perm=[1, 0])
    if constant is not None:
        b = write.constant((constant.T if given.get("transB") else constant) * np.float32(alpha))
    elif given.get("transB"):
        b = write.op("Transpose", b, perm=[1, 0])
    product = write.op("MatMul", a, b)
    if alpha != 1 and constant is None:
        product = write.op("Mul", product, write.constant(np.float32(alpha)))
    if beta != 1:
        c = write.op("Mul", c, write.constant(np.float32(beta)))
    write.op("Add", product, c, output=node.output[0])
    return True


def image_of_columns(node: onnx.NodeProto, context: Context, write: NodeWriter, quantised: bool = False) -> bool:
    """Col2Im of images: a transposed convolution that puts each column at its place; `quantised` has int8 weights."""
    shape, result, given = context.shapes.get(node.input[0]), context.shapes.get(node.output[0]), attributes_of(node)
    extents, block = (context.constants.get(name) for name in node.input[1:3])
    if shape is None or result is None or extents is None or block is None or block.size != 2:
        return False
    kernel, pads = block.tolist(), given.get("pads", [0] * 4)
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    room = [e + a + b - d * (k - 1) - 1 for e, a, b, d, k in
            zip(extents.tolist(), pads[:2], pads[2:], dilations, kernel, strict=True)]  # fmt: skip
    steps = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    channels, taps = result[1], prod(kernel)
    if prod(steps) != shape[2]:
        return False
    places = np.tile(np.eye(taps).reshape(taps, 1, *kernel), (channels, 1, 1, 1))
    if quantised:
        ones = (write.constant(places.astype(np.int8)), write.constant(np.float32(1)), write.constant(np.int8(0)))
        weight = write.op("DequantizeLinear", *ones)
    else:
        weight = write.constant(places.astype(np.float32))
    columns = write.shaped(node.input[0], (shape[0], channels * taps, *steps))
    left = [r % s for r, s in zip(room, strides, strict=True)]
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "output_padding": left, "group": channels}
    write.op("ConvTranspose", columns, weight, output=node.output[0], **attributes)
    return True
