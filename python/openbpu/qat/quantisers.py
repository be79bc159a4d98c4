"""Fake-quantisation of activations: a quantiser holds scale and zero point, a site is a place in the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from openbpu.errors import ConfigError
from openbpu.fake_quantisation import fake_quantize
from openbpu.qat.grids import Grid, parameters
from openbpu.qat.integers import Params
from openbpu.qat.observers import Fixed, Observer
from openbpu.qat.states import State

RANGES = ("moving", "fixed", "learned")
_AVERAGING = 0.01


class Quantiser(nn.Module):
    """Scale and zero point of one tensor, or of several that share them.

    `ranges` says what becomes of the range during training: "moving" follows the averaged extremes, "fixed" stays as
    calibrated, "learned" makes the scale a parameter (LSQ).
    """

    scale: Tensor  # unless it is learned
    zero_point: Tensor
    calibrated: Tensor

    def __init__(self, name: str, grid: Grid, observer: Observer, ranges: str, symmetric: bool) -> None:
        super().__init__()
        if ranges not in RANGES:
            raise ConfigError(f"one of {', '.join(RANGES)}", where="ranges", seen=ranges)
        self.name, self.grid, self.symmetric = name, grid, symmetric
        self.ranges = "fixed" if isinstance(observer, Fixed) else ranges
        self.observer = observer
        self.state = State.FLOAT
        if self.ranges == "learned":  # as an exponent of 2: steps of an optimiser are then relative to the scale
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))
        if isinstance(observer, Fixed):
            self.choose()

    def forward(self, x: Tensor) -> Tensor:
        if self.state is State.FLOAT:
            return x
        if x.dtype is not torch.float32:
            raise ConfigError(
                "tensors are float32", where=f"'{self.name}'", seen=x.dtype, remedy="leave mixed precision off"
            )
        if self.training != (self.state is State.TRAINING):
            mode = "train()" if self.training else "eval()"
            raise ConfigError(
                "the mode of the model must fit its state",
                where="openbpu.qat",
                seen=f"model.{mode} in state {self.state.value}",
                remedy="call openbpu.qat.set_state(model, state), which sets both",
            )
        if self.state is State.CALIBRATION:
            self.observer.observe(x, self.name)
            return x
        if self.state is State.TRAINING and self.ranges == "moving":
            self._follow(x)
        scale, zero = self.positive_scale(), self.zero_point
        if self.state is State.TRAINING and self.ranges == "moving":
            scale, zero = scale.clone(), zero.clone()  # the next tensor moves them before the gradient needs them
        return fake_quantize(x, scale, zero, -1, self.grid.low, self.grid.high)

    def check(self) -> None:
        """Raises ConfigError if there is no range yet, or one that no calibration gives."""
        if not bool(self.calibrated):
            raise ConfigError(
                "a model must be calibrated before it is quantised", where=f"'{self.name}'", seen="no range",
                remedy="run some samples with openbpu.qat.calibrate, or load a state_dict of a calibrated model",
            )  # fmt: skip
        scale, zero = float(self.positive_scale().detach()), int(self.zero_point)
        if not (0 < scale < float("inf") and self.grid.low <= zero <= self.grid.high):
            raise ConfigError(
                f"a scale is positive and finite, a zero point in {self.grid.low} .. {self.grid.high}",
                where=f"'{self.name}'", seen=f"scale {scale:g}, zero point {zero}",
                remedy="load another checkpoint, or calibrate anew",
            )  # fmt: skip

    def positive_scale(self) -> Tensor:
        """The scale, with its gradient if it is learned."""
        return torch.exp2(self.log_scale) if self.ranges == "learned" else self.scale

    def _set_scale(self, scale: Tensor) -> None:
        if self.ranges == "learned":
            self.log_scale.copy_(torch.log2(scale))
        else:
            self.scale.copy_(scale)

    @torch.no_grad()
    def choose(self) -> None:
        """Takes the range from the observer."""
        self._cover(*self.observer.limits(self.grid, self.symmetric))
        self.calibrated.fill_(True)

    @torch.no_grad()
    def cover(self, low: float, high: float) -> None:
        """Takes a range; the quantiser counts as calibrated."""
        self._cover(*(torch.tensor(edge, device=self.zero_point.device) for edge in (low, high)))
        self.calibrated.fill_(True)

    @torch.no_grad()
    def set_parameters(self, scale: float, zero_point: int) -> None:
        """Sets scale and zero point; the quantiser counts as calibrated."""
        self._set_scale(torch.tensor(scale))
        self.zero_point.fill_(zero_point)
        self.calibrated.fill_(True)

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        low, high = ((edge - self.zero_point) * self.positive_scale() for edge in (self.grid.low, self.grid.high))
        extremes = zip((low, high), torch.aminmax(x.detach()), strict=True)
        # A batch that is not finite spoils its loss, but not the range for good.
        self._cover(*(old.lerp(torch.where(new.isfinite(), new, old), _AVERAGING) for old, new in extremes))

    def _cover(self, low: Tensor, high: Tensor) -> None:
        scale, zero = parameters(low, high, self.grid, self.symmetric)
        self._set_scale(scale)
        self.zero_point.copy_(zero)

    def extra_repr(self) -> str:
        scale = float(self.positive_scale().detach())
        return f"{self.name}: {self.grid.name}, scale={scale:.4g}, zero_point={int(self.zero_point)}"


class Site(nn.Module):
    """A place in the graph whose tensor is quantised; sites that share parameters share the quantiser.

    `reach` is the largest magnitude seen there during calibration, 0 if nobody needs it (`watched`).
    """

    reach: Tensor

    def __init__(self, name: str, quantiser: Quantiser) -> None:
        super().__init__()
        self.name = name
        self.quantiser = quantiser
        self.watched = False
        self.register_buffer("reach", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.watched and self.quantiser.state is State.CALIBRATION:
            self.reach.copy_(torch.maximum(self.reach, x.detach().abs().amax().float()))
        return self.quantiser(x)


class FrozenSite(nn.Module):
    """A site as it is exported: nothing but the operator."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.name, self.grid = site.name, site.quantiser.grid
        self.register_buffer("scale", site.quantiser.positive_scale().detach().clone())
        self.register_buffer("zero_point", site.quantiser.zero_point.to(self.grid.storage))

    def forward(self, x: Tensor) -> Tensor:
        return fake_quantize(x, self.scale, self.zero_point, -1, self.grid.low, self.grid.high)


# ---- reals and integers


def to_integers(x: Tensor, params: Params) -> Tensor:
    """int32 steps of reals that lie on a grid."""
    scale = torch.tensor(params.scale, dtype=torch.float32, device=x.device)
    return torch.div(x, scale).round_().int() + params.zero


def to_reals(q: Tensor, params: Params) -> Tensor:
    """float32 reals of steps."""
    return (q - params.zero).float() * torch.tensor(params.scale, dtype=torch.float32, device=q.device)


def params_of(source: Any) -> Params:
    """The parameters of a tensor from its quantiser."""
    wide = isinstance(source, Quantiser) and source.grid.name == "int16"
    return Params(float(source.positive_scale().detach()), int(source.zero_point), wide)
