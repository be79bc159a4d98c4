"""Run time: convolutions and matrix products with the RQ8 epilogue (clauses RQ8, TCONV, MATMUL)."""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle.derive import Rq8
from oracle.integers import Ints, clamp, fits, int8

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right; negative bottom and right crop


def rq8(acc: Ints, rq: Rq8) -> np.ndarray:
    """int32 accumulators [..., channels] to int8."""
    fits(acc, 32, "accumulator")
    a = fits((acc << rq.L) + rq.B, 32, "a = (acc << L) + B")
    t = clamp(a >> rq.s, -32768, 32767)
    return int8(clamp((t * rq.m) >> 22, rq.lo, rq.hi))


def extent(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output length of a sliding window."""
    return (length + before + after - dilation * (kernel - 1) - 1) // stride + 1


def taps(x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads, fill: int) -> Ints:
    """Every tap of every window: int64 [n, oh, ow, kh, kw, c]; outside the input it is `fill`."""
    n, h, w, c = x.shape
    oh = extent(h, kernel[0], stride[0], dilation[0], pads[0], pads[2])
    ow = extent(w, kernel[1], stride[1], dilation[1], pads[1], pads[3])
    out = np.full((n, oh, ow, *kernel, c), fill, np.int64)
    for oy in range(oh):
        for ox in range(ow):
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    iy = oy * stride[0] - pads[0] + ky * dilation[0]
                    ix = ox * stride[1] - pads[1] + kx * dilation[1]
                    if 0 <= iy < h and 0 <= ix < w:
                        out[:, oy, ox, ky, kx] = x[:, iy, ix]
    return out


def conv2d(x: np.ndarray, weight: np.ndarray, rq: Rq8, zx: int, **geometry: Any) -> np.ndarray:
    """CONV2D, GCONV2D: weight [co, kh, kw, ci / groups]."""
    return rq8(conv2d_accumulators(x, weight, zx, **geometry), rq)


def conv2d_accumulators(
    x: np.ndarray,
    weight: np.ndarray,
    zx: int,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    groups: int = 1,
) -> Ints:
    co, kh, kw, ci = weight.shape
    assert x.shape[3] == ci * groups and co % groups == 0
    w = weight.astype(np.int64)
    windows = taps(x, (kh, kw), stride, dilation, pads, zx)
    acc = np.zeros((*windows.shape[:3], co), np.int64)
    for o in range(co):
        first = o // (co // groups) * ci
        acc[..., o] = (windows[..., first : first + ci] * w[o]).sum(axis=(3, 4, 5))
    return acc


def dwconv2d(x: np.ndarray, weight: np.ndarray, rq: Rq8, zx: int, **geometry: Any) -> np.ndarray:
    """DWCONV2D: weight [c, kh, kw]."""
    return rq8(dwconv2d_accumulators(x, weight, zx, **geometry), rq)


def dwconv2d_accumulators(
    x: np.ndarray,
    weight: np.ndarray,
    zx: int,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
) -> Ints:
    windows = taps(x, weight.shape[1:], stride, dilation, pads, zx)
    per_tap = weight.astype(np.int64).transpose(1, 2, 0)
    return (windows * per_tap).sum(axis=(3, 4))


def tconv2d(x: np.ndarray, weight: np.ndarray, rq: Rq8, zx: int, **geometry: Any) -> np.ndarray:
    """TCONV2D: weight [co, kh, kw, ci / groups]; a tap that meets no input row or column reads zx.

    An output padding of ONNX's ConvTranspose is a smaller (or negative) bottom or right pad.
    """
    return rq8(tconv2d_accumulators(x, weight, zx, **geometry), rq)


def tconv2d_accumulators(
    x: np.ndarray,
    weight: np.ndarray,
    zx: int,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    groups: int = 1,
) -> Ints:
    co, kh, kw, ci = weight.shape
    n, h, w, _ = x.shape
    oh = (h - 1) * stride[0] + dilation[0] * (kh - 1) + 1 - pads[0] - pads[2]
    ow = (w - 1) * stride[1] + dilation[1] * (kw - 1) + 1 - pads[1] - pads[3]
    wide = weight.astype(np.int64)
    acc = np.zeros((n, oh, ow, co), np.int64) + zx * wide.sum(axis=(1, 2, 3))
    real = x.astype(np.int64) - zx
    for iy in range(h):
        for ix in range(w):
            for ky in range(kh):
                for kx in range(kw):
                    oy = iy * stride[0] - pads[0] + ky * dilation[0]
                    ox = ix * stride[1] - pads[1] + kx * dilation[1]
                    if not (0 <= oy < oh and 0 <= ox < ow):
                        continue
                    for g in range(groups):
                        o = slice(g * co // groups, (g + 1) * co // groups)
                        acc[:, oy, ox, o] += real[:, iy, ix, g * ci : (g + 1) * ci] @ wide[o, ky, kx].T
    return acc


def matmul(x: np.ndarray, weight: np.ndarray, rq: Rq8) -> np.ndarray:
    """MATMUL: x [..., k], weight [n, k] (one row per output column)."""
    return rq8(x.astype(np.int64) @ weight.astype(np.int64).T, rq)


def matmuld(a: np.ndarray, b: np.ndarray, rq: Rq8, za: int, zb: int, transpose_b: bool = False) -> np.ndarray:
    """MATMULD: a [n, 1, m, k], b [n, 1, k, cols], or [n, 1, cols, k] if transposed."""
    wide_b = b.astype(np.int64) - zb
    if transpose_b:
        wide_b = wide_b.swapaxes(-1, -2)
    return rq8((a.astype(np.int64) - za) @ wide_b, rq)
