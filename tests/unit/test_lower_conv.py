"""Convolutions and matrix products of QDQ models against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net


def _conv(net: Net, x: str, co: int, ci: int, kernel: tuple[int, ...], transposed: bool = False, **attributes) -> str:
    groups = attributes.get("group", 1)
    shape = (ci, co // groups, *kernel) if transposed else (co, ci // groups, *kernel)
    fan = ci // groups * int(np.prod(kernel))
    weight = net.weight(net.random.standard_normal(shape) / np.sqrt(fan), axis=1 if transposed else 0)
    bias = net.constant(net.random.standard_normal(co), np.float32)
    return net.node("ConvTranspose" if transposed else "Conv", x, weight, bias, **attributes)


CONV = [
    (8, 3, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}, "conv2d"),
    (5, 7, (1, 1), {}, "conv2d"),
    (6, 4, (5, 3), {"pads": [0, 1, 3, 2], "strides": [1, 2], "dilations": [2, 1]}, "conv2d"),
    (6, 6, (3, 3), {"group": 6, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, "dwconv2d"),
    (12, 6, (3, 3), {"group": 6, "pads": [1, 1, 1, 1]}, "conv2d"),
    (8, 4, (3, 3), {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2, 3]}, "conv2d"),
    (4, 4, (3, 3), {"group": 4, "dilations": [2, 2], "pads": [2, 2, 2, 2]}, "dwconv2d"),
    (3, 20, (2, 2), {"auto_pad": "VALID"}, "conv2d"),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", range(len(CONV)))
def test_conv(case: int, dtype: str) -> None:
    co, ci, kernel, attributes, kind = CONV[case]
    net = Net(case, dtype)
    y = _conv(net, net.input(1 + case % 2, ci, 11, 9), co, ci, kernel, **attributes)
    net.output(net.quantise(y))
    check(net, kinds=(kind,))


TRANSPOSED = [
    (4, 6, (2, 2), {"strides": [2, 2]}),
    (5, 3, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    (8, 4, (4, 3), {"strides": [2, 1], "pads": [1, 0, 2, 1], "group": 2}),
    (4, 4, (3, 3), {"strides": [3, 2], "dilations": [2, 1], "group": 4}),
    (3, 5, (3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    (3, 5, (3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    (3, 5, (3, 3), {"strides": [2, 2], "output_shape": [10, 9]}),
    (3, 2, (1, 1), {"strides": [3, 3]}),
]


@pytest.mark.parametrize("case", range(len(TRANSPOSED)))
def test_conv_transpose(case: int) -> None:
    co, ci, kernel, attributes = TRANSPOSED[case]
    net = Net(100 + case)
    net.output(net.quantise(_conv(net, net.input(1, ci, 5, 4), co, ci, kernel, True, **attributes)))
    check(net, kinds=("tconv2d",))


def test_one_dimensional_convolutions() -> None:
    net = Net(1)
    y = net.quantise(_conv(net, net.input(2, 3, 17), 6, 3, (5,), pads=[2, 1], strides=[2]))
    y = net.quantise(_conv(net, y, 6, 6, (3,), group=6, dilations=[2]))
    y = net.quantise(_conv(net, y, 4, 6, (4,), True, strides=[2], output_padding=[1]))
    net.output(net.quantise(net.node("MaxPool", y, kernel_shape=[3], strides=[2])))
    check(net, tolerance=2)


@pytest.mark.parametrize("activation", ["Relu", "Clip6", "Clip"])
def test_clamps_cost_nothing(activation: str) -> None:
    net = Net(2)
    y = _conv(net, net.input(1, 3, 8, 8), 8, 3, (3, 3))
    if activation == "Relu":
        y = net.node("Relu", y)
    else:
        bounds = (0.0, 1.5) if activation == "Clip6" else (-0.7, 0.9)
        y = net.node("Clip", y, *(net.constant(b, np.float32) for b in bounds))
    scale, _ = net.parameters(y)
    net.output(net.quantise(y, scale * 3, -20))
    graph = check(net, kinds=("conv2d",))
    attrs = graph.ops[1].attrs
    assert attrs["lo"] > -128 and (activation == "Relu" or attrs["hi"] < 127)


@pytest.mark.parametrize("how", ["int32", "float", "none", "added"])
def test_bias(how: str) -> None:
    net = Net(3)
    x, bias = net.input(1, 3, 6, 6), net.random.standard_normal(8).astype(np.float32)
    weight = net.weight(net.random.standard_normal((8, 3, 3, 3)))
    if how == "int32":
        y = net.node("Conv", x, weight, net.bias(bias, x, weight))
    elif how == "float":
        y = net.node("Conv", x, weight, net.constant(bias))
    else:
        y = net.node("Conv", x, weight)
    if how == "added":
        y = net.node("Add", net.constant(bias.reshape(1, 8, 1, 1)), y)
    net.output(net.quantise(y))
    check(net, kinds=("conv2d",))


@pytest.mark.parametrize(("axis", "dtype", "span", "zero"), [
    (0, "int8", (-127, 127), 0), (None, "int8", (-128, 127), 0), (0, "int8", (-100, 120), 7),
    (0, "uint8", (0, 255), 128), (None, "uint8", (10, 200), 90),
])  # fmt: skip
def test_weights_that_stay_as_they_are(axis: int | None, dtype: str, span: tuple[int, int], zero: int) -> None:
    """Symmetric weights, and others whose range without the zero point still fits 8 bits."""
    net = Net(4)
    check(_with_weights(net, axis, dtype, span, zero), kinds=("conv2d",))


@pytest.mark.parametrize(
    ("axis", "dtype", "span", "zero"), [(None, "uint8", (0, 255), 90), (1, "int8", (-127, 127), 0)]
)
def test_weights_that_are_quantised_again(axis: int | None, dtype: str, span: tuple[int, int], zero: int) -> None:
    """A range of 9 bits, and scales per input channel: announced, and exempt from the promise of one step."""
    net = Net(4)
    check(_with_weights(net, axis, dtype, span, zero), tolerance=3, warned=True, kinds=("conv2d",))


def _with_weights(net: Net, axis: int | None, dtype: str, span: tuple[int, int], zero: int) -> Net:
    shape = (8, 4, 3, 3)
    codes = net.random.integers(span[0], span[1] + 1, shape).astype(dtype)
    scale = np.float32(net.random.uniform(0.01, 0.03, () if axis is None else shape[axis]))
    operands = net.constant(codes), net.constant(scale), net.constant(np.full(scale.shape, zero), dtype)
    weight = net.node("DequantizeLinear", *operands, axis=1 if axis is None else axis)
    net.output(net.quantise(net.node("Conv", net.input(1, 4, 6, 6), weight)))
    return net


def test_weights_quantised_by_nodes() -> None:
    net = Net(5)
    real = net.constant(net.random.standard_normal((8, 4, 1, 1)), np.float32)
    scale, zero = net.constant(np.full(8, 0.02), np.float32), net.constant(np.zeros(8), np.int8)
    weight = net.node("DequantizeLinear", net.node("QuantizeLinear", real, scale, zero, axis=0), scale, zero, axis=0)
    net.output(net.quantise(net.node("Conv", net.input(1, 4, 6, 6), weight)))
    check(net, kinds=("conv2d",))


def test_extreme_channels() -> None:
    """Channels of zeros, of tiny and of large scales beside ordinary ones, a weight of -128."""
    net = Net(6)
    codes = net.random.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    codes[0], codes[1, 0, 0, 0] = 0, -128
    scales = np.array([1e-9, 1e-2, 1e-8, 0.3, 1e-3, 1e-3], np.float32)
    weight = net.node("DequantizeLinear", net.constant(codes), net.constant(scales), axis=0)
    bias = net.constant(np.array([0.5, 0, -0.4, 0, 1, 2]), np.float32)
    net.output(net.quantise(net.node("Conv", net.input(1, 4, 6, 6), weight, bias), 0.05, 20))
    check(net)


def test_coarser_weights_are_announced() -> None:
    """A scale far below that of the output, at a zero point of 100, shifts by more than 32 bits have room for."""
    net = Net(7)
    codes = net.random.integers(0, 128, (1, 4096, 1, 1)).astype(np.int8)
    weight = net.node("DequantizeLinear", net.constant(codes), net.constant(np.float32([2e-8])), axis=0)
    net.output(net.quantise(net.node("Conv", net.input(1, 4096, 2, 2, spread=20.0), weight), 0.5, 100))
    check(net, warned=True)


def test_batch_normalisation_joins_the_convolution() -> None:
    net = Net(8)
    y = _conv(net, net.input(1, 3, 6, 6), 6, 3, (3, 3))
    norm = [net.random.uniform(-2, 2, 6), *net.random.standard_normal((2, 6)), net.random.uniform(0.5, 2, 6)]
    y = net.node("BatchNormalization", y, *(net.constant(a, np.float32) for a in norm))
    net.output(net.quantise(net.node("Relu", y)))
    check(net, kinds=("conv2d",))


def test_batch_normalisation_alone() -> None:
    net = Net(9)
    norm = [net.random.uniform(-2, 2, 6), *net.random.standard_normal((2, 6)), net.random.uniform(0.5, 2, 6)]
    y = net.node("BatchNormalization", net.input(2, 6, 5, 4), *(net.constant(a, np.float32) for a in norm))
    net.output(net.quantise(y))
    check(net, kinds=("dwconv2d",))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_fully_connected(op: str, transposed: bool) -> None:
    net = Net(10 + transposed)
    x, real = net.input(3, 20), net.random.standard_normal((20, 7))
    bias = net.constant(net.random.standard_normal(7), np.float32)
    if op == "Gemm":
        weight = net.weight(real.T if transposed else real, axis=0 if transposed else 1)
        y = net.node("Gemm", x, weight, bias, transB=int(transposed), alpha=0.5, beta=2.0)
    else:
        weight = net.weight(real.T, axis=0) if transposed else net.weight(real, axis=1)
        weight = net.node("Transpose", weight, perm=[1, 0]) if transposed else weight
        y = net.node("Add", net.node("MatMul", x, weight), bias)
    net.output(net.quantise(net.node("Relu", y)))
    check(net, kinds=("matmul",))


def test_matmul_of_higher_ranks() -> None:
    net = Net(12)
    for shape in ((2, 5, 8), (2, 3, 5, 8)):
        weight = net.weight(net.random.standard_normal((8, 6)), axis=1)
        net.output(net.quantise(net.node("MatMul", net.input(*shape), weight)))
    check(net)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6), (2, 3, 4, 6)])
def test_matmul_of_two_tensors(shape: tuple[int, ...]) -> None:
    net = Net(13)
    other = (*shape[:-2], shape[-1], 5)
    y = net.node("MatMul", net.input(*shape), net.input(*other))
    y = net.node("Mul", y, net.constant(0.35, np.float32))
    net.output(net.quantise(y))
    check(net)
