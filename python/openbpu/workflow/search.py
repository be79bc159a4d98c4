"""How activations are calibrated: the values of quant_config, and the search over those that are lists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import onnx

from openbpu import pipeline
from openbpu.analyze import AccuracyReport
from openbpu.config import Config
from openbpu.config.quant_config import Activation, QuantConfig
from openbpu.workflow.stages import log

FEWEST_BINS = 256  # of our histograms; the vendor's begin at 129
MEASURED = 16  # samples on which outputs are compared
_OURS = {"default": "auto", "mix": "auto", "min-max": "max", "load": "auto", "skip": "max"}
_FIRST = ("max", "kl", "percentile")  # what modelwise_search alone tries


@dataclass(frozen=True)
class Found:
    """The model that is kept, its report, and what was tried: (arguments of quantising, score), larger is nearer."""

    model: onnx.ModelProto
    report: AccuracyReport
    metric: str
    tried: tuple[tuple[str, float], ...]


def combinations(config: Config) -> list[dict[str, Any]]:
    """The arguments of `pipeline.quantize` to try; one if nothing is searched."""
    group = config.calibration_parameters
    quant = group.quant
    activation = quant.model.activation
    types = activation.calibration_type or _first_types(config, quant)
    percentiles = activation.max_percentile or (group.max_percentile,)
    symmetric: list[bool | None] = [not a for a in activation.asymmetric]
    symmetric = symmetric or [False if "asymmetric" in group.optimization else None]
    bins = activation.num_bin or (None,)
    bias = quant.model.weight.bias_correction is not None or "bias_correction" in group.optimization
    found: list[dict[str, Any]] = []
    channels = activation.per_channel or (group.per_channel,)
    for kind, percentile, plain, count, each in itertools.product(types, percentiles, symmetric, bins, channels):
        choice = _calibration(kind, percentile)
        choice |= {"symmetric": plain} if plain is not None else {}
        choice |= {"bins": max(count, FEWEST_BINS)} if count is not None else {}
        choice |= {"per_channel": True} if each else {}
        if "run_fast" in group.optimization:
            choice |= {"refinement": ("bias",) if bias else (), "calibration": "max"}
        if choice not in found:
            found.append(choice)
    return found


def _first_types(config: Config, quant: QuantConfig) -> tuple[str, ...]:
    if quant.model.modelwise_search and quant.model.activation == Activation():
        return _FIRST
    if quant.model.layerwise_search:
        return ("default",)
    return (config.calibration_parameters.calibration_type,)


def _calibration(kind: str, percentile: float | None) -> dict[str, Any]:
    if percentile is not None and kind in ("max", "percentile"):
        return {"calibration": "percentile", "percentile": percentile} if percentile < 1 else {"calibration": "max"}
    return {"calibration": _OURS.get(kind, kind)}


def best(
    choices: list[dict[str, Any]],
    model: onnx.ModelProto,
    samples: Iterable[Mapping[str, Any]],
    config: Config,
    quantize: Callable[..., onnx.ModelProto],
) -> Found:
    """The quantised model whose worst output is nearest to the float one.

    Stops early at the similarity that modelwise_search asks for.
    """
    search = config.calibration_parameters.quant.model.modelwise_search
    metric = str(search.metric) if search else "cosine-similarity"
    tried: list[tuple[str, float]] = []
    kept: tuple[float, onnx.ModelProto, AccuracyReport] | None = None
    for choice in choices:
        qdq = quantize(**choice)
        report = pipeline.accuracy(model, qdq, islice(iter(samples), MEASURED))
        score = _score(report, metric)
        tried.append((", ".join(f"{key} {value}" for key, value in choice.items()), score))
        log.info("tried %s: %s %.6g", *tried[-1][:1], metric, score)
        if kept is None or score > kept[0]:
            kept = (score, qdq, report)
        if search and search.similarity is not None and report.cosine >= search.similarity:
            break
    assert kept is not None
    return Found(kept[1], kept[2], metric, tuple(tried))


def _score(report: AccuracyReport, metric: str) -> float:
    """Of the worst output; larger is nearer."""
    if metric == "cosine-similarity":
        return report.cosine
    if metric == "sqnr":
        return report.sqnr_db if math.isfinite(report.sqnr_db) else math.inf
    field = {"mse": "l2", "chebyshev": "max"}.get(metric, "l1")
    return -max(float(getattr(output, field)) for output in report.outputs)
