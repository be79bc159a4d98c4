"""Chooses parameters of activations by what they do to the outputs of the operators that read them.

A tensor's own error misleads: clipping outliers makes it smaller and may ruin the network, or may cost nothing because
a norm or a clamp follows. Each candidate is therefore tried on the float model: the tensor quantised, all else float,
and the error of what follows (`stretches`), relative to its energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx

from openbpu.ir.quant import QuantParams
from openbpu.ptq.blocks import BlockRunner, Weights, energy, noises
from openbpu.ptq.calibration import PORTION_BYTES, Progress, Runner, tensor_bytes
from openbpu.ptq.parallel import RunAll, side_by_side
from openbpu.ptq.placement import Placement
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.stretches import SAMPLES, Stretch, affordable, held
from openbpu.ptq.view import ModelView

_SESSIONS = 8  # at the same time
_WEIGHT_BYTES = 64 << 20  # that sessions hold together, each its own copy

Near = Callable[[str, QuantParams], Sequence[QuantParams]]
Floats = Mapping[str, np.ndarray]  # tensors of the float model for one sample


@dataclass(frozen=True)
class Judged:
    """Candidates for a group, and the relative error that each of them leaves, summed over outputs.

    It is infinite for candidates that were given up because the best is better.
    """

    candidates: Sequence[QuantParams]
    errors: np.ndarray

    def __add__(self, other: Judged) -> Judged:
        return Judged((*self.candidates, *other.candidates), np.concatenate((self.errors, other.errors)))

    @property
    def best(self) -> QuantParams:
        return self.candidates[int(np.argmin(self.errors))]


def judged(
    model: onnx.ModelProto,
    samples: SampleStream,
    placement: Placement,
    candidates: Mapping[str, Sequence[QuantParams]],
    progress: Progress,
    near: Near = lambda group, quant: (),
) -> dict[str, Judged]:
    """By group, what each of its candidates does to the outputs of what follows.

    `near` proposes more candidates near the best of these: the result is then about both. Groups that nothing reads,
    and those without a choice, are missing. Uses at most 4 samples from all over the stream; memory is bounded by the
    tensors of one of them.
    """
    view = ModelView(model)
    infos = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    rounds = {group: (len(found), len(near(group, found[0]))) for group, found in candidates.items()}
    found = [
        stretch
        for stretch in affordable(
            model, view, placement, {g: counts for g, counts in rounds.items() if sum(counts) > 1}
        )
        if all(name in infos for name in (*stretch.block.inputs, *stretch.block.outputs))
    ]
    feeds = list(samples.spread(SAMPLES)) if found else []
    results: dict[str, Judged] = {}
    done = 0
    with side_by_side() as run_all:
        make, fits = partial(_Portion, model, view, placement, feeds, run_all), _Room(model, view)
        for portions in _batches(found, placement, fits):
            batch = _Batch(make, portions, fits)
            results |= (first := batch.judged(candidates))
            further = {group: near(group, known.best) for group, known in first.items()}
            for group, second in batch.judged(further, first).items() if any(further.values()) else ():
                results[group] = first[group] + second
            done += sum(map(len, portions))
            progress("measure ranges", done, len(found))
    return results


class _Batch:
    """Groups that are judged together: portions of stretches that run at the same time, mostly one.

    One portion keeps its sessions; of several, which hold one large group, each makes them anew when it is its turn.
    """

    def __init__(
        self, make: Callable[[bool, Sequence[Stretch]], _Portion], portions: Sequence[Sequence[Stretch]], fits: _Room
    ) -> None:
        self._portions = [partial(make, fits(portion), portion) for portion in portions]
        self._kept = self._portions[0]() if len(portions) == 1 else None

    def judged(
        self, candidates: Mapping[str, Sequence[QuantParams]], known: Mapping[str, Judged] | None = None
    ) -> dict[str, Judged]:
        """Of the groups of this batch those that have candidates and can be judged, if need be less than `known`."""
        if self._kept:
            found = self._kept.errors(candidates, self.bounds(candidates, known))
        else:
            found = {}
            for portion in self._portions:
                for group, errors in portion().errors(candidates, {}).items():
                    found[group] = found.get(group, 0.0) + errors
        return {group: Judged(candidates[group], errors) for group, errors in found.items()}

    def bounds(self, groups: Iterable[str], known: Mapping[str, Judged] | None) -> dict[str, float]:
        """Of each group the error that is to be undercut."""
        return {group: float(known[group].errors.min()) if known else np.inf for group in groups}


class _Portion:
    """Stretches that are run at the same time, each in a session of its own, and the float tensors around them."""

    def __init__(
        self,
        model: onnx.ModelProto,
        view: ModelView,
        placement: Placement,
        feeds: Sequence[Feed],
        run_all: RunAll,
        keep: bool,
        stretches: Sequence[Stretch],
    ) -> None:
        """With `keep` the tensors of all samples are held, else those of one at a time."""
        infos = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        tensors = dict.fromkeys(n for s in stretches for n in (*s.block.inputs, *s.block.outputs) if n in infos)
        self._runner, self._feeds, self._run_all = Runner(model, tensors), feeds, run_all
        signal = {n: 0.0 for s in stretches for n in s.block.outputs if comparable(infos[n])}
        self._floats: list[Floats] = []
        for floats in self._computed():
            for name in signal:
                signal[name] += energy(floats[name])
            if keep:
                self._floats.append(floats)
        weights = Weights(view.constants, keep=len(stretches) > 1)
        make = partial(_Trial, model, weights, placement, signal)
        made: list[_Trial] = run_all(partial(make, stretch) for stretch in stretches)
        self._trials: dict[str, list[_Trial]] = {}
        for trial in made:
            if trial.telling:  # else there is nothing but outputs whose shapes depend on values
                self._trials.setdefault(trial.group, []).append(trial)

    def errors(
        self, candidates: Mapping[str, Sequence[QuantParams]], bounds: Mapping[str, float]
    ) -> dict[str, np.ndarray]:
        """By group the error that each candidate leaves; infinite for some that are not the best.

        Errors grow from sample to sample: a candidate that has more than the bound of its group, or than one that is
        through with all samples, is given up. Without a bound none is.
        """
        contests = {
            group: _Contest(trials, candidates[group], bounds.get(group, np.inf))
            for group, trials in self._trials.items()
            if candidates.get(group)
        }

        def measure(samples: Sequence[Floats]) -> None:
            self._run_all(partial(c.measure, index, samples) for c in contests.values() for index in c.waiting)

        if self._floats and bounds:
            measure(self._floats[:1])
            self._run_all(partial(contest.lead, self._floats[1:]) for contest in contests.values())
            measure(self._floats[1:])
        else:
            for floats in self._floats or self._computed():
                measure([floats])
        return {group: contest.errors() for group, contest in contests.items()}

    def _computed(self) -> Iterator[Floats]:
        return (dict(self._runner.run(feed)) for feed in self._feeds)


class _Contest:
    """The candidates for a group, each as far as it was measured."""

    def __init__(self, trials: Sequence[_Trial], candidates: Sequence[QuantParams], bound: float) -> None:
        self._trials, self._candidates, self._bound = trials, candidates, bound
        self._noise = [np.zeros((len(candidates), len(trial.telling))) for trial in trials]
        self._open = [True] * len(candidates)
        self.waiting = list(range(len(candidates)))

    def measure(self, index: int, samples: Sequence[Floats]) -> None:
        """Goes on with a candidate on more samples, until it has more error than the bound."""
        for floats in samples:
            self._open[index] &= not self._error(index) > self._bound
            if not self._open[index]:
                return
            for trial, noise in zip(self._trials, self._noise, strict=True):
                noise[index] += trial.noise(floats, self._candidates[index])

    def lead(self, samples: Sequence[Floats]) -> None:
        """Goes on with the candidate that has the least error so far: the others have to undercut it."""
        leader = min(self.waiting, key=self._error)
        self.measure(leader, samples)
        self.waiting.remove(leader)
        self._bound = min(self._bound, self._error(leader))

    def errors(self) -> np.ndarray:
        """Of each candidate; infinite if it was given up."""
        return np.array([self._error(index) if self._open[index] else np.inf for index in range(len(self._open))])

    def _error(self, index: int) -> float:
        pairs = zip(self._trials, self._noise, strict=True)
        return float(sum(trial.relative(noise[index]) for trial, noise in pairs))


class _Trial:
    """One input of one block, quantised with parameters that each run gives."""

    def __init__(
        self,
        model: onnx.ModelProto,
        weights: Weights,
        placement: Placement,
        signal: Mapping[str, float],
        found: Stretch,
    ) -> None:
        """`signal`: the energy of each tensor that can be compared."""
        self.group, block = placement.groups[found.tensor], found.block
        readers = placement.narrow if self.group in placement.wide else None
        self._runner, self._inputs = BlockRunner(model, weights, block, found.tensor, readers), block.inputs
        self.telling = [name for name in block.outputs if name in signal]
        self._places = [block.outputs.index(name) for name in self.telling]
        self._signal = np.maximum([signal[name] for name in self.telling], 1e-30)

    def noise(self, floats: Floats, quant: QuantParams) -> np.ndarray:
        """Of a sample the energy of the error of each output that can be compared."""
        results = self._runner.run({name: floats[name] for name in self._inputs}, quant.s, quant.z)
        return noises([results[place] for place in self._places], [floats[name] for name in self.telling])

    def relative(self, noise: np.ndarray) -> float:
        return float((noise / self._signal).sum())


class _Room:
    """Whether stretches fit the memory at the same time."""

    def __init__(self, model: onnx.ModelProto, view: ModelView) -> None:
        infos = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self._sizes = {info.name: tensor_bytes(info) for info in infos}
        self._weights = {name: array.nbytes for name, array in view.constants.items()}

    def __call__(self, stretches: Sequence[Stretch]) -> bool:
        names = {name for s in stretches for name in (*s.block.inputs, *s.block.outputs)}
        return (
            len(stretches) <= _SESSIONS
            and SAMPLES * sum(self._sizes.get(name, 0) for name in names) <= PORTION_BYTES
            and sum(held(s.block, self._weights) for s in stretches) <= _WEIGHT_BYTES
        )


def _batches(stretches: Sequence[Stretch], placement: Placement, fits: _Room) -> Iterator[list[list[Stretch]]]:
    """Portions that fit the memory: each of whole groups and a batch of its own, but for a group that is too large."""
    groups: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        groups.setdefault(placement.groups[stretch.tensor], []).append(stretch)
    for portion in _portions(groups.values(), fits):
        yield [portion] if fits(portion) else list(_portions(([stretch] for stretch in portion), fits))


def _portions(units: Iterable[Sequence[Stretch]], fits: _Room) -> Iterator[list[Stretch]]:
    """As many units as fit, one after the other; one that does not fit is alone."""
    portion: list[Stretch] = []
    for unit in units:
        if portion and not fits([*portion, *unit]):
            yield portion
            portion = []
        portion += unit
    if portion:
        yield portion


def comparable(info: onnx.ValueInfoProto) -> bool:
    """float32, and of a shape that does not depend on values."""
    kind = info.type.tensor_type
    fixed = kind.HasField("shape") and all(d.HasField("dim_value") and d.dim_value > 0 for d in kind.shape.dim)
    return bool(kind.elem_type == onnx.TensorProto.FLOAT and fixed)
