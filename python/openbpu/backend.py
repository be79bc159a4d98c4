"""openbpu as a backend of onnx (onnx.backend.base): models in, results out, through the whole compiler and the engine.

What the model quantises runs on the BPU, all else on the CPU in float. Operands that decide shapes (axes, sizes,
starts of Slice, ...) are parameters of the compiler: a model that takes them as inputs is compiled for their values.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from openbpu.errors import ModelError, ModelWarning
from openbpu.lower.shapes import DATA_DEPENDENT, counted
from openbpu.lower.static import static_inputs
from openbpu.pipeline import compile
from openbpu.runtime import Session


class OpenBpuBackend(Backend):
    """Compiles ONNX models; device "CPU" is the only one."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Compiled:
        """The model, to be compiled for the shapes and parameters of its first run."""
        return Compiled(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0] == "CPU"


class Compiled(BackendRep):
    """A model and the sessions made for it, one per set of shapes and parameters."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        initialised = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [info for info in model.graph.input if info.name not in initialised]
        self.static = static_inputs(model)
        self.counted = _counted(model)
        self.sessions: dict[Any, Session] = {}

    def run(self, inputs: Any, **_: Any) -> tuple[np.ndarray, ...]:
        """Results in the order of the model's outputs, in the types that it states. Raises OpenBpuError."""
        arrays = inputs if isinstance(inputs, dict) else self._named(inputs)
        given = {name: _array(value, name) for name, value in arrays.items()}
        known = {name for name, array in given.items() if name in self.static or not array.size}
        parameters = {name: array for name, array in given.items() if name in known}
        data = {name: array for name, array in given.items() if name not in known}
        key = (
            tuple((name, array.shape, array.tobytes()) for name, array in parameters.items()),
            tuple((name, array.shape) for name, array in data.items()),
        )
        if key not in self.sessions:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ModelWarning)
                self.sessions[key] = Session(compile(self._specialised(parameters, data)))
        session = self.sessions[key]
        kept = {port.name: data[port.name].astype(port.dtype) for port in session.inputs}
        return self._results(session.run(kept))

    def _named(self, inputs: Sequence[Any]) -> dict[str, Any]:
        return dict(zip((info.name for info in self.inputs), inputs, strict=False))

    def _specialised(self, parameters: dict[str, np.ndarray], data: dict[str, np.ndarray]) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        kept = [info for info in graph.input if info.name in data or info.name not in parameters]
        del graph.input[:]
        graph.input.extend(kept)
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in parameters.items())
        for info in graph.input:
            if info.name in data:
                tensor = info.type.tensor_type
                tensor.shape.Clear()
                tensor.shape.SetInParent()
                for extent in data[info.name].shape:
                    tensor.shape.dim.add(dim_value=extent)
        return model

    def _results(self, made: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        results = []
        for info in self.model.graph.output:
            array = made[info.name]
            if info.name in self.counted:  # the extent depends on the data: what is behind the valid part is padding
                count, axis = self.counted[info.name]
                array = np.take(array, range(int(made[count])), axis) if count in made else array
            kind = info.type.tensor_type.elem_type
            results.append(array.astype(helper.tensor_dtype_to_np_dtype(kind)) if kind else array)
        return tuple(results)


def _counted(model: onnx.ModelProto) -> dict[str, tuple[str, int]]:
    """Outputs whose extent depends on the data: the output that counts them, and their axis."""
    found = {}
    for node in model.graph.node:
        if node.op_type in DATA_DEPENDENT:
            count = f"{next(name for name in node.output if name)}.count"
            found.update({name: (count, axis) for name, axis in counted(node).items()})
    return found


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return np.asarray(numpy_helper.to_array(value))
    array = np.asarray(value) if not isinstance(value, list) else None
    if array is None or array.dtype.kind not in "fiubV":
        raise ModelError("inputs are tensors of numbers", where=f"input '{name}'", seen=type(value).__name__)
    return array
