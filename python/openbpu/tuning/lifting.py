"""Which operators to lift to int16: chosen on predicted errors, without running anything.

What lifting an operator costs depends on what is lifted already: those that write its inputs write int16 then, and take
their 16-bit forms for it. The multiply-accumulates of the lifted may have a limit; the forms do not count there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openbpu.analyze.anatomy import COMPUTES
from openbpu.analyze.sensitivity import Errors, Source

_SLACK_DB = 0.05  # that pruning may cost
_NONE = 1e-30  # noise that nothing reaches
_ROUNDING = 1e-9  # of a sum of shares
_LITTLE = 1e-3  # share of the multiply-accumulates that being one more counts as


@dataclass(frozen=True)
class Candidate:
    """An operator that can be lifted: its source of error, what that costs (any unit), the groups that get wide."""

    source: int
    form: float  # its 16-bit form
    each: float  # its being one more
    touches: frozenset[str]
    share: float = 0.0  # of the multiply-accumulates

    @property
    def cost(self) -> float:
        """Of lifting it alone, its neighbours left out."""
        return self.form + self.each


def candidates(
    errors: Errors,
    liftable: Collection[str],
    costs: Mapping[str, float],
    each: float = 0.0,
    shares: Mapping[str, float] | None = None,
) -> list[Candidate]:
    """The units whose nodes are liftable; `costs` of their 16-bit forms by name of a unit's first node.

    `shares` of the multiply-accumulates, by node.
    """
    found = []
    for index, source in enumerate(errors.sources):
        unit = source.unit
        if unit is not None and unit.kind == COMPUTES and set(unit.nodes) & set(liftable):
            share = sum(shares.get(name, 0.0) for name in unit.nodes) if shares else 0.0
            found.append(Candidate(index, costs[unit.name], each, unit.touches, share))
    return found


class Lifting:
    """A growing set of lifted candidates and the noise that is left, as the errors predict it.

    `costs` are those of the 16-bit forms of all units, by name; `budget` is the share of the multiply-accumulates that
    may be lifted.
    """

    def __init__(
        self, errors: Errors, choices: Sequence[Candidate], costs: Mapping[str, float], budget: float = 1.0
    ) -> None:
        self.errors, self.choices, self.budget = errors, choices, budget
        self._products = errors.products[:, 1:, 1:]  # weights first, then sources
        own = {choice.source for choice in choices}
        self._forms = {k: costs[s.unit.name] for k, s in enumerate(errors.sources) if s.unit and s.unit.name in costs}
        self._writers: dict[str, list[int]] = defaultdict(list)
        for k in self._forms:
            unit = errors.sources[k].unit
            for group in unit.writes if unit else ():
                self._writers[group].append(k)
        self._passive = [k for k in range(len(errors.sources)) if k not in own]
        self.reset(())

    def reset(self, chosen: Collection[int]) -> None:
        """Starts with these candidates lifted (indices of `choices`)."""
        self.chosen = set(chosen)
        self._wide = {group for k in chosen for group in self.choices[k].touches}
        gone = {self.choices[k].source for k in chosen} | set(self._quieted(self._wide, ()))
        self._formed = {self.choices[k].source for k in chosen} | {w for g in self._wide for w in self._writers[g]}
        self._kept = np.array([True, *(k not in gone for k in range(len(self.errors.sources)))])
        self._sums = self._products @ self._kept.astype(np.float64)

    @property
    def noise(self) -> np.ndarray:
        """Predicted noise over signal of each output."""
        return np.asarray(np.maximum(self._sums[:, self._kept].sum(axis=1), _NONE) / self.errors.signals)

    def lift(self, index: int) -> None:
        """Lifts one more candidate."""
        self.reset({*self.chosen, index})

    def price(self, index: int) -> float:
        """What one more candidate costs: its own 16-bit form and those of the operators that write int16 for it.

        With a budget its share of the multiply-accumulates, of which there are not enough, and little more.
        """
        choice = self.choices[index]
        if self.budget < 1:
            return choice.share + _LITTLE
        writers = {w for group in choice.touches - self._wide for w in self._writers[group]}
        forms = ({choice.source} | writers) - self._formed
        return max(choice.each + sum(self._forms[k] for k in sorted(forms)), 1e-9)

    def after(self, index: int) -> np.ndarray:
        """The noise of each output if one more candidate is lifted."""
        choice = self.choices[index]
        gone = [choice.source, *self._quieted(self._wide | choice.touches, self._wide)]
        rows = [1 + k for k in gone if self._kept[1 + k]]
        inner = self._products[:, rows][:, :, rows].sum(axis=(1, 2))
        left = self._sums[:, self._kept].sum(axis=1) - 2 * self._sums[:, rows].sum(axis=1) + inner
        return np.asarray(np.maximum(left, _NONE) / self.errors.signals)

    def fitting(self) -> list[int]:
        """The candidates that may be lifted as well."""
        room = self.budget - sum(self.choices[k].share for k in self.chosen) + _ROUNDING
        return [k for k, choice in enumerate(self.choices) if k not in self.chosen and choice.share <= room]

    def path(self, goal: float) -> tuple[list[int], list[float]]:
        """Candidates in the order in which they are worth their cost, and the predicted dB before and after each.

        Until every output has `goal` dB the decibels that lack count, from then on all of them. It ends with what the
        budget has room for.
        """
        self.reset(())
        order: list[int] = []
        levels = [level(self.noise)]
        while left := self.fitting():
            limit = 10 ** (-goal / 10) if _missing(self.noise, 10 ** (-goal / 10)) > 0 else _NONE
            now = _missing(self.noise, limit)
            gains = [(now - _missing(self.after(k), limit)) / self.price(k) for k in left]
            order.append(left[int(np.argmax(gains))])
            self.lift(order[-1])
            levels.append(level(self.noise))
        return order, levels

    def pruned(self, chosen: Collection[int]) -> set[int]:
        """Of some candidates those that are needed for what they reach together; the dearest are taken back first."""
        self.reset(chosen)
        limits = self.noise * 10 ** (_SLACK_DB / 10)
        for k in sorted(self.chosen, key=lambda k: (-self.choices[k].cost, k)):
            before = set(self.chosen)
            self.reset(before - {k})
            if (self.noise > limits).any():
                self.reset(before)
        return set(self.chosen)

    def _quieted(self, wide: Collection[str], before: Collection[str]) -> list[int]:
        """Passive sources all of whose tensors are int16 now and were not before."""
        sources = self.errors.sources
        return [k for k in self._passive if _within(sources[k], wide) and not _within(sources[k], before)]


def _within(source: Source, wide: Collection[str]) -> bool:
    return bool(source.groups) and source.groups <= set(wide)


def _missing(noise: np.ndarray, limit: float) -> float:
    """Decibels that all outputs together lack."""
    return float(np.maximum(10 * np.log10(noise / limit), 0).sum())


def level(noise: np.ndarray) -> float:
    """SQNR of the worst output in dB."""
    return float(-10 * np.log10(noise.max()))
