"""Run time: pooling and resizing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oracle.integers import clamp, int8
from oracle.mac import Pads, Pair, extent, taps


def maxpool(
    x: np.ndarray, kernel: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1), pads: Pads = (0, 0, 0, 0)
) -> np.ndarray:
    """MAXPOOL: padding never wins, it is below every int8."""
    best = taps(x, kernel, stride, dilation, pads, -129).max(axis=(3, 4))
    if best.size and best.min() < -128:
        raise ValueError("a window has no tap inside the input")
    return int8(best)


def avgpool(
    x: np.ndarray,
    scales: Sequence[tuple[int, int]],
    zx: int,
    zp: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    lo: int = -128,
    hi: int = 127,
) -> np.ndarray:
    """AVGPOOL: one (m, sh), or the entry (taps inside - 1) of several."""
    n, h, w, c = x.shape
    oh = extent(h, kernel[0], stride[0], dilation[0], pads[0], pads[2])
    ow = extent(w, kernel[1], stride[1], dilation[1], pads[1], pads[3])
    out = np.empty((n, oh, ow, c), np.int8)
    for oy in range(oh):
        for ox in range(ow):
            rows = [oy * stride[0] - pads[0] + k * dilation[0] for k in range(kernel[0])]
            columns = [ox * stride[1] - pads[1] + k * dilation[1] for k in range(kernel[1])]
            inside = [(r, q) for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
            S = sum((x[:, r, q].astype(np.int64) - zx for r, q in inside), np.zeros((n, c), np.int64))
            m, sh = scales[0] if len(scales) == 1 else scales[len(inside) - 1]
            out[:, oy, ox] = int8(clamp((S * m + (1 << (sh - 1)) + (zp << sh)) >> sh, lo, hi))
    return out


def grid_sample(
    x: np.ndarray, grid: np.ndarray, zero: int, nearest: bool, border: bool, align_corners: bool
) -> np.ndarray:
    """GRIDSAMPLE: grid [n, oh, ow, 2] holds (x, y), float32; numpy rounds each operation to float32."""
    n, h, w, c = x.shape
    one, two = np.float32(1), np.float32(2)
    places = []
    for axis, length in ((1, h), (0, w)):
        g = grid[..., axis]
        with np.errstate(all="ignore"):
            if align_corners:
                at = (g + one) / two * np.float32(length - 1)
            else:
                at = ((g + one) * np.float32(length) - one) / two
            at = at if nearest else at * np.float32(2048)
        unit = 1 if nearest else 2048
        low, high = (0, (length - 1) * unit) if border else (-1 if nearest else -4096, (length + (not nearest)) * unit)
        at = np.where(np.isnan(at), low, np.clip(np.rint(at.astype(np.float64)), low, high))
        places.append(at.astype(np.int64))
    framed = np.full((n, h + 6, w + 6, c), zero, np.int64)  # three pixels around
    framed[:, 3:-3, 3:-3] = x
    image = np.arange(n)[:, None, None]
    rows, columns = places
    if nearest:
        return int8(framed[image, rows + 3, columns + 3])
    (y0, v), (x0, u) = ((p >> 11, (p & 2047)[..., None]) for p in (rows, columns))
    if border:  # the neighbour behind the last pixel has no weight
        framed[:, h + 3], framed[:, :, w + 3] = framed[:, h + 2], framed[:, :, w + 2]
    top = framed[image, y0 + 3, x0 + 3] * (2048 - u) + framed[image, y0 + 3, x0 + 4] * u
    bottom = framed[image, y0 + 4, x0 + 3] * (2048 - u) + framed[image, y0 + 4, x0 + 4] * u
    return int8(clamp((top * (2048 - v) + bottom * v + (1 << 21)) >> 22, -128, 127))


def resize_nearest(x: np.ndarray, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """RESIZE_NN: source index per output row and column."""
    return x[:, list(rows)][:, :, list(columns)].copy()


def resize_bilinear(
    x: np.ndarray, rows: Sequence[tuple[int, int, int, int]], columns: Sequence[tuple[int, int, int, int]]
) -> np.ndarray:
    """RESIZE_BILIN: (i0, i1, w0, w1) per output row and column."""
    n, _, _, c = x.shape
    out = np.empty((n, len(rows), len(columns), c), np.int8)
    wide = x.astype(np.int64)
    for y, (y0, y1, v0, v1) in enumerate(rows):
        for z, (x0, x1, u0, u1) in enumerate(columns):
            top = wide[:, y0, x0] * (v0 * u0) + wide[:, y0, x1] * (v0 * u1)
            bottom = wide[:, y1, x0] * (v1 * u0) + wide[:, y1, x1] * (v1 * u1)
            out[:, y, z] = int8(clamp((top + bottom + (1 << 21)) >> 22, -128, 127))
    return out
