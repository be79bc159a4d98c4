"""The steps of post-training quantisation, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import onnx

from openbpu import __version__
from openbpu.errors import ConfigError, ModelError
from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import calibrate
from openbpu.ptq.feasibility import feasible
from openbpu.ptq.insertion import insert
from openbpu.ptq.placement import place
from openbpu.ptq.ranges import choose
from openbpu.ptq.refinement import Refinements, refine
from openbpu.ptq.samples import SampleStream

CALIBRATIONS = ("auto", "max", "percentile")
REFINEMENTS = ("rounding", "bias")
_DRAFT_SCALE = 1 / 16


def quantize(
    model: onnx.ModelProto,
    samples: Iterable[Any],
    *,
    calibration: str = "auto",
    symmetric: bool = False,
    refinement: Collection[str] = REFINEMENTS,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> onnx.ModelProto:
    """The QDQ form of a clean float model (`frontend.prepare`).

    int8 activations per tensor with a zero point (none if `symmetric`), symmetric int8 weights per channel, int32
    biases. Nodes named in `run_on_cpu`, and operators without an int8 form, stay float; `run_on_bpu` names nodes that
    are quantised though they would stay float. `refinement` names the steps taken layer by layer: "rounding" (second
    order) and "bias" (correction). `samples` yields arrays or {input: array}; it is read as a stream, several times.
    `progress` is called with (stage, steps done, steps in all or 0). Deterministic: the same inputs give the same
    model. Raises ModelError, SampleError, ConfigError.
    """
    if calibration not in CALIBRATIONS:
        raise ConfigError(f"calibration is one of {', '.join(CALIBRATIONS)}", where="calibration", seen=calibration)
    if unknown := set(refinement) - set(REFINEMENTS):
        raise ConfigError(
            f"refinement holds some of {', '.join(REFINEMENTS)}", where="refinement", seen=", ".join(sorted(unknown))
        )
    _check(model)
    report = progress or (lambda stage, done, total: None)
    stream = SampleStream(samples, model)
    placement = place(model, run_on_cpu, run_on_bpu)
    statistics = calibrate(model, stream, placement, report)
    by_group = {g: choose(s, calibration, symmetric or g in placement.symmetric) for g, s in statistics.items()}
    by_group |= {g: QuantParams.per_tensor(scale, zero) for g, (scale, zero) in placement.fixed.items()}
    always_zero = {g for g, s in statistics.items() if s.low == s.high}
    by_group = feasible(model, placement, by_group, always_zero)
    params = {tensor: by_group[group] for tensor, group in placement.groups.items()}
    qdq = insert(model, params, Refinements(), placement.cpu)
    if refinement:
        qdq = insert(model, params, refine(model, qdq, stream, refinement, report), placement.cpu)
    _describe(
        qdq,
        version=__version__,
        calibration=calibration,
        symmetric=symmetric,
        refinement="+".join(step for step in REFINEMENTS if step in refinement),
        samples=stream.count,
    )
    onnx.checker.check_model(qdq, full_check=True)
    return qdq


def draft(
    model: onnx.ModelProto, run_on_cpu: Collection[str] = (), run_on_bpu: Collection[str] = ()
) -> onnx.ModelProto:
    """The QDQ form of a clean float model with made-up ranges: it shows where nodes will run, without samples."""
    _check(model)
    placement = place(model, run_on_cpu, run_on_bpu)
    by_group = {group: QuantParams.per_tensor(_DRAFT_SCALE) for group in placement.members()}
    by_group |= {g: QuantParams.per_tensor(scale, zero) for g, (scale, zero) in placement.fixed.items()}
    by_group = feasible(model, placement, by_group, by_group)
    params = {tensor: by_group[group] for tensor, group in placement.groups.items()}
    return insert(model, params, Refinements(), placement.cpu)


def _check(model: onnx.ModelProto) -> None:
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise ModelError(
            "the model is quantised already", where=model.graph.name, remedy="compile it, or start from the float model"
        )
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.isnan(onnx.numpy_helper.to_array(tensor)).any():
            raise ModelError("weights must be numbers", where=f"tensor {tensor.name}", seen="NaN")


def _describe(qdq: onnx.ModelProto, **facts: object) -> None:
    """Records in the model how it was made, beside what the float model says of itself."""
    qdq.producer_name, qdq.producer_version = "openbpu", __version__
    entries = {p.key: p.value for p in qdq.metadata_props}
    entries |= {f"openbpu.{key}": str(value).lower() for key, value in facts.items()}
    del qdq.metadata_props[:]
    for key, value in entries.items():
        qdq.metadata_props.add(key=key, value=value)
