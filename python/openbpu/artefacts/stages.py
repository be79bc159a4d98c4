"""The stages of a build as what can be run: inputs, outputs, and how integers at the boundary stand for reals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu import frontend
from openbpu.errors import ConfigError, ModelError
from openbpu.evaluation.runners import EXECUTABLE, FLOAT, QDQ, Runnable
from openbpu.preprocess import InputSpec
from openbpu.preprocess.recipe import Recipe, recorded_in
from openbpu.runtime import Executable

PROGRAMS = (".bpux", ".hbm")


@dataclass(frozen=True)
class Scale:
    """real = scale * (level - zero_point), for levels of the numpy type `dtype`."""

    scale: float
    zero_point: int
    dtype: str

    def quantised(self, x: np.ndarray) -> np.ndarray:
        """Levels of float values: rounded half to even, saturated."""
        limits = np.iinfo(self.dtype)
        levels = np.rint(np.asarray(x, np.float64) / self.scale) + self.zero_point
        return np.asarray(np.clip(levels, limits.min, limits.max), self.dtype)

    def reals(self, levels: np.ndarray) -> np.ndarray:
        """float64 values of levels."""
        return (levels.astype(np.float64) - self.zero_point) * self.scale

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest real."""
        limits = np.iinfo(self.dtype)
        return (limits.min - self.zero_point) * self.scale, (limits.max - self.zero_point) * self.scale


@dataclass(frozen=True)
class Tensor:
    """An input or output of a stage: dynamic extents are 0; `scale` of quantised levels, `steps` of the reals."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Scale | None = None  # the tensor holds levels
    steps: Scale | None = None  # the tensor holds reals on this grid, or is quantised next


@dataclass(frozen=True)
class Stage:
    """A file of a build, ready to run."""

    name: str
    kind: str  # of `Runnable`
    data: bytes = field(repr=False)
    entry: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    cameras: Mapping[str, InputSpec]  # by the name of the model's input
    recipes: Mapping[str, Recipe]

    @cached_property
    def runnable(self) -> Runnable:
        """What runs it."""
        return Runnable(self.kind, self.data, self.entry)


def stage(path: str | os.PathLike[str], entry: str = "") -> Stage:
    """Reads a .bpux file (`entry`: one of its models) or an ONNX model of any stage.

    Raises ModelError, ExecutableError, ConfigError.
    """
    file = Path(path)
    if file.suffix in PROGRAMS:
        return _program(str(path), Executable.load(file), entry)
    if file.suffix != ".onnx":
        raise ModelError("a .bpux or .onnx file", where=str(path), seen=file.suffix or "no ending")
    return _model(str(path), frontend.load(file))


def _program(name: str, executable: Executable, entry: str) -> Stage:
    if entry and entry not in executable.entries:
        models = ", ".join(executable.entries)
        raise ConfigError("the file has no such model", where=name, seen=entry, remedy=f"it has {models}")
    tensors: dict[str, list[Tensor]] = {"input": [], "output": []}
    for port in executable.ports(entry):
        scale = Scale(port.scale, port.zero_point, port.dtype) if port.scale and port.dtype != "float32" else None
        tensors[port.direction].append(Tensor(port.name, port.shape, port.dtype, scale))
    return Stage(
        name,
        EXECUTABLE,
        executable.to_bytes(),
        entry,
        tuple(tensors["input"]),
        tuple(tensors["output"]),
        {key: spec for key, spec in executable.cameras_of(entry).items() if not spec.identity},
        executable.preprocess_of(entry),
    )


def _model(name: str, model: onnx.ModelProto) -> Stage:
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    read: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for source in node.input:
            read.setdefault(source, []).append(node)

    def level(node: onnx.NodeProto | None, kind: str) -> Scale | None:
        return _scale(node, constants) if node is not None and node.op_type == kind else None

    def reader(tensor: str, kind: str) -> Scale | None:
        return next((level(n, kind) for n in read.get(tensor, ()) if n.op_type == kind), None)

    inputs = [
        Tensor(*_described(i), scale=reader(i.name, "DequantizeLinear"), steps=reader(i.name, "QuantizeLinear"))
        for i in graph.input
        if i.name not in constants
    ]
    outputs = [
        Tensor(
            *_described(o),
            scale=level(made.get(o.name), "QuantizeLinear"),
            steps=level(made.get(o.name), "DequantizeLinear"),
        )
        for o in graph.output
    ]
    return Stage(
        name,
        QDQ if frontend.is_quantised(model) else FLOAT,
        model.SerializeToString(),
        "",
        tuple(inputs),
        tuple(outputs),
        {},
        recorded_in(model),
    )


def _described(info: onnx.ValueInfoProto) -> tuple[str, tuple[int, ...], str]:
    tensor = info.type.tensor_type
    shape = tuple(d.dim_value if d.dim_value > 0 else 0 for d in tensor.shape.dim)
    kind = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else ""
    return info.name, shape, kind


def _scale(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Scale | None:
    """Of a Q or DQ node with one scale for the whole tensor; None of others."""
    if not all(name in constants for name in node.input[1:]):
        return None
    values = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
    if values[0].size != 1 or (len(values) > 1 and values[1].dtype.kind not in "iu"):
        return None
    zero_point, dtype = (int(values[1].item()), str(values[1].dtype)) if len(values) > 1 else (0, "uint8")
    return Scale(float(values[0].item()), zero_point, dtype)
