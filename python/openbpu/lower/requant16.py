"""From real scales to the integers of the 16-bit forms: chapter int16 of docs/numerics.md, clause by clause.

int16 tensors have zero point 0. A combination that the law cannot express raises `requant.Infeasible`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openbpu.lower.requant import Infeasible, Norm, check_epsilon, round_half_up, scalar_mantissa

LOWEST = -32768
_MOST = 1 << 15  # magnitude of an int16
_SUM_BITS = 29  # ma + mb of a sum stays below 2^29
_WIDEST_SHIFT, _NARROWEST_SHIFT = 45, 15  # of a sum
_MOST_FRACTION, _NORM_SHIFT = 24, 46  # bits of a normalised value; shift of the result
_NEAR_ENOUGH = 0.95  # steps between a table and its function: with the rounding of the result, less than 1.5

Table = dict[str, np.ndarray]  # bias int64, m int32, sh uint8: an RQ16 table


@dataclass(frozen=True)
class Linear:
    """An RQ16 table per output channel and the weights that belong to it: those of constant channels are zero."""

    weight: np.ndarray
    table: Table


def entry(ratio: float, b0: int, zp: int, reach: int) -> tuple[int, int, int]:
    """(bias, m, sh) for values of at most `reach`, with b0 added before the multiplication."""
    for bits in range(31, 0, -1):
        m, e = scalar_mantissa(ratio, bits)
        sh = bits - e
        if not 1 <= sh <= 62:
            continue
        bias = (zp << sh) + b0 * m + (1 << (sh - 1))
        if reach * m + abs(bias) < 1 << 63 and abs(bias) < 1 << 62:
            return bias, m, sh
    raise Infeasible(f"the ratio of scales is {ratio:.6g}, out of range of a 16-bit form")


def table(entries: Sequence[tuple[int, int, int]]) -> Table:
    """Entries (bias, m, sh) as columns."""
    bias, m, sh = zip(*entries, strict=True)
    return {"bias": np.array(bias, np.int64), "m": np.array(m, np.int32), "sh": np.array(sh, np.uint8)}


def linear(sx: float, weight: np.ndarray, sw: np.ndarray, bias: np.ndarray, sy: float, zp: int, limit: int) -> Linear:
    """RQ16 of an operator with constant weights int8 [channels, ...]; bias float64 [channels] in real units.

    `limit` is the magnitude of the lowest result, 32768 or 128.
    """
    weights = weight.reshape(len(weight), -1).astype(np.int64)
    reach = np.abs(weights).sum(axis=1) * _MOST
    constant = reach * (sx * sw / sy) < 0.5
    entries = []
    for c, (scale, real) in enumerate(zip(sw.tolist(), bias.tolist(), strict=True)):
        if constant[c]:
            level = zp + int(round_half_up(np.clip(real / sy, -1e6, 1e6)))
            entries.append(((min(max(level, -limit), limit - 1) << 1) + 1, 1, 1))
        else:
            b0 = int(round_half_up(np.clip(real / (sx * scale), -(2.0**50), 2.0**50)))
            entries.append(entry(sx * scale / sy, b0, zp, int(reach[c])))
    kept = np.where(constant.reshape(-1, *[1] * (weight.ndim - 1)), 0, weight)
    return Linear(kept.astype(np.int8), table(entries))


def add(sa: float, sb: float, sy: float, zp: int) -> Table:
    """Sum or difference of two tensors: two entries with one shift."""
    ra, rb = sa / sy, sb / sy
    for sh in range(_WIDEST_SHIFT, _NARROWEST_SHIFT - 1, -1):
        ma, mb = (max(1, int(np.floor(ratio * 2.0**sh + 0.5))) for ratio in (ra, rb))
        if ma + mb < 1 << _SUM_BITS:
            return table([((zp << sh) + (1 << (sh - 1)), ma, sh), (0, mb, sh)])
    raise Infeasible(f"the scales of the operands are {ra:.6g} and {rb:.6g} times that of the result, above 2^13")


def product(ratio: float, zp: int, terms: int = 1) -> Table:
    """Product of two int16, or a sum of `terms` of them."""
    return table([entry(ratio, 0, zp, terms << 30)])


def mean(sx: float, sy: float, zp: int, taps: int, divisors: Sequence[int]) -> Table:
    """Means over windows of at most `taps`: one entry per divisor."""
    if taps > 1 << 24:
        raise Infeasible(f"a window has at most 2^24 taps, this one {taps}")
    counts = [taps] if len(divisors) == 1 else divisors
    return table([entry(sx / (sy * d), 0, zp, n * _MOST) for d, n in zip(divisors, counts, strict=True)])


def codes() -> np.ndarray:
    """Every int16, and 32768, where tables end."""
    return np.arange(LOWEST, 1 - LOWEST)


def knots(levels: np.ndarray) -> np.ndarray:
    """LUT16: int16 [2^k + 1] from the real results at `codes()` in steps; the smallest table that is near enough."""
    exact = np.clip(np.nan_to_num(levels, nan=0.0, posinf=1e9, neginf=-1e9), LOWEST, -LOWEST - 1)
    return _thinned(np.rint(exact).astype(np.int64), exact, _NEAR_ENOUGH).astype(np.int16)


def softmax(sx: float, sy: float) -> tuple[np.ndarray, int]:
    """EXP16: uint16 [2^k + 1] over the distance from the maximum, and the constant C."""
    C = int(np.floor(2.0**38 / sy + 0.5))
    if not 1 <= C < 1 << 62:
        raise Infeasible(f"the scale of the result is {sy:.6g}, out of range of a softmax")
    exact = 65535 * np.exp(-sx * np.arange(65537, dtype=np.float64))
    return _thinned(round_half_up(exact), exact, _NEAR_ENOUGH).astype(np.uint16), C


def norm(sx: float, centred: bool, epsilon: float, gamma: np.ndarray, beta: np.ndarray, sy: float, zp: int) -> Norm:
    """LAYERNORM, or RMSNORM if not `centred`; gamma and beta float64 [channels]."""
    n, ratio = len(gamma), epsilon / (sx * sx)
    if not n * n * ratio < 2.0**60 - 2.0**7:
        raise Infeasible(f"epsilon is {ratio:.6g} times the squared scale of the operand")
    F = max(bits for bits in range(_MOST_FRACTION + 1) if n << 2 * bits <= 1 << 58)
    for sh in range(_NORM_SHIFT, 0, -1):
        g = np.floor(gamma / sy * 2.0 ** (sh - F) + 0.5)
        real = beta / sy * 2.0**sh
        real = np.where(np.abs(real) < 1 << 52, np.floor(real + 0.5), real)  # a larger float64 is an integer
        if np.abs(g).max() >= 1 << 31 or np.abs(real).max() >= 1 << 62:
            continue
        b = real.astype(np.int64) + ((zp << sh) + (1 << (sh - 1)))
        if np.abs(b).max() < 1 << 61:
            eps = max(1, int(np.floor(n * n * ratio + 0.5)))
            if centred:
                check_epsilon(n * n * ratio, eps, n - 1, float(np.abs(gamma).max()) / sy)
            return Norm(eps, F, g.astype(np.int32), b, sh)
    raise Infeasible(f"gains up to {np.abs(gamma).max():.6g} on a result of scale {sy:.6g}")


def _thinned(full: np.ndarray, exact: np.ndarray, bound: float) -> np.ndarray:
    """Every 2^n-th of 65537 values, n at most 7, so that interpolation stays within `bound` of the exact ones."""
    x = np.arange(65536)
    for shift in range(7, 0, -1):
        thin = full[:: 1 << shift]
        i, f = x >> shift, x & ((1 << shift) - 1)
        between = thin[i] + (((thin[i + 1] - thin[i]) * f + (1 << (shift - 1))) >> shift)
        if np.abs(between - exact[:-1]).max() <= bound:
            return thin
    return full
