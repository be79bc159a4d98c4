"""Where Q/DQ pairs stand, and which tensors share parameters: the contract with the compiler."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from openbpu import frontend, ptq


class Qdq:
    """Look-ups in a quantised model."""

    def __init__(self, model: onnx.ModelProto, shape: tuple[int, ...] = (1, 3, 32, 32), **options: object) -> None:
        clean = frontend.prepare(frontend.load(model))
        self.model = ptq.quantize(clean, nets.samples(3, shape), refinement=(), **options)  # type: ignore[arg-type]
        self.nodes = list(self.model.graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.producers = {name: n for n in self.nodes for name in n.output}

    def of(self, kind: str) -> list[onnx.NodeProto]:
        return [n for n in self.nodes if n.op_type == kind]

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [n for n in self.nodes if name in n.input]

    def after(self, node: onnx.NodeProto) -> list[str]:
        """Kinds of the nodes that read a node's result."""
        return [n.op_type for n in self.readers(node.output[0])]

    def parameters(self, dequantised: str) -> tuple[float, int]:
        node = self.producers[dequantised]
        assert node.op_type == "DequantizeLinear", dequantised
        return float(self.constants[node.input[1]]), int(self.constants[node.input[2]])

    def result(self, node: onnx.NodeProto, index: int = 0) -> tuple[float, int]:
        """Parameters of the pair right behind a node."""
        (quantise,) = (n for n in self.readers(node.output[index]) if n.op_type == "QuantizeLinear")
        return float(self.constants[quantise.input[1]]), int(self.constants[quantise.input[2]])


NETWORKS = {
    "residual": (nets.residual(), (1, 3, 32, 32)),
    "silu": (nets.activation("silu"), (1, 3, 32, 32)),
    "hardswish": (nets.activation("hardswish"), (1, 3, 32, 32)),
    "gelu": (nets.activation("gelu"), (1, 3, 32, 32)),
    "squeeze_excite": (nets.squeeze_excite(), (1, 3, 32, 32)),
    "unet": (nets.unet(), (1, 3, 32, 32)),
    "detector": (nets.detector(), (1, 3, 32, 32)),
    "attention": (nets.attention(), (1, 20, 32)),
}
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@pytest.fixture(scope="module", params=NETWORKS)
def any_net(request: pytest.FixtureRequest) -> Qdq:
    return Qdq(*NETWORKS[request.param])


def test_products_read_pairs_and_int8_weights(any_net: Qdq) -> None:
    seen = 0
    for node in any_net.nodes:
        if node.op_type not in PRODUCTS:
            continue
        seen += 1
        assert {any_net.producers[name].op_type for name in node.input if name} == {"DequantizeLinear"}
        weight = any_net.producers[node.input[1]].input[0]
        if weight in any_net.constants:
            assert any_net.constants[weight].dtype == np.int8 and any_net.constants[weight].min() >= -127
            assert any_net.constants[any_net.producers[node.input[1]].input[1]].ndim == 1, "one scale per channel"
    assert seen


def test_graph_inputs_and_outputs_have_pairs(any_net: Qdq) -> None:
    assert [n.op_type for n in any_net.readers("x")] == ["QuantizeLinear"]
    for output in any_net.model.graph.output:
        assert any_net.producers[output.name].op_type == "DequantizeLinear"


def test_biases_lie_on_the_grid_of_the_accumulator(any_net: Qdq) -> None:
    for node in any_net.nodes:
        if node.op_type not in PRODUCTS or len(node.input) < 3:
            continue
        bias = any_net.producers[node.input[2]]
        assert any_net.constants[bias.input[0]].dtype == np.int32
        assert np.abs(any_net.constants[bias.input[0]].astype(np.int64)).max() < 2**30
        scale, _ = any_net.parameters(node.input[0])
        weight_scale = any_net.constants[any_net.producers[node.input[1]].input[1]]
        grid = any_net.constants[bias.input[1]].reshape(-1, len(weight_scale))
        np.testing.assert_allclose(grid, np.tile(np.float64(scale) * weight_scale, (len(grid), 1)), rtol=1e-6)


def test_moves_share_parameters(any_net: Qdq) -> None:
    for node in any_net.nodes:
        if node.op_type not in ("Concat", "MaxPool", "Resize", "Reshape", "Transpose", "Split", "Slice", "Flatten"):
            continue
        inputs = node.input if node.op_type == "Concat" else node.input[:1]
        found = {any_net.parameters(name) for name in inputs}
        found |= {any_net.result(node, i) for i in range(len(node.output))}
        assert len(found) == 1, f"{node.name}: {found}"


def test_no_pair_between_a_convolution_and_its_clamp() -> None:
    qdq = Qdq(nets.residual())
    stem, depthwise, projection = qdq.of("Conv")
    assert qdq.after(stem) == qdq.after(depthwise) == ["Clip"]
    assert qdq.after(projection) == ["QuantizeLinear"], "before the addition"
    assert qdq.after(qdq.of("Add")[0]) == ["Relu"]
    for clamp in (*qdq.of("Clip"), *qdq.of("Relu")):
        assert qdq.after(clamp) == ["QuantizeLinear"]
        assert qdq.result(clamp)[1] == -128, "a range that starts at 0 uses all levels"


