"""Searches the fewest and cheapest nodes to lift: predicts, quantises, compiles, measures the executable, corrects.

First all int8, then all int16: what the target must lie between. The errors of all operators are measured once
(analyze/sensitivity.py) and give an order in which lifting them is worth its cost, and a prediction after each step. A
mixture that should reach the target is made and its executable run: what counts is that measurement. It corrects the
prediction for the next mixture, within a bounded number of rounds. With a budget of multiply-accumulates the best
mixture that it has room for comes first, and what reaches the target with less is looked for below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

import onnx

from openbpu.analyze.anatomy import Anatomy, Unit, node_macs
from openbpu.analyze.difference import Difference
from openbpu.analyze.sensitivity import Errors, float_outputs, measure_errors
from openbpu.errors import ConfigError
from openbpu.evaluation.metrics import Metric, resolved
from openbpu.evaluation.runners import EXECUTABLE, FLOAT, Feed, Runnable
from openbpu.perf import PerfReport
from openbpu.tuning.costs import COSTS, Weights, node_times
from openbpu.tuning.lifting import Lifting, candidates
from openbpu.tuning.regions import filled
from openbpu.tuning.report import SearchResult, Sensitivity, Trial

if TYPE_CHECKING:
    from openbpu.runtime import Executable

COSINE, SQNR = "cosine", "sqnr"
RECOVERY = "recovery"  # share of the noise that all int16 would take away
_ROUNDS = 8  # models that are quantised at most
_EXCESS_DB = 0.5  # more than this beyond the target: a cheaper mixture is looked for
_EVALUATED, _BYTES = 32, 512 << 20  # calibration samples that are measured, if no others are given; their outputs
_MOST_DB = 150.0  # of outputs without error
_BOUNDS = 2  # trials: all int8, all int16
_SHOWN, _MOST_SHOWN = 8, 32  # samples of the sensitivity; more than the least if they fit the budget
_BUDGET = 1.2e12  # multiplications that the sensitivity may take
_ROUNDING = 1e-9  # of a share

Progress = Callable[[str, int, int], None]
Attempt = tuple[onnx.ModelProto, "Executable"]
Types = dict[str, str]
Decided = Callable[[onnx.ModelProto], Collection[str]]


@dataclass(frozen=True)
class Goal:
    """A metric and the value that it must reach: "cosine" or "sqnr" (dB) of the worst output, or a function.

    "recovery" is the share of that output's noise that is gone, of what goes if all nodes are int16. A target of
    infinity asks for the best that a budget allows.
    """

    metric: str | Metric
    target: float

    @staticmethod
    def of(metric: object, target: float | None) -> Goal:
        """Checks the target; None is as good as it gets. Raises ConfigError."""
        name = metric if metric in (COSINE, SQNR, RECOVERY) else resolved(metric)  # type: ignore[arg-type]
        if target is None:
            return Goal(name, math.inf)
        if not isinstance(target, int | float) or isinstance(target, bool) or not math.isfinite(target):
            raise ConfigError("the target is a finite number", where="target", seen=target)
        if metric == COSINE and not -1 <= target < 1:
            raise ConfigError("a cosine that can be reached is below 1", where="target", seen=target)
        if metric == RECOVERY and not 0 < target < 1:
            raise ConfigError("a share of the noise lies between 0 and 1", where="target", seen=target)
        return Goal(name, float(target))

    @property
    def name(self) -> str:
        return self.metric.name if isinstance(self.metric, Metric) else self.metric

    @property
    def in_decibels(self) -> bool:
        """Whether a value says how much noise there is."""
        return not isinstance(self.metric, Metric)

    def decibels(self, value: float) -> float:
        """The signal over noise that belongs to a value; a metric of one's own stays as it is."""
        if self.metric != COSINE:
            return value
        return -10 * math.log10(min(max(1 / max(value, 1e-3) ** 2 - 1, 1e-6), 1e6))


