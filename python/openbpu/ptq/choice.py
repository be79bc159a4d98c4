"""Chooses the ranges of activations: tensor by tensor by measured error, and one method for all tensors beside that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openbpu.ir.quant import QuantParams
from openbpu.ptq import output_error
from openbpu.ptq.calibration import Progress
from openbpu.ptq.forms import Ground, Ranges
from openbpu.ptq.ranges import around, candidates, is_mask, squared_error
from openbpu.ptq.samples import SampleStream

UNIFORM = ("max", "percentile", "mse")  # methods for all tensors that `auto` must not be worse than


def chosen(ground: Ground, samples: SampleStream, progress: Progress) -> dict[str, QuantParams]:
    """Of each group the best that the method proposes."""
    calibration, percentile = ground.options.calibration, ground.options.percentile
    proposed = {
        group: candidates(statistics, calibration, ground.symmetric(group), percentile)
        for group, statistics in ground.statistics.items()
    }
    return _best(ground, samples, proposed, progress)


def scaled(ground: Ground, samples: SampleStream, ranges: Ranges, progress: Progress) -> dict[str, QuantParams]:
    """The ranges, or others near them where these are better."""
    near = {
        group: around(quant, ground.symmetric(group))
        for group, quant in ranges.items()
        if ground.statistics[group].high > ground.statistics[group].low and not is_mask(ground.statistics[group])
    }
    return {**ranges, **_best(ground, samples, near, progress)}


def uniform(ground: Ground, ranges: Ranges) -> list[dict[str, QuantParams]]:
    """By each of the simple methods the ranges of all groups; int8 copies of int16 groups keep theirs."""
    copies = {group: quant for group, quant in ranges.items() if group in ground.placement.wide}
    return [found | copies for found in ground.uniform(UNIFORM).values()]


def _best(
    ground: Ground, samples: SampleStream, proposed: Mapping[str, Sequence[QuantParams]], progress: Progress
) -> dict[str, QuantParams]:
    """Of each group the candidate with the least error at its consumers; without one, with the least of its own."""
    open_groups = {g: found for g, found in proposed.items() if len(found) > 1}
    measured = {}
    if open_groups:
        measured = output_error.errors(ground.model, samples, ground.placement, open_groups, progress)
    best = {}
    for group, found in proposed.items():
        losses = measured.get(group)
        if losses is None:
            losses = np.array([squared_error(ground.statistics[group], quant) for quant in found])
        best[group] = found[int(np.argmin(losses))]
    return best
