"""Runs the float model over the samples and gathers, per group of tensors, the range and a histogram.

Two passes: extremes first, then histograms over the extremes. Only extremes and histograms are kept, so memory does not
grow with the number of samples; the tensors of one sample are fetched in portions of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import onnx

from openbpu.errors import ModelError
from openbpu.memory import give_back
from openbpu.ptq.blocks import as_float, loaded
from openbpu.ptq.cache import StatisticsCache
from openbpu.ptq.masks import raised_floors
from openbpu.ptq.parallel import side_by_side
from openbpu.ptq.placement import Placement
from openbpu.ptq.probabilities import settled
from openbpu.ptq.samples import Feed, SampleStream

BINS = 4096
FEWEST_BINS, MOST_BINS = 129, 65536
PORTION_BYTES = 256 << 20
_BLOCK = 1 << 16  # values whose places in a histogram are computed at a time

Progress = Callable[[str, int, int], None]


@dataclass
class Statistics:
    """What was seen of a group: extremes (0 included) and the counts of equal bins between them."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        return _centres(self.low, self.high, len(self.counts))


@lru_cache(maxsize=4)  # a search asks a hundred times for those of one tensor
def _centres(low: float, high: float, bins: int) -> np.ndarray:
    width = (high - low) / bins
    centres: np.ndarray = low + width * (np.arange(bins) + 0.5)
    centres.flags.writeable = False
    return centres


class Runner:
    """A model in ONNX Runtime with inner tensors as further outputs, a QDQ model in float with pairs between."""

    def __init__(self, model: onnx.ModelProto, tensors: Iterable[str]) -> None:
        inputs = {i.name for i in model.graph.input}
        self._from_feed = [name for name in tensors if name in inputs]
        self._fetched = [name for name in tensors if name not in inputs]
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        present = {o.name for o in probe.graph.output}
        infos = {v.name: v for v in model.graph.value_info}
        probe.graph.output.extend(infos[n] for n in self._fetched if n not in present)
        sizes = {o.name: tensor_bytes(o) for o in probe.graph.output}
        self._portions = _portions(self._fetched, sizes)
        try:
            self._session = loaded(probe, as_float())
        except Exception as error:  # onnxruntime raises several types of its own
            reason = str(error).splitlines()[0]
            raise ModelError(
                "ONNX Runtime must be able to run the model", where=model.graph.name, seen=reason
            ) from error
        del probe
        give_back()

    def run(self, feed: Feed) -> Iterable[tuple[str, np.ndarray]]:
        """(name, array) of every tensor asked for."""
        for portion in self.portions(feed):
            yield from portion

    def portions(self, feed: Feed) -> Iterable[list[tuple[str, np.ndarray]]]:
        """The same in lists that fit the memory: the next is computed when it is asked for."""
        yield [(name, feed[name]) for name in self._from_feed]
        for portion in self._portions:
            yield list(zip(portion, self._computed(portion, feed), strict=True))

    def _computed(self, tensors: list[str], feed: Feed) -> list[np.ndarray]:
        try:
            found: list[np.ndarray] = self._session.run(tensors, feed)
        except Exception as error:  # onnxruntime raises several types of its own
            raise ModelError(
                "ONNX Runtime must be able to run the model on its samples",
                seen=str(error).splitlines()[0],
                remedy="check the shapes of the inputs, and what the samples hold",
            ) from error
        return found


def calibrate(
    model: onnx.ModelProto,
    samples: SampleStream,
    placement: Placement,
    progress: Progress,
    bins: int = BINS,
    cache: StatisticsCache | None = None,
) -> tuple[Placement, dict[str, Statistics]]:
    """The placement with what the ranges fix, and statistics of each group that has no fixed parameters."""
    cache, groups = cache or StatisticsCache(), placement.groups
    runner = Runner(model, placement.tensors)
    index = {group: k for k, group in enumerate(dict.fromkeys(groups.values()))}
    ends = np.zeros((2, len(index)))

    def extremes(feed: Feed) -> None:
        for name, array in runner.run(feed):
            if not np.isfinite(array).all():
                raise ModelError("the float model must give finite values", where=f"tensor {name}", seen="NaN or inf")
            k = index[groups[name]]
            if array.size == 0:  # of as many rows as a NonZero found: none
                continue
            ends[0, k], ends[1, k] = min(ends[0, k], float(array.min())), max(ends[1, k], float(array.max()))

    options = [list(groups.items()), sorted(placement.fixed)]
    told = partial(progress, "calibrate: ranges")
    cache.fold("ranges", model, options, samples, {"ends": ends}, extremes, lambda k: told(k, samples.expected))
    low, high = ({group: float(row[k]) for group, k in index.items()} for row in ends)
    placement = settled(placement, low, high)
    low = raised_floors(model, placement, low, high)
    statistics = {g: Statistics(low[g], high[g], np.zeros(bins, np.int64)) for g in low if g not in placement.fixed}
    if len(statistics) < len(index):
        runner = Runner(model, [t for t, g in groups.items() if g in statistics])
    index = {g: k for g, k in index.items() if g in statistics}

    def counted(name: str, array: np.ndarray) -> tuple[Statistics, np.ndarray]:
        s = statistics[groups[name]]
        return s, _counts(array, s.low, s.high, bins) if s.high > s.low else np.zeros(bins, np.int64)

    def histograms(feed: Feed) -> None:
        for portion in runner.portions(feed):
            for s, counts in run_all(partial(counted, *found) for found in portion):
                s.counts += counts

    state = {str(k): statistics[group].counts for group, k in index.items()}
    told = partial(progress, "calibrate: histograms")
    options += [bins, low, high]
    with side_by_side() as run_all:
        cache.fold("histograms", model, options, samples, state, histograms, lambda k: told(k, samples.expected))
    return placement, statistics


def _counts(array: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """The histogram of an array between two limits, what lies beyond them in the outermost bins."""
    counts, flat = np.zeros(bins, np.int64), array.ravel()
    span = high - low
    # Of almost constant values float32 has no edges for that many bins, and of masks near its ends no differences.
    fine = span / bins > np.spacing(np.float32(max(-low, high))) and span < float(np.finfo(np.float32).max)
    kind = np.float32 if fine else np.float64
    per_unit = kind(bins / span)
    for start in range(0, flat.size, _BLOCK):
        place = flat[start : start + _BLOCK].astype(kind)
        place -= kind(low)
        place *= per_unit
        np.clip(place, 0, bins - 1, out=place)
        counts += np.bincount(place.astype(np.intp), minlength=bins)
    return counts


def tensor_bytes(info: onnx.ValueInfoProto) -> int:
    """Of a float32 tensor."""
    return 4 * int(np.prod([d.dim_value for d in info.type.tensor_type.shape.dim], dtype=np.int64))


def _portions(names: list[str], sizes: dict[str, int]) -> list[list[str]]:
    portions: list[list[str]] = []
    room = 0
    for name in names:
        if sizes[name] > room or not portions:
            portions.append([])
            room = PORTION_BYTES
        portions[-1].append(name)
        room -= sizes[name]
    return portions
