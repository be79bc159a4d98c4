"""Clean float models: same outputs, fewer nodes, static shapes, names."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import openbpu
from openbpu import frontend
from openbpu.errors import ModelError

# Folding reorders float32 arithmetic: a relative error of some 1e-7 per node.
TOLERANCE = 2e-6


def check_same(model: onnx.ModelProto, shape: tuple[int, ...] = (1, 3, 32, 32)) -> onnx.ModelProto:
    """prepare() keeps names, order and values of the outputs, and gives a valid model; returns the clean model."""
    clean = frontend.prepare(frontend.load(model))
    onnx.checker.check_model(clean, full_check=True)
    assert [o.name for o in clean.graph.output] == [o.name for o in model.graph.output]
    for x in nets.samples(2, shape):
        for want, got in zip(nets.run(model, x), nets.run(clean, x), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * np.abs(want).max())
    return clean


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    "model",
    [nets.residual(), nets.squeeze_excite(), nets.unet(), nets.detector(), nets.activation("gelu")],
    ids=["residual", "squeeze_excite", "unet", "detector", "gelu"],
)
def test_outputs_stay(model: onnx.ModelProto) -> None:
    clean = check_same(model)
    made = {name for node in clean.graph.node for name in node.output}
    known = {v.name for v in (*clean.graph.value_info, *clean.graph.output)}
    assert made <= known, "every tensor has a shape"


def test_batch_norm_is_folded() -> None:
    net = nets.Net(1)
    x = net.norm(net.conv("x", 3, 8), 8)
    x = net.norm(net.op("ConvTranspose", x, net.normal(8, 4, 2, 2), strides=[2, 2]), 4)
    flat = net.op("Flatten", net.op("GlobalAveragePool", x))
    net.op("Gemm", flat, net.normal(4, 5), net.normal(5), out="y")
    assert kinds(check_same(net.model("y"))) == ["Conv", "ConvTranspose", "GlobalAveragePool", "Reshape", "Gemm"]


def test_two_flatten_of_one_scalar() -> None:
    net = nets.Net(1)
    least = net.op("ReduceMin", "x", keepdims=0)
    net.op("Concat", net.op("Flatten", least, axis=0), net.op("Flatten", least, axis=0), axis=1, out="y")
    assert kinds(check_same(net.model("y"))) == ["ReduceMin", "Reshape", "Concat"]


def test_folded_nodes_keep_the_names_of_the_user() -> None:
    net = nets.Net(1)
    x = net.norm(net.conv("x", 3, 8), 8)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.norm(net.conv(net.op("Relu", x), 8, 8), 8)))
    net.op("Add", net.op("MatMul", x, net.normal(8, 5)), net.normal(5), out="y")
    model = net.model("y")
    for index, node in enumerate(model.graph.node):
        node.name = f"block.{index}.{node.op_type}"
    clean = frontend.prepare(frontend.load(model))
    assert [(node.op_type, node.name) for node in clean.graph.node] == [
        ("Conv", "block.0.Conv"),
        ("Relu", "block.2.Relu"),
        ("Conv", "block.3.Conv"),
        ("GlobalAveragePool", "block.5.GlobalAveragePool"),
        ("Reshape", "block.6.Flatten"),
        ("Gemm", "block.7.MatMul"),
    ]


def test_arithmetic_with_constants_per_channel_is_folded() -> None:
    net = nets.Net(2)
    x = net.op("Add", net.op("Conv", "x", net.normal(8, 3, 3, 3)), net.normal(1, 8, 1, 1))
    x = net.op("Mul", net.conv(x, 8, 8, 1), net.normal(8, 1, 1))
    x = net.op("Sub", net.constant(np.ones((8, 1, 1))), net.conv(x, 8, 8, 1))
    x = net.op("Div", net.op("ConvTranspose", x, net.normal(8, 4, 2, 2)), net.constant(np.full((4, 1, 1), 3.0)))
    net.op("Add", net.normal(4, 1, 1), x, out="y")
    assert kinds(check_same(net.model("y"))) == ["Conv", "Conv", "Conv", "ConvTranspose"]


@pytest.mark.parametrize("shape", [(1, 8, 30, 30), (30,), (1, 1, 30, 30)])
def test_other_constants_are_not_folded(shape: tuple[int, ...]) -> None:
    net = nets.Net(3)
    net.op("Add", net.op("Conv", "x", net.normal(8, 3, 3, 3)), net.normal(*shape), out="y")
    assert kinds(check_same(net.model("y"))) == ["Conv", "Add"]


def test_a_convolution_read_twice_keeps_its_bias() -> None:
    net = nets.Net(4)
    x = net.conv("x", 3, 8)
    net.op("Add", x, net.normal(8, 1, 1), out="y")
    net.op("Relu", x, out="z")
    assert kinds(check_same(net.model("y", "z"))) == ["Conv", "Add", "Relu"]


def test_shared_weights_are_scaled_for_one_reader_only() -> None:
    net = nets.Net(5)
    weight = net.normal(3, 3, 1, 1)
    x = net.op("Mul", net.op("Conv", "x", weight), net.normal(3, 1, 1))
    net.op("Conv", x, weight, out="y")
    assert kinds(check_same(net.model("y"))) == ["Conv", "Conv"]


def test_padding_is_folded() -> None:
    net = nets.Net(6)
    padded = net.op("Pad", "x", net.constant(np.array([0, 0, 1, 2, 0, 0, 0, 1])), net.constant(0.0))
    net.op("Conv", padded, net.normal(8, 3, 3, 3), out="y")
    assert kinds(check_same(net.model("y"))) == ["Conv"]


@pytest.mark.parametrize("bias", [(5,), (1, 5), (1, 1), (), None])
def test_gemm_is_normalised(bias: tuple[int, ...] | None) -> None:
    net = nets.Net(7)
    more = [] if bias is None else [net.normal(*bias)]
    net.op("Gemm", net.op("Flatten", "x"), net.normal(3072, 5, scale=0.02), *more, alpha=0.5, beta=-2.0, out="y")
    gemm = check_same(net.model("y")).graph.node[-1]
    assert not {a.name for a in gemm.attribute} & {"alpha", "beta"}


def test_gemm_with_a_matrix_added() -> None:
    net = nets.Net(8)
    net.op("Gemm", net.op("Flatten", "x", axis=2), net.normal(1024, 5, scale=0.02), net.normal(3, 5), beta=2.0, out="y")
    model = net.model("y", shape=(1, 3, 32, 32))
    assert kinds(check_same(model)) == ["Reshape", "Gemm", "Add"]


def test_identities_and_constant_nodes_vanish() -> None:
    net = nets.Net(9)
    net.conv(net.op("Identity", net.op("Dropout", net.op("Relu", "x"))), 3, 4, out="y")
    model = net.model("y")
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend([*constants, *nodes])
    assert kinds(check_same(model)) == ["Relu", "Conv"]


def test_initialisers_listed_as_inputs_are_constants() -> None:
    model = nets.residual()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    clean = check_same(model)
    assert [i.name for i in clean.graph.input] == ["x"]


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 21, 23])
def test_opsets(opset: int) -> None:
    net = nets.Net(10)
    x = net.op("Relu", net.conv("x", 3, 4))
    net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], out="y")
    clean = check_same(net.model("y", opset=opset))
    assert clean.opset_import[0].version >= 13


def test_float16_becomes_float32() -> None:
    net = nets.Net(11)
    net.op("Relu", net.conv("x", 3, 4), out="y")
    model = net.model("y")
    want = nets.run(model, nets.samples(1)[0])[0]
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    del model.graph.value_info[:]
    clean = frontend.prepare(frontend.load(model))
    types = {v.type.tensor_type.elem_type for v in (*clean.graph.input, *clean.graph.output, *clean.graph.value_info)}
    assert types == {TensorProto.FLOAT}
    got = nets.run(clean, nets.samples(1)[0])[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-3 * np.abs(want).max())  # weights had 11 bits


# ---- shapes and names


def dynamic() -> onnx.ModelProto:
    net = nets.Net(12)
    net.conv("x", 3, 4, out="y")
    return net.model("y", shape=("batch", 3, "height", "width"))


def test_dynamic_dimensions_are_named_with_the_option_that_fixes_them() -> None:
    with pytest.raises(ModelError, match=r"input x: .*2 \(height\), 3 \(width\).*input_shapes=.*--input-shape x:"):
        frontend.prepare(dynamic())
    clean = frontend.prepare(dynamic(), {"x": (1, 3, 20, 24)})
    assert [d.dim_value for d in clean.graph.output[0].type.tensor_type.shape.dim] == [1, 4, 20, 24]


@pytest.mark.parametrize(
    "shapes,message",
    [
        ({"z": (1, 3, 8, 8)}, "z: input_shapes names an input"),
        ({"x": (1, 3, 8)}, "has 4 dimensions"),
        ({"x": (1, 4, 8, 8)}, "dimension 1 is 3"),
        ({"x": (1, 3, -1, 8)}, "dynamic dimensions 2"),
        ({"x": (1, 3, 0, 8)}, "dynamic dimensions 2"),
    ],
)
def test_input_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        frontend.prepare(dynamic(), shapes)


def test_dynamic_batch_becomes_one() -> None:
    clean = frontend.prepare(frontend.load(nets.residual()))
    for info in (*clean.graph.input, *clean.graph.output):
        assert info.type.tensor_type.shape.dim[0].dim_value == 1


@pytest.mark.parametrize("name", ["", "twice"])
def test_every_node_gets_a_name_of_its_own(name: str) -> None:
    model = nets.residual()
    for node in model.graph.node:
        node.name = name
    names = [[n.name for n in frontend.prepare(frontend.load(model)).graph.node] for _ in range(2)]
    assert names[0] == names[1], "stable"
    assert len({*names[0]}) == len(names[0]) and "" not in names[0]


# ---- quantised models


def test_prepare_qdq_keeps_the_pairs() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["dw"]),
        helper.make_node("MatMul", ["d", "dw"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 2), np.int8)}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "qdq",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
            [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    ready = frontend.prepare_qdq(frontend.load(model))
    assert kinds(ready) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "MatMul"]
    assert [d.dim_value for d in ready.graph.output[0].type.tensor_type.shape.dim] == [1, 2]
    assert all(node.name for node in ready.graph.node)


def test_a_constant_is_an_output() -> None:
    """As exporters write anchors that a model returns beside its results."""
    net = nets.Net(60)
    net.conv("x", 3, 4, out="y")
    model = net.model("y", shape=(1, 3, 32, 32))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(6, dtype=np.int64).reshape(2, 3), "anchors"))
    model.graph.output.append(helper.make_tensor_value_info("anchors", TensorProto.INT64, ["rows", 3]))
    check_same(model)
    qdq = openbpu.quantize(model, nets.samples(2, (1, 3, 32, 32)), calibration="max", refinement=())
    results = openbpu.Session(openbpu.compile(qdq)).run({"x": nets.samples(1, (1, 3, 32, 32))[0]})
    np.testing.assert_array_equal(results["anchors"], [[0, 1, 2], [3, 4, 5]])
