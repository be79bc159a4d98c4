"""The whole of an evaluation: models and samples as users give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any

from openbpu.evaluation.evaluate import Progress
from openbpu.evaluation.evaluate import evaluate as _evaluate
from openbpu.evaluation.inputs import gathered
from openbpu.evaluation.metrics import MetricFunction
from openbpu.evaluation.report import EvaluationReport
from openbpu.preprocess import Recipe


def evaluate(
    models: Mapping[str, Any] | Sequence[Any],
    samples: Iterable[Any] | str | PathLike[str],
    *,
    metric: str | MetricFunction = "top1",
    labels: str | PathLike[str] | Sequence[Any] | None = None,
    preprocess: Recipe | str | Mapping[str, Recipe | str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    confidence: float = 0.95,
    resamples: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Runs float models, QDQ models and executables over the same samples; the first one is what the rest compares to.

    `models` are paths, bytes, ModelProtos or Executables, by name or in a list. `samples` is a folder with one folder
    per class, or with a CSV table `labels` of the columns file and label; or an iterable of pairs (sample, label), or
    of samples, to which `labels` may hold the labels in order. Photographs go through `preprocess`, by default the
    recipe that a model records. `metric` is "top1", "top5", or a function `metric(outputs, references)` of two lists:
    dicts {output: array}, and labels, or the first model's outputs for samples without one. Intervals have the given
    `confidence`: Wilson's for top1 and top5, the bootstrap (`resamples`; 0: none) for other metrics and differences.
    With an `executor` (of concurrent.futures, or what behaves so) the runs are its tasks, eight samples each. Raises
    ConfigError, SampleError, MetricError, and what reading a model raises.
    """
    runnables, feeds, count = gathered(models, samples, labels, preprocess, input_shapes)
    return _evaluate(
        runnables,
        feeds,
        metric,
        confidence=confidence,
        resamples=resamples,
        executor=executor,
        progress=progress,
        count=count,
    )
