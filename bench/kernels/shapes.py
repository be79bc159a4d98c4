"""Models of one operator: the shapes that decide the networks of bench/models and their relatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx

from bench.models.network import Network

Shapes = dict[str, tuple[str, Callable[[], onnx.ModelProto]]]


def conv(size: int, channels: int, out: int, kernel: int = 1, stride: int = 1) -> onnx.ModelProto:
    net = Network("conv", (1, channels, size, size))
    return net.finish(net.conv("image", out, kernel, stride, act=None))


def grouped(size: int, channels: int, kernel: int, groups: int) -> onnx.ModelProto:
    net = Network("grouped", (1, channels, size, size))
    return net.finish(net.conv("image", channels, kernel, groups=groups, act=None))


def depthwise(size: int, channels: int, kernel: int = 3, stride: int = 1) -> onnx.ModelProto:
    net = Network("depthwise", (1, channels, size, size))
    return net.finish(net.conv("image", channels, kernel, stride, groups=channels, act=None))


def transposed(size: int, channels: int, out: int, kernel: int, stride: int) -> onnx.ModelProto:
    net = Network("transposed", (1, channels, size, size))
    weight = net.constant(_normal(net, channels, out, kernel, kernel))
    pads = [(kernel - stride) // 2] * 4
    shape = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads}
    return net.finish(net.op("ConvTranspose", "image", weight, channels=out, **shape))


def matmul(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    net = Network("matmul", (1, rows, depth))
    return net.finish(net.op("MatMul", "image", net.constant(_normal(net, depth, columns))))


def dynamic_matmul(heads: int, tokens: int) -> onnx.ModelProto:
    """Of two activations, as in attention."""
    net = Network("dynamic_matmul", (1, heads, tokens, tokens))
    return net.finish(net.op("MatMul", "image", _another(net)))


def classifier(channels: int, classes: int) -> onnx.ModelProto:
    net = Network("classifier", (1, channels, 1, 1))
    return net.finish(net.classifier("image", classes))


def single(kind: str, size: int, channels: int, **attributes: Any) -> onnx.ModelProto:
    net = Network(kind.lower(), (1, channels, size, size))
    return net.finish(net.op(kind, "image", **attributes))


def softmax(*shape: int) -> onnx.ModelProto:
    """Over the last axis, as in attention."""
    net = Network("softmax", shape)
    return net.finish(net.op("Softmax", "image", axis=-1))


def layer_norm(tokens: int, width: int) -> onnx.ModelProto:
    net = Network("layer_norm", (1, tokens, width))
    gain = net.constant((1 + 0.2 * net.random.standard_normal(width)).astype(np.float32))
    offset = net.constant(net.random.standard_normal(width).astype(np.float32))
    return net.finish(net.op("LayerNormalization", "image", gain, offset, axis=-1))


def pool(size: int, channels: int, kernel: int, stride: int) -> onnx.ModelProto:
    shape = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [kernel // 2] * 4}
    return single("MaxPool", size, channels, **shape)


def binary(kind: str, size: int, channels: int) -> onnx.ModelProto:
    net = Network(kind.lower(), (1, channels, size, size))
    return net.finish(net.op(kind, "image", _another(net)))


def resize(size: int, channels: int, mode: str) -> onnx.ModelProto:
    net = Network("resize", (1, channels, size, size))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    return net.finish(net.op("Resize", "image", "", scales, mode=mode))


def useful_macs(model: onnx.ModelProto) -> int | None:
    """Products of a convolution whose input lies inside the image; None if the model holds no convolution.

    The engine counts all taps; a kernel that leaves out those in the padding would look faster than it is.
    """
    node = model.graph.node[0]
    if node.op_type != "Conv":
        return None
    a = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    (kernel, _), (stride, _), pad = a["kernel_shape"], a["strides"], a["pads"][0]
    starts = range(-pad, size + pad - kernel + 1, stride)
    taps = sum(0 <= start + k < size for start in starts for k in range(kernel))
    out, per_group = model.graph.initializer[0].dims[:2]
    return taps * taps * out * per_group


def _another(net: Network) -> str:
    """A second tensor of the input's shape; an element-wise function of the input would be folded into a table."""
    return net.op("MaxPool", "image", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])


