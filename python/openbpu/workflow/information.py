"""What a file says of itself: versions, the configuration that made it, its inputs and outputs, its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from openbpu import __version__, frontend, pipeline
from openbpu.errors import ConfigError, ModelError
from openbpu.runtime import Executable
from openbpu.workflow.artefacts import stage_of
from openbpu.workflow.inputs import dimensions

_REMOVABLE = ("Quantize", "Dequantize", "Transpose", "Reshape", "Cast", "Softmax")


@dataclass(frozen=True)
class PortRow:
    """An input or output: dynamic extents are '?'."""

    name: str
    type: str  # input or output
    shape: str
    data_type: str


@dataclass(frozen=True)
class Information:
    """What `hb_model_info` shows; empty where a file does not say it."""

    name: str
    versions: Mapping[str, str]
    configuration: Mapping[str, Mapping[str, Any]]
    ports: tuple[PortRow, ...]
    removable: tuple[tuple[str, str], ...] = ()  # node, operator
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes
    graphs: tuple[str, ...] = ()  # models in the file

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def describe(path: Path, name: str = "") -> Information:
    """Of a .bpux program (`name`: one of its models) or an ONNX model.

    Raises ExecutableError, ModelError, ConfigError.
    """
    if path.suffix == ".bpux":
        return _program(Executable.load(path), name)
    if path.suffix != ".onnx":
        raise ModelError("a .bpux or .onnx file", where=str(path), seen=path.suffix or "no ending")
    if name:
        raise ConfigError("an ONNX file holds one model", where="name", seen=name, remedy="leave it out")
    return _model(frontend.load(path), path.stem)


def _program(executable: Executable, name: str) -> Information:
    if name and name not in executable.entries:
        models = ", ".join(executable.entries)
        raise ConfigError("the file has no such model", where="name", seen=name, remedy=f"it has {models}")
    meta = executable.metadata(name)
    report = pipeline.estimate(executable, entry=name)
    versions = {key: str(value) for key, value in meta.get("versions", {}).items()}
    static = report.constant_bytes + report.code_bytes
    return Information(
        name or executable.entries[0],
        {"openbpu": __version__, "march": str(meta.get("march", "")), **versions},
        meta.get("configuration", {}),
        tuple(PortRow(p.name, p.direction, "x".join(map(str, p.shape)), p.dtype) for p in executable.ports(name)),
        memory={
            "input": report.input_bytes,
            "output": report.output_bytes,
            "static (constants and code)": static,
            "dynamic (activations)": report.ddr_bytes,
            "minimum requirement": static + report.ddr_bytes + report.input_bytes + report.output_bytes,
        },
        graphs=tuple(executable.entries),
    )


def _model(model: onnx.ModelProto, name: str) -> Information:
    opsets = {o.domain or "onnx": str(o.version) for o in model.opset_import}
    stage = {"stage": stage_of(model)} if stage_of(model) else {}
    producer = {"producer": f"{model.producer_name} {model.producer_version}".strip()} if model.producer_name else {}
    return Information(
        name,
        {"openbpu": __version__, **producer, **stage, **{f"opset {k}": v for k, v in opsets.items()}},
        pipeline.metadata_of(model, pipeline.CONFIG_RECORD) or {},
        tuple(_ports(model)),
        tuple(_boundary(model)),
    )


def _ports(model: onnx.ModelProto) -> list[PortRow]:
    names = dimensions(model)
    infos = [("input", i) for i in model.graph.input if i.name in names]
    infos += [("output", o) for o in model.graph.output]
    return [PortRow(info.name, kind, _shape(info), _type(info)) for kind, info in infos]


def _shape(info: onnx.ValueInfoProto) -> str:
    return "x".join(str(d.dim_value) if d.dim_value > 0 else "?" for d in info.type.tensor_type.shape.dim)


def _type(info: onnx.ValueInfoProto) -> str:
    kind = info.type.tensor_type.elem_type
    return str(helper.tensor_dtype_to_np_dtype(kind)) if kind else "?"


def _boundary(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """The nodes that can be taken off the inputs and outputs, with those behind them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    left = {node.output[0] for node in frontend.remove_boundary(copy, _REMOVABLE, ()).graph.node}
    kinds = {"QuantizeLinear": "Quantize", "DequantizeLinear": "Dequantize"}
    rows = [
        (n.name or n.output[0], kinds.get(n.op_type, n.op_type)) for n in model.graph.node if n.output[0] not in left
    ]
    return [row for row in rows if row[1] in _REMOVABLE]
