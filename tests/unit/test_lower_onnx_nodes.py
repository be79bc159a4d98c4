"""The quantised node tests that onnx generates, through a backend; those without a place are listed with the reason."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

import openbpu

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    CASES = {case.name: case for case in collect_testcases(None)}

QUANTISED = {
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QuantizeLinear", "DequantizeLinear",
    "DynamicQuantizeLinear",
}  # fmt: skip
NAMES = sorted(name for name, case in CASES.items() if any(n.op_type in QUANTISED for n in case.model.graph.node))

# part of a name -> why the BPU has no form for it
REASONS = {
    "integer": "an int32 result needs raw accumulators, which instruction set 1 does not write",
    "dynamicquantize": "scales are computed at run time",
    "_axis": "one scale per channel of an activation",
    "blocked": "one scale per block of an activation",
    "int16": "activations of 16 bits", "int4": "activations of 4 bits", "int2": "activations of 2 bits",
    "e4m3": "8-bit floats", "e5m2": "8-bit floats", "e2m1": "4-bit floats",
}  # fmt: skip
ACTIVATIONS = ("x", "a", "b", "A", "B")  # inputs that stay inputs; the others are parameters


class OpenBpu(Backend):
    """onnx's view of openbpu: quantised models in, results out."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> BackendRep:
        return Compiled(openbpu.Session(openbpu.compile(model)))


class Compiled(BackendRep):
    def __init__(self, session: openbpu.Session) -> None:
        self.session = session

    def run(self, inputs: dict[str, np.ndarray], **_: Any) -> tuple[np.ndarray, ...]:
        return tuple(self.session.run(inputs).values())


def frozen(case: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray], list[np.ndarray]]:
    """The model with its parameters as initializers, the inputs that remain, and the expected results."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, outputs = case.data_sets[0]
    feeds = {}
    for info, array in zip(list(model.graph.input), inputs, strict=True):
        if info.name in ACTIVATIONS:
            feeds[info.name] = array
        else:
            model.graph.input.remove(info)
            tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(np.asarray(array))
            tensor.name = info.name
            model.graph.initializer.append(tensor)
    return model, feeds, [np.asarray(output) for output in outputs]


@pytest.mark.filterwarnings("ignore::openbpu.errors.ModelWarning")
@pytest.mark.parametrize("name", [n for n in NAMES if not any(part in n for part in REASONS)])
def test_node(name: str) -> None:
    model, feeds, outputs = frozen(CASES[name])
    for got, want in zip(OpenBpu.prepare(model).run(feeds), outputs, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        tolerance = 1 if want.dtype.kind in "iu" else 1e-6 * np.abs(want).max()
        assert np.abs(got.astype(np.float64) - want.astype(np.float64)).max() <= tolerance


@pytest.mark.filterwarnings("ignore::openbpu.errors.ModelWarning")
@pytest.mark.parametrize("name", [n for n in NAMES if any(part in n for part in REASONS)])
def test_node_without_a_form_on_the_bpu(name: str) -> None:
    """The CPU computes it, or there is one clear error, never another exception."""
    model, feeds, outputs = frozen(CASES[name])
    try:
        results = OpenBpu.prepare(model).run(feeds)
    except openbpu.OpenBpuError as error:
        assert error.where and error.rule
        return
    for got, want in zip(results, outputs, strict=True):
        if want.dtype == object:  # of a type that numpy lacks
            want = numpy_helper.to_array(want.item())
        expected = want.astype(np.float64)
        assert np.abs(got.astype(np.float64) - expected).max() <= 1e-6 * max(np.abs(expected).max(), 1)


def test_how_many_pass() -> None:
    assert len(NAMES) >= 40
    assert sum(not any(part in n for part in REASONS) for n in NAMES) >= 11
