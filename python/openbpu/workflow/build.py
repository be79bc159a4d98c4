"""A build after a configuration: the stages in order, each with its artefact."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from openbpu import frontend, pipeline
from openbpu.analyze import AccuracyReport, PlacementReport
from openbpu.config import Config, ConfigMistakes, Mistake, against_model
from openbpu.errors import ConfigError, ModelError, OpenBpuError
from openbpu.files import check_writable
from openbpu.ir.profile import profile
from openbpu.preprocess import InputSpec
from openbpu.runtime import Executable
from openbpu.workflow import inputs, search
from openbpu.workflow.artefacts import Folder, calibrated, stage_of
from openbpu.workflow.node_choices import NodeChoices, choices
from openbpu.workflow.samples import CalibrationFiles, Feed, MadeUp, samples_of
from openbpu.workflow.stages import SKIPPABLE, log, stage
from openbpu.workflow.tables import NodeRow, node_rows, output_rows, text_table

NODE_HEAD = ("node", "ON", "subgraph", "type", "cosine similarity", "threshold", "data type")
OUTPUT_TITLE = "The quantized model output"
OUTPUT_HEAD = ("output", "cosine similarity", "L1 distance", "L2 distance", "Chebyshev distance")
_INTEGER_ENDS = ("Quantize", "Dequantize")
_VENDOR_ONLY = ("FilterCopy", "RlePostProcess")  # nodes that our models never have


@dataclass
class Result:
    """What a build made."""

    folder: Folder
    search: search.Found | None = None
    accuracy: AccuracyReport | None = None
    placement: PlacementReport | None = None
    nodes: list[NodeRow] = field(default_factory=list)
    executable: Executable | None = None

    @property
    def outputs(self) -> list[tuple[str, str, str, str, str]]:
        """Rows of the table of outputs."""
        return output_rows(self.accuracy) if self.accuracy else []


def build(
    config: Config,
    *,
    staged: str | PathLike[str] | None = None,
    skip: str = "",
    measure: bool = True,
    sensitivity: int = 0,
    must_measure: bool = False,
    progress: pipeline.Progress | None = None,
) -> Result:
    """Takes the model of a configuration down the road and writes every artefact into its working_dir.

    `staged` is the artefact of an earlier build to go on from; `skip` ("export", "convert", "compile") stops before
    that stage. Without `measure` the accuracy is not measured, with `must_measure` it is an error if it cannot be;
    `sensitivity` is the number of samples on which each node is quantised alone for it. Raises StageError; what was
    written before stays.
    """
    if skip and skip not in SKIPPABLE:
        raise ConfigError(
            "a stage to stop before", where="skip", seen=skip, remedy=f"use one of {', '.join(SKIPPABLE)}"
        )
    group = config.model_parameters
    result = Result(Folder(group.working_dir, group.output_model_file_prefix))
    for key, why in config.recorded.items():
        log.info("recorded, no effect: %s (%s)", key, why)
    with stage("load"):
        if cache := _cache(config):
            _check_cache(cache)
        model = _loaded(config, staged)
        given = frontend.is_quantised(model)
        if given and must_measure:
            rule = "accuracy is measured where a float model is quantised"
            remedy = "go on from a float model, or compare the two with openbpu accuracy"
            raise ConfigError(rule, where="--report, --fail-under", seen="a model that is quantised", remedy=remedy)
        placed = choices(config, model) if given else NodeChoices()
        arriving = _arriving(config, model, staged is not None)
    qdq = model if given else _quantised(config, model, result, sensitivity if measure else None, progress)
    if skip == "export":
        return result
    if not (given and staged):
        with stage("export"):
            _record(qdq, config)
            result.folder.model("ptq", qdq)
    if skip == "convert":
        return result
    with stage("convert"):
        quantised = _without_ends(config, qdq, arriving)
        if group.layer_out_dump:
            _show_layers(quantised)
        places: dict[str, Any] = {"run_on_cpu": sorted(placed.run_on_cpu), "run_on_bpu": sorted(placed.run_on_bpu)}
        result.placement = pipeline.check(quantised, march=group.target, **places)
        result.nodes = node_rows(result.placement, result.accuracy, qdq)
        log.debug(text_table("nodes", NODE_HEAD, (vars(row).values() for row in result.nodes)))
        result.folder.model("quantized", quantised)
    if skip == "compile":
        return result
    with stage("compile"):
        result.executable = pipeline.compile(
            quantised, march=group.target, inputs=arriving, **places, **_scheduling(config)
        )
    with stage("save"):
        result.folder.write(result.folder.file(".bpux"), result.executable.to_bytes())
    return result


def _arriving(config: Config, model: onnx.ModelProto, staged: bool) -> dict[str, InputSpec]:
    """Inputs that arrive as images. A staged model may have lost its first nodes, and so the names of its inputs."""
    found = inputs.dimensions(model)
    if not staged and (mistakes := against_model(config, found)):
        raise ConfigMistakes(mistakes)
    arriving = inputs.arriving(inputs.specs(config, model))
    return {name: spec for name, spec in arriving.items() if name in found}


def _loaded(config: Config, staged: str | PathLike[str] | None) -> onnx.ModelProto:
    profile(config.model_parameters.target)  # a wrong march is said before the long work
    path = staged or config.model_parameters.onnx_model
    assert path is not None  # the configuration has been checked
    if not staged and not Path(path).is_file():
        mistake = Mistake(
            "model_parameters.onnx_model", "the file must exist", str(path), "name an existing .onnx file"
        )
        raise ConfigMistakes([mistake])
    model = frontend.load(path)
    if stage_of(model) == "calibrated":
        raise ModelError(
            "its activations are quantised, its weights are not",
            where=str(path),
            remedy="go on from the ptq or quantized model, or from a float one",
        )
    if frontend.is_quantised(model) and not staged and config.calibration_parameters.calibration_type != "load":
        raise ConfigMistakes(
            [
                Mistake(
                    "model_parameters.onnx_model",
                    "the model is quantised already",
                    Path(path).name,
                    "write load as calibration_type, or name the float model",
                )
            ]
        )
    return model


def _quantised(
    config: Config, model: onnx.ModelProto, result: Result, sensitivity: int | None, progress: pipeline.Progress | None
) -> onnx.ModelProto:
    """From the float to the QDQ model, with the artefacts of every stage between; unmeasured if sensitivity is None."""
    group = config.model_parameters
    uncut = stage_of(model) != "optimized_float"  # else its boundary has been taken off before
    with stage("load"):
        shapes = inputs.input_shapes(config, model)
        specs = inputs.specs(config, model)
        if group.output_nodes and uncut:
            with _keys_of("model_parameters"):
                model = frontend.cut(model, group.output_nodes)
        result.folder.model("original_float", model)
    with stage("optimize"):
        whole = frontend.prepare(model, shapes)
        clean = _without_nodes(config, whole) if uncut else whole
        typed = inputs.typed_shapes(whole)
        for name, spec in inputs.arriving(specs).items():
            if name not in inputs.dimensions(clean):
                raise ConfigMistakes([_lost(name)])
            spec.checked(name, typed[name][0])
        chosen = choices(config, clean)
        result.folder.model("optimized_float", clean)
    with stage("calibrate"):
        given = samples_of(config, typed, specs)
        if "dump_calibration_data" in group.debug_mode:
            _dump(result.folder, given)
        samples = given if clean is whole else _Led(given, whole, clean)
        names = {node.name for node in clean.graph.node}

        def quantize(**arguments: Any) -> onnx.ModelProto:
            return pipeline.quantize(
                clean,
                samples,
                run_on_cpu=sorted(chosen.run_on_cpu & names),
                run_on_bpu=sorted(chosen.run_on_bpu & names),
                node_types=chosen.node_types,
                all_nodes_type=chosen.all_nodes_type,
                cache=_cache(config),
                progress=progress,
                **arguments,
            )

        combinations = search.combinations(config)
        if len(combinations) > 1:
            result.search = search.best(combinations, clean, samples, config, quantize)
            qdq, result.accuracy = result.search.model, result.search.report
        else:
            qdq = quantize(**combinations[0])
        if sensitivity is not None and (result.accuracy is None or sensitivity):
            measured = islice(iter(samples), search.MEASURED)
            result.accuracy = pipeline.accuracy(clean, qdq, measured, sensitivity=sensitivity, progress=progress)
        log.debug(text_table(OUTPUT_TITLE, OUTPUT_HEAD, result.outputs))
        result.folder.model("calibrated", calibrated(clean, qdq))
    return qdq


def _cache(config: Config) -> Path | None:
    """The folder that is reused between builds; None if none is wanted."""
    group = config.compiler_parameters
    if group.cache_mode == "disable":
        return None
    return group.cache_path or config.model_parameters.working_dir / "cache"


def _check_cache(folder: Path) -> None:
    """A cache that cannot be written is said before the long work."""
    try:
        check_writable(folder / "program")
    except OpenBpuError as error:
        mistake = Mistake("compiler_parameters.cache_path", "a folder that can be written", error.seen, "name another")
        raise ConfigMistakes([mistake]) from error


def _scheduling(config: Config) -> dict[str, Any]:
    """What compiling gets of compiler_parameters."""
    group = config.compiler_parameters
    names = ("optimize_level", "compile_mode", "balance_factor", "max_time_per_fc", "core_num", "cache_mode")
    return {name: getattr(group, name) for name in names} | {"cache_path": _cache(config) or ""}


def _without_nodes(config: Config, model: onnx.ModelProto) -> onnx.ModelProto:
    """The clean model without the boundary nodes that are float operators; the same object if it stays whole."""
    group = config.model_parameters
    types = [t for t in group.remove_node_type if t not in (*_INTEGER_ENDS, *_VENDOR_ONLY)]
    if not types and not group.remove_node_name:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with _keys_of("model_parameters"):
        return frontend.prepare(frontend.remove_boundary(copy, types, group.remove_node_name))


@contextmanager
def _keys_of(group: str) -> Iterator[None]:
    """Errors name keys as they stand in a configuration, with their group."""
    try:
        yield
    except ConfigError as error:
        raise ConfigMistakes([Mistake(f"{group}.{error.where}", error.rule, str(error.seen), error.remedy)]) from error


def _without_ends(config: Config, qdq: onnx.ModelProto, arriving: Mapping[str, InputSpec]) -> onnx.ModelProto:
    """The QDQ model without Quantize at its inputs, Dequantize at its outputs, as far as they are to go.

    Inputs that arrive as images keep their Quantize nodes: the program converts integers to integers there.
    """
    types = config.model_parameters.remove_node_type
    names = [
        node.name
        for node in qdq.graph.node
        if "Quantize" in types and node.op_type == "QuantizeLinear" and _removable(node, qdq, arriving)
    ]
    ends = [t for t in types if t == "Dequantize"]
    return pipeline.remove_boundary_nodes(qdq, types=ends, names=names) if ends or names else qdq


def _show_layers(qdq: onnx.ModelProto) -> None:
    """Every dequantised activation becomes an output, in the order of the model. Changes `qdq`."""
    constants = {tensor.name for tensor in qdq.graph.initializer}
    outputs = {info.name for info in qdq.graph.output}
    for node in qdq.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] not in constants and node.output[0] not in outputs:
            qdq.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))


def _removable(node: onnx.NodeProto, qdq: onnx.ModelProto, arriving: Mapping[str, InputSpec]) -> bool:
    """It alone reads an input that does not arrive as an image."""
    source = node.input[0]
    return (
        source in inputs.dimensions(qdq)
        and source not in arriving
        and sum(source in other.input for other in qdq.graph.node) == 1
    )


def _lost(name: str) -> Mistake:
    return Mistake(
        "model_parameters.remove_node_type",
        f"input {name} arrives as an image, so its first node stays",
        name,
        "use featuremap for this input, or name the nodes at the outputs in remove_node_name",
    )


class _Led:
    """Samples of the whole model, led through the nodes that were taken off its inputs."""

    def __init__(self, samples: Iterable[Feed], whole: onnx.ModelProto, clean: onnx.ModelProto) -> None:
        self._samples = samples
        self._names = list(inputs.dimensions(clean))
        self._kept = [n for n in self._names if n in inputs.dimensions(whole)]
        self._made = [n for n in self._names if n not in self._kept]
        self._session: ort.InferenceSession | None = None
        if self._made:
            copy = onnx.ModelProto()
            copy.CopyFrom(whole)
            head = frontend.cut(copy, self._made)
            self._session = ort.InferenceSession(head.SerializeToString(), providers=["CPUExecutionProvider"])

    def __iter__(self) -> Iterator[Feed]:
        for feed in self._samples:
            led = {name: feed[name] for name in self._kept}
            if self._session is not None:
                needed = {i.name: feed[i.name] for i in self._session.get_inputs()}
                led |= dict(zip(self._made, self._session.run(self._made, needed), strict=True))
            yield led


def _dump(folder: Folder, samples: CalibrationFiles | MadeUp) -> None:
    collected: dict[str, list[np.ndarray]] = {}
    for feed in samples:
        for name, array in feed.items():
            collected.setdefault(name, []).append(array)
    for name, arrays in collected.items():
        folder.samples(name, arrays)


def _record(qdq: onnx.ModelProto, config: Config) -> None:
    """The configuration goes along in the model, without folders of this machine."""
    record: Mapping[str, Any] = config.recordable()
    entry = next((p for p in qdq.metadata_props if p.key == pipeline.CONFIG_RECORD), None)
    entry = entry or qdq.metadata_props.add(key=pipeline.CONFIG_RECORD)
    entry.value = json.dumps(record, sort_keys=True, default=str)
