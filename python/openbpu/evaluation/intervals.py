"""Confidence intervals: Wilson's for shares, the bootstrap for everything else and for paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

RESAMPLES = 1000
FEW_RESAMPLES = 200  # of a function that may be slow
Interval = tuple[float, float]


def wilson(hits: int, count: int, confidence: float) -> Interval:
    """Wilson's score interval of a share of independent samples (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = hits / count
    centre = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (centre - reach) / scale, (centre + reach) / scale


def bootstrap(
    values: Sequence[Callable[[np.ndarray], float]], count: int, confidence: float, resamples: int
) -> list[tuple[Interval, Interval]]:
    """For each of some statistics its interval, and that of its difference to the first one.

    A statistic takes the indices of a resample of `count` samples; all see the same resamples, so that differences are
    paired. Percentile method (Efron 1979), seeded: the same every time.
    """
    random = np.random.default_rng(0)
    drawn = [random.integers(0, count, count) for _ in range(resamples)]
    table = np.array([[value(indices) for indices in drawn] for value in values])
    tails = (0.5 - confidence / 2, 0.5 + confidence / 2)

    def limits(row: np.ndarray) -> Interval:
        low, high = np.quantile(row, tails)
        return float(low), float(high)

    return [(limits(row), limits(row - table[0])) for row in table]
