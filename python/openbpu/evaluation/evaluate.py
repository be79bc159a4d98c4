"""Several models over the same labelled samples: a metric, its interval, and what each shares with the first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbpu.errors import ConfigError, MetricError, SampleError
from openbpu.evaluation.intervals import FEW_RESAMPLES, RESAMPLES, bootstrap, wilson
from openbpu.evaluation.metrics import Metric, resolved
from openbpu.evaluation.report import EvaluationReport, Row
from openbpu.evaluation.runners import Feed, Outputs, Runnable

TOPS = {"top1": 1, "top5": 5}
CONFIDENCE = 0.95
Progress = Callable[[str, int, int], None]


@dataclass
class _Seen:
    """What is kept of a model's outputs; whole outputs only for a metric of one's own."""

    hits: list[bool] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    outputs: list[Outputs] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    product: float = 0.0  # sums over all numbers of all float outputs
    square: float = 0.0
    reference: float = 0.0


def evaluate(
    models: Mapping[str, Runnable],
    samples: Iterable[tuple[Feed, Any]],
    metric: str | Metric | Callable[..., float] = "top1",
    *,
    confidence: float = CONFIDENCE,
    resamples: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    count: int = 0,
) -> EvaluationReport:
    """Runs the models side by side; the first one is what the others are compared with.

    `samples` yields (feed, label) and is read once; a label of None stands for what the first model makes of the
    sample. `metric` is "top1", "top5" (labels are numbers of classes) or a function as in `metrics`. `resamples` of the
    bootstrap: by default 1000, and 200 with a function; 0 leaves it out. `count` is the number of samples, if known,
    for `progress`. Raises SampleError, ConfigError, MetricError, and what the models raise.
    """
    if not models:
        raise ConfigError("at least one model", where="models", seen="none")
    if not 0 < confidence < 1:
        raise ConfigError("a share between 0 and 1", where="confidence", seen=confidence)
    own = None if metric in TOPS else resolved(metric)
    if resamples is None:
        resamples = RESAMPLES if own is None else FEW_RESAMPLES
    seen = {name: _Seen() for name in models}
    labels: list[Any] = []
    for label, results in _side_by_side(models, samples, executor):
        reference = next(iter(results.values()))[0]
        labels.append(_class(reference, "the first model") if label is None and own is None else label)
        for name, (outputs, seconds) in results.items():
            _keep(seen[name], outputs, seconds, reference, own is not None)
            if own is None:
                _judge(seen[name], outputs, labels[-1], TOPS[str(metric)], f"sample {len(labels) - 1}, {name}")
        if progress:
            progress("evaluate", len(labels), count)
    if not labels:
        raise SampleError("at least one sample is needed to evaluate", seen="none")
    if own is not None:
        first = next(iter(seen.values()))
        labels = [first.outputs[k] if label is None else label for k, label in enumerate(labels)]
        values = [_of_outputs(own, s.outputs, labels) for s in seen.values()]
    else:
        values = [_of_hits(s.hits) for s in seen.values()]
    return _report(models, seen, str(metric) if own is None else own.name, values, len(labels), confidence, resamples)


def _side_by_side(
    models: Mapping[str, Runnable], samples: Iterable[tuple[Feed, Any]], executor: Executor | None
) -> Iterator[tuple[Any, dict[str, tuple[Outputs, float]]]]:
    """The label and the results of all models, one sample after the other."""
    streams = itertools.tee(samples, len(models) + 1)
    runs = [m.run((feed for feed, _ in s), executor) for m, s in zip(models.values(), streams[1:], strict=True)]
    for (_, label), *results in zip(streams[0], *runs, strict=True):
        yield label, dict(zip(models, results, strict=True))


def _keep(seen: _Seen, outputs: Outputs, seconds: float, reference: Outputs, whole: bool) -> None:
    seen.seconds.append(seconds)
    if whole:
        seen.outputs.append(outputs)
    for name, array in reference.items():
        other = outputs.get(name)
        if array.dtype.kind == "f" and other is not None and other.shape == array.shape:
            a, b = array.astype(np.float64).ravel(), other.astype(np.float64).ravel()
            seen.product += float(a @ b)
            seen.square += float(b @ b)
            seen.reference += float(a @ a)
    first = next(iter(outputs.values()))
    seen.classes.append(int(first.argmax()) if first.ndim <= 2 and first.size else -1)


def _class(outputs: Outputs, where: str) -> int:
    scores = next(iter(outputs.values()))
    if scores.size < 2 or scores.size != scores.shape[-1]:
        raise ConfigError(
            "top1 and top5 need a first output with one score per class",
            where=where,
            seen=f"shape {scores.shape}",
            remedy="give a metric of your own: a function of outputs and references",
        )
    return int(scores.argmax())


def _judge(seen: _Seen, outputs: Outputs, label: Any, places: int, where: str) -> None:
    _class(outputs, where)
    scores = next(iter(outputs.values())).ravel()
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise SampleError("the label of a class is a whole number", where=where, seen=f"{type(label).__name__} {label}")
    if not 0 <= label < scores.size:
        raise SampleError(f"labels lie in 0 to {scores.size - 1}", where=where, seen=label)
    better = int((scores > scores[label]).sum()) + int((scores[:label] == scores[label]).sum())
    seen.hits.append(better < places)


def _of_hits(hits: list[bool]) -> Callable[[np.ndarray], float]:
    array = np.array(hits, np.float64)
    return lambda indices: float(array[indices].mean())


def _of_outputs(metric: Metric, outputs: list[Outputs], labels: list[Any]) -> Callable[[np.ndarray], float]:
    return lambda indices: metric([outputs[k] for k in indices], [labels[k] for k in indices])


def _report(
    models: Mapping[str, Runnable],
    seen: Mapping[str, _Seen],
    metric: str,
    values: list[Callable[[np.ndarray], float]],
    count: int,
    confidence: float,
    resamples: int,
) -> EvaluationReport:
    everything = np.arange(count)
    measured = [value(everything) for value in values]
    intervals, failure = _intervals(values, count, confidence, resamples)
    first = next(iter(seen.values()))
    rows = []
    for index, (name, model) in enumerate(models.items()):
        s = seen[name]
        interval, difference = intervals[index] if intervals else (None, None)
        if metric in TOPS:
            interval = wilson(sum(s.hits), count, confidence)
        comparable = -1 not in s.classes and -1 not in first.classes
        agreement = float(np.mean(np.equal(s.classes, first.classes))) if comparable else None
        length = np.sqrt(s.square * s.reference)
        rows.append(
            Row(
                model=name,
                kind=model.kind,
                value=measured[index],
                interval=interval,
                difference=measured[index] - measured[0] if index else None,
                difference_interval=difference if index else None,
                agreement=agreement if index else None,
                cosine=float(s.product / length) if index and length > 0 else None,
                milliseconds=float(np.median(s.seconds)) * 1e3,
            )
        )
    methods = {"interval": "Wilson" if metric in TOPS else "bootstrap", "difference": "paired bootstrap"}
    return EvaluationReport(metric, count, confidence, resamples, methods, failure, tuple(rows))


def _intervals(
    values: list[Callable[[np.ndarray], float]], count: int, confidence: float, resamples: int
) -> tuple[list[Any], str]:
    """Intervals of the bootstrap, or why there are none: a metric may not take every resample."""
    if resamples < 1 or count < 2:
        return [], "no resamples were asked for" if count > 1 else "one sample says nothing about others"
    try:
        return bootstrap(values, count, confidence, resamples), ""
    except MetricError as error:
        return [], f"on a resample: {error}"
