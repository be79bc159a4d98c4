"""Observers: what they see of a tensor during calibration, and the range of reals that they choose from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from openbpu.errors import ConfigError, SampleError
from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Statistics
from openbpu.ptq.ranges import clipped, squared_error
from openbpu.qat.grids import Grid, parameters

_BINS = 8192  # on both sides of zero together
_PERCENTILE = 99.999
_AVERAGING = 0.01
_FACTORS = np.linspace(1.0, 0.2, 81)  # shares of the range that the searches try
Range = tuple[Tensor, Tensor]


class Observer(nn.Module):
    """Base: the extremes of everything seen."""

    low: Tensor
    high: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, x: Tensor, name: str = "tensor") -> None:
        """Takes one more tensor into account. Raises SampleError if it is not finite."""
        if not x.numel():
            return
        low, high = (e.float() for e in torch.aminmax(x.detach()))
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise SampleError(
                "values are finite", where=f"'{name}'", seen=f"{float(low):g} .. {float(high):g}",
                remedy="look for NaN or infinity in the samples and in the float model",
            )  # fmt: skip
        self._update(x, low, high)
        self.count += 1

    def _update(self, x: Tensor, low: Tensor, high: Tensor) -> None:
        self.low.copy_(torch.minimum(self.low, low))
        self.high.copy_(torch.maximum(self.high, high))

    def reset(self) -> None:
        """Forgets everything."""
        for buffer in self.buffers():
            buffer.zero_()

    def limits(self, grid: Grid, symmetric: bool) -> Range:
        """The range that the quantiser should cover."""
        return self.low, self.high


class MinMax(Observer):
    """The extremes of everything seen."""


class MovingAverage(Observer):
    """Averages of the extremes of each tensor; later ones weigh `constant`."""

    def __init__(self, constant: float = _AVERAGING) -> None:
        super().__init__()
        self.constant = constant

    def _update(self, x: Tensor, low: Tensor, high: Tensor) -> None:
        share = torch.where(self.count == 0, 1.0, self.constant)
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)


class Fixed(Observer):
    """A given range; nothing is observed."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low.fill_(min(low, 0.0))
        self.high.fill_(max(high, 0.0))

    def _update(self, x: Tensor, low: Tensor, high: Tensor) -> None: ...

    def reset(self) -> None:
        self.count.zero_()


