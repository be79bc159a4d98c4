"""Cutting models at outputs, taking nodes off their boundary."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import openbpu
from lowering.nets import Net, reference
from openbpu.errors import ConfigError, ModelError


def bordered() -> tuple[Net, onnx.ModelProto]:
    """Transpose, Q/DQ, Conv, Q/DQ, Reshape, Softmax."""
    net = Net(4)
    x = net.input(1, 6, 5, 3, quantised=False)
    x = net.quantise(net.node("Transpose", x, perm=[0, 3, 1, 2]))
    y = net.quantise(net.node("Conv", x, net.weight(net.random.standard_normal((4, 3, 3, 3)))))
    y = net.node("Reshape", y, net.constant([1, 48], np.int64))
    net.output(net.node("Softmax", y, axis=-1))
    return net, net.model()


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.input[0] not in {t.name for t in model.graph.initializer}]


def test_types_go_again_and_again_from_both_ends() -> None:
    _, model = bordered()
    cut = openbpu.remove_boundary_nodes(model, types=["Softmax", "Reshape", "Transpose", "Dequantize", "Quantize"])
    assert operators(cut) == ["DequantizeLinear", "Conv", "QuantizeLinear"]
    (x,), (y,) = cut.graph.input, cut.graph.output
    assert x.type.tensor_type.elem_type == y.type.tensor_type.elem_type == TensorProto.INT8
    assert [d.dim_value for d in x.type.tensor_type.shape.dim] == [1, 3, 6, 5]
    onnx.checker.check_model(cut)
    session = openbpu.Session(openbpu.compile(cut))
    feed = {x.name: np.random.default_rng(0).integers(-128, 128, (1, 3, 6, 5)).astype(np.int8)}
    difference = session.run(feed)[y.name].astype(int) - reference(cut, feed)[0]
    assert np.abs(difference).max() <= 1


def test_a_type_inside_the_model_stays() -> None:
    _, model = bordered()
    assert operators(openbpu.remove_boundary_nodes(model, types=["Reshape", "Quantize"])) == operators(model)


def test_names_go_where_they_stand_at_the_boundary() -> None:
    _, model = bordered()
    names = {node.op_type: node.name for node in model.graph.node}
    cut = openbpu.remove_boundary_nodes(model, names=[names["Reshape"], names["Softmax"]])
    assert operators(cut)[-1] == "DequantizeLinear"
    with pytest.raises(ModelError, match="inside the model"):
        openbpu.remove_boundary_nodes(model, names=[names["Reshape"]])


def test_a_cut_keeps_what_the_outputs_need() -> None:
    net, model = bordered()
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    for wanted in (conv.name, conv.output[0]):
        cut = openbpu.remove_boundary_nodes(model, output_nodes=[wanted])
        assert [o.name for o in cut.graph.output] == [conv.output[0]]
        assert operators(cut)[-1] == "Conv"
        np.testing.assert_array_equal(reference(cut, net.feeds)[0], net.values(conv.output[0]))


@pytest.mark.parametrize(
    "options", [{"types": ["Conv"]}, {"names": ["nothing"]}, {"output_nodes": ["nothing"]}], ids=lambda o: next(iter(o))
)
def test_unknown_names_and_types(options: dict[str, list[str]]) -> None:
    _, model = bordered()
    with pytest.raises(ConfigError):
        openbpu.remove_boundary_nodes(model, **options)
