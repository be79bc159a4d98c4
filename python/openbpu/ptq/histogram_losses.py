"""What quantising the values of a histogram loses, for many parameters at a time.

Bins rise, so do the levels that they go to: what a level takes is a difference of running sums, and a set of parameters
costs as many steps as it has levels instead of one per bin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Statistics


class SquaredErrors:
    """Mean squared errors: clamp and rounding error together."""

    def __init__(self, statistics: Statistics) -> None:
        counts = statistics.counts / max(statistics.counts.sum(), 1)
        self._centres = statistics.centres
        self._moments = np.stack([_running(counts * self._centres**power) for power in range(3)])

    def __call__(self, quants: Sequence[QuantParams]) -> np.ndarray:
        # Bins are narrower than steps: rounding error is uniform inside, clamp error is measured.
        steps, ends = _steps(quants), np.array([[(q.qmin - q.z) * q.s, (q.qmax - q.z) * q.s] for q in quants])
        below = self._moments[:, np.searchsorted(self._centres, ends[:, 0] + steps / 2)]
        within = self._moments[:, np.searchsorted(self._centres, ends[:, 1] - steps / 2)]
        error = (within - below)[0] * steps**2 / 12
        for (n, x, xx), end in ((below, ends[:, 0]), (self._moments[:, -1:] - within, ends[:, 1])):
            error += xx - 2 * end * x + end**2 * n
        return np.asarray(error)


class Divergences:
    """Kullback-Leibler divergences of the histogram after quantising from the one before, what clips included.

    Values of one level count as spread over the bins that had any. Infinite if a level took values where none were.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._centres, self._counts = statistics.centres, _without_zeros(statistics)
        self._mass, self._filled = _running(self._counts), _running(self._counts > 0)
        self._own = _running(_by_logarithm(self._counts))

    def __call__(self, quants: Sequence[QuantParams]) -> np.ndarray:
        steps = _steps(quants)
        levels = np.array([[q.qmin - q.z, q.qmax - q.z] for q in quants])
        # What lies further beyond the range than a step clips: it counts in the outermost bins of the range.
        first = np.searchsorted(self._centres, (levels[:, 0] - 1) * steps, "left")
        behind = np.searchsorted(self._centres, (levels[:, 1] + 1) * steps, "right")
        edges = (levels[:, :1] + np.arange(1, quants[0].qmax - quants[0].qmin + 1) - 0.5) * steps[:, None]
        starts = np.concatenate((first[:, None], np.searchsorted(self._centres, edges), behind[:, None]), axis=1)
        starts = np.clip(starts, first[:, None], behind[:, None])
        kept, filled = np.diff(self._mass[starts]), np.diff(self._filled[starts])
        before, own = kept.copy(), self._own[behind] - self._own[first]
        rows = np.arange(len(quants))
        tails = self._mass[first], self._mass[-1] - self._mass[behind]
        same = first == behind - 1  # one bin takes both
        tails = (np.where(same, tails[0] + tails[1], tails[0]), np.where(same, 0.0, tails[1]))
        for place, tail in zip((first, behind - 1), tails, strict=True):
            level = (starts <= place[:, None]).sum(axis=1) - 1
            here = self._counts[place]
            before[rows, level] += tail
            filled[rows, level] += (here == 0) & (tail > 0)
            own += _by_logarithm(here + tail) - _by_logarithm(here)
        total, mass = kept.sum(axis=1), self._mass[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            after = np.maximum(kept / (filled * total[:, None]), 1e-12)
            found = (own - np.where(before > 0, before * np.log(after), 0.0).sum(axis=1)) / mass - np.log(mass)
        return np.where(total > 0, found, np.inf)


def _steps(quants: Sequence[QuantParams]) -> np.ndarray:
    return np.array([quant.s for quant in quants])


def _running(values: np.ndarray) -> np.ndarray:
    return np.concatenate(([0.0], np.cumsum(values)))


def _by_logarithm(counts: np.ndarray) -> np.ndarray:
    """n log n."""
    return np.asarray(counts * np.log(np.where(counts > 0, counts, 1.0)))


def _without_zeros(statistics: Statistics) -> np.ndarray:
    """The counts, that of the bin around zero replaced by its neighbours' mean.

    Exact zeros, half of all values behind a ReLU, are kept by any scale; spread over a level they would decide alone.
    """
    counts = statistics.counts.astype(np.float64)
    width = (statistics.high - statistics.low) / len(counts)
    zero = min(max(int(-statistics.low / width), 0), len(counts) - 1)
    counts[zero] = counts[max(zero - 2, 0) : zero + 3].sum() - counts[zero]
    counts[zero] /= max(min(zero, 2) + min(len(counts) - 1 - zero, 2), 1)
    return counts
