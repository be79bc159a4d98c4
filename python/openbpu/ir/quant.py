"""Quantisation parameters of a tensor: real = scale * (q - zero_point)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_LIMITS = {dtype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for dtype in ("int8", "int16", "int32")}


@dataclass(frozen=True)
class QuantParams:
    """Scale and zero point, per tensor (axis None, one value each) or per channel along `axis`.

    Scales are positive float64 holding float32 values exactly; zero points lie in [qmin, qmax]; dtype is 'int8',
    'int16' or 'int32'. Immutable and hashable, so that equal parameters compare equal.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str = "int8"
    axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.zero_point) or not self.scale:
            raise ValueError(f"{len(self.scale)} scales but {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise ValueError(f"{len(self.scale)} scales without an axis")
        if not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise ValueError(f"scales must be positive and finite, got {self.scale}")
        if not all(self.qmin <= z <= self.qmax for z in self.zero_point):
            raise ValueError(f"zero points must lie in [{self.qmin}, {self.qmax}], got {self.zero_point}")

    @staticmethod
    def per_tensor(scale: float, zero_point: int = 0, dtype: str = "int8") -> QuantParams:
        return QuantParams((float(np.float32(scale)),), (int(zero_point),), dtype)

    @property
    def qmin(self) -> int:
        return _LIMITS[self.dtype][0]

    @property
    def qmax(self) -> int:
        return _LIMITS[self.dtype][1]

    @property
    def s(self) -> float:
        """The scale of a per-tensor parameter."""
        if self.axis is not None:
            raise ValueError("per-channel parameters have no single scale")
        return self.scale[0]

    @property
    def z(self) -> int:
        """The zero point of a per-tensor parameter."""
        if self.axis is not None:
            raise ValueError("per-channel parameters have no single zero point")
        return self.zero_point[0]
