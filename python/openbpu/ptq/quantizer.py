"""The steps of post-training quantisation, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import onnx

from openbpu.errors import ConfigError, ModelError
from openbpu.ir.quant import QuantParams
from openbpu.ptq.bias_correction import correct_biases
from openbpu.ptq.calibration import calibrate
from openbpu.ptq.insertion import insert
from openbpu.ptq.placement import place
from openbpu.ptq.ranges import choose
from openbpu.ptq.samples import SampleStream

CALIBRATIONS = ("auto", "max", "percentile")


def quantize(
    model: onnx.ModelProto,
    samples: Iterable[Any],
    *,
    calibration: str = "auto",
    symmetric: bool = False,
    bias_correction: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> onnx.ModelProto:
    """The QDQ form of a clean float model (`frontend.prepare`).

    int8 activations per tensor with a zero point (none if `symmetric`), symmetric int8 weights per channel, int32
    biases, corrected for the mean error of each layer if `bias_correction`. `samples` yields arrays or {input: array};
    it is read as a stream, several times. `progress` is called with (stage, samples done, samples in all or 0).
    Deterministic: the same inputs give the same model. Raises ModelError, SampleError, ConfigError.
    """
    if calibration not in CALIBRATIONS:
        raise ConfigError(f"calibration is one of {', '.join(CALIBRATIONS)}", where="calibration", seen=calibration)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise ModelError(
            "the model is quantised already", where=model.graph.name, remedy="compile it, or start from the float model"
        )
    report = progress or (lambda stage, done, total: None)
    stream = SampleStream(samples, model)
    placement = place(model)
    statistics = calibrate(model, stream, placement, report)
    by_group = {g: choose(s, calibration, symmetric) for g, s in statistics.items()}
    by_group |= {g: QuantParams.per_tensor(scale, zero) for g, (scale, zero) in placement.fixed.items()}
    params = {tensor: by_group[group] for tensor, group in placement.groups.items()}
    qdq = insert(model, params, {})
    if bias_correction:
        qdq = insert(model, params, correct_biases(model, qdq, stream, report))
    _describe(qdq, calibration=calibration, symmetric=symmetric, bias_correction=bias_correction, samples=stream.count)
    onnx.checker.check_model(qdq, full_check=True)
    return qdq


def _describe(qdq: onnx.ModelProto, **facts: object) -> None:
    """Records in the model how it was made."""
    qdq.producer_name = "openbpu"
    del qdq.metadata_props[:]
    for key, value in facts.items():
        qdq.metadata_props.add(key=f"openbpu.{key}", value=str(value).lower())
