"""Geometry that convolutions and pools share: kernel, stride, dilation and pads in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape
from openbpu.lower.node import Node

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A sliding window over rows and columns; pads are (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[int, int, int, int]

    @property
    def attributes(self) -> dict[str, Any]:
        """Those of a pool."""
        return {"kernel": self.kernel, "stride": self.stride, "dilation": self.dilation, "pads": self.pads}

    def extent(self, axis: int, length: int) -> int:
        """Number of whole windows along rows (0) or columns (1)."""
        return self._room(axis, length) // self.stride[axis] + 1

    def extent_ceil(self, axis: int, length: int) -> int:
        """As `extent`, with a last window that reaches beyond the padded input but starts inside it."""
        count = -(-self._room(axis, length) // self.stride[axis]) + 1
        beyond = (count - 1) * self.stride[axis] >= length + self.pads[axis]
        return count - 1 if beyond else count

    def always_inside(self, axis: int, length: int, count: int) -> bool:
        """True if each of `count` windows has a tap inside the input."""
        starts = range(-self.pads[axis], count * self.stride[axis] - self.pads[axis], self.stride[axis])
        offsets = [tap * self.dilation[axis] for tap in range(self.kernel[axis])]
        return all(any(0 <= start + offset < length for offset in offsets) for start in starts)

    def _room(self, axis: int, length: int) -> int:
        covered = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return length + self.pads[axis] + self.pads[axis + 2] - covered


def lengths(shape: Shape, node: Node) -> Pair:
    """Rows and columns of an image tensor; one row for a rank 3 tensor [n, c, w]."""
    if len(shape) not in (3, 4):
        raise node.refuse("its input must have one or two spatial dimensions", seen=f"shape {shape}")
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def spatial(value: Value, node: Node) -> Value:
    """The tensor as rank 4: [n, c, w] becomes [n, c, 1, w]."""
    if len(value.onnx_shape) == 4:
        return value
    n, c, w = value.onnx_shape
    return node.graph.reshape(value, (n, c, 1, w), (node.name,))


def window(node: Node, kernel: tuple[int, ...], size: Pair) -> Window:
    """The window of a Conv or pool node with this kernel over `size` rows and columns."""
    rank = len(kernel)
    stride = _pair(node.attribute("strides", [1] * rank), 1)
    dilation = _pair(node.attribute("dilations", [1] * rank), 1)
    taps = _pair(kernel, 1)
    if min(*taps, *stride, *dilation) < 1:
        raise node.refuse("kernel, strides and dilations must be positive", seen=f"{taps}, {stride}, {dilation}")
    pads = four_pads(node.attribute("pads", [0] * (2 * rank)))
    auto = auto_pad(node)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        same = [same_pads(size[a], taps[a], stride[a], dilation[a], auto) for a in (0, 1)]
        pads = (same[0][0], same[1][0], same[0][1], same[1][1])
    elif auto == "VALID":
        pads = (0, 0, 0, 0)
    if min(pads) < 0:
        raise node.refuse("pads must not be negative", seen=pads, remedy="use a Slice in front of this node")
    return Window(taps, stride, dilation, pads)


def auto_pad(node: Node) -> str:
    return str(node.attribute("auto_pad", "NOTSET"))


def four_pads(pads: list[int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) from ONNX pads of one or two spatial dimensions."""
    if len(pads) == 2:
        return 0, pads[0], 0, pads[1]
    top, left, bottom, right = pads
    return top, left, bottom, right


def spatial_shape(shape: Shape, rank: int) -> Shape:
    """ONNX shape of a result: [n, c, 1, w] back to [n, c, w] for rank 3."""
    return shape if rank == 4 else (shape[0], shape[1], shape[3])


def _pair(values: list[int] | tuple[int, ...], single: int) -> Pair:
    return (single, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def same_pads(length: int, kernel: int, stride: int, dilation: int, auto: str) -> Pair:
    total = max((-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)
