"""Networks of the shapes of YOLOv8 detection with random weights: five sizes that differ in depth and width alone."""

from __future__ import annotations

import numpy as np
import onnx

from bench.models.network import Network

# Size -> depth multiple, width multiple, most channels; after the public model description.
SIZES = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.25, 512),
}
_CLASSES = 80


def yolov8(size: str, pixels: int = 640) -> onnx.ModelProto:
    """YOLOv8 of this size up to the six convolutions of its heads, SiLU throughout."""
    return _YoloV8(size, pixels).model()


class _YoloV8:
    def __init__(self, size: str, pixels: int) -> None:
        self.depth, self.width, self.most = SIZES[size]
        self.net = Network(f"yolov8{size}", (1, 3, pixels, pixels))

    def channels(self, nominal: int) -> int:
        return round(min(nominal, self.most) * self.width / 8) * 8

    def conv(self, x: str, out: int, kernel: int = 1, stride: int = 1) -> str:
        return self.net.conv(x, out, kernel, stride, act="silu")

    def concat(self, *inputs: str) -> str:
        return self.net.op("Concat", *inputs, channels=sum(self.net.channels[i] for i in inputs), axis=1)

    def c2f(self, x: str, nominal: int, repeats: int, shortcut: bool = True) -> str:
        """Two halves of one convolution, a chain of bottlenecks on the second, all of them joined."""
        out = self.channels(nominal)
        half = out // 2
        y = self.conv(x, out)
        parts = [self.half(y, 0, half), self.half(y, half, out)]
        for _ in range(max(round(repeats * self.depth), 1)):
            z = self.conv(self.conv(parts[-1], half, 3), half, 3)
            parts.append(self.net.op("Add", parts[-1], z) if shortcut else z)
        return self.conv(self.concat(*parts), out)

    def half(self, x: str, start: int, stop: int) -> str:
        bounds = [self.net.constant(np.array([k], np.int64)) for k in (start, stop, 1)]
        return self.net.op("Slice", x, *bounds, channels=stop - start)

    def sppf(self, x: str, nominal: int) -> str:
        out = self.channels(nominal)
        pools = [self.conv(x, self.net.channels[x] // 2)]
        for _ in range(3):
            pools.append(self.net.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
        return self.conv(self.concat(*pools), out)

    def upsample(self, x: str) -> str:
        scales = self.net.constant(np.array([1, 1, 2, 2], np.float32))
        return self.net.op(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def heads(self, levels: list[str]) -> list[str]:
        """Per level the box distributions (64) and the classes."""
        first = self.net.channels[levels[0]]
        boxes, classes = max(16, first // 4, 64), max(first, min(_CLASSES, 100))
        found = []
        for level in levels:
            for hidden, out in ((boxes, 64), (classes, _CLASSES)):
                y = self.conv(self.conv(level, hidden, 3), hidden, 3)
                found.append(self.net.conv(y, out, act=None))
        return found

    def model(self) -> onnx.ModelProto:
        def down(x: str, nominal: int) -> str:
            return self.conv(x, self.channels(nominal), 3, 2)

        x = down(down("image", 64), 128)
        p3 = self.c2f(down(self.c2f(x, 128, 3), 256), 256, 6)
        p4 = self.c2f(down(p3, 512), 512, 6)
        p5 = self.sppf(self.c2f(down(p4, 1024), 1024, 3), 1024)
        n4 = self.c2f(self.concat(self.upsample(p5), p4), 512, 3, shortcut=False)
        out3 = self.c2f(self.concat(self.upsample(n4), p3), 256, 3, shortcut=False)
        out4 = self.c2f(self.concat(down(out3, 256), n4), 512, 3, shortcut=False)
        out5 = self.c2f(self.concat(down(out4, 512), p5), 1024, 3, shortcut=False)
        return self.net.finish(*self.heads([out3, out4, out5]))
