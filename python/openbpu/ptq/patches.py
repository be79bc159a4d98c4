"""What the outputs of a weighted operator are made of: rows of its input, and its weights as matrices over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from openbpu.ptq.view import attribute, channel_axis

_MOST_POSITIONS, _FEWEST_POSITIONS = 768, 16  # outputs of a sample that are looked at
_ROWS = 128  # of all samples, for each input of an output of a group: every group has a covariance of its own


@dataclass(frozen=True)
class Layout:
    """A Conv, Gemm or MatMul with constant weights as products of rows [positions, groups, k] with [groups, m, k]."""

    node: onnx.NodeProto
    shape: tuple[int, ...]  # of the weights
    groups: int
    k: int  # inputs of an output

    def matrices(self, weight: np.ndarray) -> np.ndarray:
        """[groups, m, k] of weights."""
        rows = weight if self._by_rows else weight.T
        return np.asarray(rows.reshape(self.groups, -1, self.k))

    def weights(self, matrices: np.ndarray) -> np.ndarray:
        """What `matrices` was made of."""
        if self._by_rows:
            return np.asarray(matrices.reshape(self.shape))
        return np.asarray(matrices.reshape(self.shape[::-1]).T)

    def positions(self, samples: int) -> int:
        """How many outputs of each of so many samples are enough."""
        if self.groups == 1:
            return _MOST_POSITIONS
        return int(np.clip(-(-_ROWS * self.k // max(samples, 1)), _FEWEST_POSITIONS, _MOST_POSITIONS))

    def rows(self, inputs: Iterable[np.ndarray], positions: int) -> Iterator[np.ndarray]:
        """By sample [positions, groups, k] of its input: of a feature map some positions, drawn with a fixed seed."""
        random = np.random.default_rng(0)
        for x in inputs:
            if len(self.shape) == 2:
                yield x.reshape(-1, 1, x.shape[-1])[:positions]
            else:
                yield self._patches(x, random, positions).reshape(-1, self.groups, self.k)

    @property
    def _by_rows(self) -> bool:
        return len(self.shape) == 4 or channel_axis(self.node) == 0

    def _patches(self, x: np.ndarray, random: np.random.Generator, positions: int) -> np.ndarray:
        """Input patches [positions, channels, kh, kw] of some outputs of a convolution on x [n, c, h, w]."""
        given = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        kernel, stride, dilation = self.shape[2:], given.get("strides", (1, 1)), given.get("dilations", (1, 1))
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any((top, left, bottom, right)) else x
        n, _, h, w = padded.shape
        out = [(e - d * (k - 1) - 1) // s + 1 for e, k, s, d in zip((h, w), kernel, stride, dilation, strict=True)]
        count = n * out[0] * out[1]
        chosen = np.arange(count) if count <= positions else np.sort(random.choice(count, positions, replace=False))
        if padded is x and n == 1 and count == h * w and kernel == (1, 1):  # a point each
            return np.asarray(x.reshape(x.shape[1], count).T[chosen, :, None, None])
        image, position = np.divmod(chosen, out[0] * out[1])
        oy, ox = np.divmod(position, out[1])
        rows = (oy * stride[0])[:, None, None] + (np.arange(kernel[0]) * dilation[0])[None, :, None]
        columns = (ox * stride[1])[:, None, None] + (np.arange(kernel[1]) * dilation[1])[None, None, :]
        return np.asarray(padded[image[:, None, None], :, rows, columns].transpose(0, 3, 1, 2))


def layout(node: onnx.NodeProto, weight: np.ndarray) -> Layout | None:
    """How a weighted operator is a product; None if it is none of a Conv of images, a Gemm and a MatMul."""
    shape = weight.shape
    if node.op_type == "Conv" and weight.ndim == 4:
        if any(a.name == "auto_pad" and a.s != b"NOTSET" for a in node.attribute):
            return None
        return Layout(node, shape, attribute(node, "group", 1), int(np.prod(shape[1:])))
    if node.op_type in ("Gemm", "MatMul") and weight.ndim == 2 and not attribute(node, "transA", 0):
        return Layout(node, shape, 1, shape[1 - channel_axis(node)])
    return None
