"""Ends of detectors as exporters write them, on a small backbone of random weights: boxes in pixels, scores up to 1."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx

from openbpu import frontend

SHAPE = (1, 3, 64, 64)
CLASSES = 5
_STRIDES = (8, 16)


class _Head(nets.Net):
    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def levels(self, channels: int) -> list[str]:
        """A map of `channels` for each stride; scores are low but for few places, as those of trained detectors."""
        x = self.silu(self.conv("x", 3, 8, stride=2))
        x = self.silu(self.conv(x, 8, 16, stride=2))
        first = self.silu(self.conv(x, 16, 16, stride=2))
        second = self.silu(self.conv(first, 16, 16, stride=2))
        return [self.conv(level, 16, channels, 1) for level in (first, second)]

    def part(self, x: str, first: int, last: int, axis: int) -> str:
        return self.op("Slice", x, self.numbers(first), self.numbers(last), self.numbers(axis))

    def scores(self, x: str) -> str:
        return self.op("Sigmoid", self.op("Sub", x, self.constant(3.0)))

    def finish(self, *outputs: str) -> onnx.ModelProto:
        return frontend.prepare(self.model(*outputs, shape=SHAPE))


def _grid(side: int) -> np.ndarray:
    """x and y of each place, [2, side, side]."""
    return np.stack(np.meshgrid(np.arange(side), np.arange(side))).astype(np.float64)


def anchored() -> onnx.ModelProto:
    """YOLOv5's: one sigmoid, boxes from slices of it, concat by level, concat of the levels."""
    net = _Head(11)
    levels = []
    for x, stride in zip(net.levels(5 + CLASSES), _STRIDES, strict=True):
        side = SHAPE[2] // stride
        x = net.op("Transpose", net.op("Reshape", x, net.numbers(1, 5 + CLASSES, -1)), perm=[0, 2, 1])
        x = net.op("Sigmoid", x)
        grid = net.constant(_grid(side).reshape(1, 2, -1).transpose(0, 2, 1) - 0.5)
        two = net.constant(2.0)
        centre = net.op("Add", net.op("Mul", net.part(x, 0, 2, 2), two), grid)
        centre = net.op("Mul", centre, net.constant(float(stride)))
        extent = net.op("Pow", net.op("Mul", net.part(x, 2, 4, 2), two), two)
        extent = net.op("Mul", extent, net.constant(np.array([3.0, 5.0]) * stride))
        levels.append(net.op("Concat", centre, extent, net.part(x, 4, 5 + CLASSES, 2), axis=2))
    return net.finish(net.op("Concat", *levels, axis=1, out="y"))


def distances(pixels: float = 1.0) -> onnx.ModelProto:
    """YOLOv8's: distributions of distances, corners from them, one concat with the scores; larger by `pixels`."""
    net = _Head(12)
    flat = [net.op("Reshape", x, net.numbers(1, 16 + CLASSES, -1)) for x in net.levels(16 + CLASSES)]
    x = net.op("Concat", *flat, axis=2)
    places = sum((SHAPE[2] // s) ** 2 for s in _STRIDES)
    box = net.op("Reshape", net.part(x, 0, 16, 1), net.numbers(1, 4, 4, places))
    box = net.op("Softmax", net.op("Transpose", box, perm=[0, 2, 1, 3]), axis=1)
    box = net.op("Conv", box, net.constant(np.arange(4.0).reshape(1, 4, 1, 1)))
    box = net.op("Reshape", box, net.numbers(1, 4, places))
    points = net.constant(np.concatenate([_grid(SHAPE[2] // s).reshape(1, 2, -1) + 0.5 for s in _STRIDES], 2))
    strides = np.concatenate([np.full((1, 1, (SHAPE[2] // s) ** 2), float(s)) for s in _STRIDES], 2)
    near, far = net.op("Sub", points, net.part(box, 0, 2, 1)), net.op("Add", points, net.part(box, 2, 4, 1))
    centre = net.op("Div", net.op("Add", near, far), net.constant(2.0))
    boxes = net.op("Mul", net.op("Concat", centre, net.op("Sub", far, near), axis=1), net.constant(pixels * strides))
    return net.finish(net.op("Concat", boxes, net.scores(net.part(x, 16, 16 + CLASSES, 1)), axis=1, out="y"))


def decoded_behind() -> onnx.ModelProto:
    """YOLOX's: boxes and scores in one tensor first, decoded from slices of it, one concat again."""
    net = _Head(13)
    flat = []
    for x in net.levels(5 + CLASSES):
        boxes = net.op("Mul", net.part(x, 0, 4, 1), net.constant(0.3))
        whole = net.op("Concat", boxes, net.scores(net.part(x, 4, 5 + CLASSES, 1)), axis=1)
        flat.append(net.op("Reshape", whole, net.numbers(1, 5 + CLASSES, -1)))
    x = net.op("Transpose", net.op("Concat", *flat, axis=2), perm=[0, 2, 1])
    grid = np.concatenate([_grid(SHAPE[2] // s).reshape(1, 2, -1) for s in _STRIDES], 2).transpose(0, 2, 1)
    strides = np.concatenate([np.full((1, (SHAPE[2] // s) ** 2, 1), float(s)) for s in _STRIDES], 1)
    centre = net.op("Mul", net.op("Add", net.part(x, 0, 2, 2), net.constant(grid)), net.constant(strides))
    extent = net.op("Mul", net.op("Exp", net.part(x, 2, 4, 2)), net.constant(strides))
    return net.finish(net.op("Concat", centre, extent, net.part(x, 4, 5 + CLASSES, 2), axis=2, out="y"))


def even() -> onnx.ModelProto:
    """A concat at the end whose parts are alike."""
    net = _Head(14)
    first, second = (net.op("Reshape", x, net.numbers(1, 3, -1)) for x in net.levels(3))
    return net.finish(net.op("Concat", net.op("Sigmoid", first), net.op("Sigmoid", second), axis=2, out="y"))


HEADS = {"anchored": anchored, "distances": distances, "decoded behind": decoded_behind}


def split(name: str, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of an output of one of HEADS."""
    axis = 1 if name == "distances" else 2
    boxes, scores = np.split(output, [4], axis)
    return boxes, scores
