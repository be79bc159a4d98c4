"""Run time: the borders between float32 and int8 (clause PORTS), one number at a time."""

from __future__ import annotations

import numpy as np

from oracle.integers import round_half_even


def quantise(x: np.ndarray, scale: float, zero: int, lo: int = -128, hi: int = 127) -> np.ndarray:
    """QUANTIZE: float32 division, round half to even, saturation; NaN gives `zero`. Integers in [lo, hi]."""
    out = np.empty(x.shape, np.int64)
    divisor = np.float32(scale)
    for at in np.ndindex(x.shape):
        with np.errstate(over="ignore", invalid="ignore"):
            q = float(np.float32(x[at]) / divisor)
        if q != q:
            out[at] = zero
        elif abs(q) > 1 << 20:
            out[at] = hi if q > 0 else lo
        else:
            out[at] = min(max(round_half_even(q) + zero, lo), hi)
    return out


def quantise8(x: np.ndarray, scale: float, zero: int) -> np.ndarray:
    return quantise(x, scale, zero).astype(np.int8)


def quantise16(x: np.ndarray, scale: float) -> np.ndarray:
    return quantise(x, scale, 0, -32768, 32767).astype(np.int16)


def dequantise(q: np.ndarray, scale: float, zero: int = 0) -> np.ndarray:
    """DEQUANTIZE: (q - zero) exactly, then one float32 multiplication."""
    return (q.astype(np.int64) - zero).astype(np.float32) * np.float32(scale)
