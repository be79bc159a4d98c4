"""The instructions of the BPU on tensors of PyTorch: what state validation computes, bit for bit.

Parameters come from `lower.requant`, as the compiler derives them; the formulas are those of docs/numerics.md. Integers
are int32, or int64 where the law needs it; products run in floating point where every sum is proved to be exact there.
Every function takes and gives integers of int8 grids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openbpu.lower import requant
from openbpu.lower.rules.coordinates import Axis

_EXACT_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class Params:
    """Scale and zero point of an int8 tensor, or of a `wide` int16 one, as Python numbers."""

    scale: float
    zero: int
    wide: bool = False

    @property
    def low(self) -> int:
        """The lowest integer of the grid."""
        return -32768 if self.wide else -128

    @property
    def high(self) -> int:
        """The highest integer of the grid."""
        return -1 - self.low


def _clamped(y: Tensor) -> Tensor:
    return y.clamp(-128, 127)


def rounded_product(sums: Tensor, m: Tensor | int, shift: Tensor | int, zero: int) -> Tensor:
    """(S * m + half + (zero << shift)) >> shift: the end of MUL and AVGPOOL."""
    half = 1 << (shift - 1)
    return _clamped((sums.long() * m + half + (zero << shift)) >> shift)


# ---- RQ8


@dataclass(frozen=True)
class Table:
    """An RQ8 table, shaped to broadcast with the accumulators."""

    B: Tensor
    m: Tensor
    s: Tensor
    L: int

    @staticmethod
    def of(rq: requant.Rq8, shape: tuple[int, ...], device: torch.device) -> Table:
        """The table of the compiler with its channels along the axis of `shape` that is -1."""
        B, m, s = (
            torch.from_numpy(np.asarray(part, np.int32)).reshape(shape).to(device) for part in (rq.B, rq.m, rq.s)
        )
        return Table(B, m, s, rq.L)

    def __call__(self, acc: Tensor) -> Tensor:
        t = (((acc.int() << self.L) + self.B) >> self.s).clamp_(-32768, 32767)
        return _clamped((t * self.m) >> 22)


def accumulated(product: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, reach: int) -> Tensor:
    """int32 sums of products of integers; `reach` bounds every partial sum."""
    dtype = torch.float32 if reach < _EXACT_FLOAT32 else torch.float64
    return product(x.to(dtype), weight.to(dtype)).round_().int()


def matrix_product(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params, gain: float = 1.0) -> Tensor:
    """MATMULD, with a factor on the product."""
    inner = a.shape[-1]
    rq = requant.rq8_dynamic(pa.scale, pa.zero, pb.scale, pb.zero, out.scale, out.zero, inner, gain)
    acc = accumulated(torch.matmul, a - pa.zero, b - pb.zero, inner * 256 * 256)
    return Table.of(rq, (-1,), a.device)(acc)


# ---- element-wise


def sum_of(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params, sign: int = 1) -> Tensor:
    """ADD; SUB with `sign` -1."""
    p = requant.add(pa.scale, pa.zero, pb.scale, pb.zero, out.scale, out.zero, 1, sign)
    return _clamped((a * p.ma + b * p.mb + p.C) >> p.sh)


def product_of(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params) -> Tensor:
    """MUL."""
    m, shift = requant.multiplier(pa.scale * pb.scale / out.scale)
    return rounded_product((a - pa.zero) * (b - pb.zero), m, shift, out.zero)


def quotient_of(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params) -> Tensor:
    """DIV."""
    ratio, shift = requant.ratio(pa.scale, pb.scale, pb.zero, out.scale)
    table = torch.from_numpy(np.asarray(ratio, np.int64)).to(a.device)
    return _clamped(((a - pa.zero).long() * table[b.long() + 128] + (1 << (shift - 1)) + (out.zero << shift)) >> shift)


def rescaled(x: Tensor, px: Params, out: Params) -> Tensor:
    """RESCALE; nothing if both grids are one."""
    if px == out:
        return x
    bias, m, shift = requant.rescale(px.scale, px.zero, out.scale, out.zero)
    return _clamped((x.long() * m + bias) >> shift)


def extreme_of(
    choose: Callable[[Tensor, Tensor], Tensor], a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params
) -> Tensor:
    """MAX and MIN, on the grid of the result."""
    return choose(rescaled(a, pa, out), rescaled(b, pb, out))


def affine(x: Tensor, px: Params, gain: np.ndarray, offset: np.ndarray, axis: int, out: Params) -> Tensor:
    """gain * x + offset per channel: a depthwise convolution with one tap of 64 steps."""
    weight = (64 * np.sign(gain)).astype(np.int8)
    scale = np.where(gain == 0, 1.0, np.abs(gain)) / 64
    rq = requant.rq8(px.scale, px.zero, weight.reshape(-1, 1, 1), scale, offset, out.scale, out.zero)
    shape = tuple(-1 if i == axis else 1 for i in range(x.dim()))
    taps = torch.from_numpy(rq.weight.astype(np.int64)).reshape(shape).to(x.device)
    return Table.of(rq, shape, x.device)(x * taps)


# ---- windows and rows


def mean_of(mean: Callable[[Tensor], Tensor], x: Tensor, px: Params, taps: int, divisor: int, out: Params) -> Tensor:
    """AVGPOOL: `mean` gives the mean over windows of `taps` elements, all inside; `divisor` is 1 for a sum."""
    sums = (mean((x - px.zero).double()) * taps).round().long()
    m, shift = requant.mean(px.scale, out.scale, taps, [divisor])
    return rounded_product(sums, int(m[0]), int(shift[0]), out.zero)


def softmax(x: Tensor, px: Params, axis: int, out: Params) -> Tensor:
    """SOFTMAX."""
    exponentials, C = requant.softmax(px.scale, out.scale)
    table = torch.from_numpy(exponentials.astype(np.int64)).to(x.device)
    E = table[(x.amax(axis, keepdim=True) - x).long()]
    total = E.sum(axis, keepdim=True)
    R = torch.div(C + torch.div(total, 2, rounding_mode="floor"), total, rounding_mode="floor")
    return _clamped(((E * R + (1 << 37)) >> 38) + out.zero)


def bilinear(x: Tensor, size: tuple[int, int], align_corners: bool, bits: int = 11) -> Tensor:
    """RESIZE_BILIN of images [n, c, h, w] with weights of 11 bits, of int16 ones 20; input and result on one grid."""
    mode = "align_corners" if align_corners else "half_pixel"
    (row_index, row_weight), (column_index, column_weight) = (
        (
            torch.from_numpy(part.astype(np.int64)).to(x.device)
            for part in Axis(before, after, None, mode).linear(1 << bits)
        )
        for before, after in zip(x.shape[2:], size, strict=True)
    )
    rows = sum(x[:, :, row_index[:, i]] * row_weight[:, i, None] for i in (0, 1))
    total = sum(rows[:, :, :, column_index[:, i]] * column_weight[:, i] for i in (0, 1))
    return (total + (1 << (2 * bits - 1))) >> (2 * bits)


def norm(
    x: Tensor, px: Params, epsilon: float, gamma: np.ndarray, beta: np.ndarray, out: Params, about_zero: bool
) -> Tensor:
    """LAYERNORM, or `about_zero` RMSNORM, over the last len(gamma) elements of each row of [rows, elements]."""
    x = x.long()
    p = requant.norm(px.scale, px.zero if about_zero else None, epsilon, gamma, beta, out.scale, out.zero)
    n = x.shape[-1]
    s1 = torch.full_like(x[:, :1], n * px.zero) if about_zero else x.sum(-1, keepdim=True)
    V = n * (x * x).sum(-1, keepdim=True) - s1 * s1
    if about_zero:
        V = n * ((x - px.zero) ** 2).sum(-1, keepdim=True)
    A, B, t = row_factors(V + p.eps, s1, n, p.F, 15, 15)
    z = ((A * x + B) >> t).clamp(-32768, 32767)
    g, b = (torch.from_numpy(part.astype(np.int64)).to(x.device) for part in (p.g, p.b))
    return _clamped((z * g + b) >> p.sh)


def row_factors(V: Tensor, s1: Tensor, n: int, F: int, bits: int, widest: int) -> tuple[Tensor, Tensor, Tensor]:
    """A below 2^bits, B and t, at most `widest`, of each row of a norm: V of clause NORM, s1 is n times the centre."""
    over = 1 << bits
    k = torch.zeros_like(V)
    for _ in range(31):
        small = V < 1 << 60
        k, V = k + small.long(), torch.where(small, V << 2, V)
    P = n * torch.div(1 << 61, _square_root(V), rounding_mode="floor")
    A, t = torch.full_like(P, over), (60 - F - k).clamp(max=widest) + 1
    while bool((large := (over <= A) & (t > 0)).any()):
        t = t - large.long()
        shift = 61 - F - k - t
        A = (P + (1 << (shift - 1))) >> shift
    A = A.clamp(max=over - 1)
    half = torch.where(t > 0, 1 << (t - 1).clamp(min=0), 0)
    return A, half - torch.div(2 * A * s1 + n, 2 * n, rounding_mode="floor"), t


def _square_root(v: Tensor) -> Tensor:
    """floor(sqrt(v)) for 2^60 <= v < 2^63: that of float64 is off by one at most."""
    root = v.double().sqrt().long()
    root = root - (root * root > v).long()
    return root + ((root + 1) * (root + 1) <= v).long()
