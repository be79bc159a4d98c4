"""Chooses the ranges of activations: tensor by tensor by measured error, and one method for all tensors beside that."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from openbpu.ir.onnx_graph import reads
from openbpu.ir.quant import QuantParams
from openbpu.ptq import output_error
from openbpu.ptq.calibration import Progress
from openbpu.ptq.forms import Ground, Ranges
from openbpu.ptq.parallel import side_by_side
from openbpu.ptq.ranges import around, candidates, is_mask, squared_error
from openbpu.ptq.samples import SampleStream

UNIFORM = ("max", "percentile", "mse")  # methods for all tensors that "auto" must not be worse than


def chosen(ground: Ground, samples: SampleStream, scales: bool, progress: Progress) -> dict[str, QuantParams]:
    """Of each group the best that the method proposes; with `scales` that, or one near it where this is better.

    The best is what leaves the consumers the least error; without one, what has the least error itself.
    """
    calibration, percentile = ground.options.calibration, ground.options.percentile
    with side_by_side() as run_all:
        lists: list[list[QuantParams]] = run_all(
            partial(candidates, statistics, calibration, ground.symmetric(group), percentile)
            for group, statistics in ground.statistics.items()
        )
    proposed = dict(zip(ground.statistics, lists, strict=True))

    def near(group: str, quant: QuantParams) -> list[QuantParams]:
        statistics = ground.statistics[group]
        if not scales or statistics.high <= statistics.low or is_mask(statistics):
            return []
        return around(quant, ground.symmetric(group))

    measured = output_error.judged(ground.model, samples, ground.placement, proposed, progress, near)
    best = {}
    for group, found in proposed.items():
        if group in measured:
            best[group] = measured[group].best
        else:
            error = partial(squared_error, ground.statistics[group])
            first = min(found, key=error)
            best[group] = min((first, *near(group, first)), key=error)
    return best


@dataclass(frozen=True)
class Rival:
    """Ranges of all groups that are simpler than what was chosen; `scaled`: those of int8 copies are as chosen."""

    ranges: Ranges
    scaled: bool


def simpler(ground: Ground, ranges: Ranges, scales: bool) -> list[Rival]:
    """One method for all groups: with "auto" each of UNIFORM, else what calibration names, if `scales` changed that.

    In mixtures each with its own ranges of the int8 copies of int16 groups, and with those that were chosen.
    """
    calibration, copied = ground.options.calibration, _copied(ground)
    if calibration != "auto" and not scales:
        return []
    unread = ground.placement.wide - copied
    found = []
    for of in ground.uniform(UNIFORM if calibration == "auto" else (calibration,)).values():
        found += [Rival(of | _only(ranges, unread), False), Rival(of | _only(ranges, unread | copied), True)]
    known = [ranges, *(rival.ranges for rival in found)]
    return [rival for k, rival in enumerate(found) if rival.ranges not in known[: k + 1]]


def _copied(ground: Ground) -> set[str]:
    """The int16 groups of which int8 nodes read copies."""
    groups, narrow = ground.placement.groups, ground.placement.narrow
    read = {groups.get(name) for node in ground.model.graph.node if node.name in narrow for name in reads(node)}
    return {group for group in read if group in ground.placement.wide}


def _only(ranges: Ranges, groups: Collection[str]) -> dict[str, QuantParams]:
    return {group: quant for group, quant in ranges.items() if group in groups}
