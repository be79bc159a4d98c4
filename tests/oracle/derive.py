"""Compile time: from real scales to the integers of an instruction, clause by clause of docs/numerics.md.

Scales are floats that hold float32 values. Products and quotients of reals are float64 in the order written in the
law; everything after that is exact, in rational arithmetic where it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, frexp, sqrt

import numpy as np

from oracle.integers import round_half_even, round_half_up


class Infeasible(ValueError):
    """The scales have no parameters under the law; a compiler must change the model or refuse it."""


def mantissa(M: float, bits: int) -> tuple[int, int]:
    """M as (m, e), M ~ m * 2^(e - bits), 2^(bits-1) <= m < 2^bits; a mantissa that rounds up to 2^bits is halved."""
    if not 0 < M < float("inf"):
        raise Infeasible(f"scale ratio {M} is not positive and finite")
    f, e = frexp(M)
    m = round_half_up(Fraction(f) * 2**bits)
    return (m // 2, e + 1) if m == 1 << bits else (m, e)


@dataclass(frozen=True)
class Rq8:
    """Parameters of one RQ8 operator; B, m, s have one entry per output channel."""

    B: np.ndarray
    m: np.ndarray
    s: np.ndarray
    L: int
    lo: int = -128
    hi: int = 127
    constant: tuple[int, ...] = ()  # channels whose weights the compiler replaces by zeros


def bias32(bias: Sequence[float], sx: float, sw: Sequence[float]) -> list[int]:
    """A real bias on the grid of the accumulator."""
    return [round_half_up(float(b) / (sx * s)) for b, s in zip(bias, sw, strict=True)]


def rq8(
    sx: float,
    sw: Sequence[float],
    sy: float,
    zx: int,
    zp: int,
    weight: np.ndarray,
    bias: Sequence[int],
    lo: int = -128,
    hi: int = 127,
    max_x: int = 128,
) -> Rq8:
    """RQ8 for weights [channels, ...] and an int32 bias on the grid sx * sw."""
    rows = [[int(v) for v in np.ravel(w)] for w in weight]
    total, absolute = [sum(r) for r in rows], [sum(map(abs, r)) for r in rows]
    M = [float(sx) * float(s) / float(sy) for s in sw]
    constant = [a * 255 * r < 0.5 for a, r in zip(absolute, M, strict=True)]
    split = [(16384, -7) if c else mantissa(r, 15) for c, r in zip(constant, M, strict=True)]
    L = max([0] + [e + 7 for (_, e), c in zip(split, constant, strict=True) if not c])
    if L > 15:
        raise Infeasible(f"L = {L}: a scale ratio of 2^8 or more")
    entries = []
    for c, (mc, e) in enumerate(split):
        if constant[c]:
            level = zp + round_half_up(int(bias[c]) * M[c])
            Bc, sc = (min(max(level, -128), 127) << 8) + 128, 0
        else:
            sc = L - e - 7
            if sc > 31:
                raise Infeasible(f"channel {c}: s = {sc}")
            b0 = int(bias[c]) - zx * total[c]
            Me = Fraction(mc) * Fraction(2) ** (e - 15)
            Bc = (b0 << L) + round_half_up((zp + Fraction(1, 2)) / Me * 2**L) + ((1 << sc) >> 1)
            prove(absolute[c] * max_x, Bc, L, f"channel {c}")
        entries.append((Bc, mc, sc))
    B, m, s = np.array(entries, np.int64).T
    return Rq8(B, m, s, L, max(-128, lo), min(127, hi), tuple(np.flatnonzero(constant).tolist()))


def deployed(weight: np.ndarray, rq: Rq8) -> np.ndarray:
    """The weights that the program holds: those of constant channels are zero."""
    out = weight.copy()
    out[list(rq.constant)] = 0
    return out


def rq8_dynamic(sa: float, sb: float, sy: float, zp: int, k: int, za: int, zb: int) -> Rq8:
    """RQ8 of a product of two run-time matrices: one entry, no bias, extremes of (a - za)(b - zb) for weights."""
    m, e = mantissa(float(sa) * float(sb) / float(sy), 15)
    L = max(0, e + 7)
    s = L - e - 7
    if L > 15 or s > 31:
        raise Infeasible(f"L = {L}, s = {s}")
    B = round_half_up((zp + Fraction(1, 2)) / (Fraction(m) * Fraction(2) ** (e - 15)) * 2**L) + ((1 << s) >> 1)
    prove(k * max(128 + za, 127 - za) * max(128 + zb, 127 - zb), B, L, "product")
    return Rq8(np.array([B]), np.array([m]), np.array([s]), L)


def prove(acc: int, B: int, L: int, what: str) -> None:
    """The overflow proof of clause RQ8 for accumulators of at most `acc` in magnitude."""
    if (acc << L) + abs(B) >= 1 << 31:
        raise Infeasible(f"{what}: {acc} * 2^{L} + {abs(B)} reaches 2^31")


@dataclass(frozen=True)
class Rq16:
    """y = clamp((v * m + bias) >> sh, lo, hi), one entry or one per channel."""

    bias: np.ndarray
    m: np.ndarray
    sh: np.ndarray
    lo: int = -128
    hi: int = 127


def rq16_entry(M: float, z_in: int, z_out: int, bias: int, v_max: int) -> tuple[int, int, int]:
    """(bias, m, sh) for values of at most v_max in magnitude: the widest multiplier whose sums stay in int64."""
    for b in range(31, 0, -1):
        m, e = mantissa(M, b)
        sh = b - e
        if not 1 <= sh <= 62:
            continue
        constant = (z_out << sh) + (bias - z_in) * m + (1 << (sh - 1))
        if v_max * m + abs(constant) < 1 << 63:
            return constant, m, sh
    raise Infeasible(f"scale ratio {M} has no RQ16 form")


def rescale(sx: Sequence[float], zx: Sequence[int], sy: Sequence[float], zp: Sequence[int]) -> Rq16:
    """RESCALE int8 -> int8; one element per entry."""
    found = [rq16_entry(float(a) / float(b), za, zb, 0, 128) for a, za, b, zb in zip(sx, zx, sy, zp, strict=True)]
    bias, m, sh = zip(*found, strict=True)
    return Rq16(np.array(bias), np.array(m), np.array(sh))


@dataclass(frozen=True)
class Add:
    ma: int
    mb: int
    C: int
    sh: int
    lo: int = -128
    hi: int = 127


def add(sa: float, za: int, sb: float, zb: int, sy: float, zp: int, sign: int = 1) -> Add:
    """ADD, or SUB with sign = -1."""
    ra, rb = Fraction(float(sa) / float(sy)), Fraction(float(sb) / float(sy))
    for sh in range(22, -1, -1):
        ma, mb = round_half_up(ra * 2**sh), round_half_up(rb * 2**sh)
        if max(ma, mb) <= 32767:
            mb *= sign
            return Add(ma, mb, (zp << sh) - za * ma - zb * mb + ((1 << sh) >> 1), sh)
    raise Infeasible(f"scale ratios {float(ra)}, {float(rb)} exceed 32767")


def product(M: float) -> tuple[int, int]:
    """(m, sh) of MUL and AVGPOOL: 15-bit multiplier, 1 <= sh <= 46."""
    m, e = mantissa(M, 15)
    if not 1 <= 15 - e <= 46:
        raise Infeasible(f"scale ratio {M}: sh = {15 - e}")
    return m, 15 - e


def mul(sa: float, sb: float, sy: float) -> tuple[int, int]:
    return product(float(sa) * float(sb) / float(sy))


def ranks(sa: float, za: int, sb: float, zb: int) -> np.ndarray:
    """512 ranks of CMP: the order of the dequantised float32 values of both operands."""
    values = [np.float32(q - z) * np.float32(s) for s, z in ((sa, za), (sb, zb)) for q in range(-128, 128)]
    order = sorted(set(map(float, values)))
    return np.array([order.index(float(v)) for v in values], np.int16)


def ratio(sa: float, sb: float, zb: int, sy: float) -> tuple[np.ndarray, int]:
    """(table, sh) of DIV."""
    M = float(sa) / float(sb) / float(sy)
    for sh in range(46, 0, -1):
        if round_half_up(Fraction(M) * 2**sh) < 1 << 31:
            table = [1 << 54 if b == zb else round_half_up(Fraction(M / (b - zb)) * 2**sh) for b in range(-128, 128)]
            return np.array(table, np.int64), sh
    raise Infeasible(f"scale ratio {M}")


def avgpool(sx: float, sy: float, taps: int, count_pad: bool) -> list[tuple[int, int]]:
    """One (m, sh), or one per number of valid taps 1..taps when padding does not count."""
    counts = [taps] if count_pad else range(1, taps + 1)
    return [product(float(sx) / (float(sy) * n)) for n in counts]


def lut8(f: Callable[[float], float], sx: float, zx: int, sy: float, zp: int) -> np.ndarray:
    """Table of a real function between two int8 grids; a NaN of the function gives zp."""
    out = []
    for q in range(-128, 128):
        y = f((q - zx) * float(sx)) / float(sy)
        if y != y:
            y = 0.0
        out.append(max(-128, min(127, round_half_even(max(-1e6, min(1e6, y))) + zp)))
    return np.array(out, np.int8)


def lut16(f: Callable[[float], float], sx: float, zx: int, sy: float, zp: int) -> np.ndarray:
    """513 knots of a real function between two int16 grids; the last knot is at 32768."""
    out = []
    for i in range(513):
        y = f((i * 128 - 32768 - zx) * float(sx)) / float(sy)
        out.append(max(-32768, min(32767, round_half_even(max(-1e6, min(1e6, y))) + zp)))
    return np.array(out, np.int16)


def softmax(sx: float, sy: float) -> tuple[np.ndarray, int]:
    """(E, C): u16 exponentials by distance from the maximum, and the reciprocal constant of the output scale."""
    C = round_half_up(2.0**38 / float(sy))
    if not 1 <= C < 1 << 62:
        raise Infeasible(f"softmax output scale {sy}: C = {C}")
    return np.array([round_half_up(65535 * exp(-float(sx) * d)) for d in range(256)], np.uint16), C


@dataclass(frozen=True)
class Norm:
    """LAYERNORM, or RMSNORM about `zx` if it is not None; g and b have one entry per channel."""

    eps: int
    F: int
    g: np.ndarray
    b: np.ndarray
    sh: int
    zx: int | None = None
    lo: int = -128
    hi: int = 127


def norm(
    sx: float, zx: int | None, eps: float, gamma: Sequence[float], beta: Sequence[float], sy: float, zp: int
) -> Norm:
    """Integer form of epsilon, gamma and beta; `zx` is None for LAYERNORM."""
    n, ratio = len(gamma), float(eps) / (float(sx) * float(sx))
    eps_q = max(1, round_half_up(n * n * ratio))
    if eps_q >= 1 << 60:
        raise Infeasible(f"epsilon / sx^2 = {ratio}")
    reach, ways = (255 * (n - 1) / n, n - 1) if zx is None else (float(max(128 + zx, 127 - zx)), n)
    z = reach / sqrt(reach * reach / ways + ratio) if reach > 0 else 0.0
    F = max(bits for bits in range(15) if bits == 0 or z * 2.0**bits <= 32767)
    for sh in range(30, 0, -1):
        g = [round_half_up(Fraction(float(v) / float(sy)) * Fraction(2) ** (sh - F)) for v in gamma]
        b = [(zp << sh) + round_half_up(Fraction(float(v) / float(sy)) * 2**sh) + (1 << (sh - 1)) for v in beta]
        if max(map(abs, g)) <= 32767 and max(map(abs, b)) < 1 << 30:
            return Norm(eps_q, F, np.array(g), np.array(b), sh, zx)
    raise Infeasible("gamma or beta over the scale of the result is too large")
