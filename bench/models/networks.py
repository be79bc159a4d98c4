"""Public architectures with seeded random weights, as float ONNX models: for speed shapes matter, weights do not.

Weights are never zero and residual branches keep their gain, so that no engine can fold a branch away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from bench.models.network import Network
from bench.models.transformers import deit_tiny, minilm


def mobilenet_v2() -> onnx.ModelProto:
    """Sandler et al. 2018, width 1.0, 224 x 224."""
    net = Network("mobilenet_v2", (1, 3, 224, 224))
    x = net.conv("image", 32, 3, 2, act="relu6")
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, out, repeats, first_stride in blocks:
        for repeat in range(repeats):
            x = _inverted_residual(net, x, out, expansion, 3, first_stride if repeat == 0 else 1)
    return net.finish(net.classifier(net.conv(x, 1280, act="relu6")))


def efficientnet_lite0() -> onnx.ModelProto:
    """The shapes of EfficientNet-Lite0, 224 x 224 (symmetric padding)."""
    net = Network("efficientnet_lite0", (1, 3, 224, 224))
    x = net.conv("image", 32, 3, 2, act="relu6")
    blocks = (
        (1, 16, 1, 3, 1),
        (6, 24, 2, 3, 2),
        (6, 40, 2, 5, 2),
        (6, 80, 3, 3, 2),
        (6, 112, 3, 5, 1),
        (6, 192, 4, 5, 2),
        (6, 320, 1, 3, 1),
    )
    for expansion, out, repeats, kernel, first_stride in blocks:
        for repeat in range(repeats):
            x = _inverted_residual(net, x, out, expansion, kernel, first_stride if repeat == 0 else 1)
    return net.finish(net.classifier(net.conv(x, 1280, act="relu6")))


def _inverted_residual(net: Network, x: str, out: int, expansion: int, kernel: int, stride: int) -> str:
    wide = net.channels[x] * expansion
    y = net.conv(x, wide, act="relu6") if expansion != 1 else x
    y = net.conv(y, wide, kernel, stride, groups=wide, act="relu6")
    y = net.conv(y, out, act=None)
    return net.op("Add", x, y) if stride == 1 and net.channels[x] == out else y


def resnet18() -> onnx.ModelProto:
    """He et al. 2015, basic blocks, 224 x 224."""

    def block(net: Network, x: str, out: int, stride: int) -> str:
        y = net.conv(net.conv(x, out, 3, stride), out, 3, act=None)
        return net.op("Relu", net.op("Add", y, _shortcut(net, x, out, stride)))

    return _resnet("resnet18", (2, 2, 2, 2), 1, block)


def resnet50() -> onnx.ModelProto:
    """He et al. 2015, bottleneck blocks with the stride in the 3x3 convolution, 224 x 224."""
    return _resnet("resnet50", (3, 4, 6, 3), 4, _bottleneck)


def resnet152() -> onnx.ModelProto:
    """The same with the deepest stages of the paper."""
    return _resnet("resnet152", (3, 8, 36, 3), 4, _bottleneck)


def _bottleneck(net: Network, x: str, out: int, stride: int) -> str:
    y = net.conv(net.conv(net.conv(x, out // 4), out // 4, 3, stride), out, act=None)
    return net.op("Relu", net.op("Add", y, _shortcut(net, x, out, stride)))


def _shortcut(net: Network, x: str, out: int, stride: int) -> str:
    return x if stride == 1 and net.channels[x] == out else net.conv(x, out, 1, stride, act=None)


def _resnet(
    name: str, depths: Sequence[int], widening: int, block: Callable[[Network, str, int, int], str]
) -> onnx.ModelProto:
    net = Network(name, (1, 3, 224, 224))
    x = net.conv("image", 64, 7, 2)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, depth in enumerate(depths):
        for index in range(depth):
            x = block(net, x, 64 * widening << stage, 2 if stage and index == 0 else 1)
    return net.finish(net.classifier(x))


def yolov5s(size: int) -> onnx.ModelProto:
    """YOLOv5s v6 up to the three head convolutions, `size` x `size`, SiLU throughout."""
    net = Network(f"yolov5s_{size}", (1, 3, size, size))

    def conv(x: str, out: int, kernel: int = 1, stride: int = 1) -> str:
        return net.conv(x, out, kernel, stride, act="silu")

    def c3(x: str, out: int, depth: int, shortcut: bool = True) -> str:
        y = conv(x, out // 2)
        for _ in range(depth):
            z = conv(conv(y, out // 2), out // 2, 3)
            y = net.op("Add", y, z) if shortcut else z
        return conv(concat(y, conv(x, out // 2)), out)

    def concat(*inputs: str) -> str:
        return net.op("Concat", *inputs, channels=sum(net.channels[i] for i in inputs), axis=1)

    def sppf(x: str, out: int) -> str:
        pools = [conv(x, net.channels[x] // 2)]
        for _ in range(3):
            pools.append(net.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
        return conv(concat(*pools), out)

    def upsample(x: str) -> str:
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        return net.op(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    stem = net.conv("image", 32, 6, 2, act=None)
    net.nodes[-1].attribute[2].ints[:] = [2, 2, 2, 2]
    x = c3(conv(net.activate(stem, "silu"), 64, 3, 2), 64, 1)
    p3 = c3(conv(x, 128, 3, 2), 128, 2)
    p4 = c3(conv(p3, 256, 3, 2), 256, 3)
    p5 = sppf(c3(conv(p4, 512, 3, 2), 512, 1), 512)
    n5 = conv(p5, 256)
    n4 = conv(c3(concat(upsample(n5), p4), 256, 1, shortcut=False), 128)
    out3 = c3(concat(upsample(n4), p3), 128, 1, shortcut=False)
    out4 = c3(concat(conv(out3, 128, 3, 2), n4), 256, 1, shortcut=False)
    out5 = c3(concat(conv(out4, 256, 3, 2), n5), 512, 1, shortcut=False)
    return net.finish(*(net.conv(out, 255, act=None) for out in (out3, out4, out5)))


def one_layer(outputs: int) -> onnx.ModelProto:
    """Next to nothing, with as many outputs as wanted: what a call costs whatever the model."""
    net = Network(f"one_layer_{outputs}", (1, 3, 8, 8))
    return net.finish(*(net.conv("image", 8, act=None) for _ in range(outputs)))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_lite0": efficientnet_lite0,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "yolov5s_320": lambda: yolov5s(320),
    "yolov5s_640": lambda: yolov5s(640),
    "deit_tiny": deit_tiny,
    "minilm_l6": minilm,
}
