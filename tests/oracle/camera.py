"""Colour conversion of camera images: derivation and run time of CSC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracle.derive import Infeasible
from oracle.integers import clamp, fits, round_half_up
from oracle.window import resize_bilinear


@dataclass(frozen=True)
class Csc:
    """Per channel three multipliers, a constant and a clamp; one shift."""

    m: tuple[tuple[int, int, int], ...]
    b: tuple[int, ...]
    sh: int
    lo: tuple[int, ...]
    hi: tuple[int, ...]


def derive(
    A: Sequence[Sequence[float]],
    o: Sequence[float],
    g: Sequence[float],
    h: Sequence[float],
    sy: float,
    zp: int,
    dtype: str = "int8",
) -> Csc:
    """result = g * clamp(A @ pixels + o, 0, 255) + h, per channel, for pixels 0..255."""
    R = [[gc * a / sy for a in row] for row, gc in zip(A, g, strict=True)]
    k = [oc + 128 * (row[0] + row[1] + row[2]) for row, oc in zip(A, o, strict=True)]
    c = [(gc * kc + hc) / sy for gc, kc, hc in zip(g, k, h, strict=True)]
    low, high = (-128, 127) if dtype == "int8" else (-32768, 32767)
    for sh in range(22, -1, -1):
        m = [tuple(round_half_up(Fraction(r) * 2**sh) for r in row) for row in R]
        half = 1 << (sh - 1) if sh else 0
        b = [(zp << sh) + round_half_up(Fraction(v) * 2**sh) + half for v in c]
        if all(abs(v) <= 32767 for row in m for v in row) and all(abs(v) < 2**30 for v in b):
            ends = [
                sorted(round_half_up((gc * p + hc) / sy) + zp for p in (0.0, 255.0))
                for gc, hc in zip(g, h, strict=True)
            ]
            lo, hi = (tuple(min(max(e[i], low), high) for e in ends) for i in (0, 1))
            return Csc(tuple(m), tuple(b), sh, lo, hi)  # type: ignore[arg-type]
    raise Infeasible("a pixel is worth more than 32767 steps")


def csc(luma: np.ndarray, chroma: np.ndarray, p: Csc, dtype: str = "int8") -> np.ndarray:
    """CSC: luma [n, h, w, 1], chroma [n, h, w, 2] or half of that in both directions."""
    if chroma.shape[1] != luma.shape[1] or chroma.shape[2] != luma.shape[2]:
        chroma = chroma.repeat(2, 1).repeat(2, 2)
    x = np.concatenate([luma, chroma], -1).astype(np.int64)
    channels = []
    for m, b, lo, hi in zip(p.m, p.b, p.lo, p.hi, strict=True):
        total = fits((x * np.array(m)).sum(-1) + b, 32, "products and b")
        channels.append(clamp(total >> p.sh, lo, hi))
    return np.stack(channels, -1).astype(dtype)


def roi_resize(x: np.ndarray, roi: np.ndarray, size: tuple[int, int], shift: int) -> np.ndarray:
    """ROIRESIZE: roi [n, 1, 1, 4] holds left, top, right, bottom; ValueError for a region outside of its image."""
    images = []
    for image, (left, top, right, bottom) in zip(x, roi.reshape(-1, 4).tolist(), strict=True):
        axes = []
        h, w, _ = image.shape
        for first, last, extent, out in ((top, bottom, h, size[0]), (left, right, w, size[1])):
            unit = 1 << shift
            if not 0 <= first <= last < extent * unit or first % unit or (last + 1) % unit:
                raise ValueError("a region outside of its image")
            begin, length = first // unit, (last + 1 - first) // unit
            rows = []
            for j in range(out):
                exact = Fraction(2 * j + 1, 2 * out) * length - Fraction(1, 2)
                place = min(max(round_half_up(exact * 2048), 0), (length - 1) * 2048)
                i0 = place // 2048
                rows.append((begin + i0, begin + min(i0 + 1, length - 1), 2048 - place % 2048, place % 2048))
            axes.append(rows)
        images.append(resize_bilinear(image[None], *axes))
    return np.concatenate(images)
