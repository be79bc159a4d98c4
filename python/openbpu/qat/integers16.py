"""The 16-bit forms of the instructions on tensors of PyTorch: what state validation computes with int16 activations.

As `integers`, for chapter int16 of docs/numerics.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from openbpu.lower import requant, requant16
from openbpu.lower.requant import Infeasible
from openbpu.qat.integers import Params, row_factors


def widened(x: Tensor, p: Params) -> tuple[Tensor, float]:
    """int64 values of an int16 grid, and its scale; from int8 nothing is lost."""
    return (x.long(), p.scale) if p.wide else ((x.long() - p.zero) * 128, p.scale / 128)


def rounded(values: Tensor, table: requant16.Table, out: Params, shape: tuple[int, ...] = ()) -> Tensor:
    """RQ16, with one entry or one per channel along the axis of `shape` that is -1."""
    m, bias, shift = (
        torch.from_numpy(table[key].astype(np.int64)).reshape(shape).to(values.device) for key in ("m", "bias", "sh")
    )
    return ((values * m + bias) >> shift).clamp(out.low, out.high)


def sum_of(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params, sign: int = 1) -> Tensor:
    """ADD; SUB with `sign` -1."""
    (a, sa), (b, sb) = widened(a, pa), widened(b, pb)
    table = requant16.add(sa, sb, out.scale, out.zero)
    (ma, mb), (bias, _), (shift, _) = (table[key].tolist() for key in ("m", "bias", "sh"))
    return ((a * ma + sign * b * mb + bias) >> shift).clamp(out.low, out.high)


def product_of(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params) -> Tensor:
    """MUL."""
    (a, sa), (b, sb) = widened(a, pa), widened(b, pb)
    return rounded(a * b, requant16.product(sa * sb / out.scale, out.zero), out)


def matrix_product(a: Tensor, pa: Params, b: Tensor, pb: Params, out: Params, gain: float = 1.0) -> Tensor:
    """MATMULD, with a factor on the product."""
    (a, sa), (b, sb) = widened(a, pa), widened(b, pb)
    sums = torch.matmul(a.double(), b.double()).round().long()
    return rounded(sums, requant16.product(sa * sb * gain / out.scale, out.zero, a.shape[-1]), out)


def mean_of(mean: Callable[[Tensor], Tensor], x: Tensor, px: Params, taps: int, divisor: int, out: Params) -> Tensor:
    """AVGPOOL, as `integers.mean_of`."""
    x, scale = widened(x, px)
    sums = (mean(x.double()) * taps).round().long()
    return rounded(sums, requant16.mean(scale, out.scale, out.zero, taps, [divisor]), out)


def softmax(x: Tensor, px: Params, axis: int, out: Params) -> Tensor:
    """SOFTMAX, its exponentials interpolated between the entries of EXP16."""
    x, scale = widened(x, px)
    knots, C = requant16.softmax(scale, out.scale)
    E = _interpolated(knots, x.amax(axis, keepdim=True) - x)
    total = E.sum(axis, keepdim=True)
    R = torch.div(C + torch.div(total, 2, rounding_mode="floor"), total, rounding_mode="floor")
    return (((E * R + (1 << 37)) >> 38) + out.zero).clamp(out.low, out.high)


def function_of(x: Tensor, px: Params, function: Callable[[Tensor], Tensor], out: Params) -> Tensor:
    """LUT16: a function of reals; Infeasible where the compiler takes another instruction."""
    if not (px.wide and out.wide):
        raise Infeasible("the table of an int8 tensor is that of fake-quantisation")
    codes = requant16.codes()
    reals = function(torch.from_numpy(codes.astype(np.float64) * px.scale)).numpy()
    levels = requant.table(reals, out.scale, 0, "int16")
    scaled = np.floor(codes * (px.scale / out.scale) + 0.5)
    if np.abs(np.clip(scaled, levels.min(), levels.max()) - levels).max() <= 1:
        raise Infeasible("what only clamps is a RESCALE")
    return _interpolated(requant16.knots(reals / out.scale), x.long() + 32768)


def _interpolated(knots: np.ndarray, at: Tensor) -> Tensor:
    """Between the 2^k + 1 entries of a table, at 0 .. 65535."""
    table = torch.from_numpy(knots.astype(np.int64)).to(at.device)
    shift = 17 - (len(knots) - 1).bit_length()  # of 2^16 places to each interval
    index, part = at >> shift, at & ((1 << shift) - 1)
    return table[index] + (((table[index + 1] - table[index]) * part + ((1 << shift) >> 1)) >> shift)


def norm(
    x: Tensor, px: Params, epsilon: float, gamma: np.ndarray, beta: np.ndarray, out: Params, about_zero: bool
) -> Tensor:
    """LAYERNORM, or `about_zero` RMSNORM, as `integers.norm`."""
    x, scale = widened(x, px)
    p = requant16.norm(scale, not about_zero, epsilon, gamma, beta, out.scale, out.zero)
    n = x.shape[-1]
    s1 = torch.zeros_like(x[:, :1]) if about_zero else x.sum(-1, keepdim=True)
    A, B, t = row_factors(n * (x * x).sum(-1, keepdim=True) - s1 * s1 + p.eps, s1, n, p.F, 30, 31)
    g, b = (torch.from_numpy(part.astype(np.int64)).to(x.device) for part in (p.g, p.b))
    return ((((A * x + B) >> t) * g + b) >> p.sh).clamp(out.low, out.high)
