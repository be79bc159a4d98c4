"""Run time: element-wise operators, tables, softmax and the movement of data."""

from __future__ import annotations

from math import isqrt

import numpy as np

from oracle.derive import Add, Norm, Rq16
from oracle.integers import Ints, clamp, fits, int8


def wide(x: np.ndarray) -> Ints:
    return x.astype(np.int64)


def add(a: np.ndarray, b: np.ndarray, p: Add) -> np.ndarray:
    """ADD and SUB (whose mb is negative); dimensions of b that are 1 broadcast."""
    total = fits(wide(a) * p.ma + wide(b) * p.mb + p.C, 32, "a * ma + b * mb + C")
    return int8(clamp(total >> p.sh, p.lo, p.hi))


def mul(
    a: np.ndarray, b: np.ndarray, m: int, sh: int, za: int, zb: int, zp: int, lo: int = -128, hi: int = 127
) -> np.ndarray:
    """MUL; dimensions of b that are 1 broadcast."""
    p = (wide(a) - za) * (wide(b) - zb)
    return int8(clamp((p * m + (1 << (sh - 1)) + (zp << sh)) >> sh, lo, hi))


def rq16(v: Ints, p: Rq16) -> Ints:
    """int64 values [..., channels] to integers in [lo, hi]."""
    exact = v.astype(object) * p.m.astype(object) + p.bias.astype(object)
    fits(exact, 64, "v * m + bias")
    return clamp(exact >> p.sh.astype(object), p.lo, p.hi).astype(np.int64)


def rescale(x: np.ndarray, p: Rq16) -> np.ndarray:
    """RESCALE int8 -> int8, per tensor or per channel."""
    return int8(rq16(wide(x), p))


