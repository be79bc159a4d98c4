"""Layers with constant weights: convolution, transposed convolution, linear; with the batch normalisation behind them.

Weights are quantised per output channel, symmetrically; biases to int32 on the grid of the accumulator, input scale
times weight scale. How batch normalisation takes part in training is its mode:

- "train": statistics of the batch. The weights are quantised as they will be folded with the running statistics
  (Jacob et al. 2018, section 3.2, with the running deviation as in Krishnamoorthi 2018, section 3.2.2).
- "freeze": folded with the running statistics, which stay; gamma and beta still learn.
- "fold": folded once, when the model is prepared; no batch normalisation is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openbpu.errors import ConfigError
from openbpu.fake_quantisation import dequantize, fake_quantize
from openbpu.lower import requant, requant16
from openbpu.ptq.weights import BIAS_LEVELS, SMALLEST_RATIO, SMALLEST_SCALE, SMALLEST_SHARE
from openbpu.qat.grids import Grid
from openbpu.qat.integers import Params, Table, accumulated
from openbpu.qat.integers16 import rounded, widened
from openbpu.qat.quantisers import Quantiser, params_of, to_integers, to_reals
from openbpu.qat.states import QUANTISING, State

NORM_MODES = ("train", "freeze", "fold")
WEIGHT_SCALES = ("max", "mse", "learned")
_SMALLEST_FACTOR = 1e-9
_SHARES = torch.linspace(1.0, 0.4, 31)  # of the largest weight that the search for the least squared error tries

Compute = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Product:
    """What a layer computes of input, weight and bias, and along which axis of the weight its channels lie."""

    def __init__(self, kind: str, options: dict[str, Any], groups: int = 1) -> None:
        self.kind, self.options, self.groups = kind, options, groups
        self.axis = 1 if kind.startswith("conv_transpose") else 0

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result: Tensor = getattr(F, self.kind)(x, weight, bias, **self.options)
        return result

    def channels(self, weight: Tensor) -> int:
        """Output channels; those of a transposed convolution repeat for each group."""
        return weight.shape[self.axis] * (self.groups if self.axis == 1 else 1)

    def along(self, values: Tensor, weight: Tensor) -> Tensor:
        """One number per output channel, shaped to multiply the weight. Groups of a transposed convolution differ."""
        shape = [1] * weight.dim()
        if self.axis == 1 and self.groups > 1:
            per_input = values.reshape(self.groups, -1).repeat_interleave(weight.shape[0] // self.groups, 0)
            return per_input.reshape(weight.shape[0], weight.shape[1], *shape[2:])
        shape[self.axis] = -1
        return values.reshape(shape)

    def by_output(self, weight: Tensor) -> Tensor:
        """The weight with its output channels along the first axis, as `requant.rq8` takes it."""
        if self.axis == 0:
            return weight
        inner, per_group = weight.shape[0] // self.groups, weight.shape[1]
        split = weight.reshape(self.groups, inner, per_group, *weight.shape[2:]).transpose(1, 2)
        return split.reshape(self.groups * per_group, inner, *weight.shape[2:])

    def from_output(self, rows: Tensor) -> Tensor:
        """The inverse of `by_output`."""
        if self.axis == 0:
            return rows
        per_group, inner = rows.shape[0] // self.groups, rows.shape[1]
        split = rows.reshape(self.groups, per_group, inner, *rows.shape[2:]).transpose(1, 2)
        return split.reshape(self.groups * inner, per_group, *rows.shape[2:])

    def per_output(self, values: Tensor, x: Tensor) -> Tensor:
        """One number per output channel, shaped to multiply the result."""
        return values if self.kind == "linear" else values.reshape(-1, *[1] * (x.dim() - 2))


class Instruction:
    """A product as the BPU computes it: accumulators of integers, then RQ8."""

    def __init__(
        self, product: Product, weight: Tensor, scale: Tensor, bias: Tensor | None, source: Params, result: Params
    ) -> None:
        rows = product.by_output(weight)
        reals = np.zeros(len(rows)) if bias is None else bias.cpu().numpy()
        codes, scales = rows.cpu().numpy().astype(np.int8), scale.cpu().double().numpy()
        rq = requant.rq8(source.scale, source.zero, codes, scales, reals, result.scale, result.zero)
        self.product, self.zero = product, source.zero
        self.weight = product.from_output(torch.from_numpy(rq.weight.astype(np.int64))).to(weight.device)
        taps = torch.from_numpy(rq.weight.astype(np.int64)).flatten(1).to(weight.device)
        shape = (-1,) if product.kind == "linear" else (-1, *[1] * (weight.dim() - 2))
        self.offset = (source.zero * taps.sum(1)).int().reshape(shape)
        self.reach = int(taps.abs().sum(1).max()) * 256
        self.table = Table.of(rq, shape, weight.device)

    def __call__(self, x: Tensor) -> Tensor:
        # Padding and absent taps hold the zero point: a zero of the centred input.
        acc = accumulated(lambda a, b: self.product(a, b, None), x - self.zero, self.weight, self.reach)
        return self.table(acc + self.offset)


class WideInstruction:
    """A product with int16 tensors: exact sums of integers, then RQ16."""

    def __init__(
        self, product: Product, weight: Tensor, scale: Tensor, bias: Tensor | None, source: Params, result: Params
    ) -> None:
        rows = product.by_output(weight)
        reals = np.zeros(len(rows)) if bias is None else bias.cpu().numpy()
        codes, scales = rows.cpu().numpy().astype(np.int8), scale.cpu().double().numpy()
        step = source.scale if source.wide else source.scale / 128
        made = requant16.linear(step, codes, scales, reals, result.scale, result.zero, -result.low)
        self.product, self.source, self.result, self.table = product, source, result, made.table
        self.weight = product.from_output(torch.from_numpy(made.weight)).to(weight.device).double()
        self.shape = (-1,) if product.kind == "linear" else (-1, *[1] * (weight.dim() - 2))

    def __call__(self, x: Tensor) -> Tensor:
        values, _ = widened(x, self.source)
        sums = self.product(values.double(), self.weight, None).round().long()
        return rounded(sums, self.table, self.result, self.shape)


class Weighted(nn.Module):
    """A layer with fake-quantised weights. `calls` holds the quantisers of input and result of each call."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, name: str, product: Product, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.name, self.product = name, product
        self.weight, self.bias = weight, bias
        self.norm: nn.Module | None = None
        self.mode, self.scale_mode = "train", "max"
        self.grid: Grid | None = None
        self.state = State.FLOAT
        self.calls: list[tuple[Quantiser, Quantiser | None]] = []
        self.fused: list[str] = []
        self._made_of: list[Tensor] = []  # copies of what the instructions that are held were made of
        self._held: dict[Any, Instruction | WideInstruction] = {}

    def quantise(self, grid: Grid, scale_mode: str, norm_mode: str) -> None:
        """Decides how weights are quantised. Raises ConfigError."""
        for value, allowed in ((scale_mode, WEIGHT_SCALES), (norm_mode, NORM_MODES)):
            if value not in allowed:
                raise ConfigError(f"one of {', '.join(allowed)}", where=f"module '{self.name}'", seen=value)
        self.grid, self.scale_mode, self.mode = grid, scale_mode, norm_mode
        if self.norm is not None and norm_mode == "fold":
            self._fold()
        if scale_mode == "learned":
            self.log_weight_scale = nn.Parameter(torch.log2(self._peaks(self.folded()[0])).detach())

    @torch.no_grad()
    def _fold(self) -> None:
        weight, bias = self.folded()
        self.weight = nn.Parameter(weight.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        self.norm = None

    def forward(self, x: Tensor, call: int = 0) -> Tensor:
        quantising = self.grid is not None and self.state in QUANTISING
        live = self.norm is not None and self.training and self.mode == "train"
        if not live:
            if quantising and self.state is State.VALIDATION and not torch.is_grad_enabled():
                return self._instruction(x, call)
            return self._plain(x, call) if quantising else self.product(x, *self.folded())
        assert self.norm is not None
        if not quantising:
            normed: Tensor = self.norm(self.product(x, self.weight, self.bias))
            return normed
        return self._normalised(x)

    def _plain(self, x: Tensor, call: int) -> Tensor:
        """The folded layer with fake-quantised weight and bias."""
        weight, bias = self.fake_quantised(*self.folded(), call)
        return self.product(x, weight, bias)

    def _normalised(self, x: Tensor) -> Tensor:
        """Training with the statistics of the batch, on weights that are quantised as they will be folded."""
        # A constant: it cancels but for the rounding of the weights, through which no gradient should go.
        factor = self._factor().detach()
        factor = torch.where(factor.abs() < _SMALLEST_FACTOR, _SMALLEST_FACTOR, factor)
        weight = self.weight * self.product.along(factor, self.weight)
        result = self.product(x, self._fake_quantised(weight, self.weight_scales(weight, None)), None)
        result = result / self.product.per_output(factor, result)
        if self.bias is not None:
            result = result + self.product.per_output(self.bias, result)
        assert self.norm is not None
        normed: Tensor = self.norm(result)
        return normed

    def _factor(self) -> Tensor:
        norm: Any = self.norm
        deviation = torch.sqrt(norm.running_var + norm.eps)
        return 1 / deviation if norm.weight is None else norm.weight / deviation

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the batch normalisation of inference in them."""
        norm: Any = self.norm
        if norm is None:
            return self.weight, self.bias
        factor = self._factor()
        bias = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        shift = bias * factor if norm.bias is None else norm.bias + bias * factor
        return self.weight * self.product.along(factor, self.weight), shift

    # ---- integers

    def integer_weights(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Integers of the folded weight, their scales, and the folded bias in reals."""
        assert self.grid is not None
        with torch.no_grad():
            weight, bias = self.folded()
            scale = self.weight_scales(weight, bias).detach()
            shape = [1] * weight.dim()
            shape[self.product.axis] = -1
            steps = (weight / scale.reshape(shape)).round().clamp(self.grid.low, self.grid.high)
        return steps.to(self.grid.storage), scale, None if bias is None else bias.detach()

    def _instruction(self, x: Tensor, call: int) -> Tensor:
        """What the BPU computes, as reals on the grid of the result."""
        source, result = self.calls[call]
        if result is None:
            return self._plain(x, call)
        params, out = params_of(source), params_of(result)
        tensors = [*self.parameters(), *self.buffers()]
        if not _equal(tensors, self._made_of):
            self._made_of, self._held = [t.detach().clone() for t in tensors], {}
        ends = dict.fromkeys(end for ends in self.calls for end in ends if end is not None)
        key = (call, params, out, tuple(params_of(end) for end in ends))  # the scales of weights follow all of them
        if key not in self._held:
            try:
                made = self._made(params, out, call)
            except requant.Infeasible:  # the compiler leaves such a layer to the CPU
                return self._plain(x, call)
            self._held = {other: i for other, i in self._held.items() if other[0] != call} | {key: made}
        return to_reals(self._held[key](to_integers(x, params)), out)

    def _made(self, params: Params, out: Params, call: int) -> Instruction | WideInstruction:
        steps, scale, bias = self.integer_weights()
        grid = self.bias_grid(scale, call)
        reals = None if bias is None else self.bias_integers(bias, grid).double() * grid.double()
        repeats = self.product.channels(steps) // len(scale)
        kind = WideInstruction if params.wide or out.wide else Instruction
        return kind(self.product, steps, scale.repeat(repeats), reals, params, out)

    # ---- quantisation

    def fake_quantised(self, weight: Tensor, bias: Tensor | None, call: int) -> tuple[Tensor, Tensor | None]:
        """Folded weight and bias as their integers will mean them."""
        scale = self.weight_scales(weight, bias)
        quantised = self._fake_quantised(weight, scale)
        if bias is None:
            return quantised, None
        grid = self.bias_grid(scale, call)
        real = self.bias_integers(bias.detach(), grid).float() * grid
        return quantised, real + (bias - bias.detach())  # the gradient is that of the bias

    def _fake_quantised(self, weight: Tensor, scale: Tensor) -> Tensor:
        assert self.grid is not None
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return fake_quantize(weight, scale, zero, self.product.axis, self.grid.low, self.grid.high)

    def weight_scales(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """float32 scale per index of the channel axis, not below the floor that the integer arithmetic sets."""
        assert self.grid is not None
        learned = self.scale_mode == "learned"
        scale = torch.exp2(self.log_weight_scale) if learned else self._peaks(weight.detach())
        return torch.maximum(scale, self._floor(scale.detach(), bias))

    @torch.no_grad()
    def _peaks(self, weight: Tensor) -> Tensor:
        assert self.grid is not None
        rows = weight.movedim(self.product.axis, 0).flatten(1)
        peak = rows.abs().amax(1) / self.grid.high
        if self.scale_mode == "max":
            return peak.clamp(min=SMALLEST_SCALE)
        best, error = peak, torch.full_like(peak, torch.inf)
        for share in _SHARES.tolist():
            scale = (peak * share).clamp(min=SMALLEST_SCALE)
            steps = (rows / scale[:, None]).round().clamp(self.grid.low, self.grid.high)
            found = ((steps * scale[:, None] - rows) ** 2).sum(1)
            best, error = torch.where(found < error, scale, best), torch.minimum(found, error)
        return best.clamp(min=SMALLEST_SCALE)

    @torch.no_grad()
    def _floor(self, scale: Tensor, bias: Tensor | None) -> Tensor:
        """Below it a channel's shift or bias would not fit the integer arithmetic (`ptq.weights.weight_scales`)."""
        floor = torch.full_like(scale, SMALLEST_SCALE)
        for source, result in self.calls:
            step = source.positive_scale()
            if result is not None:
                floor = torch.maximum(floor, SMALLEST_RATIO * result.positive_scale() / step)
            if bias is not None:
                largest = bias.abs().reshape(-1, len(scale)).amax(0)
                floor = torch.maximum(floor, largest / (step * BIAS_LEVELS))
        return torch.maximum(floor, torch.maximum(scale, floor).max() * SMALLEST_SHARE)

    @torch.no_grad()
    def bias_grid(self, scale: Tensor, call: int) -> Tensor:
        """float32 step of the accumulator per output channel."""
        repeats = self.product.channels(self.weight) // len(scale)
        grid = self.calls[call][0].positive_scale().double() * scale.double()
        return grid.repeat(repeats).float()

    @staticmethod
    @torch.no_grad()
    def bias_integers(bias: Tensor, grid: Tensor) -> Tensor:
        """int32 floor(bias / grid + 1/2)."""
        return torch.floor(bias.double() / grid.double() + 0.5).to(torch.int32)


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(some, others, strict=True)
    )


class FrozenWeighted(nn.Module):
    """A weighted layer as it is exported: integers and their dequantisation."""

    def __init__(self, layer: Weighted) -> None:
        super().__init__()
        self.name, self.product = layer.name, layer.product
        with torch.no_grad():
            weight, bias = layer.folded()
        self.quantised = layer.grid is not None
        self.has_bias = bias is not None
        if layer.grid is None:
            self.register_buffer("weight", weight.detach().clone())
            self.register_buffer("bias", None if bias is None else bias.detach().clone())
            return
        steps, scale, bias = layer.integer_weights()
        self._hold("weight", steps, scale.clone())
        for call in range(len(layer.calls) if bias is not None else 0):
            assert bias is not None
            grid = layer.bias_grid(scale, call)
            self._hold(f"bias{call}", layer.bias_integers(bias, grid), grid)

    def _hold(self, name: str, integers: Tensor, scale: Tensor) -> None:
        self.register_buffer(name, integers)
        self.register_buffer(f"{name}_scale", scale)
        self.register_buffer(f"{name}_zero_point", torch.zeros_like(scale, dtype=integers.dtype))

    def _real(self, name: str, axis: int) -> Tensor:
        held = (getattr(self, name + part) for part in ("", "_scale", "_zero_point"))
        real: Tensor = dequantize(*held, axis)
        return real

    def forward(self, x: Tensor, call: int = 0) -> Tensor:
        if not self.quantised:
            return self.product(x, self.weight, self.bias)
        bias = self._real(f"bias{call}", 0) if self.has_bias else None
        return self.product(x, self._real("weight", self.product.axis), bias)


class ConstantQuantiser(nn.Module):
    """int8 quantisation of a constant operand, such as a position embedding: symmetric, one scale."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.state = State.FLOAT

        self.scale = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        if self.state not in QUANTISING:
            return x
        self.scale = (x.detach().abs().amax() / 127).clamp(min=SMALLEST_SCALE)
        return fake_quantize(x, self.scale, torch.zeros((), dtype=torch.int32, device=x.device), -1, -127, 127)

    zero_point = 0

    def positive_scale(self) -> Tensor:
        """The scale of the last call."""
        return self.scale
