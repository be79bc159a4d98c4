"""From real scales to the integers of an instruction: the derivations of docs/numerics.md, clause by clause.

Pure functions in float64. Scales are positive and hold float32 values; `zx` and `zp` are the zero points of input and
output. A combination that the law cannot express raises `Infeasible`, whose text says which bound was broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, sqrt

import numpy as np

_INT32 = 1 << 31
_MAX_L, _MAX_S = 15, 31


class Infeasible(ValueError):
    """The scales have no integer form."""


@dataclass(frozen=True)
class Rq8:
    """An RQ8 table and the weights that belong to it.

    `changed` lists channels whose weights had to change to fit the law, `constant` those whose weights cannot move the
    output and became zero.
    """

    B: np.ndarray  # int32 [channels]
    m: np.ndarray  # int16 [channels]
    s: np.ndarray  # uint8 [channels]
    L: int
    weight: np.ndarray  # int8, first axis = channels
    changed: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()


def round_half_up(value: np.ndarray | float) -> np.ndarray:
    """floor(value + 1/2) as int64."""
    return np.asarray(np.floor(np.asarray(value, np.float64) + 0.5)).astype(np.int64)


def mantissa(ratio: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(m, e) with ratio ~ m * 2^(e - bits) and 2^(bits-1) <= m < 2^bits."""
    fraction, exponent = np.frexp(np.asarray(ratio, np.float64))
    m = round_half_up(np.ldexp(fraction, bits))
    full = m == 1 << bits
    return np.where(full, m >> 1, m), np.where(full, exponent + 1, exponent).astype(np.int64)


def scalar_mantissa(ratio: float, bits: int) -> tuple[int, int]:
    """`mantissa` of one positive finite number."""
    if not (0 < ratio < float("inf")):
        raise Infeasible(f"the ratio of scales must be positive and finite, it is {ratio:.6g}")
    fraction, exponent = frexp(ratio)
    m = int(np.floor(fraction * 2.0**bits + 0.5))
    return (m >> 1, exponent + 1) if m == 1 << bits else (m, exponent)


# ---- RQ8


def rq8(sx: float, zx: int, weight: np.ndarray, sw: np.ndarray, bias: np.ndarray, sy: float, zp: int) -> Rq8:
    """RQ8 of an operator with constant weights.

    weight: int8 [channels, ...]; sw: float64 [channels]; bias: float64 [channels], in real units. A channel without an
    RQ8 form is made coarser by the smallest power of two that gives it one; but if it only fails because another one
    demands a large common shift L, the slope of that one is reduced: it saturates later, to the same side. Raises
    Infeasible if nothing helps.
    """
    channels = len(weight)
    w = weight.reshape(channels, -1).astype(np.int64)
    scale, real_bias = np.array(sw, np.float64), np.array(bias, np.float64)
    constant = np.abs(w).sum(axis=1) * 255 * (sx * scale / sy) < 0.5
    w[constant] = 0
    changed = np.zeros(channels, bool)
    while True:
        m, e = mantissa(sx * scale / sy, 15)
        own = np.maximum(0, e + 7)
        common = int(own[~constant].max(initial=0))
        if common > _MAX_L:
            raise Infeasible(f"channel {int(np.argmax(np.where(constant, 0, own)))} multiplies by 2^8 or more")
        b0 = _on_grid(real_bias, sx * scale) - zx * w.sum(axis=1)
        reach = np.abs(w).sum(axis=1) * 128
        s, B, legal = _entries(np.full(channels, common), m, e, b0, reach, zp)
        if (legal | constant).all():
            break
        coarsened = ~constant & (e + 7 < 0) & ~_entries(own, m, e, b0, reach, zp)[2]
        finer = ~constant & (own == common) & (common > 0)
        if coarsened.any():
            w[coarsened] = np.rint(w[coarsened] / 2.0).astype(np.int64)
            scale[coarsened] *= 2
            changed |= coarsened
        elif finer.any():
            exact = finer & (np.abs(w).max(axis=1) < 64)
            w[exact] *= 2
            real_bias[finer & ~exact] /= 2
            scale[finer] /= 2
            changed |= finer & ~exact
        else:
            raise Infeasible(
                f"the accumulator of channel {int(np.argmin(legal | constant))} cannot be proved to fit int32"
            )
    level = np.clip(zp + round_half_up(real_bias / sy), -128, 127)
    return Rq8(
        np.where(constant, (level << 8) + 128, B).astype(np.int32),
        np.where(constant, 16384, m).astype(np.int16),
        np.where(constant, 0, s).astype(np.uint8),
        common,
        w.astype(np.int8).reshape(weight.shape),
        tuple(np.flatnonzero(changed).tolist()),
        tuple(np.flatnonzero(constant).tolist()),
    )


