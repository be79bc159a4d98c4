"""The 16-bit forms: derivation and execution, chapter int16 of docs/numerics.md.

Inputs are int16 with zero point 0, results int16 or int8. All of them end in RQ16, here in Python integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, isqrt
from typing import Any

import numpy as np

from oracle import mac, vec
from oracle.derive import Infeasible, mantissa
from oracle.integers import Ints, clamp, fits, round_half_even, round_half_up
from oracle.mac import Pads, Pair

RANGE = {"int8": (-128, 127), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class Scaling:
    """An RQ16 table, one entry or one per channel, and the type and limits of the result."""

    bias: np.ndarray
    m: np.ndarray
    sh: np.ndarray
    dtype: str = "int16"
    lo: int = -32768
    hi: int = 32767

    def finish(self, v: Ints) -> np.ndarray:
        """y = clamp((v * m + bias) >> sh)."""
        total = v.astype(object) * self.m.astype(object) + self.bias.astype(object)
        fits(total, 64, "v * m + bias")
        low, high = RANGE[self.dtype]
        return clamp(total >> self.sh.astype(object), max(low, self.lo), min(high, self.hi)).astype(self.dtype)


# ---- derivation


def entry(M: float, b0: int, zp: int, most: int) -> tuple[int, int, int]:
    """(bias, m, sh) for values of at most `most`: the widest multiplier for which everything fits."""
    for b in range(31, 0, -1):
        m, e = mantissa(M, b)
        sh = b - e
        if 1 <= sh <= 62:
            bias = (zp << sh) + b0 * m + (1 << (sh - 1))
            if most * m + abs(bias) < 1 << 63 and abs(bias) < 1 << 62:
                return bias, m, sh
    raise Infeasible(f"scale ratio {M} has no 16-bit form")


def scaling(entries: Sequence[tuple[int, int, int]], dtype: str = "int16") -> Scaling:
    bias, m, sh = (np.array(column, np.int64) for column in zip(*entries, strict=True))
    return Scaling(bias, m, sh, dtype)


def linear(
    sx: float, sw: Sequence[float], sy: float, zp: int, weight: np.ndarray, bias: Sequence[float], dtype: str = "int16"
) -> tuple[Scaling, np.ndarray]:
    """Entries per output channel for weights [channels, ...] and a real bias, and the weights that are kept."""
    entries, kept = [], weight.copy()
    for c, row in enumerate(weight):
        M, most = float(sx) * float(sw[c]) / float(sy), sum(abs(int(v)) for v in row.ravel()) << 15
        if most * M < 0.5:
            low, high = RANGE[dtype]
            level = min(max(zp + round_half_up(float(bias[c]) / float(sy)), low), high)
            entries.append((2 * level + 1, 1, 1))
            kept[c] = 0
        else:
            entries.append(entry(M, round_half_up(float(bias[c]) / (float(sx) * float(sw[c]))), zp, most))
    return scaling(entries, dtype), kept


def sum_of_two(sa: float, sb: float, sy: float, zp: int, dtype: str = "int16") -> Scaling:
    """Two entries: multiplier of a and bias, multiplier of b."""
    ra, rb = Fraction(float(sa) / float(sy)), Fraction(float(sb) / float(sy))
    for sh in range(45, 14, -1):
        ma, mb = max(1, round_half_up(ra * 2**sh)), max(1, round_half_up(rb * 2**sh))
        if ma + mb < 1 << 29:
            return scaling([((zp << sh) + (1 << (sh - 1)), ma, sh), (0, mb, sh)], dtype)
    raise Infeasible("a ratio of scales of 2^13 or more")


def knots(function: Sequence[float] | np.ndarray, k: int) -> np.ndarray:
    """LUT16 from 65537 real results in steps."""
    picked = [function[i] for i in range(0, 65537, 1 << (16 - k))]
    return np.array([max(-32768, min(32767, round_half_even(v))) for v in picked], np.int16)


def exponentials(sx: float, k: int) -> np.ndarray:
    """EXP16."""
    return np.array([round_half_up(65535 * exp(-float(sx) * d)) for d in range(0, 65537, 1 << (16 - k))], np.uint16)


@dataclass(frozen=True)
class Norm:
    """LAYERNORM, or RMSNORM if not `centred`; g and b have one entry per channel."""

    eps: int
    F: int
    g: tuple[int, ...]
    b: tuple[int, ...]
    sh: int
    centred: bool = True
    dtype: str = "int16"
    lo: int = -32768
    hi: int = 32767


def norm_parameters(
    sx: float,
    centred: bool,
    eps: float,
    gamma: Sequence[float],
    beta: Sequence[float],
    sy: float,
    zp: int = 0,
    dtype: str = "int16",
) -> Norm:
    """Integer form of epsilon, gamma and beta."""
    n = len(gamma)
    eps_q = max(1, round_half_up(n * n * (float(eps) / (float(sx) * float(sx)))))
    if eps_q >= 1 << 60:
        raise Infeasible(f"epsilon {eps} for steps of {sx}")
    F = 24
    while n * 4**F > 2**58:
        F -= 1
    gains, offsets = ([Fraction(float(v) / float(sy)) for v in column] for column in (gamma, beta))
    for sh in range(46, 0, -1):
        g = [round_half_up(v * Fraction(2) ** (sh - F)) for v in gains]
        b = [(zp << sh) + round_half_up(v * 2**sh) + (1 << (sh - 1)) for v in offsets]
        if max(map(abs, g)) < 2**31 and max(map(abs, b)) < 2**61:
            low, high = RANGE[dtype]
            return Norm(eps_q, F, tuple(g), tuple(b), sh, centred, dtype, low, high)
    raise Infeasible("gamma or beta over the scale of the result is too large")


# ---- execution


def _requantised(accumulators: Callable[..., Ints]) -> Callable[..., np.ndarray]:
    """A product with constant weights by its sums: (x, weight, Scaling, stride, dilation, pads and groups by name)."""

    def execute(x: np.ndarray, weight: np.ndarray, p: Scaling, **geometry: Any) -> np.ndarray:
        return p.finish(accumulators(x, weight, 0, **geometry))

    return execute


conv2d = _requantised(mac.conv2d_accumulators)
dwconv2d = _requantised(mac.dwconv2d_accumulators)
tconv2d = _requantised(mac.tconv2d_accumulators)


def matmul(x: np.ndarray, weight: np.ndarray, p: Scaling) -> np.ndarray:
    return p.finish(x.astype(np.int64) @ weight.astype(np.int64).T)


def matmuld(a: np.ndarray, b: np.ndarray, p: Scaling, transpose_b: bool = False) -> np.ndarray:
    right = b.astype(np.int64)
    return p.finish(a.astype(np.int64) @ (right.swapaxes(-1, -2) if transpose_b else right))


def add(a: np.ndarray, b: np.ndarray, p: Scaling, sign: int = 1) -> np.ndarray:
    """ADD, or SUB with sign -1: two products and one bias."""
    total = a.astype(np.int64) * int(p.m[0]) + sign * b.astype(np.int64) * int(p.m[1])
    one = Scaling(p.bias[:1], np.ones(1, np.int64), p.sh[:1], p.dtype, p.lo, p.hi)
    return one.finish(total)


def mul(a: np.ndarray, b: np.ndarray, p: Scaling) -> np.ndarray:
    return p.finish(a.astype(np.int64) * b.astype(np.int64))


def rescale(x: np.ndarray, p: Scaling) -> np.ndarray:
    """int8 or int16 to either."""
    return p.finish(x.astype(np.int64))


def softmax(x: np.ndarray, exp: np.ndarray, C: int, zp: int, dtype: str = "int16") -> np.ndarray:
    out = np.empty(x.shape, dtype)
    low, high = RANGE[dtype]
    for at in np.ndindex(x.shape[:-1]):
        row = x[at].astype(np.int64)
        E = vec.interpolated(row.max() - row, exp).tolist()
        S = sum(E)
        R = (C + S // 2) // S
        if max(E) * R + (1 << 37) >= 1 << 63:
            raise OverflowError(f"softmax: {max(E)} * {R} + 2^37 does not fit int64")
        out[at] = [min(max(((e * R + (1 << 37)) >> 38) + zp, low), high) for e in E]
    return out


def norm(x: np.ndarray, p: Norm) -> np.ndarray:
    """Over the last axis, one row at a time in Python integers."""
    out = np.empty(x.shape, p.dtype)
    for at in np.ndindex(x.shape[:-1]):
        row = x[at].tolist()
        n, s1 = len(row), sum(row) if p.centred else 0
        V = fits(n * sum(v * v for v in row) - s1 * s1 + p.eps, 64, "V")
        k = next(k for k in range(32) if V << 2 * k >= 1 << 60)
        P = n * (2**61 // isqrt(V << 2 * k))
        for t in range(min(31, 60 - p.F - k), -1, -1):
            shift = 61 - p.F - k - t
            A = (P + (1 << (shift - 1))) >> shift
            if A < 1 << 30:
                break
        A = min(A, (1 << 30) - 1)
        B = ((1 << t) >> 1) - (2 * A * s1 + n) // (2 * n)
        z = [fits(A * v + B, 64, "A * x + B") >> t for v in row]
        if max(map(abs, z)) >= 1 << 30:
            raise OverflowError(f"norm: a normalised value of {max(map(abs, z))}")
        y = [fits(v * g + b, 64, "z * g + b") >> p.sh for v, g, b in zip(z, p.g, p.b, strict=True)]
        out[at] = [min(max(v, p.lo), p.hi) for v in y]
    return out


def maxpool(x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> np.ndarray:
    best = mac.taps(x, kernel, stride, dilation, pads, -32769).max(axis=(3, 4))
    if best.size and best.min() < -32768:
        raise ValueError("a window has no tap inside the input")
    return best.astype(np.int16)


def avgpool(x: np.ndarray, p: Scaling, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> np.ndarray:
    """One entry, or the entry (taps inside - 1) of several."""
    total = mac.taps(x, kernel, stride, dilation, pads, 0).sum(axis=(3, 4))
    if len(p.m) == 1:
        return p.finish(total)
    inside = mac.taps(np.ones_like(x), kernel, stride, dilation, pads, 0).sum(axis=(3, 4))
    out = np.empty(total.shape, p.dtype)
    for at in np.ndindex(total.shape):
        k = int(inside[at]) - 1
        one = Scaling(p.bias[k : k + 1], p.m[k : k + 1], p.sh[k : k + 1], p.dtype, p.lo, p.hi)
        out[at] = one.finish(total[at].reshape(1))[0]
    return out


def resize_bilinear(
    x: np.ndarray, rows: Sequence[tuple[int, int, int, int]], columns: Sequence[tuple[int, int, int, int]]
) -> np.ndarray:
    wide, out = x.astype(np.int64), np.empty((x.shape[0], len(rows), len(columns), x.shape[3]), np.int16)
    for y, (y0, y1, v0, v1) in enumerate(rows):
        for z, (x0, x1, u0, u1) in enumerate(columns):
            total = v0 * (u0 * wide[:, y0, x0] + u1 * wide[:, y0, x1])
            total = total + v1 * (u0 * wide[:, y1, x0] + u1 * wide[:, y1, x1])
            out[:, y, z] = fits((total + (1 << 39)) >> 40, 16, "mean")
    return out
