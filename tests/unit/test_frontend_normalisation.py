"""Normalisations written as their parts are found again."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lowering.nets import reference
from openbpu import frontend


class Parts:
    """A float model of one input [2, 5, 24]."""

    def __init__(self, opset: int = 17) -> None:
        self.opset = opset
        self.random = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def number(self, value: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def mean(self, x: str, axes: tuple[int, ...] = (-1,), keepdims: int = 1) -> str:
        if self.opset >= 18:
            return self.op("ReduceMean", x, self.number(axes, np.int64), keepdims=keepdims)
        return self.op("ReduceMean", x, axes=axes, keepdims=keepdims)

    def model(self, *outputs: str) -> onnx.ModelProto:
        shape = (2, 5, 24)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "parts", [x], results, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def _prepared(parts: Parts, *outputs: str) -> list[str]:
    """Operators of the clean model, whose outputs must be those of the given one."""
    model = parts.model(*outputs)
    x = parts.random.standard_normal((2, 5, 24)).astype(np.float32) * 3 + 1
    expected = reference(model, {"x": x})
    clean = frontend.prepare(model)
    for want, got in zip(expected, reference(clean, {"x": x}), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-6, rtol=2e-6)  # another order of float sums
    return [node.op_type for node in clean.graph.node]


def _centred(parts: Parts, square: str, divide: str, twice: bool, axes: tuple[int, ...] = (-1,)) -> str:
    mean = parts.mean("x", axes)
    difference = parts.op("Sub", "x", mean)
    other = parts.op("Sub", "x", mean) if twice else difference
    squares = parts.op("Mul", other, other) if square == "Mul" else parts.op("Pow", other, parts.number(2))
    deviation = parts.op("Sqrt", parts.op("Add", parts.mean(squares, axes), parts.number(1e-5)))
    if divide == "Div":
        return parts.op("Div", difference, deviation)
    if divide == "Reciprocal":
        return parts.op("Mul", difference, parts.op("Reciprocal", deviation))
    return parts.op("Mul", parts.op("Div", parts.number(1), deviation), difference)


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("square", ["Mul", "Pow"])
@pytest.mark.parametrize(("divide", "twice"), [("Div", False), ("Div", True), ("Reciprocal", False), ("one", False)])
def test_layer_normalization_of_exporters(square: str, divide: str, twice: bool, opset: int) -> None:
    parts = Parts(opset)
    y = _centred(parts, square, divide, twice)
    y = parts.op("Mul", parts.number(parts.random.standard_normal(24)), y)
    y = parts.op("Add", y, parts.number(parts.random.standard_normal((1, 1, 24))))
    assert _prepared(parts, y) == ["LayerNormalization"]


def test_without_gain_over_two_axes() -> None:
    parts = Parts()
    assert _prepared(parts, _centred(parts, "Mul", "Div", False, (1, 2))) == ["LayerNormalization"]


def test_a_gain_per_row_stays_a_product() -> None:
    parts = Parts()
    y = _centred(parts, "Mul", "Div", False)
    y = parts.op("Mul", y, parts.number(parts.random.standard_normal((5, 1))))
    assert _prepared(parts, y) == ["LayerNormalization", "Mul"]


def test_what_is_read_elsewhere_stays() -> None:
    parts = Parts()
    y = _centred(parts, "Mul", "Div", False)
    z = parts.op("Mul", y, parts.number(parts.random.standard_normal(24)))
    assert _prepared(parts, y, z) == ["LayerNormalization", "Mul"]


def test_other_axes_are_no_layer_normalization() -> None:
    parts = Parts()
    assert "LayerNormalization" not in _prepared(parts, _centred(parts, "Mul", "Div", False, (1,)))


@pytest.mark.parametrize(("opset", "fused"), [(17, False), (23, True)])
def test_rms_normalization(opset: int, fused: bool) -> None:
    parts = Parts(opset)
    squares = parts.op("Pow", "x", parts.number(2))
    root = parts.op("Sqrt", parts.op("Add", parts.mean(squares), parts.number(1e-5)))
    y = parts.op("Mul", "x", parts.op("Reciprocal", root))
    y = parts.op("Mul", y, parts.number(parts.random.standard_normal(24)))
    assert (_prepared(parts, y) == ["RMSNormalization"]) == fused