@dataclass
class Judge:
    """Runs executables over the evaluation samples beside the float model."""

    model: onnx.ModelProto
    feeds: Sequence[Feed]
    labels: Sequence[Any] | None
    goal: Goal
    executor: Executor | None

    def __post_init__(self) -> None:
        self._names = float_outputs(self.model)
        runner = Runnable(FLOAT, self.model.SerializeToString())
        self._floats = [outputs for outputs, _ in runner.run(self.feeds, self.executor)]
        if isinstance(self.goal.metric, Metric):
            self.goal.metric(self._floats, self.references)  # a metric that fails does so before the long work

    @property
    def references(self) -> Sequence[Any]:
        return self._floats if self.labels is None else self.labels

    def measure(self, executable: Executable) -> tuple[float, float, float, float]:
        """Value, cosine and SQNR of the worst output, milliseconds."""
        differences = {name: Difference() for name in self._names}
        kept, times = [], []
        runner = Runnable(EXECUTABLE, executable.to_bytes())
        for reference, (outputs, seconds) in zip(self._floats, runner.run(self.feeds, self.executor), strict=True):
            for name in self._names:
                differences[name].add(reference[name], outputs[name])
            times.append(seconds)
            if isinstance(self.goal.metric, Metric):
                kept.append(outputs)
        cosine = min(d.cosine for d in differences.values())
        sqnr = min(d.sqnr for d in differences.values())
        if isinstance(self.goal.metric, Metric):
            value = self.goal.metric(kept, self.references)
        else:
            value = cosine if self.goal.metric == COSINE else sqnr
        return value, cosine, sqnr, median(times) * 1e3


