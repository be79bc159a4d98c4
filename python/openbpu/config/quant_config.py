"""quant_config: types and calibration of the whole model, of operators, subgraphs and nodes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from openbpu.config.fields import Group, Names, key, resolved
from openbpu.config.mistakes import wrong
from openbpu.config.reading import parse_json, read_text
from openbpu.errors import ConfigError

QTYPES = ("int8", "int16", "float", "float16", "float32", "dual-int16", "int16-ec")
# Types that the vendor's tool knows and the virtual BPU has not.
_ABSENT = ("int4", "mxint16", "mxint8", "mxint4", "mxfp8", "mxfp4", "nvfp4")
METRICS = ("cosine-similarity", "mse", "mae", "mre", "sqnr", "chebyshev")
CALIBRATIONS = ("max", "kl", "mse", "percentile", "load", "min-max", "mix")


def _present(value: Any) -> Any:
    if value in _ABSENT:
        raise wrong(f"the virtual BPU has no {value}", "use int8 or int16, or float32 for the CPU")
    return value


QType = Annotated[Literal[QTYPES], BeforeValidator(_present)]  # type: ignore[valid-type]
Metric = Literal[METRICS]  # type: ignore[valid-type]
_Calibration = Literal[CALIBRATIONS]  # type: ignore[valid-type]


def _list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


# A list is an axis of the search; one value alone fixes it.
Axis = BeforeValidator(_list)
Fraction = Annotated[float, Field(ge=0.5, le=1.0)]
Bins = Annotated[int, Field(ge=129, le=1 << 20)]


class Activation(Group):
    """How ranges of activations are chosen; values in lists are tried one after the other."""

    calibration_type: Annotated[tuple[_Calibration, ...], Axis] = key(
        (), "max, kl, mse, percentile; a list is searched"
    )
    num_bin: Annotated[tuple[Bins, ...], Axis] = key(
        (), "bins of histograms, at least 129", also="integer", remedy="write 1024"
    )
    max_num_bin: int | None = key(
        None,
        "most bins that a growing histogram gets",
        ge=258,
        le=1 << 20,
        recorded="histograms do not grow: a first pass finds the range",
    )
    max_percentile: Annotated[tuple[Fraction, ...], Axis] = key(
        (), "share of values that max keeps, 0.5 to 1.0", also="number", remedy="write a number from 0.5 to 1.0"
    )
    per_channel: Annotated[tuple[bool, ...], Axis] = key((), "per channel; [true, false] is searched", also="boolean")
    asymmetric: Annotated[tuple[bool, ...], Axis] = key(
        (), "with zero points; [true, false] is searched", also="boolean"
    )


class BiasCorrection(Group):
    """Correction of the mean error of each layer."""

    num_sample: int = key(1, "samples that it is measured on", ge=1, recorded="all samples are used")
    metric: Metric = key("cosine-similarity", "measure", recorded="the mean error is removed exactly")


class Weight(Group):
    """What is done with weights."""

    bias_correction: BiasCorrection | None = key(None, "correct the mean error of layers")


class Search(Group):
    """A search over the lists of `activation`."""

    metric: Metric = key("cosine-similarity", "measure of the outputs")
    similarity: float | None = key(None, "stop at the first combination that reaches this", ge=0, le=1)


class LayerwiseSearch(Group):
    """A choice per tensor."""

    metric: Metric = key("cosine-similarity", "measure of a layer", recorded="the error left in the outputs decides")


class ModelConfig(Group):
    """The whole model."""

    all_node_type: QType = key("int8", "type of activations")
    model_output_type: QType | None = key(None, "type of the model's outputs")
    activation: Activation = key(Activation(), "ranges of activations")
    weight: Weight = key(Weight(), "weights")
    modelwise_search: Search | None = key(None, "try combinations, keep the one with the best outputs")
    layerwise_search: LayerwiseSearch | None = key(None, "choose per tensor")


def _inputs_apart(values: Any) -> Any:
    """input0, input1 ... as one dict."""
    if not isinstance(values, dict):
        return values
    numbered = {name: kind for name, kind in values.items() if re.fullmatch(r"input\d+", str(name))}
    rest = {name: kind for name, kind in values.items() if name not in numbered}
    return rest | ({"inputs_by_number": numbered} if numbered else {})


class OpConfig(Group):
    """All nodes of an operator type, or one node."""

    qtype: QType | None = key(None, "type of activations")
    inputs_by_number: dict[str, QType] = key({}, "input0, input1 ...: type of one operand")
    ON: Literal["BPU", "CPU"] | None = key(None, "where it runs")

    _numbered = model_validator(mode="before")(_inputs_apart)

    @property
    def types(self) -> tuple[str, ...]:
        """Every type that is asked for."""
        return tuple(filter(None, (self.qtype, *self.inputs_by_number.values())))


class SubgraphConfig(Group):
    """The nodes between two sets of nodes or tensors, both included."""

    inputs: Names = key(..., "nodes where it begins", remedy="name the first nodes")
    outputs: Names = key(..., "nodes where it ends", remedy="name the last nodes")
    qtype: QType | None = key(None, "type of activations")
    ON: Literal["BPU", "CPU"] | None = key(None, "where it runs")
    calibration_type: _Calibration | None = key(None, "ranges", recorded="calibration is chosen for the whole model")

    @property
    def types(self) -> tuple[str, ...]:
        """Every type that is asked for."""
        return (self.qtype,) if self.qtype else ()


class QuantConfig(Group):
    """node_config wins over subgraph_config, that over op_config, that over model_config, and that over int8."""

    model: ModelConfig = Field(ModelConfig(), alias="model_config", description="the whole model")
    op_config: dict[str, OpConfig] = key({}, "by operator type: qtype, input0 ..., ON")
    subgraph_config: dict[str, SubgraphConfig] = key({}, "by a name of your own: inputs, outputs, qtype, ON")
    node_config: dict[str, OpConfig] = key({}, "by node: qtype, input0 ..., ON")

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, value: Any) -> Any:
        if not isinstance(value, str | Path):
            return value
        try:
            path = resolved(value)
            loaded = parse_json(read_text(path, "quant_config file"), str(path))
        except ConfigError as error:
            seen = f": {error.seen}" if error.seen else ""
            remedy = error.remedy or "name an existing JSON file"
            raise wrong(f"{error.where}: {error.rule}{seen}", remedy, seen=False) from error
        if not isinstance(loaded, dict):
            raise wrong("a JSON object", 'write {"model_config": {...}}')
        return loaded

    @field_validator("op_config", "node_config", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """{"Conv": "int16"} for {"Conv": {"qtype": "int16"}}."""
        if not isinstance(value, dict):
            return value
        return {name: {"qtype": item} if isinstance(item, str) else item for name, item in value.items()}