class Histogram(Observer):
    """A histogram over zero-centred bins whose width doubles when the range outgrows them, so that one pass is enough.

    `method` chooses the range: "auto" (as `openbpu.quantize`: extremes or percentile, by squared error), "percentile",
    "mse" (least squared error), "kl" (least Kullback-Leibler divergence). Another may be chosen later, without data.
    """

    counts: Tensor
    width: Tensor

    def __init__(self, method: str = "auto", percentile: float = _PERCENTILE) -> None:
        super().__init__()
        if method not in _METHODS:
            raise ConfigError(f"one of {', '.join(_METHODS)}", where="observer method", seen=method)
        self.method, self.percentile = method, percentile
        self.register_buffer("counts", torch.zeros(_BINS, dtype=torch.float64))
        self.register_buffer("width", torch.zeros((), dtype=torch.float64))

    def _update(self, x: Tensor, low: Tensor, high: Tensor) -> None:
        super()._update(x, low, high)
        reach = float(torch.maximum(-self.low, self.high))
        if reach == 0:
            return
        half = _BINS // 2
        if float(self.width) == 0:
            self.width.fill_(2.0 ** np.ceil(np.log2(reach / half)))
        while reach > float(self.width) * half:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts.zero_()[_BINS // 4 : _BINS // 4 + half] = merged
            self.width.mul_(2)
        edge = float(self.width) * half
        self.counts += torch.histc(x.detach().float(), _BINS, -edge, edge).double()

    def limits(self, grid: Grid, symmetric: bool) -> Range:
        if self.high <= self.low or float(self.width) == 0:
            return self.low, self.high
        counts = self.counts.cpu().numpy()
        filled = np.flatnonzero(counts)
        first, last = int(filled[0]), int(filled[-1]) + 1
        edges = (np.array([first, last]) - _BINS // 2) * float(self.width)
        statistics = Statistics(float(edges[0]), float(edges[1]), counts[first:last])
        widest = float(self.low), float(self.high)
        low, high = _METHODS[self.method](self, statistics, widest, grid, symmetric)
        return torch.tensor(low, device=self.low.device), torch.tensor(high, device=self.low.device)


_Pair = tuple[float, float]


def _params(limits: _Pair, grid: Grid, symmetric: bool) -> QuantParams:
    scale, zero = parameters(torch.tensor(limits[0]), torch.tensor(limits[1]), grid, symmetric)
    return QuantParams.per_tensor(float(scale), int(zero), grid.name)


def _within(limits: _Pair, widest: _Pair) -> _Pair:
    return max(limits[0], min(widest[0], 0.0)), min(limits[1], max(widest[1], 0.0))


def _percentile(observer: Histogram, statistics: Statistics, widest: _Pair, grid: Grid, symmetric: bool) -> _Pair:
    return _within(clipped(statistics, observer.percentile), widest)


def _auto(observer: Histogram, statistics: Statistics, widest: _Pair, grid: Grid, symmetric: bool) -> _Pair:
    candidates = (widest, _percentile(observer, statistics, widest, grid, symmetric))
    return min(candidates, key=lambda limits: squared_error(statistics, _params(limits, grid, symmetric)))


def _least(statistics: Statistics, widest: _Pair, cost: Callable[[_Pair], float]) -> _Pair:
    return min(((widest[0] * f, widest[1] * f) for f in _FACTORS), key=cost)


def _mse(observer: Histogram, statistics: Statistics, widest: _Pair, grid: Grid, symmetric: bool) -> _Pair:
    return _least(statistics, widest, lambda limits: squared_error(statistics, _params(limits, grid, symmetric)))


def _kl(observer: Histogram, statistics: Statistics, widest: _Pair, grid: Grid, symmetric: bool) -> _Pair:
    if grid.high - grid.low >= _BINS:
        return widest  # a level for every bin: no range diverges
    return _least(statistics, widest, lambda limits: _divergence(statistics, _params(limits, grid, symmetric)))


def _divergence(statistics: Statistics, quant: QuantParams) -> float:
    """Kullback-Leibler divergence of the quantised histogram from that of the clamped values."""
    x, counts = statistics.centres, statistics.counts
    level = np.clip(np.rint(x / quant.s) + quant.z, quant.qmin, quant.qmax).astype(np.int64) - quant.qmin
    inside = np.abs((level + quant.qmin - quant.z) * quant.s - x) <= quant.s
    if not inside.any():
        return np.inf
    p = np.where(inside, counts, 0.0)
    first, last = np.flatnonzero(inside)[[0, -1]]
    p[first] += counts[:first].sum()  # what is clamped lies in the last bins
    p[last] += counts[last + 1 :].sum()
    used = inside & (counts > 0)
    total = np.bincount(level[used], counts[used], minlength=quant.qmax - quant.qmin + 1)
    bins = np.bincount(level[used], minlength=len(total))
    q = np.where(used, total[level] / np.maximum(bins[level], 1), 0.0)
    both = (p > 0) & (q > 0)
    p, q = p / p.sum(), q / q.sum()
    return float((p[both] * np.log(p[both] / q[both])).sum())


_Choice = Callable[[Histogram, Statistics, _Pair, Grid, bool], _Pair]
_METHODS: dict[str, _Choice] = {"auto": _auto, "percentile": _percentile, "mse": _mse, "kl": _kl}

_OBSERVERS: dict[str, Callable[[], Observer]] = {
    "minmax": MinMax,
    "moving": MovingAverage,
    **{method: partial(Histogram, method) for method in _METHODS},
}


def observer(name: str) -> Observer:
    """A new observer: minmax, moving, auto, percentile, mse or kl. Raises ConfigError."""
    if name not in _OBSERVERS:
        raise ConfigError(f"one of {', '.join(_OBSERVERS)}", where="observer", seen=name)
    return _OBSERVERS[name]()