def lut8(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    return table[wide(x) + 128]


def lut16(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """LUT16 on int16 values: linear interpolation between 2^k + 1 knots."""
    return clamp(interpolated(wide(x) + 32768, table), -32768, 32767).astype(np.int16)


def interpolated(x: Ints, table: np.ndarray) -> Ints:
    """The table of 2^k + 1 knots over 0 .. 65536 at 0 <= x < 65536."""
    n = 17 - (len(table) - 1).bit_length()
    assert len(table) == (1 << (16 - n)) + 1
    i, f = x >> n, x & ((1 << n) - 1)
    left, right = wide(table)[i], wide(table)[i + 1]
    return left + (((right - left) * f + ((1 << n) >> 1)) >> n)


def softmax(x: np.ndarray, exp: np.ndarray, C: int, zp: int, lo: int = -128, hi: int = 127) -> np.ndarray:
    """SOFTMAX over the last axis, one row at a time in Python integers."""
    out = np.empty(x.shape, np.int8)
    for at in np.ndindex(x.shape[:-1]):
        row = [int(v) for v in x[at]]
        top = max(row)
        E = [int(exp[top - v]) for v in row]
        S = sum(E)
        R = (C + S // 2) // S
        if int(exp[0]) * R + (1 << 37) >= 1 << 63:
            raise OverflowError(f"softmax: {exp[0]} * {R} + 2^37 does not fit int64")
        out[at] = [min(max(((e * R + (1 << 37)) >> 38) + zp, lo), hi) for e in E]
    return out


def norm(x: np.ndarray, p: Norm) -> np.ndarray:
    """LAYERNORM and RMSNORM over the last axis, one row at a time in Python integers."""
    out = np.empty(x.shape, np.int8)
    for at in np.ndindex(x.shape[:-1]):
        row = [int(v) for v in x[at]]
        n = len(row)
        s1 = sum(row) if p.zx is None else n * p.zx
        V = n * sum(v * v for v in row) - s1 * s1 if p.zx is None else n * sum((v - p.zx) ** 2 for v in row)
        V, k = V + p.eps, 0
        while V << 2 * k < 1 << 60:
            k += 1
        P = n * ((1 << 61) // isqrt(V << 2 * k))
        for t in range(15, -1, -1):
            A = (P + (1 << (60 - p.F - k - t))) >> (61 - p.F - k - t)
            if A <= 32767:
                break
        A = min(A, 32767)
        B = ((1 << t) >> 1) - (2 * A * s1 + n) // (2 * n)
        z = [min(max(fits(A * v + B, 32, "A * x + B") >> t, -32768), 32767) for v in row]
        y = [fits(zc * int(g) + int(b), 32, "z * g + b") >> p.sh for zc, g, b in zip(z, p.g, p.b, strict=True)]
        out[at] = [min(max(v, p.lo), p.hi) for v in y]
    return out


def extreme(a: np.ndarray, b: np.ndarray, largest: bool, lo: int = -128, hi: int = 127) -> np.ndarray:
    """MAX and MIN; dimensions of b that are 1 broadcast."""
    return int8(clamp(np.where((wide(a) > wide(b)) == largest, a, b), lo, hi))


def compare(a: np.ndarray, b: np.ndarray, ranks: np.ndarray, relation: int) -> np.ndarray:
    """CMP; relations are equal, less, less or equal, greater, greater or equal, different."""
    x, y = ranks[wide(a) + 128], ranks[wide(b) + 384]
    return int8([x == y, x < y, x <= y, x > y, x >= y, x != y][relation])


def select(a: np.ndarray, b: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """SELECT; dimensions that are 1 broadcast."""
    return np.where(condition != 0, a, b)


def divide(
    a: np.ndarray, b: np.ndarray, ratio: np.ndarray, sh: int, za: int, zp: int, lo: int = -128, hi: int = 127
) -> np.ndarray:
    """DIV; dimensions of b that are 1 broadcast."""
    p = (wide(a) - za).astype(object) * ratio.astype(object)[wide(b) + 128]
    total = fits(p + (1 << (sh - 1)) + (zp << sh), 64, "(a - za) * ratio + half + zp")
    return int8(clamp((total >> sh).astype(object), lo, hi).astype(np.int64))


def reduce(
    x: np.ndarray, kind: int, m: int = 0, sh: int = 0, zx: int = 0, zp: int = 0, lo: int = -128, hi: int = 127
) -> np.ndarray:
    """REDUCE over the last axis, one row at a time in Python integers."""
    out = np.empty((*x.shape[:-1], 1), np.int8)
    for at in np.ndindex(x.shape[:-1]):
        row = [int(v) for v in x[at]]
        if kind < 2:
            y = max(row) if kind == 0 else min(row)
        else:
            terms = [v - zx for v in row]
            S = [sum(terms), sum(map(abs, terms)), sum(v * v for v in terms)][min(kind - 2, 2)]
            S = isqrt(S << 30) if kind == 5 else S
            y = (S * m + (1 << (sh - 1)) + (zp << sh)) >> sh
        out[at] = [min(max(y, lo), hi)]
    return out


def argmax(x: np.ndarray) -> np.ndarray:
    """ARGMAX over the last axis: the first of equal values."""
    return x.argmax(axis=-1, keepdims=True).astype(np.int64)


def gather(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """GATHER: columns by index [1, 1, columns, 1]; negative ones count from the end."""
    return x[:, :, index.ravel()].copy()


def transpose(x: np.ndarray, perm: tuple[int, int, int, int]) -> np.ndarray:
    """COPY between strides: output axis i is input axis perm[i]."""
    return x.transpose(perm).copy()


def pad(x: np.ndarray, pads: tuple[tuple[int, int], ...], value: int) -> np.ndarray:
    """FILL of the result, then COPY into its interior; pads (before, after) per axis of (n, h, w, c)."""
    out = np.full([size + before + after for size, (before, after) in zip(x.shape, pads, strict=True)], value, x.dtype)
    out[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, pads, strict=True))] = x
    return out


def depth_to_space(x: np.ndarray, block: int, mode: str = "DCR") -> np.ndarray:
    """COPY per phase; channel of the input: DCR (by, bx, c), CRD (c, by, bx)."""
    n, h, w, depth = x.shape
    c = depth // (block * block)
    out = np.empty((n, h * block, w * block, c), x.dtype)
    for by in range(block):
        for bx in range(block):
            for i in range(c):
                source = (by * block + bx) * c + i if mode == "DCR" else (i * block + by) * block + bx
                out[:, by::block, bx::block, i] = x[..., source]
    return out


def space_to_depth(x: np.ndarray, block: int) -> np.ndarray:
    """Inverse of depth_to_space in mode DCR."""
    phases = [x[:, by::block, bx::block] for by in range(block) for bx in range(block)]
    return np.concatenate(phases, axis=3)
