"""Compile time: resize tables from ONNX coordinate modes (clause RESIZE)."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np

from oracle.integers import round_half_up


def source(i: int, length_in: int, length_out: int, scale: float | None, mode: str) -> Fraction:
    """Source coordinate of output index i; `scale` is the model's scale of the axis, None when it gives sizes."""
    whole = scale is None or np.float32(scale) == np.float32(length_out / length_in)
    ratio = Fraction(length_out, length_in) if whole else Fraction(scale)
    half = Fraction(1, 2)
    if mode == "asymmetric":
        x = i / ratio
    elif mode == "align_corners":
        x = Fraction(i * (length_in - 1), length_out - 1) if length_out > 1 else Fraction(0)
    elif mode == "half_pixel" or (mode == "pytorch_half_pixel" and length_out > 1):
        x = (i + half) / ratio - half
    elif mode == "pytorch_half_pixel":
        x = Fraction(0)
    elif mode == "half_pixel_symmetric":
        adjust = length_out / (ratio * length_in)
        x = Fraction(length_in, 2) * (1 - adjust) + (i + half) / ratio - half
    else:
        raise ValueError(f"unknown coordinate mode {mode}")
    return Fraction(x)


def nearest(length_in: int, length_out: int, scale: float | None, mode: str, rounding: str) -> list[int]:
    """Source index per output index."""
    half = Fraction(1, 2)
    rule = {
        "floor": floor,
        "ceil": ceil,
        "round_prefer_floor": lambda x: ceil(x - half),
        "round_prefer_ceil": lambda x: floor(x + half),
    }[rounding]
    found = (rule(source(i, length_in, length_out, scale, mode)) for i in range(length_out))
    return [min(max(index, 0), length_in - 1) for index in found]


def bilinear(
    length_in: int, length_out: int, scale: float | None, mode: str, whole: int = 2048
) -> list[tuple[int, int, int, int]]:
    """(i0, i1, w0, w1) per output index; w0 + w1 = 2048, or 2^20 for int16."""
    out = []
    for i in range(length_out):
        x = min(max(source(i, length_in, length_out, scale, mode), Fraction(0)), Fraction(length_in - 1))
        i0 = floor(x)
        w1 = round_half_up((x - i0) * whole)
        out.append((i0, min(i0 + 1, length_in - 1), whole - w1, w1))
    return out
