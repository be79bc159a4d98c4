"""From the statistics of a tensor to scale and zero point."""

from __future__ import annotations

import numpy as np

from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Statistics

_PERCENTILE = 99.999
_SMALLEST_SCALE = 2.0**-64
_SCALE_OF_ZERO = 2.0**-8  # of a tensor that was always zero


def parameters(low: float, high: float, symmetric: bool) -> QuantParams:
    """int8 parameters for the reals [low, high], which include 0; zero is a level. Symmetric: zero point 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return QuantParams.per_tensor(_SCALE_OF_ZERO, 0 if symmetric else -128)
    if symmetric:
        return QuantParams.per_tensor(max(-low / 128, high / 127, _SMALLEST_SCALE))
    scale = max((high - low) / 255, _SMALLEST_SCALE)
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return QuantParams.per_tensor(scale, zero_point)


def parameters16(low: float, high: float) -> QuantParams:
    """int16 parameters, zero point 0, for the reals [low, high]."""
    largest = max(-low / 32768, high / 32767, _SMALLEST_SCALE)
    return QuantParams.per_tensor(largest if low < high else _SCALE_OF_ZERO, 0, "int16")


def choose16(statistics: Statistics, calibration: str) -> QuantParams:
    """int16 parameters of one group: the extremes seen, because steps are so fine; "percentile" clips all the same."""
    low, high = statistics.low, statistics.high
    if calibration == "percentile" and high > low:
        low, high = clipped(statistics, _PERCENTILE)
    return parameters16(low, high)


def choose(statistics: Statistics, calibration: str, symmetric: bool) -> QuantParams:
    """The parameters for one group.

    "max": the extremes seen. "percentile": 0.001 % of the values may clip. "auto": of these two the one with the
    smaller mean squared error over the histogram. Tighter percentiles have a smaller error still, and make the network
    worse: what they clip is rare and large, and matters.
    """
    widest = parameters(statistics.low, statistics.high, symmetric)
    if calibration == "max" or statistics.high <= statistics.low:
        return widest
    clipped_range = parameters(*clipped(statistics, _PERCENTILE), symmetric)
    if calibration == "percentile":
        return clipped_range
    return min(widest, clipped_range, key=lambda quant: squared_error(statistics, quant))


def clipped(statistics: Statistics, percentile: float) -> tuple[float, float]:
    """Limits that leave out the share 1 - percentile of the values, half of it at each end that has values."""
    share = np.cumsum(statistics.counts) / max(statistics.counts.sum(), 1)
    tail = (1 - percentile / 100) / 2
    edges = np.linspace(statistics.low, statistics.high, len(statistics.counts) + 1)
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1 - tail, side="left"))
    return min(float(edges[first]), 0.0), max(float(edges[min(last + 1, len(edges) - 1)]), 0.0)


def squared_error(statistics: Statistics, quant: QuantParams) -> float:
    """Mean squared error of quantising the histogram: clamp and rounding error together."""
    x = statistics.centres
    level = np.clip(np.rint(x / quant.s) + quant.z, quant.qmin, quant.qmax)
    inside = (level > quant.qmin) & (level < quant.qmax)
    # Bins are narrower than steps: rounding error is uniform inside, clamp error is measured.
    error = np.where(inside, quant.s**2 / 12, ((level - quant.z) * quant.s - x) ** 2)
    return float(error @ statistics.counts / max(statistics.counts.sum(), 1))
