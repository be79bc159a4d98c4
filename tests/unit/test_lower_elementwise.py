"""Activations, arithmetic and tables of QDQ models against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

ACTIVATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("Sigmoid", {}, 17), ("Tanh", {}, 17), ("HardSigmoid", {"alpha": 1 / 6}, 17), ("HardSwish", {}, 17),
    ("LeakyRelu", {"alpha": 0.1}, 17), ("Elu", {"alpha": 0.7}, 17), ("Selu", {}, 17), ("Celu", {"alpha": 1.5}, 17),
    ("Softplus", {}, 17), ("Softsign", {}, 17), ("Exp", {}, 17), ("Abs", {}, 17), ("Neg", {}, 17),
    ("ThresholdedRelu", {"alpha": 0.4}, 17), ("Erf", {}, 17), ("Sign", {}, 17), ("Sin", {}, 17), ("Cos", {}, 17),
    ("Gelu", {}, 20), ("Gelu", {"approximate": "tanh"}, 20), ("Mish", {}, 18), ("Relu", {}, 17),
    ("Shrink", {"bias": 0.1}, 17),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(ACTIVATIONS)), ids=lambda i: f"{ACTIVATIONS[i][0]}{i}")
def test_activation(case: int) -> None:
    op, attributes, opset = ACTIVATIONS[case]
    net = Net(case, ("int8", "uint8")[case % 2], opset)
    net.output(net.quantise(net.node(op, net.input(1, 5, 7, 6, spread=2.0), **attributes)))
    check(net, kinds=("lut8",))


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal", "Floor", "Ceil", "Round", "PRelu", "Pow", "Max", "Min"])
def test_function_of_a_positive_tensor(op: str) -> None:
    net = Net(30)
    x = net.quantise(net.input(2, 3, 4, 4, quantised=False), 0.02, -128)
    if op in ("Log", "Reciprocal"):
        x = net.node("Add", x, net.constant(0.5, np.float32))
    operand = {"PRelu": np.full((3, 1, 1), 0.3), "Pow": 2.0, "Max": 0.8, "Min": 0.8}.get(op)
    net.output(net.quantise(net.node(op, x, *([] if operand is None else [net.constant(operand, np.float32)]))))
    check(net, kinds=("lut8",))


def _hard_swish_parts(net: Net, x: str) -> str:
    shifted = net.node("Add", x, net.constant(3, np.float32))
    clipped = net.node("Clip", shifted, net.constant(0, np.float32), net.constant(6, np.float32))
    return net.node("Div", net.node("Mul", x, clipped), net.constant(6, np.float32))


def _gelu_parts(net: Net, x: str) -> str:
    inner = net.node("Erf", net.node("Div", x, net.constant(np.sqrt(2), np.float32)))
    product = net.node("Mul", x, net.node("Add", inner, net.constant(1, np.float32)))
    return net.node("Mul", product, net.constant(0.5, np.float32))


@pytest.mark.parametrize("chain", [_hard_swish_parts, _gelu_parts, lambda n, x: n.node("Mul", x, n.node("Sigmoid", x))])
def test_chain_of_one_tensor_is_one_table(chain: Any) -> None:
    net = Net(40)
    net.output(net.quantise(chain(net, net.input(1, 4, 5, 5, spread=3.0))))
    check(net, kinds=("lut8",))


def test_chain_with_inner_quantisation_composes_its_roundings() -> None:
    """SiLU as other tools write it: Sigmoid quantised, then the product with its own input."""
    net = Net(41)
    y = net.quantise(net.input(1, 4, 5, 5, quantised=False, spread=3.0), shared=2)
    y = net.node("Mul", y[0], net.quantise(net.node("Sigmoid", y[1])))
    net.output(net.quantise(net.node("Tanh", net.quantise(y))))
    check(net, kinds=("lut8",))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("left", "right"), [
    ((2, 5, 4, 3), (2, 5, 4, 3)), ((1, 6, 4, 5), (1, 6, 1, 1)), ((1, 6, 1, 5), (2, 1, 4, 5)), ((3, 7), (7,)),
    ((1, 6, 1, 1), (1, 6, 4, 5)), ((2, 3, 4), (3, 1)), ((6, 1, 1), (2, 6, 3, 3)), ((1, 6, 4, 1), (1, 1, 1, 5)),
])  # fmt: skip
def test_two_tensors(op: str, dtype: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    net = Net(50 + len(left) + right[-1], dtype)
    y = net.node(op, net.input(*left), net.input(*right, spread=0.3))
    net.output(net.quantise(net.node("Relu", y) if op == "Add" else y))
    check(net)


_CONSTANTS = [
    (op, swapped, shape)
    for op in ("Add", "Sub", "Mul", "Div")
    for swapped in (False, True)
    for shape in ((), (1,), (6, 1, 1))
    if (op, swapped, shape) != ("Div", True, (6, 1, 1))  # has no integer form: see below
]


@pytest.mark.parametrize(("op", "swapped", "shape"), _CONSTANTS)
def test_constant_operand(op: str, swapped: bool, shape: tuple[int, ...]) -> None:
    net = Net(60)
    k = net.constant(net.random.uniform(0.3, 1.5, shape), np.float32)
    x = net.input(1, 6, 5, 4)
    if op == "Div" and swapped:
        x = net.quantise(net.node("Clip", x, net.constant(0.5, np.float32)), 0.01, -128)
    net.output(net.quantise(net.node(op, *((k, x) if swapped else (x, k)))))
    check(net, kinds=("lut8",) if len(shape) < 3 and not (op == "Div" and swapped) else None)


def test_a_reciprocal_per_channel_runs_on_the_cpu() -> None:
    net = Net(60)
    k = net.constant(net.random.uniform(0.3, 1.5, (6, 1, 1)), np.float32)
    x = net.quantise(net.node("Clip", net.input(1, 6, 5, 4), net.constant(0.5, np.float32)), 0.01, -128)
    net.output(net.quantise(net.node("Div", k, x)))
    decision = next(d for d in lower(net.model()).decisions if d.op == "Div")
    assert decision.where == "CPU" and decision.reason


def test_constant_tensor_operand() -> None:
    net = Net(61)
    table = net.weight(net.random.standard_normal((1, 5, 8)), axis=None)
    net.output(net.quantise(net.node("Add", net.input(1, 5, 8), table)))
    image = net.weight(net.random.standard_normal((6, 4, 3)), axis=None, dtype="uint8")
    net.output(net.quantise(net.node("Mul", image, net.input(2, 6, 4, 3))))
    check(net)


def test_parameters_that_change_between_operators() -> None:
    """Q/DQ behind Q/DQ, with other parameters and with the same; a clamp on the grid of its input."""
    net = Net(62)
    x = net.input(1, 6, 5, 4)
    y = net.quantise(x, 0.013, 9)
    y = net.quantise(y, 0.013, 9)
    z = net.node("Add", net.node("Relu", x), y)
    net.output(net.quantise(z))
    check(net, kinds=("rescale", "lut8", "add"))


@pytest.mark.parametrize("shape", [(2, 9), (1, 6, 4, 5), (2, 3, 7)])
@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax(shape: tuple[int, ...], axis: int) -> None:
    net = Net(70)
    y = net.node("Softmax", net.input(*shape, spread=3.0), axis=axis)
    net.output(net.quantise(y, 1 / 256, -128))
    check(net, tolerance=2)


def test_sum_of_very_different_scales_is_announced() -> None:
    net = Net(71)
    a = net.quantise(net.input(1, 3, 4, 4, quantised=False), 0.01)
    b = net.quantise(net.input(1, 3, 4, 4, quantised=False), 3.0)
    net.output(net.quantise(net.node("Add", a, b), 0.01))
    check(net, warned=True)


REFUSED = [
    ("Sigmoid", "QuantizeLinear"),  # a function of a convolution that is not quantised
    ("Mul", "DequantizeLinear"),  # a product with a convolution that is not quantised
]


@pytest.mark.parametrize(("op", "hint"), REFUSED)
def test_a_float_operand_moves_the_node_to_the_cpu_with_the_remedy(op: str, hint: str) -> None:
    net = Net(80)
    x = net.input(1, 3, 4, 4)
    y = net.node("Conv", x, net.weight(net.random.standard_normal((3, 3, 1, 1))))
    y = net.node(op, y, x) if op == "Mul" else net.node(op, y)
    net.output(net.quantise(y))
    decisions = {d.op: d for d in lower(net.model()).decisions}
    assert decisions[op].where == decisions["Conv"].where == "CPU"
    assert hint in decisions[op].reason + decisions[op].remedy
