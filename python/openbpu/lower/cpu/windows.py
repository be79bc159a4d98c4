"""Forms of convolutions, pools and resizes: explicit pads, extents given by the result."""

from __future__ import annotations

import numpy as np

from openbpu.lower.builder import Shape
from openbpu.lower.cpu.form import Form, constant, form
from openbpu.lower.expressions import Constant
from openbpu.lower.node import Node


@form("Conv", "ConvInteger", "DeformConv")
def _conv(node: Node, result: Form) -> None:
    kernel = node.operand(1).shape[2:]
    _explicit_pads(node, result, kernel)
    result.attributes.pop("kernel_shape", None)


@form("MaxPool", "AveragePool", "LpPool")
def _pool(node: Node, result: Form) -> None:
    kernel = tuple(int(k) for k in node.attribute("kernel_shape", []))
    _explicit_pads(node, result, kernel)
    result.attributes.pop("ceil_mode", None)


@form("MaxUnpool")
def _unpool(node: Node, result: Form) -> None:
    del result.operands[2:]  # the extents of the result say it


@form("Col2Im")
def _col2im(node: Node, result: Form) -> None:
    for position in (1, 2):
        operand = node.operand(position)
        if isinstance(operand, Constant):
            result.operands[position] = constant(node, operand.real)


def _explicit_pads(node: Node, result: Form, kernel: Shape) -> None:
    """`auto_pad` as pads."""
    auto = str(result.attributes.pop("auto_pad", "NOTSET"))
    if auto == "NOTSET":
        return
    rank = len(kernel)
    result.attributes["pads"] = [0] * (2 * rank)
    if auto == "VALID":
        return
    size = node.operand(0).shape[2:]
    stride = node.attribute("strides", [1] * rank)
    dilation = node.attribute("dilations", [1] * rank)
    pads = []
    for axis in range(rank):
        total = (-(-size[axis] // stride[axis]) - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        total = max(total - size[axis], 0)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
    result.attributes["pads"] = [pair[0] for pair in pads] + [pair[1] for pair in pads]


@form("ConvTranspose")
def _conv_transpose(node: Node, result: Form) -> None:
    kernel = node.operand(1).shape[2:]
    rank = len(kernel)
    size = node.operand(0).shape[2:]
    given = result.attributes
    auto = str(given.pop("auto_pad", "NOTSET"))
    given.pop("kernel_shape", None)
    extra = given.pop("output_padding", [0] * rank)
    wanted = given.pop("output_shape", None)
    stride, dilation = given.get("strides", [1] * rank), given.get("dilations", [1] * rank)
    if wanted is None and not auto.startswith("SAME"):
        if auto == "VALID":
            given["pads"] = [0] * (2 * rank)
        return
    before, after = [], []
    for axis in range(rank):
        target = size[axis] * stride[axis] if wanted is None else wanted[len(wanted) - rank + axis]
        total = stride[axis] * (size[axis] - 1) + extra[axis] + dilation[axis] * (kernel[axis] - 1) + 1 - target
        less, more = total // 2, total - total // 2
        first, second = (less, more) if auto == "SAME_UPPER" else (more, less)
        before.append(max(first, 0))
        after.append(max(second, 0))
    given["pads"] = before + after


@form("Upsample")
def _upsample(node: Node, result: Form) -> None:
    operand, scales = node.optional(1), node.attribute("scales")
    if scales is None:
        if not isinstance(operand, Constant):
            raise node.refuse("its scales must be known at compile time", remedy="make them an initializer")
        scales = operand.real
    result.op = "Resize"
    mode = str(node.attribute("mode", "nearest")).replace("bilinear", "linear")
    result.operands = [node.operand(0), None, constant(node, scales, "float32")]
    result.attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@form("Resize")
def _resize(node: Node, result: Form) -> None:
    if node.opset < 11:
        _upsample(node, result)
        return
    for position, name, dtype in ((1, "roi", "float32"), (2, "scales", "float32"), (3, "sizes", "int64")):
        if position < len(result.operands) and (operand := result.operands[position]) is not None:
            if not isinstance(operand, Constant):
                raise node.refuse(f"its {name} must be known at compile time", remedy="fix the input shapes")
            array = np.asarray(operand.real, dtype)
            result.operands[position] = constant(node, array, dtype) if array.size else None
    if node.attribute("coordinate_transformation_mode") != "tf_crop_and_resize":
        result.operands[1:2] = [None]


@form("GridSample")
def _grid_sample(node: Node, result: Form) -> None:
    """Before opset 20 the modes had other names."""
    mode = str(result.attributes.get("mode", "linear"))
    result.attributes["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
