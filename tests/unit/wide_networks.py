"""Float networks whose layers do not all fit into some hundred KiB, so that the scheduler has to choose."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from float_networks import Net


def encoder() -> onnx.ModelProto:
    """A U-Net of 96 x 96 pixels: skips that live long, transposed convolutions."""
    net = Net(21)
    x, skips = net.op("Relu", net.conv("x", 3, 32)), []
    channels = 32
    for _ in range(2):
        skips.append((x, channels))
        x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = net.op("Relu", net.conv(x, channels, 2 * channels))
        channels *= 2
    for skip, width in reversed(skips):
        weight = net.normal(channels, width, 2, 2, scale=0.1)
        x = net.op("ConvTranspose", x, weight, net.normal(width), strides=[2, 2])
        x = net.op("Relu", net.conv(net.op("Concat", x, skip, axis=1), 2 * width, width))
        channels = width
    return net.model(net.conv(x, channels, 2, 1, out="y"), shape=(1, 3, 96, 96))


def bottlenecks() -> onnx.ModelProto:
    """Residual bottlenecks that end in many channels: weights of more than a MiB."""
    net = Net(22)
    x = net.op("MaxPool", net.op("Relu", net.conv("x", 3, 32, stride=2)), kernel_shape=[2, 2], strides=[2, 2])
    channels = 32
    for width, stride in ((32, 1), (64, 2), (160, 2)):
        y = net.op("Relu", net.conv(x, channels, width, 1))
        y = net.op("Relu", net.conv(y, width, width, stride=stride))
        y = net.conv(y, width, 4 * width, 1)
        x = net.op("Relu", net.op("Add", y, net.conv(x, channels, 4 * width, 1, stride=stride)))
        channels = 4 * width
    flat = net.op("Flatten", net.op("GlobalAveragePool", x))
    weights = net.normal(300, channels, scale=0.05)
    return net.model(net.op("Gemm", flat, weights, net.normal(300), transB=1, out="y"), shape=(1, 3, 128, 128))


def inverted() -> onnx.ModelProto:
    """Inverted residuals with depthwise kernels over 112 x 112 pixels."""
    net = Net(23)
    x, channels = net.relu6(net.conv("x", 3, 24, stride=2)), 24
    for out, stride in ((24, 1), (32, 2), (32, 1), (64, 2)):
        wide = 6 * channels
        y = net.relu6(net.conv(x, channels, wide, 1))
        y = net.relu6(net.conv(y, wide, wide, 3, stride, wide))
        y = net.conv(y, wide, out, 1)
        x = net.op("Add", x, y) if stride == 1 and channels == out else y
        channels = out
    return net.model(net.conv(x, channels, 128, 1, out="y"), shape=(1, 3, 112, 112))


def breadth_first() -> onnx.ModelProto:
    """Four branches that grow eightfold and shrink again, written side by side: what is large lives all at once."""
    net = Net(24)
    x = net.op("Relu", net.conv("x", 3, 16))
    branches = [x] * 4
    for ci, co, size in ((16, 128, 1), (128, 128, 3), (128, 8, 1)):
        branches = [net.op("Relu", net.conv(branch, ci, co, size)) for branch in branches]
    whole = net.op("Concat", *[net.op("GlobalAveragePool", branch) for branch in branches], axis=1)
    scaled = net.op("Mul", net.op("Concat", *branches, axis=1), net.op("Sigmoid", net.conv(whole, 32, 32, 1)))
    return net.model(net.conv(scaled, 32, 8, 1, out="y"), shape=(1, 3, 48, 48))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "encoder": encoder,
    "bottlenecks": bottlenecks,
    "inverted": inverted,
    "breadth_first": breadth_first,
}
