"""The fake-quantise operator: quantise and dequantise in one step, with the gradients of training.

Bits are those of ONNX's QuantizeLinear and DequantizeLinear: a division by the scale, half to even, one product. The
exporter turns the two operators of this file into nodes of ONNX (`TRANSLATIONS`).
"""

from __future__ import annotations

from typing import Any

import torch
from onnxscript import opset18 as op
from torch import Tensor


@torch.library.custom_op(
    "openbpu::fake_quantize",
    mutates_args=(),
    schema="(Tensor x, Tensor scale, Tensor zero_point, int axis, int low, int high) -> Tensor",
)
def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int) -> Tensor:
    """(clamp(round(x / scale) + zero_point, low, high) - zero_point) * scale.

    `scale` and `zero_point` have no dimension (then `axis` is -1), or one element per index of `axis`. The gradient
    passes where nothing is clamped (straight-through); that of the scale is LSQ's (Esser et al. 2020), divided by
    sqrt(elements * high).
    """
    s, z = _along(scale, x, axis), _along(zero_point, x, axis).to(x.dtype)
    # Limits are numbers: clamping to tensors costs more than all else together.
    return torch.div(x, s).round_().add_(z).clamp_(low, high).sub_(z).mul_(s)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, low: int, high: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    if axis < 0:
        return values
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, ctx.axis, ctx.low, ctx.high = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, zero_point = ctx.saved_tensors
    s, z = _along(scale, x, ctx.axis), _along(zero_point, x, ctx.axis).to(x.dtype)
    levels = torch.div(x, s).add_(z)
    # The gradient of a clamp is what keeps values inside and makes others 0, in one pass.
    clamp, limits = torch.ops.aten.hardtanh_backward, (ctx.low - 0.5, ctx.high + 0.5)
    of_x = clamp(gradient, levels, *limits)
    if not ctx.needs_input_grad[1]:
        return of_x, None, None, None, None, None
    # Inside, the slope is the error of rounding; beyond, the level that is left, whose zero point is taken off below.
    slope = levels.round().clamp_(ctx.low, ctx.high).sub_(clamp.grad_input(levels, levels, *limits, grad_input=levels))
    others = [d for d in range(x.dim()) if d != ctx.axis]
    beyond = (gradient.sum(others, keepdim=True) - of_x.sum(others, keepdim=True)) * z
    total = slope.mul_(gradient).sum(others, keepdim=True) - beyond
    count = x.numel() if ctx.axis < 0 else x.numel() // x.shape[ctx.axis]
    return of_x, (total / (count * ctx.high) ** 0.5).reshape(scale.shape), None, None, None, None


fake_quantize.register_autograd(_gradient, setup_context=_save)


@torch.library.custom_op(
    "openbpu::dequantize", mutates_args=(), schema="(Tensor q, Tensor scale, Tensor zero_point, int axis) -> Tensor"
)
def dequantize(q: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """float32 (q - zero_point) * scale of integers, along `axis` or (-1) with one scale."""
    return (q.float() - _along(zero_point, q, axis).float()) * _along(scale, q, axis)


@dequantize.register_fake
def _(q: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    return torch.empty(q.shape, dtype=torch.float32, device=q.device)


# ---- ONNX


def _onnx_fake_quantize(x: Any, scale: Any, zero_point: Any, axis: int, low: int, high: int) -> Any:
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero_point), scale, zero_point)


def _onnx_dequantize(q: Any, scale: Any, zero_point: Any, axis: int) -> Any:
    return op.DequantizeLinear(q, scale, zero_point, axis=max(axis, 0))


TRANSLATIONS = {
    torch.ops.openbpu.fake_quantize.default: _onnx_fake_quantize,
    torch.ops.openbpu.dequantize.default: _onnx_dequantize,
}