@pytest.mark.parametrize("kind,inner", [("silu", 2), ("hardswish", 4), ("gelu", 5)])
def test_function_chains_have_pairs_at_both_ends_only(kind: str, inner: int) -> None:
    """One pair between the convolution and the activation, one behind it, none inside."""
    qdq = Qdq(nets.activation(kind))
    for conv in qdq.of("Conv"):
        assert qdq.after(conv) == ["QuantizeLinear"]
    activations = [n for n in qdq.nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear", "Conv")]
    quantised = [n for n in activations if qdq.after(n) == ["QuantizeLinear"]]
    assert (len(activations), len(quantised)) == (2 * inner, 2)


def test_a_convolution_read_before_its_clamp_keeps_its_pair() -> None:
    net = nets.Net(1)
    x = net.conv("x", 3, 8)
    net.op("Add", net.op("Relu", x), x, out="y")
    qdq = Qdq(net.model("y"))
    assert qdq.after(qdq.of("Conv")[0]) == ["QuantizeLinear"]


def test_pooling_by_average_has_parameters_of_its_own() -> None:
    net = nets.Net(2)
    x = net.op("AveragePool", net.op("Relu", net.conv("x", 3, 8)), kernel_shape=[2, 2], strides=[2, 2])
    net.op("GlobalAveragePool", x, out="y")
    qdq = Qdq(net.model("y"))
    for node in (*qdq.of("AveragePool"), *qdq.of("GlobalAveragePool")):
        assert qdq.parameters(node.input[0]) != qdq.result(node)


def test_softmax_has_fixed_parameters() -> None:
    qdq = Qdq(nets.attention(), (1, 20, 32))
    assert qdq.result(qdq.of("Softmax")[0]) == (1 / 256, -128)


def test_matmul_takes_in_its_bias() -> None:
    qdq = Qdq(nets.attention(), (1, 20, 32))
    biased = [add for add in qdq.of("Add") if qdq.producers[add.input[0]].op_type == "MatMul"]
    assert len(biased) == 3
    for add in biased:
        assert qdq.constants[qdq.producers[add.input[1]].input[0]].dtype == np.int32


def test_constants_per_channel_stay_exact_and_others_become_int8() -> None:
    net = nets.Net(3)
    x = net.op("Mul", net.op("Relu", "x"), net.normal(3, 1, 1))
    net.op("Add", x, net.normal(1, 3, 32, 32), out="y")
    qdq = Qdq(net.model("y"))
    (mul,), (add,) = qdq.of("Mul"), qdq.of("Add")
    assert mul.input[1] in qdq.constants
    assert qdq.constants[qdq.producers[add.input[1]].input[0]].dtype == np.int8


def test_symmetric_has_no_zero_points() -> None:
    qdq = Qdq(nets.unet(), symmetric=True)
    for node in qdq.of("DequantizeLinear"):
        assert not qdq.constants[node.input[2]].any()


def test_operators_without_integer_form_stay_float() -> None:
    net = nets.Net(4)
    x = net.op("CumSum", net.conv("x", 3, 4), net.constant(np.array(1)))
    net.conv(x, 4, 2, 1, out="y")
    qdq = Qdq(net.model("y"))
    assert qdq.producers[qdq.of("CumSum")[0].input[0]].op_type == "DequantizeLinear"
    assert qdq.after(qdq.of("CumSum")[0]) == ["QuantizeLinear"]


def test_names_that_look_like_ours() -> None:
    """Tensors of the model may already be called as the quantiser would call its own."""
    net = nets.Net(5)
    weight = net.constant(net.random.standard_normal((3, 3, 1, 1)), "first/weight")
    x = net.op("Conv", "x", weight, out="t")
    net.nodes[-1].name = "first"
    for name in ("t/int8", "t/real", "t/scale", "x/real", "y/float"):
        x = net.op("Conv", x, net.normal(3, 3, 1, 1), out=name)
    net.op("Einsum", x, weight, equation="nchw,cdef->ndhw", out="y")
    model = net.model("y")
    qdq = Qdq(model).model
    x_value = nets.samples(1)[0]
    assert nets.sqnr(nets.run(model, x_value)[0], nets.run(qdq, x_value)[0]) > 20


def test_sub_graphs_keep_what_they_read() -> None:
    net = nets.Net(6)
    x = net.conv("x", 3, 4, out="inner")
    net.op("Greater", net.op("ReduceMean", x, keepdims=0), net.constant(0.0), out="positive")
    branches = [
        onnx.helper.make_graph(
            [onnx.helper.make_node(kind, [x], [f"{kind}.out"])],
            kind,
            [],
            [onnx.helper.make_tensor_value_info(f"{kind}.out", onnx.TensorProto.FLOAT, [1, 4, 32, 32])],
        )
        for kind in ("Relu", "Neg")
    ]
    net.op("If", "positive", then_branch=branches[0], else_branch=branches[1], out="y")
    model = net.model("y", shape=(1, 3, 32, 32))
    qdq = ptq.quantize(frontend.prepare(frontend.load(model)), nets.samples(2))
    x_value = nets.samples(1)[0]
    assert nets.sqnr(nets.run(model, x_value)[0], nets.run(qdq, x_value)[0]) > 20


def test_small_probabilities_have_finer_steps() -> None:
    net = nets.Net(40)
    scores = net.op("Mul", "x", net.constant(0.01))
    net.op("Softmax", net.op("Reshape", scores, net.constant([1, 3, 1024])), axis=-1, out="y")
    assert Qdq(net.model("y")).result(Qdq(net.model("y")).of("Softmax")[0]) == (2.0**-17, -128)


def test_probabilities_beside_other_values_do_not_clip_them() -> None:
    net = nets.Net(41)
    far = net.op("Mul", "x", net.constant(9.0))
    net.op("Concat", net.op("Softmax", "x", axis=1), far, axis=1, out="y")
    qdq = Qdq(net.model("y"))
    scale, zero = qdq.result(qdq.of("Concat")[0])
    assert scale * (127 - zero) > 9 and scale * (-128 - zero) < -9
