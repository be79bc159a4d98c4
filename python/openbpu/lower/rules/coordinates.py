"""Source coordinates of a resized axis, and the tables that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

_HALF = Fraction(1, 2)
_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda x: ceil(x - _HALF),
    "round_prefer_ceil": lambda x: floor(x + _HALF),
}
COORDINATES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")


@dataclass(frozen=True)
class Axis:
    """One resized axis: `scale` is the model's own, None if it gives sizes."""

    before: int
    after: int
    scale: float | None
    mode: str

    def source(self, index: int) -> Fraction:
        """Exact source coordinate of an output index (docs/numerics.md, clause RESIZE)."""
        before, after, i = self.before, self.after, Fraction(index)
        exact = self.scale is None or np.float32(self.scale) == np.float32(after / before)
        ratio = Fraction(after, before) if exact else Fraction(self.scale or 0.0)
        if self.mode == "asymmetric":
            return i / ratio
        if self.mode == "align_corners":
            return i * (before - 1) / (after - 1) if after > 1 else Fraction(0)
        if self.mode == "pytorch_half_pixel" and after == 1:
            return Fraction(0)
        centre = (i + _HALF) / ratio - _HALF
        if self.mode == "half_pixel_symmetric":
            return Fraction(before, 2) * (1 - Fraction(after) / (ratio * before)) + centre
        return centre

    def nearest(self, rounding: str) -> np.ndarray:
        """int32 source index per output index."""
        found = [_ROUNDINGS[rounding](self.source(i)) for i in range(self.after)]
        return np.clip(found, 0, self.before - 1).astype(np.int32)

    def linear(self, whole: int = 2048) -> tuple[np.ndarray, np.ndarray]:
        """Indices int32 and weights [after, 2]; the two weights sum to `whole`: 2048, or 2^20 for int16."""
        index = np.zeros((self.after, 2), np.int32)
        weight = np.zeros((self.after, 2), np.int16 if whole == 2048 else np.uint32)
        for i in range(self.after):
            x = min(max(self.source(i), Fraction(0)), Fraction(self.before - 1))
            first = floor(x)
            second = floor((x - first) * whole + _HALF)
            index[i] = first, min(first + 1, self.before - 1)
            weight[i] = whole - second, second
        return index, weight

    @property
    def changes(self) -> bool:
        """Whether the axis is resized at all."""
        return self.after != self.before or (self.scale is not None and self.scale != 1.0)

    def cubic(self, coefficient: float, exclude: bool) -> tuple[np.ndarray, np.ndarray]:
        """Indices int64 and weights float64 [after, 4] of the neighbours; 0 for those outside if `exclude`."""
        places = [self.source(i) for i in range(self.after)]
        first = np.array([floor(x) for x in places]) - 1
        index = first[:, None] + np.arange(4)
        weight = _keys(np.array([[float(x - floor(x))] for x in places]), coefficient)
        if exclude:
            weight = np.where((index >= 0) & (index < self.before), weight, 0.0)
            weight /= weight.sum(axis=1, keepdims=True)
        return np.clip(index, 0, self.before - 1), weight


def _keys(t: np.ndarray, a: float) -> np.ndarray:
    """Weights of four neighbours at 0 <= t < 1 behind the second. Keys, Cubic convolution interpolation (1981)."""
    near, far = (1 + t, t), (1 - t, 2 - t)

    def outer(d: np.ndarray) -> np.ndarray:
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a

    def inner(d: np.ndarray) -> np.ndarray:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1

    return np.concatenate([outer(near[0]), inner(near[1]), inner(far[0]), outer(far[1])], axis=1)