def measured_samples(model: onnx.ModelProto, samples: Iterable[Feed], *, bounded: bool) -> list[Feed]:
    """The samples on which a search measures; if `bounded`, no more than it takes, and no more outputs than _BYTES."""
    outputs = sum(4 * math.prod(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output)
    most = min(_EVALUATED, max(_BYTES // max(outputs, 1), 4)) if bounded else None
    return list(islice(samples, most))


def search(
    model: onnx.ModelProto,
    attempt: Callable[[Types], Attempt],
    judge: Judge,
    price: Price,
    *,
    liftable: Mapping[str, str],
    decided: Decided = lambda qdq: (),
    rounds: int = _ROUNDS,
    weights: Weights = COSTS["balanced"],
    budget: float = 1.0,
    progress: Progress | None = None,
) -> SearchResult:
    """The cheapest mixture of types that reaches the judge's goal, else the best.

    `model` is the clean float model. `attempt` quantises and compiles it with some nodes lifted; `liftable` says for
    each node that may be lifted to what: "int16", or "float" if it has no int16 form; `decided` names the nodes of a
    QDQ model that the quantiser widened itself. `weights` say what is cheap, `budget` which share of the
    multiply-accumulates may be lifted. Raises what `attempt` and the metric raise.
    """
    return _Search(model, attempt, judge, price, liftable, decided, rounds, weights, budget, progress).run()


@dataclass(frozen=True)
class Price:
    """Estimates of the time on the target: of an executable, and of a mixture before it is quantised (microseconds)."""

    made: Callable[[Executable], PerfReport]
    draft: Callable[[Types], float]


class _Search:
    def __init__(
        self,
        model: onnx.ModelProto,
        attempt: Callable[[Types], Attempt],
        judge: Judge,
        price: Price,
        liftable: Mapping[str, str],
        decided: Decided,
        rounds: int,
        weights: Weights,
        budget: float,
        progress: Progress | None,
    ) -> None:
        self.model, self.attempt, self.judge, self.price = model, attempt, judge, price
        self.liftable, self.decided, self.rounds = liftable, decided, rounds
        self.weights, self.budget = weights, budget
        self.progress = progress or (lambda stage, done, total: None)
        self.macs = node_macs(model)
        self.trials: list[Trial] = []
        self.made: list[tuple[Types, Attempt]] = []

    def run(self) -> SearchResult:
        self._try({})
        decided = self.decided(self.made[0][1][0])  # to lift those would change nothing, or take back a decision
        self.liftable = {name: kind for name, kind in self.liftable.items() if name not in decided}
        errors: Errors | None = None
        if not self.trials[0].reached and self.liftable and self.rounds > 1:
            self._try(dict(self.liftable))
            feeds = self.judge.feeds[: self._shown()]
            errors = measure_errors(
                self.model,
                self.made[0][1][0],
                feeds,
                floor=self.made[1][1][0],
                progress=self.progress,
                executor=self.judge.executor,
            )
            if self.trials[1].reached or self.budget < 1:
                self._approach(errors)
        chosen = self._choice()
        types, (qdq, executable) = self.made[chosen]
        return SearchResult(
            model=qdq,
            executable=executable,
            metric=self.judge.goal.name,
            target=self.judge.goal.target,
            max_macs=self.budget,
            samples=len(self.judge.feeds),
            node_types=types,
            trials=tuple(self.trials),
            chosen=chosen,
            sensitivities=self._sensitivities(errors, types) if errors else (),
        )

    def _shown(self) -> int:
        """On how many samples the sensitivity is measured: on few the mixture that looks best is best for these few."""
        of_one = sum(self.macs.values()) * len(self.macs)  # two passes, half of the model behind an operator on average
        return int(min(max(_BUDGET / max(of_one, 1), _SHOWN), _MOST_SHOWN))

    # ---- trials

    def _try(self, lifted: Types) -> Trial:
        made = self.attempt(lifted)
        value, cosine, sqnr, milliseconds = self.judge.measure(made[1])
        if self.judge.goal.metric == RECOVERY:
            value = self._recovered(sqnr)
        share = {kind: self._share(lifted, kind) for kind in ("int16", "float")}
        trial = Trial(
            value=value,
            cosine=cosine,
            sqnr_db=sqnr,
            nodes=len(lifted),
            int16_macs=share["int16"],
            wide_macs=self._share_of(Anatomy(self.model, made[0]).in_16_bits()),
            float_macs=share["float"],
            estimated_us=self.price.made(made[1]).latency_us,
            measured_ms=milliseconds,
            reached=value >= self.judge.goal.target,
        )
        self.trials.append(trial)
        self.made.append((lifted, made))
        self.progress("search: models tried", len(self.trials), self.rounds)
        return trial

    def _recovered(self, sqnr: float) -> float:
        """Of the noise between all int8 and all int16, the share that is gone."""
        if len(self.trials) < _BOUNDS:
            return float(len(self.trials)) if math.isfinite(sqnr) else 1.0
        most, least = self._noise_bounds()
        return (most - 10 ** (-sqnr / 10)) / max(most - least, 1e-30)

    def _noise_bounds(self) -> tuple[float, float]:
        most, least = (10 ** (-trial.sqnr_db / 10) for trial in self.trials[:_BOUNDS])
        return most, least

    def _share_of(self, names: Collection[str]) -> float:
        return sum(self.macs.get(name, 0) for name in names) / max(sum(self.macs.values()), 1)

    def _share(self, lifted: Types, kind: str) -> float:
        return self._share_of([name for name, k in lifted.items() if k == kind])

    def _choice(self) -> int:
        """The cheapest trial that reached the target, else the best; of those within the budget."""
        within = [k for k, trial in enumerate(self.trials) if self._fits(trial.int16_macs + trial.float_macs)]
        reached = [k for k in within if self.trials[k].reached]
        if reached:
            return min(reached, key=lambda k: (self._cost(self.trials[k]), k))
        return max(within, key=lambda k: (self.trials[k].value, -k))

    def _fits(self, share: float) -> bool:
        return share <= self.budget + _ROUNDING

    def _cost(self, trial: Trial) -> float:
        """As `_costs`, of a whole mixture."""
        return self._cost_of(trial.estimated_us, trial.wide_macs + trial.float_macs, trial.nodes)

    def _cost_of(self, microseconds: float, macs: float, nodes: int) -> float:
        return self.weights.of(microseconds / max(self.trials[0].estimated_us, 1e-9), macs, nodes / len(self.macs))

    # ---- choosing

    def _approach(self, errors: Errors) -> None:
        """Tries mixtures on the way from all int8 (too bad) to all int16 (good enough), corrected by measurements."""
        costs, each = self._costs(errors), self.weights.of(0.0, 0.0, 1 / len(errors.sources))
        shares = {name: self._share_of([name]) for name in self.liftable}
        lifting = Lifting(errors, candidates(errors, self.liftable, costs, each, shares), costs, self.budget)
        order, levels = lifting.path(self._goal_level())
        low, high, top = 0, len(order), self.trials[1]
        if not order:
            return
        if self.budget < 1:
            top = self._try(self._cheapest(lifting, order))  # what looks needless on these samples may help on others
            if not top.reached:
                return
        reals = {low: self._scale(self.trials[0]), high: self._scale(top)}
        tried = {frozenset(types): trial for (types, _), trial in zip(self.made, self.trials, strict=True)}
        last: bool | None = None
        streak = 0
        while len(self.trials) < self.rounds and high - low > 1:
            wanted = _interpolated(self._wanted, (reals[low], levels[low]), (reals[high], levels[high]))
            middle = next((k for k in range(low + 1, high) if levels[k] >= wanted), high - 1)
            if streak > 1:  # twice on the same side: the prediction does not hold here
                middle = max(middle, (low + high) // 2) if last is False else min(middle, (low + high) // 2)
            types = self._cheapest(lifting, lifting.pruned(order[:middle]))
            key = frozenset(types)
            trial = tried.get(key) or self._try(types)
            tried[key] = trial
            reals[middle] = self._scale(trial)
            streak = streak + 1 if trial.reached == last else 1
            last = trial.reached
            if not trial.reached:
                low = middle
                continue
            high = middle
            if reals[middle] - self._wanted < _EXCESS_DB and self.judge.goal.in_decibels:
                break

    @property
    def _wanted(self) -> float:
        if self.judge.goal.metric == RECOVERY:
            most, least = self._noise_bounds()
            return -10 * math.log10(most - self.judge.goal.target * (most - least))
        return self.judge.goal.decibels(self.judge.goal.target)

    def _scale(self, trial: Trial) -> float:
        recovery = self.judge.goal.metric == RECOVERY
        return min(trial.sqnr_db if recovery else self.judge.goal.decibels(trial.value), _MOST_DB)

    def _goal_level(self) -> float:
        """Decibels up to which each output counts in the order; for a metric of one's own all that int16 gives."""
        bounded = self.judge.goal.in_decibels and math.isfinite(self.judge.goal.target)
        return self._wanted if bounded else self.trials[1].sqnr_db

    def _costs(self, errors: Errors) -> dict[str, float]:
        """What the 16-bit form of a unit costs, as a share of the model: the extra time, and its MACs."""
        narrow, wide = (node_times(self.price.made(executable)) for _, (_, executable) in self.made[:_BOUNDS])
        time, macs = max(sum(narrow.values()), 1e-9), max(sum(self.macs.values()), 1)
        costs = {}
        for unit in (source.unit for source in errors.sources):
            if unit is not None:
                more = sum(wide.get(n, 0.0) - narrow.get(n, 0.0) for n in unit.nodes)
                share = sum(self.macs.get(n, 0) for n in unit.nodes) / macs
                costs[unit.name] = self.weights.of(max(more, 0.0) / time, share, 0.0)
        return costs

    def _cheapest(self, lifting: Lifting, chosen: Collection[int]) -> Types:
        """The types of the nodes of some candidates, or of these and what lies between, if that costs less."""
        units = [source.unit for source in lifting.errors.sources if source.unit is not None]
        place = {unit.name: k for k, unit in enumerate(units)}
        own = [lifting.errors.sources[choice.source].unit for choice in lifting.choices]
        free = [place[unit.name] for unit in own if unit is not None]
        regions = [ks for ks in filled(units, [free[k] for k in chosen], free) if self._fits(self._lifted(units, ks))]
        if not self.weights.time or len(regions) == 1:
            return self._types([units[k] for k in regions[0]])
        best = min(regions, key=lambda ks: self._drafted_cost(units, ks))
        return self._types([units[k] for k in best])

    def _lifted(self, units: Sequence[Unit], lifted: Collection[int]) -> float:
        return self._share_of(self._types([units[k] for k in lifted]))

    def _drafted_cost(self, units: Sequence[Unit], lifted: Collection[int]) -> float:
        types = self._types([units[k] for k in lifted])
        wide = {group for k in lifted for group in units[k].touches}
        forms = [unit for k, unit in enumerate(units) if k in lifted or unit.writes & wide]
        macs = self._share_of({name for unit in forms for name in unit.nodes})
        return self._cost_of(self.price.draft(types), macs, len(types))

    def _types(self, units: Iterable[Unit]) -> Types:
        """The types of the nodes of some units."""
        names = {name for unit in units for name in unit.nodes}
        return {name: self.liftable[name] for name in self.macs if name in names and name in self.liftable}

    # ---- what is said

    def _sensitivities(self, errors: Errors, types: Types) -> tuple[Sensitivity, ...]:
        rows = []
        for index, source in enumerate(errors.sources):
            noise = float(errors.alone(index).max())
            name, op = (source.unit.name, source.unit.op) if source.unit else (source.tensor, "output")
            nodes = source.unit.nodes if source.unit else ()
            rows.append(
                Sensitivity(
                    node=name,
                    op=op,
                    cosine=float(errors.cosine(index).min()),
                    sqnr_db=-10 * math.log10(noise) if noise > 0 else math.inf,
                    macs=sum(self.macs.get(n, 0) for n in nodes),
                    lifted=types.get(name, ""),
                )
            )
        return tuple(sorted(rows, key=lambda row: (row.sqnr_db, row.node)))


def _interpolated(x: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """y at x on the line through two points, within them."""
    if high[0] <= low[0]:
        return (low[1] + high[1]) / 2
    share = min(max((x - low[0]) / (high[0] - low[0]), 0.0), 1.0)
    return low[1] + share * (high[1] - low[1])