def _normal(net: Network, *shape: int) -> np.ndarray:
    return (net.random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def _convolutions() -> Shapes:
    """Pointwise, thin pointwise, 3x3 and first layers: size, input channels, output channels, kernel, stride."""
    pointwise = ((56, 64, 256), (56, 256, 64), (28, 512, 128), (14, 1024, 256), (7, 512, 2048), (14, 96, 576))
    pointwise += ((14, 576, 96), (7, 960, 320), (112, 32, 16), (112, 16, 96), (56, 24, 144), (56, 144, 24))
    wide = ((56, 64, 64, 3), (28, 128, 128, 3), (14, 256, 256, 3), (7, 512, 512, 3), (80, 32, 32, 3))
    strided = ((56, 128, 128, 3, 2), (224, 3, 64, 7, 2), (224, 3, 32, 3, 2))
    shapes: Shapes = {}
    for size, channels, out, *rest in (*pointwise, (28, 32, 192), *wide, *strided):
        kernel, stride = (*rest, *(1, 1)[len(rest) :])
        name = f"{kernel}x{kernel} s{stride} {size} {channels}to{out}"
        shapes[name] = ("CONV2D", partial(conv, size, channels, out, kernel, stride))
    return shapes


def _depthwise() -> Shapes:
    shapes: Shapes = {}
    threes = ((112, 32), (112, 96, 3, 2), (56, 144), (56, 144, 3, 2), (28, 192), (14, 384), (14, 576), (7, 960))
    for size, channels, *rest in (*threes, (28, 240, 5), (28, 240, 5, 2), (14, 672, 5)):
        kernel, stride = (*rest, *(3, 1)[len(rest) :])
        name = f"dw {kernel}x{kernel} s{stride} {size} {channels}"
        shapes[name] = ("DWCONV2D", partial(depthwise, size, channels, kernel, stride))
    return shapes


SHAPES: Shapes = {
    **_convolutions(),
    **_depthwise(),
    "grouped 3x3 28 128 by 4": ("GCONV2D", partial(grouped, 28, 128, 3, 4)),
    "tconv 4x4 s2 32 64to64": ("TCONV2D", partial(transposed, 32, 64, 64, 4, 2)),
    "matmul 128 384to1536": ("MATMUL", partial(matmul, 128, 384, 1536)),
    "matmul 128 1536to384": ("MATMUL", partial(matmul, 128, 1536, 384)),
    "matmul 197 192to576": ("MATMUL", partial(matmul, 197, 192, 576)),
    "vector 2048to1000": ("MATMUL", partial(classifier, 2048, 1000)),
    "vector 1280to1000": ("MATMUL", partial(classifier, 1280, 1000)),
    "vector 768to3072": ("MATMUL", partial(classifier, 768, 3072)),
    "dynamic matmul 12x128x128": ("MATMULD", partial(dynamic_matmul, 12, 128)),
    "max pool 3x3 s2 112 64": ("MAXPOOL", partial(pool, 112, 64, 3, 2)),
    "max pool 5x5 s1 20 256": ("MAXPOOL", partial(pool, 20, 256, 5, 1)),
    "global mean 7 1280": ("AVGPOOL", partial(single, "GlobalAveragePool", 7, 1280)),
    "add 56 256": ("ADD", partial(binary, "Add", 56, 256)),
    "add 14 96": ("ADD", partial(binary, "Add", 14, 96)),
    "mul 40 128": ("MUL", partial(binary, "Mul", 40, 128)),
    "table 80 64": ("LUT8", partial(single, "Sigmoid", 80, 64)),
    "softmax 197x197": ("SOFTMAX", partial(softmax, 1, 197, 197)),
    "softmax 12x128x128": ("SOFTMAX", partial(softmax, 1, 12, 128, 128)),
    "layer norm 128x384": ("LAYERNORM", partial(layer_norm, 128, 384)),
    "layer norm 197x192": ("LAYERNORM", partial(layer_norm, 197, 192)),
    "nearest 20to40 256": ("RESIZE_NN", partial(resize, 20, 256, "nearest")),
    "bilinear 20to40 256": ("RESIZE_BILIN", partial(resize, 20, 256, "linear")),
    "depth to space 40 256": ("COPY", partial(single, "DepthToSpace", 40, 256, blocksize=2)),
    "quantise 224 3": ("QUANTIZE", partial(single, "Relu", 224, 3)),
    "dequantise 40 255": ("DEQUANTIZE", partial(single, "Relu", 40, 255)),
}
