"""Whole QDQ models as other tools write them: onnxruntime's quantiser, operator form, odd but legal Q/DQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import openbpu
from lowering.check import check, check_model
from lowering.nets import Net, reference
from openbpu.errors import ModelWarning, OpenBpuError, UnsupportedError
from openbpu.lower import lower, operators
from openbpu.lower.node import CPU_INTEGERS
from openbpu.runtime import Session


def float_net(opset: int = 17) -> onnx.ModelProto:
    """Residual block, depthwise convolution, SiLU, upsampling, concatenation, pooling and a classifier."""
    net = Net(5, opset=opset)
    x = net.input(1, 3, 16, 16, quantised=False)

    def conv(x: str, co: int, ci: int, kernel: int, **attributes: object) -> str:
        groups = attributes.get("group", 1)
        weight = net.random.standard_normal((co, ci // groups, kernel, kernel)) / (kernel * np.sqrt(ci // groups))
        bias = net.constant(net.random.standard_normal(co) * 0.1, np.float32)
        return net.node("Conv", x, net.constant(weight, np.float32), bias, pads=[kernel // 2] * 4, **attributes)

    stem = net.node("Relu", conv(x, 8, 3, 3, strides=[2, 2]))
    deep = conv(stem, 8, 8, 3, group=8)
    deep = net.node("Mul", deep, net.node("Sigmoid", deep))
    joined = net.node("Relu", net.node("Add", stem, conv(deep, 8, 8, 1)))
    small = net.node("MaxPool", joined, kernel_shape=[2, 2], strides=[2, 2])
    large = net.node("Resize", small, "", net.constant([1, 1, 2, 2], np.float32), mode="nearest")
    both = net.node("Concat", joined, large, axis=1)
    y = net.node("Flatten", net.node("GlobalAveragePool", net.node("Relu", conv(both, 12, 16, 3))), axis=1)
    weight = net.constant(net.random.standard_normal((12, 10)) * 0.3, np.float32)
    net.output(net.node("Gemm", y, weight, net.constant(net.random.standard_normal(10), np.float32)))
    return net.model()


class Samples(CalibrationDataReader):
    def __init__(self, name: str) -> None:
        random = np.random.default_rng(6)
        self._left: Iterator[dict[str, np.ndarray]] = iter(
            [{name: random.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=lambda f: f.name)
@pytest.mark.parametrize(
    ("activations", "weights", "per_channel"),
    [("QInt8", "QInt8", True), ("QUInt8", "QInt8", True), ("QUInt8", "QInt8", False), ("QUInt8", "QUInt8", False)],
)
def test_onnxruntime_quantiser(
    tmp_path: Path, form: QuantFormat, activations: str, weights: str, per_channel: bool
) -> None:
    """A dozen operators in a row, each within one step; weights with a zero point are quantised again."""
    model = float_net()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "qdq.onnx",
        Samples(model.graph.input[0].name),
        quant_format=form,
        activation_type=QuantType[activations],
        weight_type=QuantType[weights],
        per_channel=per_channel,
    )
    quantised = onnx.load(tmp_path / "qdq.onnx")
    again = weights == "QUInt8"
    feeds = {model.graph.input[0].name: np.random.default_rng(7).standard_normal((1, 3, 16, 16)).astype(np.float32)}
    check_model(quantised, feeds, tolerance=4 if again else 2, warned=again)


@pytest.mark.parametrize("opset", [13, 15, 18, 19, 20, 21, 22, 23])
def test_opset(opset: int) -> None:
    net = Net(1, opset=opset)
    y = net.node("Conv", net.input(1, 3, 8, 8), net.weight(net.random.standard_normal((6, 3, 3, 3))))
    y = net.quantise(net.node("Clip", y, net.constant(0, np.float32), net.constant(2, np.float32)))
    a, b = net.node("Split", y, net.constant([2, 4], np.int64), axis=1, outputs=2)
    y = net.node("Concat", b, a, axis=1)
    y = net.node("AveragePool", y, kernel_shape=[2, 2])
    net.output(net.quantise(y))
    check(net)


def test_odd_but_legal_pairs() -> None:
    """No zero point (uint8 0), scales of one element, a Q with several DQ and users, a DQ with several users."""
    net = Net(2, "uint8")
    x = net.input(1, 4, 6, 6, quantised=False)
    scale = net.constant([0.02], np.float32)
    q = net.node("QuantizeLinear", net.node("Relu", net.quantise(x)), scale)
    a, b = net.node("DequantizeLinear", q, scale), net.node("DequantizeLinear", q, scale)
    y = net.quantise(net.node("Add", a, net.node("Transpose", b, perm=[0, 1, 3, 2])))
    net.output(y)
    net.output(net.quantise(net.node("Mul", a, y)))
    net.output(net.node("DequantizeLinear", q, net.constant(0.5, np.float32), net.constant(9, np.uint8)))
    check(net)


def test_pads_join_the_convolution() -> None:
    net = Net(3)
    y = net.node("Pad", net.input(1, 4, 6, 6), net.constant([0, 0, 1, 0, 0, 0, 2, 1], np.int64))
    net.output(net.quantise(net.node("Conv", y, net.weight(net.random.standard_normal((6, 4, 3, 3))))))
    graph = check(net, kinds=("conv2d",))
    assert graph.ops[1].attrs["pads"] == (1, 0, 2, 1)


def test_clamp_on_the_same_grid_joins_its_producer() -> None:
    net = Net(4)
    y = net.quantise(
        net.node("Conv", net.input(1, 4, 6, 6), net.weight(net.random.standard_normal((6, 4, 1, 1)))), 0.03, 5
    )
    net.output(net.quantise(net.node("Relu", y), 0.03, 5))
    graph = check(net, kinds=("conv2d",))
    assert graph.ops[1].attrs["lo"] == 5


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integer_ports(dtype: str) -> None:
    kind = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}[dtype]
    net = Net(5, dtype)
    limits = np.iinfo(dtype)
    net.inputs.append(helper.make_tensor_value_info("image", kind, (1, 3, 6, 5)))
    net.feeds["image"] = net.random.integers(limits.min, limits.max + 1, (1, 3, 6, 5)).astype(dtype)
    x = net.node("DequantizeLinear", "image", net.constant(0.02, np.float32), net.constant(7, dtype))
    y = net.quantise(net.node("Conv", x, net.weight(net.random.standard_normal((4, 3, 3, 3)))))
    net.output(next(n for n in net.nodes if n.output[0] == y).input[0])
    net.output(y)
    check(net)


def test_ports_pass_through() -> None:
    net = Net(6)
    x = net.input(2, 3, 4, 5)
    net.output(x)
    net.output(net.node("Transpose", x, perm=[0, 3, 2, 1]))
    check(net, tolerance=0)


def qlinear_conv() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    random = np.random.default_rng(8)
    arrays = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "ws": random.uniform(0.01, 0.02, 6).astype(np.float32),
        "w": random.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8), "wz": np.zeros(6, np.int8),
        "ys": np.float32(0.1), "yz": np.uint8(110), "b": random.integers(-900, 900, 6).astype(np.int32),
    }  # fmt: skip
    node = helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], name="q")
    graph = helper.make_graph(
        [node],
        "qlinear",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 3, 7, 7))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, 6, 5, 5))],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, {"x": random.integers(0, 256, (1, 3, 7, 7)).astype(np.uint8)}


def test_operator_form_with_integer_ports() -> None:
    check_model(*qlinear_conv())


def test_operator_form_with_parameters_as_nodes() -> None:
    model, feeds = qlinear_conv()
    kept = [tensor for tensor in model.graph.initializer if tensor.name in ("w", "b")]
    nodes = [
        helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor)
        for tensor in model.graph.initializer
        if tensor.name not in ("w", "b")
    ]
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    check_model(model, feeds)


def test_a_product_in_operator_form_may_have_a_float_result() -> None:
    """QGemm without a scale for its result."""
    net = Net(9, "uint8")
    operands = net.constant(np.float32(0.02)), net.constant(120, np.uint8)
    x = net.node("QuantizeLinear", net.input(3, 8, quantised=False), *operands)
    weight = net.constant(net.random.integers(-127, 128, (4, 8)), np.int8)
    weights = weight, net.constant(np.float32(0.01)), net.constant(0, np.int8)
    bias = net.constant(net.random.integers(-900, 900, 4), np.int32)
    product = net.node("QGemm", x, *operands, *weights, bias, domain="com.microsoft", transB=1)
    model = net.model(net.node("Identity", product))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(net.outputs[0], TensorProto.FLOAT, (3, 4)))
    (want,) = reference(model, net.feeds)
    with pytest.warns(ModelWarning, match="nothing of this model runs on the BPU"):
        (got,) = Session(openbpu.compile(model)).run(net.feeds).values()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_selection_in_operator_form() -> None:
    net = Net(10, "uint8")
    operands = net.constant(np.float32(0.02)), net.constant(120, np.uint8)
    other = net.constant(np.float32(0.03)), net.constant(100, np.uint8)
    x = net.node("QuantizeLinear", net.input(3, 8, quantised=False), *operands)
    mask = net.constant(net.random.integers(0, 2, (3, 8)), bool)
    y = net.node("QLinearWhere", mask, x, *operands, x, *operands, *other, domain="com.microsoft")
    net.output(net.node("DequantizeLinear", y, *other))
    check(net)


# ---- what the BPU refuses runs on the CPU, with the reason


def test_no_refusal_is_without_a_remedy() -> None:
    """Integers too, and rules that name none."""
    net = Net(11)
    x = net.indices(2, 3, low=0, high=9)
    y = net.node("Cast", x, to=TensorProto.FLOAT)
    net.output(net.node("Unsqueeze", net.node("Equal", x, x), net.constant([0])))
    net.output(net.node("ArgMax", y, select_last_index=1))
    refused = {d.op: d.remedy for d in lower(net.model()).decisions if d.where == "CPU"}
    assert set(refused) == {"Cast", "Equal", "Unsqueeze", "ArgMax"}
    assert refused["Cast"] == refused["Equal"] == refused["Unsqueeze"] == CPU_INTEGERS
    assert refused["ArgMax"] == "another form of this node, one that keeps the rule"


def _float_output(net: Net, x: str) -> str:
    return net.node("Sigmoid", x)


def _unknown(net: Net, x: str) -> str:
    return net.quantise(net.node("Cos", net.node("Hardmax", x)), 0.1)


def _float_weights(net: Net, x: str) -> str:
    return net.quantise(net.node("Conv", x, net.constant(np.ones((2, 3, 1, 1)), np.float32)), 0.1)


def _slopes(net: Net, x: str) -> str:
    return net.quantise(net.node("PRelu", x, net.constant([[0.1], [0.2], [0.3], [0.4]], np.float32)), 0.1)


def _ratio(net: Net, x: str) -> str:
    weight = net.weight(np.full((2, 3, 1, 1), 1e6))
    return net.quantise(net.node("Conv", x, weight), 1e-3)


REFUSALS = {
    _float_output: ("Sigmoid", "not quantised"),
    _unknown: ("Hardmax", "no form on the BPU"),
    _float_weights: ("Conv", "weights must be quantised"),
    _slopes: ("PRelu", "one slope"),
    _ratio: ("Conv", "no integer form"),
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda f: f.__name__)
def test_what_the_bpu_refuses_runs_on_the_cpu_with_the_reason(case: Callable[[Net, str], str]) -> None:
    op, rule = REFUSALS[case]
    net = Net(9)
    net.output(case(net, net.input(1, 3, 4, 4)))
    graph = lower(net.model())
    (decision,) = [d for d in graph.decisions if d.op == op]
    assert decision.where == "CPU" and rule in decision.reason
    assert any(made.kind == "cpu" and made.attrs["op"] == op for made in graph.ops)


def test_a_node_that_must_run_on_the_bpu_is_refused_with_the_reason() -> None:
    net = Net(9)
    net.output(_float_output(net, net.input(1, 3, 4, 4)))
    name = next(node.name for node in net.nodes if node.op_type == "Sigmoid")
    with pytest.raises(UnsupportedError, match="not quantised"):
        lower(net.model(), run_on_bpu=[name])


def test_a_node_can_be_asked_to_run_on_the_cpu() -> None:
    net = Net(9)
    net.output(net.quantise(net.node("Sigmoid", net.input(1, 3, 4, 4)), 1 / 256, -128))
    name = next(node.name for node in net.nodes if node.op_type == "Sigmoid")
    assert [d.where for d in lower(net.model()).decisions if d.op == "Sigmoid"] == ["BPU"]
    graph = lower(net.model(), run_on_cpu=[name])
    assert [d.where for d in graph.decisions if d.op == "Sigmoid"] == ["CPU"]
    assert [op.kind for op in graph.ops] == ["quantize", "dequantize", "cpu", "quantize", "dequantize"]


def test_what_has_no_form_anywhere_is_refused() -> None:
    net = Net(9)
    net.output(net.node("RandomNormalLike", net.input(1, 3, 4, 4)))
    with pytest.raises(UnsupportedError, match="random") as caught:
        lower(net.model())
    assert "(RandomNormalLike)" in caught.value.where and caught.value.remedy


def test_a_float_model_runs_on_the_cpu() -> None:
    net = Net(9)
    x = net.node("Conv", net.input(1, 3, 8, 8, quantised=False), net.constant(np.ones((2, 3, 3, 3)), np.float32))
    net.output(net.node("Sigmoid", net.node("Flatten", x)))
    graph = lower(net.model())
    assert {d.where for d in graph.decisions} <= {"CPU", "none"}
    assert graph.ops and {op.kind for op in graph.ops} <= {"cpu", "alias", "constant"}


def test_dynamic_shape_is_refused() -> None:
    net = Net(10)
    net.output(net.input(1, 3, 4, 4))
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(OpenBpuError, match="batch"):
        lower(model)


def test_every_operator_has_a_sentence() -> None:
    table = operators()
    assert len(table) > 60
    assert all(text.endswith(".") and len(text) < 130 for text in table.values())


def test_text_form() -> None:
    net = Net(11)
    x = net.quantise(net.input(1, 2, 4, 4, quantised=False), 0.0625, 3)
    y = net.node("Relu", net.node("Conv", x, net.weight(np.ones((4, 2, 3, 3)) * 0.5), pads=[1, 1, 1, 1]))
    net.output(net.quantise(y, 0.125, -128))
    assert str(lower(net.model())) == (
        "graph net\n"
        "  in  x1:float32[1x4x4x2]\n"
        "  quantizelinear4:int8[1x4x4x2](0.0625,3) = quantize(x1)   # \n"
        "  quantizelinear14:int8[1x4x4x4](0.125,-128) = conv2d(quantizelinear4) stride=(1, 1) dilation=(1, 1) "
        "pads=(1, 1, 1, 1) groups=1 L=0 lo=-128 hi=127  # n_conv10, n_relu11\n"
        "  dequantizelinear15:float32[1x4x4x4] = dequantize(quantizelinear14)   # \n"
        "  out dequantizelinear15:float32[1x4x4x4]\n"
    )
