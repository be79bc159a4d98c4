"""The steps of post-training quantisation, in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import onnx

from openbpu import __version__
from openbpu.errors import ConfigError, ModelError
from openbpu.ir.quant import QuantParams
from openbpu.memory import collect
from openbpu.ptq.cache import StatisticsCache
from openbpu.ptq.calibration import BINS, FEWEST_BINS, MOST_BINS, Progress, calibrate
from openbpu.ptq.choice import Rival, chosen, simpler
from openbpu.ptq.equalisation import equalise
from openbpu.ptq.forms import Ground, Options, Ranges, form
from openbpu.ptq.placement import place
from openbpu.ptq.ranges import PERCENTILE
from openbpu.ptq.reconstruction import step
from openbpu.ptq.refinement import Reference, Refinements, refine
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.stretches import SAMPLES
from openbpu.ptq.view import ModelView, channel_axis
from openbpu.ptq.weights import best_shares
from openbpu.ptq.whole import Whole, confirmed
from openbpu.ptq.wide_sums import wide_sums
from openbpu.ptq.wide_tails import Tails, wide_tails

CALIBRATIONS = ("auto", "max", "percentile", "kl", "mse")
REFINEMENTS = (
    "wide-sums",
    "wide-tails",
    "equalisation",
    "smoothing",
    "scales",
    "weights",
    "regression",
    "rounding",
    "bias",
)
MORE_REFINEMENTS = ("analytic-bias", "reconstruction")  # not taken by default
LAYERWISE = ("regression", "rounding", "bias", "analytic-bias")  # steps that change weights and biases, layer by layer
FLOAT_RECORD, WIDE_RECORD = "openbpu.float_nodes", "openbpu.int16_nodes"  # metadata: JSON lists, what was decided here
_DRAFT_SCALE = 1 / 16


def quantize(
    model: onnx.ModelProto,
    samples: Iterable[Any],
    *,
    calibration: str = "auto",
    symmetric: bool = False,
    per_channel: bool = False,
    percentile: float = PERCENTILE,
    bins: int = BINS,
    cache: str | PathLike[str] | None = None,
    refinement: Collection[str] = REFINEMENTS,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    int16: Collection[str] = (),
    int8: Collection[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> onnx.ModelProto:
    """The QDQ form of a clean float model (`frontend.prepare`).

    `calibration` is one of CALIBRATIONS (`ranges.candidates`, `output_error`), `percentile` the share of the values
    that does not clip, `bins` the number of bins of each histogram.

    int8 activations per tensor with a zero point (none if `symmetric`), symmetric int8 weights per channel, int32
    biases. Nodes named in `run_on_cpu`, and operators without an int8 form, stay float; `run_on_bpu` names nodes that
    are quantised though they would stay float. Nodes named in `int16` read and write int16 activations with zero point
    0; those in `int8` are never made int16. `refinement` names the steps to take, of REFINEMENTS and MORE_REFINEMENTS
    (docs/quantisation.md). `samples` yields arrays or {input: array}; it is read as a stream, several times.
    `progress` is called with (stage, steps done, steps in all or 0). Deterministic: the same inputs give the same
    model. Raises ModelError, SampleError, ConfigError.
    """
    _check_options(calibration, percentile, bins, refinement)
    _check(model)
    report = progress or (lambda stage, done, total: None)
    stream, statistics_cache = SampleStream(samples, model), StatisticsCache(cache)
    placement = place(model, run_on_cpu, run_on_bpu, int16)
    sums = wide_sums(model, stream, placement, int8, report) if "wide-sums" in refinement else []
    kept = {*int8, *run_on_bpu}
    tails = wide_tails(model, stream, placement, kept, report) if "wide-tails" in refinement else Tails()
    if sums or tails.names:
        int16, run_on_cpu = {*int16, *sums, *tails.wide}, {*run_on_cpu, *tails.floats}
        placement = place(model, run_on_cpu, run_on_bpu, int16)
    if per_channel or {"equalisation", "smoothing"} & set(refinement):
        model = equalise(model, stream, placement, refinement, per_channel, symmetric, statistics_cache, report)
        placement = place(model, run_on_cpu, run_on_bpu, int16)
    placement, statistics = calibrate(model, stream, placement, report, bins, statistics_cache)
    ground = Ground(model, placement, statistics, Options(calibration, symmetric, percentile))
    ranges = chosen(ground, stream, "scales" in refinement, report)
    collect()  # sessions are gone, and their weights with them
    whole = Whole(model, stream, stream.places(SAMPLES))
    qdq, refused = _refined(ground, ranges, stream, whole, refinement, report)
    facts: dict[str, str] = {}
    if step.NAME in refinement:
        qdq, facts = step.taken(model, qdq, placement, stream, report)
        refused = refused if facts else {*refused, step.NAME}
    taken = [step for step in (*REFINEMENTS, *MORE_REFINEMENTS) if step in refinement and step not in refused]
    lifted = {"wide-sums": sums, "wide-tails": tails.names}
    _describe(
        qdq,
        {FLOAT_RECORD: tails.floats, WIDE_RECORD: (*sums, *tails.wide)},
        version=__version__,
        calibration=calibration,
        symmetric=symmetric,
        refinement="+".join(step for step in taken if lifted.get(step, True)),
        int16_sums=len(sums),
        samples=stream.count,
        **facts,
    )
    onnx.checker.check_model(qdq, full_check=True)
    return qdq


def _refined(
    ground: Ground,
    ranges: Ranges,
    samples: SampleStream,
    whole: Whole,
    refinement: Collection[str],
    progress: Progress,
) -> tuple[onnx.ModelProto, Collection[str]]:
    """The QDQ model with refined weights and biases, and the steps that were refused: they made the whole no better.

    What was chosen tensor by tensor may not hold for the network: the best of simpler ranges is a rival. Both are
    refined: which of them is better without says little about that.
    """
    plain = Refinements(shares=_weight_shares(ground.model) if "weights" in refinement else {})
    steps = [step for step in (*REFINEMENTS, *MORE_REFINEMENTS) if step in refinement and step in LAYERWISE]
    rivals = simpler(ground, ranges, "scales" in refinement) if whole.tells else []
    if not whole.tells or not (steps or rivals):
        return ground.form(ranges, plain), LAYERWISE

    def judged(rival: Rival, refinements: Refinements, refused: Collection[str]) -> _Candidate:
        return _Candidate(rival, refinements, whole.loss(ground.trial(rival.ranges, refinements)), refused)

    def changed(candidate: _Candidate, reference: Reference) -> _Candidate:
        refined = refine(reference, ground.trial(candidate.rival.ranges, plain), steps, progress)
        better = judged(candidate.rival, replace(refined, shares=plain.shares), ())
        return better if better.loss < candidate.loss else candidate

    found = [judged(Rival(ranges, scaled=True), plain, LAYERWISE)]
    if rivals:
        found.append(min((judged(rival, plain, LAYERWISE) for rival in rivals), key=lambda c: c.loss))
    if steps:
        reference = Reference(ground.model, samples)
        found = [changed(candidate, reference) for candidate in found]
    best = found[-1] if confirmed(found[-1].loss, found[0].loss) else found[0]
    refused = best.refused if best.rival.scaled else (*best.refused, "scales")
    return ground.form(best.rival.ranges, best.refinements), refused


@dataclass(frozen=True)
class _Candidate:
    """Ranges, refinements, how far the QDQ model of both is from float, and the steps that made it no better."""

    rival: Rival
    refinements: Refinements
    loss: float
    refused: Collection[str]


def _weight_shares(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    view = ModelView(model)
    weighted = [node for node in model.graph.node if view.weighted(node)]
    return {node.name: best_shares(view.constants[node.input[1]], channel_axis(node)) for node in weighted}


def draft(
    model: onnx.ModelProto,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    int16: Collection[str] = (),
) -> onnx.ModelProto:
    """The QDQ form of a clean float model with made-up ranges: it shows where nodes will run, without samples."""
    _check(model)
    placement = place(model, run_on_cpu, run_on_bpu, int16)
    narrow = {group: QuantParams.per_tensor(_DRAFT_SCALE) for group in placement.members()}
    wide = {group: QuantParams.per_tensor(_DRAFT_SCALE / 128, 0, "int16") for group in placement.wide}
    return form(model, placement, narrow | wide, narrow, narrow)


def _check_options(calibration: str, percentile: float, bins: int, refinement: Collection[str]) -> None:
    if calibration not in CALIBRATIONS:
        raise ConfigError(f"calibration is one of {', '.join(CALIBRATIONS)}", where="calibration", seen=calibration)
    if not 0.5 <= percentile <= 1:
        raise ConfigError("a share of the values from 0.5 to 1", where="percentile", seen=percentile)
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise ConfigError(f"from {FEWEST_BINS} to {MOST_BINS} bins", where="bins", seen=bins)
    if step.NAME in refinement:
        step.check()
    if unknown := set(refinement) - {*REFINEMENTS, *MORE_REFINEMENTS}:
        known = ", ".join((*REFINEMENTS, *MORE_REFINEMENTS))
        raise ConfigError(f"refinement holds some of {known}", where="refinement", seen=", ".join(sorted(unknown)))


def _check(model: onnx.ModelProto) -> None:
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise ModelError(
            "the model is quantised already", where=model.graph.name, remedy="compile it, or start from the float model"
        )
    view = ModelView(model)
    weights = {name for node in model.graph.node if view.weighted(node) for name in node.input[1:]}
    for name, array in view.constants.items():
        if array.dtype.kind != "f":
            continue
        if np.isnan(array).any():
            raise ModelError("weights must be numbers", where=f"tensor {name}", seen="NaN")
        if name in weights and np.isinf(array).any():  # elsewhere they may be a mask
            raise ModelError("weights must be finite", where=f"tensor {name}", seen="inf")


def decided_nodes(qdq: onnx.ModelProto) -> set[str]:
    """Names of the nodes that `quantize` made float or int16 of its own accord."""
    texts = (p.value for p in qdq.metadata_props if p.key in (FLOAT_RECORD, WIDE_RECORD))
    return {name for text in texts for name in json.loads(text)}


def _describe(qdq: onnx.ModelProto, lists: Mapping[str, Collection[str]], **facts: object) -> None:
    """Records in the model how it was made, beside what the float model says of itself; `lists` as JSON, if any."""
    qdq.producer_name, qdq.producer_version = "openbpu", __version__
    entries = {p.key: p.value for p in qdq.metadata_props}
    entries |= {f"openbpu.{key}": str(value).lower() for key, value in facts.items()}
    entries |= {key: json.dumps(list(names)) for key, names in lists.items() if names}
    del qdq.metadata_props[:]
    for key, value in entries.items():
        qdq.metadata_props.add(key=key, value=value)