def _on_grid(bias: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A real bias as integers; what does not fit 32 bits stays too large for them."""
    return round_half_up(np.clip(bias / grid, -(2.0**40), 2.0**40))


def _entries(
    shift: np.ndarray, m: np.ndarray, e: np.ndarray, b0: np.ndarray, reach: np.ndarray, zp: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s, B and which channels obey every bound, for left shifts L = `shift` and accumulators of at most `reach`."""
    s = shift - e - 7
    applied = np.ldexp(m.astype(np.float64), e - 15)
    offset = np.floor((zp + 0.5) / applied * 2.0**shift + 0.5)
    half = np.where(s > 0, np.left_shift(1, np.clip(s, 1, _MAX_S) - 1), 0)
    fits = (s <= _MAX_S) & (np.abs(offset) < _INT32) & (np.abs(b0) < _INT32)
    B = np.where(
        fits, np.left_shift(np.where(fits, b0, 0), shift) + np.where(fits, offset, 0).astype(np.int64) + half, 0
    )
    return s, B, fits & (np.left_shift(reach, shift) + np.abs(B) < _INT32)


def rq8_dynamic(sa: float, za: int, sb: float, zb: int, sy: float, zp: int, k: int, gain: float = 1.0) -> Rq8:
    """RQ8 of a product of two run-time matrices with inner extent k; `gain` is a real factor on the product."""
    m, e = scalar_mantissa(sa * sb * gain / sy, 15)
    common = max(0, e + 7)
    s = common - e - 7
    if common > _MAX_L or s > _MAX_S:
        raise Infeasible(f"the ratio of scales is {sa * sb * gain / sy:.6g}, out of 2^-39 .. 2^8")
    B = int(np.floor((zp + 0.5) / (m * 2.0 ** (e - 15)) * 2.0**common + 0.5)) + ((1 << s) >> 1)
    reach = k * max(128 + za, 127 - za) * max(128 + zb, 127 - zb)
    if (reach << common) + abs(B) >= _INT32:
        raise Infeasible(f"an inner extent of {k} cannot be proved to fit 32 bits")
    return Rq8(np.array([B], np.int32), np.array([m], np.int16), np.array([s], np.uint8), common, np.zeros(0, np.int8))


# ---- element-wise


@dataclass(frozen=True)
class Add:
    """y = (a * ma + b * mb + C) >> sh."""

    ma: int
    mb: int
    C: int
    sh: int


def add(sa: float, za: int, sb: float, zb: int, sy: float, zp: int, sign_a: int = 1, sign_b: int = 1) -> Add:
    """Sum of two tensors; a sign of -1 subtracts that operand."""
    ra, rb = sa / sy, sb / sy
    for sh in range(22, -1, -1):
        ma, mb = int(np.floor(ra * 2.0**sh + 0.5)), int(np.floor(rb * 2.0**sh + 0.5))
        if max(ma, mb) <= 32767:
            ma, mb = sign_a * ma, sign_b * mb
            return Add(ma, mb, (zp << sh) - za * ma - zb * mb + ((1 << sh) >> 1), sh)
    raise Infeasible(f"the scales of the operands are {ra:.6g} and {rb:.6g} times that of the result, above 32767")


def multiplier(ratio: float) -> tuple[int, int]:
    """(m, sh) of MUL and AVGPOOL: 15 bits of mantissa, 1 <= sh <= 46."""
    m, e = scalar_mantissa(ratio, 15)
    if not 1 <= 15 - e <= 46:
        raise Infeasible(f"the ratio of scales is {ratio:.6g}, out of 2^-31 .. 2^14")
    return m, 15 - e


def ranks(sa: float, za: int, sb: float, zb: int) -> np.ndarray:
    """RANKS of CMP, int16 [512]: the order of the float32 values of both operands."""
    codes = np.arange(-128, 128)
    values = np.concatenate([(codes - z).astype(np.float32) * np.float32(s) for s, z in ((sa, za), (sb, zb))])
    return np.asarray(np.unique(values, return_inverse=True)[1].astype(np.int16))


def ratio(sa: float, sb: float, zb: int, sy: float) -> tuple[np.ndarray, int]:
    """RATIO int64 [256] and shift of DIV; a divisor of zero saturates."""
    whole = sa / sb / sy
    sh = 46
    while sh > 0 and np.floor(whole * 2.0**sh + 0.5) >= _INT32:
        sh -= 1
    if sh == 0:
        raise Infeasible(f"the ratio of scales is {whole:.6g}, out of range of a quotient")
    divisor = np.arange(-128, 128) - zb
    factors = round_half_up(whole / np.where(divisor == 0, 1, divisor) * 2.0**sh)
    return np.where(divisor == 0, 1 << 54, factors), sh


def mean(sx: float, sy: float, taps: int, divisors: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """m int32 and sh uint8 of AVGPOOL, one entry per divisor; Infeasible beyond 2^24 taps."""
    if taps > 1 << 24:
        raise Infeasible(f"a window has at most 2^24 taps, this one {taps}")
    entries = [multiplier(sx / (sy * n)) for n in divisors]
    return np.array([m for m, _ in entries], np.int32), np.array([sh for _, sh in entries], np.uint8)


def rescale(sx: float, zx: int, sy: float, zp: int, most: int = 128) -> tuple[int, int, int]:
    """(bias, m, sh) of RESCALE for values of at most `most`: the widest multiplier whose sums stay in 64 bits."""
    for bits in range(31, 0, -1):
        m, e = scalar_mantissa(sx / sy, bits)
        sh = bits - e
        if not 1 <= sh <= 62:
            continue
        bias = (zp << sh) - zx * m + (1 << (sh - 1))
        if most * m + abs(bias) < 1 << 63 and abs(bias) < 1 << 62:
            return bias, m, sh
    raise Infeasible(f"the ratio of scales is {sx / sy:.6g}, out of range of a rescale")


def table(codes: np.ndarray, scale: float, zero: int, dtype: str = "int8") -> np.ndarray:
    """Real results to integers, round half to even; NaN counts as 0."""
    with np.errstate(over="ignore"):  # masks of -3.4e38 end at the lowest level
        levels = np.rint(np.nan_to_num(codes, nan=0.0, posinf=np.inf, neginf=-np.inf) / scale) + zero
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(levels, limits.min, limits.max).astype(dtype))


def softmax(sx: float, sy: float) -> tuple[np.ndarray, int]:
    """exp table uint16 [256] and the constant C."""
    C = int(np.floor(2.0**38 / sy + 0.5))
    if not 1 <= C < 1 << 62:
        raise Infeasible(f"the scale of the result is {sy:.6g}, out of range of a softmax")
    return round_half_up(65535 * np.exp(-sx * np.arange(256, dtype=np.float64))).astype(np.uint16), C


@dataclass(frozen=True)
class Norm:
    """z = (A * x + B) >> t with F fraction bits, A, B and t from the row; y = (z * g + b) >> sh."""

    eps: int
    F: int
    g: np.ndarray  # int16 [channels]; of a 16-bit form int32
    b: np.ndarray  # int32 [channels]; int64
    sh: int


_FEW = 8  # elements of a row that happen to be almost equal


def check_epsilon(exact: float, rounded: int, least: int, gain: float) -> None:
    """Raises Infeasible if the rounding of epsilon costs more than a step.

    Of the rows that are not constant, that with the smallest sum of squares feels the rounding of epsilon most.

    Rows of many elements are constant or far from it.
    """
    if least >= _FEW:
        return
    error = gain * least / 2 * (least + exact) ** -1.5 * abs(rounded - exact)
    if error > 1:
        raise Infeasible(f"in rows of almost equal elements, epsilon as an integer costs {error:.2g} steps")


def norm(sx: float, zx: int | None, epsilon: float, gamma: np.ndarray, beta: np.ndarray, sy: float, zp: int) -> Norm:
    """LAYERNORM, or with the zero point `zx` of the input RMSNORM; gamma and beta float64 [channels]."""
    n, ratio = len(gamma), epsilon / (sx * sx)
    if not n * n * ratio < 2.0**60 - 2.0**7:
        raise Infeasible(f"epsilon is {ratio:.6g} times the squared scale of the operand")
    # The farthest that one element can be from the centre, and its square over the sum of all squares at least.
    reach, share = (255 * (n - 1) / n, n - 1) if zx is None else (float(max(128 + zx, 127 - zx)), n)
    largest = reach / sqrt(reach * reach / share + ratio) if reach else 0.0
    F = max((bits for bits in range(15) if largest * 2.0**bits <= 32767), default=0)
    for sh in range(30, 0, -1):
        g = np.floor(gamma / sy * 2.0 ** (sh - F) + 0.5)
        b = np.floor(beta / sy * 2.0**sh + 0.5) + ((zp << sh) + (1 << (sh - 1)))
        if np.abs(g).max() <= 32767 and np.abs(b).max() < 1 << 30:
            eps = max(1, int(np.floor(n * n * ratio + 0.5)))
            if zx is None:
                check_epsilon(n * n * ratio, eps, share, float(np.abs(gamma).max()) / sy)
            return Norm(eps, F, g.astype(np.int16), b.astype(np.int32), sh)
    raise Infeasible(f"gains up to {np.abs(gamma).max():.6g} on a result of scale {sy:.6g}")
