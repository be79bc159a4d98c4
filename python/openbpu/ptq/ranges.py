"""From the statistics of a tensor to scale and zero point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Statistics
from openbpu.ptq.histogram_losses import Divergences, SquaredErrors

METHODS = ("max", "percentile", "tight", "mse", "kl")
PERCENTILE = 0.99999  # share of the values that do not clip
_SMALLEST_SCALE = 2.0**-64
_SCALE_OF_ZERO = 2.0**-8  # of a tensor that was always zero
_CUTS = (0.5, 0.25)
_LEAST_END = 0.1  # of the other end: a shorter one is not worth a cut
_ALIKE = 0.04
_SHARES = tuple(1.03**-k for k in range(100))  # of the extremes: down to 5 %
_SLACK = 1e-12  # of the largest loss: what running sums may be wrong by

Losses = Callable[[Sequence[QuantParams]], np.ndarray]


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


def choose16(statistics: Statistics, calibration: str, percentile: float) -> QuantParams:
    """int16 parameters of one group: the extremes seen, because steps are so fine; "percentile" clips all the same."""
    low, high = statistics.low, statistics.high
    if is_mask(statistics):
        return QuantParams.per_tensor(_power_of_two(max(-low / 32768, high / 32767)), 0, "int16")
    if calibration == "percentile" and high > low:
        low, high = clipped(statistics, 100 * percentile)
    return parameters16(low, high)


def candidates(statistics: Statistics, calibration: str, symmetric: bool, percentile: float) -> list[QuantParams]:
    """The parameters that a method proposes for one group: one, or several different ones for "auto".

    "max": the extremes seen. "percentile": the share 1 - `percentile` of the values may clip. "mse": least mean squared
    error of the values. "kl": least divergence of the distribution after quantisation from the one before (Migacz,
    8-bit inference with TensorRT, 2017; here both ends of the range move). "auto": all of these, and a tighter
    percentile.
    """
    if calibration != "auto":
        return [by_method(statistics, (calibration,), symmetric, percentile)[calibration]]
    found = by_method(statistics, METHODS, symmetric, percentile)
    cut = [] if statistics.high <= statistics.low or is_mask(statistics) else _cut(statistics, symmetric)
    return distinct([*found.values(), *cut])


def by_method(
    statistics: Statistics, methods: Collection[str], symmetric: bool, percentile: float
) -> dict[str, QuantParams]:
    """The parameters that each of these methods proposes for one group, of METHODS; masks keep their values."""
    widest = parameters(statistics.low, statistics.high, symmetric)
    if statistics.high <= statistics.low:
        return dict.fromkeys(methods, widest)
    if is_mask(statistics):
        scale = _power_of_two(widest.s)
        exact = QuantParams.per_tensor(scale, 0 if symmetric else round(-128 - statistics.low / scale))
        return dict.fromkeys(methods, exact)
    found: dict[str, Callable[[], QuantParams]] = {
        "max": lambda: widest,
        "percentile": lambda: parameters(*clipped(statistics, 100 * percentile), symmetric),
        "tight": lambda: parameters(*clipped(statistics, 100 - 1000 * (1 - percentile)), symmetric),
        "mse": lambda: searched(statistics, SquaredErrors(statistics), symmetric),
        "kl": lambda: searched(statistics, Divergences(statistics), symmetric),
    }
    return {method: found[method]() for method in methods}


def is_mask(statistics: Statistics) -> bool:
    """Whether a tensor has no values but 0 and 1, or 0 and -1: they must not be rounded.

    Models multiply 1 - mask by numbers near -3e38: a 1 that becomes 0.9999999 would mask everything.
    """
    ends = (statistics.low, statistics.high)
    return ends in ((0.0, 1.0), (-1.0, 0.0)) and not statistics.counts[1:-1].any()


def _power_of_two(scale: float) -> float:
    """The next power of two that is no smaller: whole numbers up to its reciprocal are levels."""
    return float(2.0 ** np.ceil(np.log2(scale)))


def _cut(statistics: Statistics, symmetric: bool) -> list[QuantParams]:
    """Ranges with one end moved in: SiLU, hard-swish and GELU make the same of all that lies beyond."""
    low, high = statistics.low, statistics.high
    if symmetric or min(-low, high) < max(-low, high) * _LEAST_END:
        return []
    return [parameters(low * a, high * b, False) for share in _CUTS for a, b in ((share, 1.0), (1.0, share))]


def around(quant: QuantParams, symmetric: bool) -> list[QuantParams]:
    """Parameters whose range begins or ends a little earlier or later."""
    low, high = (quant.qmin - quant.z) * quant.s, (quant.qmax - quant.z) * quant.s
    moves = ((1.1, 1.1), (0.9, 0.9), (0.8, 0.8), (0.75, 1.0), (1.0, 0.75))
    if symmetric:
        return [QuantParams.per_tensor(quant.s * a) for a, b in moves if a == b]
    return distinct([quant, *(parameters(low * a, high * b, False) for a, b in moves)])[1:]


def distinct(found: Iterable[QuantParams]) -> list[QuantParams]:
    """Without those that hardly differ from one before them."""
    kept: list[QuantParams] = []
    for quant in found:
        if not any(abs(quant.s / k.s - 1) < _ALIKE and abs(quant.z - k.z) <= 1 for k in kept):
            kept.append(quant)
    return kept


def searched(statistics: Statistics, losses: Losses, symmetric: bool) -> QuantParams:
    """The parameters of least loss: both ends of the range moved together first, then each alone."""
    low, high = statistics.low, statistics.high

    def at(shares: tuple[float, float]) -> QuantParams:
        return parameters(low * shares[0], high * shares[1], symmetric)

    def least(shares: list[tuple[float, float]]) -> tuple[float, float]:
        found = losses([at(pair) for pair in shares])
        # Tensors of few values have ties: the widest of them, whatever order sums were made in.
        slack = _SLACK * found.max(initial=0, where=np.isfinite(found))
        return shares[int(np.argmax(found <= found.min() + slack))]

    best = least([(share, share) for share in _SHARES])
    if low < 0 < high and not symmetric:
        for _ in range(2):
            best = least([(share, best[1]) for share in _SHARES])
            best = least([(best[0], share) for share in _SHARES])
    return at(best)


def clipped(statistics: Statistics, percentile: float) -> tuple[float, float]:
    """Limits that leave out the share 1 - percentile of the values, half of it at each end that has values."""
    share = np.cumsum(statistics.counts) / max(statistics.counts.sum(), 1)
    tail = (1 - percentile / 100) / 2
    edges = np.linspace(statistics.low, statistics.high, len(statistics.counts) + 1)
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1 - tail, side="left"))
    return min(float(edges[first]), 0.0), max(float(edges[min(last + 1, len(edges) - 1)]), 0.0)


def squared_error(statistics: Statistics, quant: QuantParams) -> float:
    """Mean squared error of quantising the histogram."""
    return float(SquaredErrors(statistics)([quant])[0])
