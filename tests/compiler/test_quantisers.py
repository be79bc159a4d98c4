"""Models in the forms that other quantisers write; where the tool is not at hand, built as its documentation says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import openbpu
from lowering.check import check, check_model
from lowering.nets import Net, reference
from openbpu.errors import ModelError, ModelWarning
from openbpu.lower import lower


def small_net(opset: int) -> onnx.ModelProto:
    net = Net(3, opset=opset)
    x = net.input(1, 3, 10, 10, quantised=False)
    for channels, inputs in ((8, 3), (6, 8)):
        weight = net.random.standard_normal((channels, inputs, 3, 3)) / (3 * np.sqrt(inputs))
        bias = net.constant(net.random.standard_normal(channels) * 0.1, np.float32)
        x = net.node("Relu", net.node("Conv", x, net.constant(weight, np.float32), bias, pads=[1] * 4))
    x = net.node("Flatten", net.node("GlobalAveragePool", x), axis=1)
    net.output(net.node("MatMul", x, net.constant(net.random.standard_normal((6, 5)), np.float32)))
    return net.model()


class Samples(CalibrationDataReader):
    def __init__(self, name: str) -> None:
        random = np.random.default_rng(6)
        self._left: Iterator[dict[str, np.ndarray]] = iter(
            [{name: random.standard_normal((1, 3, 10, 10)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


@pytest.mark.parametrize("opset", [13, 17, 21, 23])
@pytest.mark.parametrize(
    ("activations", "weights"),
    [("QUInt8", "QInt8"), ("QInt16", "QInt8"), ("QUInt16", "QUInt8"), ("QUInt8", "QInt4"), ("QUInt8", "QUInt4")],
)
def test_types_of_onnxruntime(tmp_path: Path, opset: int, activations: str, weights: str) -> None:
    """On the BPU, 16-bit activations without their zero points; near ONNX Runtime."""
    model = small_net(opset)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "qdq.onnx",
        Samples(model.graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType[activations],
        weight_type=QuantType[weights],
        per_channel=True,
    )
    quantised = onnx.load(tmp_path / "qdq.onnx")
    feeds = {model.graph.input[0].name: np.random.default_rng(7).standard_normal((1, 3, 10, 10)).astype(np.float32)}
    (want,) = reference(quantised, feeds)
    # Unsigned weights of 8 bits lose a bit as int8; those of 4 bits fit. The zero points of 16 bits are said.
    with pytest.warns(ModelWarning) if weights == "QUInt8" or "16" in activations else _nothing():
        executable = openbpu.compile(quantised)
        assert all(decision.where != "CPU" for decision in lower(quantised).decisions)
    (got,) = openbpu.Session(executable).run(feeds).values()
    np.testing.assert_allclose(got, want, atol=0.03 * np.abs(want).max())  # some steps of 8 bits, over three layers


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


# ---- forms


def nncf(net: Net) -> str:
    """Float weights with Q and DQ behind them, per output channel; float biases; uint8 activations."""
    x = net.input(1, 3, 9, 9)
    array = net.random.standard_normal((6, 3, 3, 3))
    scale = net.constant(np.abs(array).max(axis=(1, 2, 3)) / 127, np.float32)
    zero = net.constant(np.zeros(6), np.int8)
    codes = net.node("QuantizeLinear", net.constant(array, np.float32), scale, zero, axis=0)
    weight = net.node("DequantizeLinear", codes, scale, zero, axis=0)
    y = net.node("Conv", x, weight, net.constant(net.random.standard_normal(6) * 0.2, np.float32), pads=[1] * 4)
    return net.quantise(net.node("Relu", y))


def torchao(net: Net) -> str:
    """int8 weights, Q/DQ on every edge, a Linear as transposed weights into MatMul and Add."""
    x = net.input(4, 16)
    weight = net.weight(net.random.standard_normal((8, 16)), axis=0)
    y = net.node("MatMul", x, net.node("Transpose", weight, perm=[1, 0]))
    y = net.node("Add", y, net.constant(net.random.standard_normal(8) * 0.2, np.float32))
    return net.quantise(net.node("Relu", y))


def brevitas(net: Net) -> str:
    """Q, Clip on the integers for a narrow range, DQ: on activations and on weights."""
    x = net.input(1, 3, 9, 9, quantised=False)
    scale, zero = net.constant(0.02, np.float32), net.constant(0, np.int8)
    low, high = net.constant(-63, np.int8), net.constant(63, np.int8)
    codes = net.node("Clip", net.node("QuantizeLinear", x, scale, zero), low, high)
    x = net.node("DequantizeLinear", codes, scale, zero)
    integers = net.constant(net.random.integers(-127, 128, (6, 3, 3, 3)), np.int8)
    scales, zeros = net.constant(np.full(6, 0.01), np.float32), net.constant(np.zeros(6), np.int8)
    limited = net.node("Clip", integers, net.constant(-127, np.int8), net.constant(127, np.int8))
    weight = net.node("DequantizeLinear", limited, scales, zeros, axis=0)
    return net.quantise(net.node("Conv", x, weight))


def aimet(net: Net) -> str:
    """uint8 activations, weights symmetric per channel as Q/DQ of floats, Q/DQ on the bias in int32 grid too."""
    x = net.input(1, 3, 9, 9)
    array = net.random.standard_normal((6, 3, 3, 3))
    weight = net.weight(array)
    bias = net.bias(net.random.standard_normal(6) * 0.2, x, weight)
    return net.quantise(net.node("Relu", net.node("Conv", x, weight, bias)))


def nncf_compressed(net: Net) -> str:
    """Weights whose scales have the sign of what lies farthest from 0, so that it becomes -128."""
    x = net.input(1, 3, 9, 9)
    codes = net.random.integers(-128, 128, (6, 3, 3, 3))
    codes[:, 0, 0, 0] = -127  # nothing of 128 with the other sign
    codes = np.maximum(codes, -127)
    scales = np.array([0.01, -0.02, 0.015, -0.01, 0.01, 0.0])
    weight = net.node("DequantizeLinear", net.constant(codes, np.int8), net.constant(scales, np.float32), axis=0)
    return net.quantise(net.node("Conv", x, weight, pads=[1] * 4))


@pytest.mark.parametrize("opset", [13, 19, 21, 23])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("form", [nncf, nncf_compressed, torchao, brevitas, aimet], ids=lambda f: f.__name__)
def test_forms_run_on_the_bpu_within_a_step(form: Callable[[Net], str], dtype: str, opset: int) -> None:
    net = Net(13, "int8" if form is brevitas else dtype, opset)
    net.output(form(net))
    graph = check(net)
    assert all(decision.where != "CPU" for decision in graph.decisions)


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_floats_quantised_to_four_bits_by_the_model(dtype: str) -> None:
    """AIMET: QuantizeLinear of float weights to int4."""
    net = Net(17, opset=21)
    x = net.input(1, 3, 9, 9)
    scale = net.constant(np.full(6, 0.3), np.float32)
    zero = net.constant(np.full(6, 8 if dtype == "uint4" else 0), dtype)
    weight = net.constant(net.random.standard_normal((6, 3, 3, 3)), np.float32)
    codes = net.node("QuantizeLinear", weight, scale, zero, axis=0)
    net.output(net.quantise(net.node("Conv", x, net.node("DequantizeLinear", codes, scale, zero, axis=0))))
    assert all(decision.where != "CPU" for decision in check(net).decisions)


@pytest.mark.parametrize("turned", [False, True])
def test_scales_of_blocks(turned: bool) -> None:
    """Weights of 4 bits with one scale per 16 rows become int8 with one per column; behind a Transpose too."""
    net = Net(18, opset=21)
    x = net.input(4, 32)
    axis, shape = (1, (5, 32)) if turned else (0, (32, 5))
    codes = net.constant(net.random.integers(-8, 8, shape), "int4")
    scales = net.constant(net.random.uniform(0.01, 0.02, (5, 2) if turned else (2, 5)), np.float32)
    weight = net.node("DequantizeLinear", codes, scales, axis=axis, block_size=16)
    weight = net.node("Transpose", weight, perm=[1, 0]) if turned else weight
    net.output(net.quantise(net.node("MatMul", x, weight)))
    graph = check(net, tolerance=2, warned=True)
    assert all(decision.where != "CPU" for decision in graph.decisions)


@pytest.mark.parametrize("groups", [1, 2])
def test_scales_of_blocks_of_a_transposed_convolution(groups: int) -> None:
    net = Net(23, opset=21)
    x = net.input(1, 4, 5, 5)
    codes = net.constant(net.random.integers(-128, 128, (4, 6, 2, 2)), "int8")
    scales = net.constant(net.random.uniform(0.001, 0.02, (4, 3, 2, 2)), np.float32)
    weight = net.node("DequantizeLinear", codes, scales, axis=1, block_size=2)
    net.output(net.quantise(net.node("ConvTranspose", x, weight, strides=[2, 2], group=groups)))
    check(net, tolerance=2, warned=True)


def test_blocks_that_do_not_cover_their_tensor_are_refused() -> None:
    net = Net(19, opset=21)
    scales = net.constant(np.ones((3, 5)), np.float32)
    codes = net.constant(np.zeros((32, 5)), "int8")
    weight = net.node("DequantizeLinear", codes, scales, axis=0, block_size=16)
    model = net.model(net.node("MatMul", net.input(4, 32), weight))
    with pytest.raises(
        ModelError, match=r"blocks must cover the tensor; got shape \(3, 5\) for blocks of 16 in axis 0"
    ):
        lower(model)


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_zero_points_of_16_bits_clip_as_the_model_says(dtype: str) -> None:
    """A QuantizeLinear from 0 on is the Relu of the node before it; of an input too."""
    net = Net(20, opset=21)
    x = net.input(1, 4, 6, 6, quantised=False)
    least = int(np.iinfo(dtype).min)

    def pair(name: str, low: float, high: float) -> str:
        scale = np.float32((high - low) / 65535)
        operands = net.constant(scale), net.constant(round(least - low / scale), dtype)
        return str(net.node("DequantizeLinear", net.node("QuantizeLinear", name, *operands), *operands))

    y = pair(x, -1.0, 3.0)
    y = pair(net.node("Conv", y, net.weight(net.random.standard_normal((4, 4, 3, 3))), pads=[1] * 4), 0.0, 5.0)
    y = pair(net.node("MaxPool", y, kernel_shape=[2, 2]), 0.0, 5.0)
    model = net.model(y)
    with pytest.warns(ModelWarning, match=f"this tensor \\({dtype}, zero point .*\\) is held so, in steps of"):
        graph = lower(model)
    assert all(decision.where != "CPU" for decision in graph.decisions)
    assert sum(op.kind == "rescale" for op in graph.ops) == 1  # behind the input alone: others clip on their way
    (want,) = reference(model, net.feeds)
    assert want.min() == 0 and want.max() == np.float32(5)
    with pytest.warns(ModelWarning):
        (got,) = openbpu.Session(openbpu.compile(model)).run(net.feeds).values()
    np.testing.assert_allclose(got, want, atol=3 * 5 / 32767)


def test_zero_points_of_16_bits_that_others_see_stay_on_the_cpu() -> None:
    net = Net(21, opset=21)
    operands = net.constant(np.float32(0.001)), net.constant(100, "int16")
    codes = net.node("QuantizeLinear", net.node("Relu", net.input(1, 8)), *operands)
    model = net.model(codes, net.node("DequantizeLinear", codes, *operands))
    refused = {d.op: d for d in lower(model).decisions if d.where == "CPU"}
    assert refused["QuantizeLinear"].reason == "int16 activations have zero point 0; got 100"
    assert "says what would move both" in refused["DequantizeLinear"].remedy
    with pytest.warns(ModelWarning, match="nothing of this model runs on the BPU"):
        session = openbpu.Session(openbpu.compile(model))
    for got, want in zip(session.run(net.feeds).values(), reference(model, net.feeds), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_exponent_that_is_whole_in_float32() -> None:
    """AIMET quantises the 2 of a square: 255 steps are 2 in float32, a little more in float64."""
    net = Net(22)
    scale = np.float32(2 / 255)
    operands = net.constant(scale), net.constant(0, "uint8")
    two = net.node("DequantizeLinear", net.node("QuantizeLinear", net.constant(np.float32(2)), *operands), *operands)
    assert float(scale) * 255 != 2
    net.output(net.quantise(net.node("Pow", net.input(1, 4, 5, 5), two)))
    check(net)


def test_float_layers_between_quantised_ones_run_on_the_cpu() -> None:
    """A partly quantised model: the second layer is float."""
    net = Net(14)
    y = net.quantise(net.node("Conv", net.input(1, 3, 9, 9), net.weight(net.random.standard_normal((4, 3, 3, 3)))))
    y = net.node("Conv", y, net.constant(net.random.standard_normal((4, 4, 3, 3)), np.float32))
    y = net.quantise(net.node("Sigmoid", y))
    net.output(net.quantise(net.node("MaxPool", y, kernel_shape=[2, 2])))
    model = net.model()
    decisions = {d.op: d.where for d in lower(model).decisions}
    assert decisions["MaxPool"] == "BPU" and decisions["Sigmoid"] == "CPU"
    check_model_on_both(model, net.feeds)


def check_model_on_both(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    """Within two steps of ONNX Runtime where CPU operators, whose rounding may differ, come before a QuantizeLinear."""
    (want,) = reference(model, feeds)
    (got,) = openbpu.Session(openbpu.compile(model)).run(feeds).values()
    step = np.diff(np.unique(want)).min()
    assert np.abs(got - want).max() <= 2 * step + 1e-6


def test_scales_per_channel_of_an_activation_run_on_the_cpu() -> None:
    net = Net(15)
    x = net.input(1, 3, 4, 4, quantised=False)
    scales, zeros = net.constant([0.1, 0.2, 0.05], np.float32), net.constant(np.zeros(3), np.int8)
    q = net.node("QuantizeLinear", x, scales, zeros, axis=1)
    net.output(net.node("Relu", net.node("DequantizeLinear", q, scales, zeros, axis=1)))
    model = net.model()
    assert {d.op: d.where for d in lower(model).decisions}["QuantizeLinear"] == "CPU"
    (want,) = reference(model, net.feeds)
    (got,) = openbpu.Session(openbpu.compile(model)).run(net.feeds).values()
    np.testing.assert_array_equal(got, want)


def test_the_contrib_domain_of_onnxruntime() -> None:
    """com.microsoft QuantizeLinear and DequantizeLinear are the standard ones."""
    net = Net(16)
    net.output(net.quantise(net.node("Relu", net.input(1, 3, 4, 4))))
    model = net.model()
    feeds = net.feeds
    want = reference(model, feeds)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    np.testing.assert_array_equal(reference(model, feeds)[0], want[0])
    check_model(model, feeds, tolerance=0)
