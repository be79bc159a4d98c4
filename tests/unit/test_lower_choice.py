"""Maximum, minimum, comparison, selection and quotients of two tensors against ONNX Runtime, oracle and engine."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

import openbpu
from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 5, 4, 3), (2, 5, 4, 3)), ((1, 6, 4, 5), (1, 6, 1, 1)), ((1, 6, 1, 5), (2, 1, 4, 5)), ((3, 7), (7,)),
    ((2, 3, 4), (3, 1)), ((6, 1, 1), (2, 6, 3, 3)), ((2, 3, 1, 4, 5), (2, 3, 6, 4, 5)),
    ((1, 5, 3, 2, 1, 1), (2, 1, 3, 2, 4, 2)),
]  # fmt: skip
COMPARISONS = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]


def as_float(net: Net, condition: str) -> str:
    """A condition as a quantised float tensor."""
    return net.quantise(net.node("Cast", condition, to=TensorProto.FLOAT), 0.01, -50)


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize("op", ["Max", "Min", "Div", "Add", "Mul"])
def test_two_tensors(op: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    net = Net(10 + len(left) + right[-1], ("int8", "uint8")[len(left) % 2])
    name = net.input(*right, quantised=False, spread=0.7)
    if op == "Div":  # divisors of both signs; what is divided by one near zero saturates
        net.feeds[name] = np.where(np.abs(net.feeds[name]) < 0.1, np.float32(0.1), net.feeds[name])
    y = net.node(op, net.input(*left), net.quantise(name))
    net.output(net.quantise(y, 0.05, 3) if op == "Div" else net.quantise(y))
    check(net)


def test_division_by_zero() -> None:
    """It saturates to the side of the dividend; 0 / 0 gives the zero point."""
    net = Net(9)
    x = net.input(3, quantised=False)
    net.feeds[x] = np.array([1, -1, 0], np.float32)
    zero = net.node("Mul", net.quantise(x, 0.02, 4), net.constant(0, np.float32))
    y = net.node("Div", net.quantise(x, 0.02, 4), net.quantise(zero, 0.5, 7))
    net.output(net.quantise(y, 0.1, 20))
    (got,) = openbpu.Session(openbpu.compile(net.model())).run(net.feeds).values()
    np.testing.assert_allclose(got, [10.7, -14.8, 0], rtol=1e-5)


def test_divisors_of_one_sign() -> None:
    net = Net(11)
    b = net.quantise(net.node("Exp", net.input(1, 6, 5, 4)), 0.02, -128)
    net.output(net.quantise(net.node("Relu", net.node("Div", net.input(1, 6, 5, 4), b)), 0.03, -128))
    check(net)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_several_operands_and_clamps(op: str) -> None:
    net = Net(12)
    parts = [net.input(1, 6, 5, 4, spread=s) for s in (1, 0.4, 2)]
    y = net.node(
        op, *parts, net.constant(net.random.standard_normal((6, 1, 1)), np.float32), net.constant(0.3, np.float32)
    )
    net.output(net.quantise(net.node("Relu", y)))
    net.output(net.quantise(net.node(op, parts[0], net.node("Sigmoid", parts[0]))))
    check(net)


def test_extremes_of_operators_that_are_not_quantised() -> None:
    """Both convolutions are quantised to the grid of the result."""
    net = Net(13)
    x = net.input(1, 4, 6, 6)
    a, b = (net.node("Conv", x, net.weight(net.random.standard_normal((8, 4, 1, 1)))) for _ in range(2))
    net.output(net.quantise(net.node("Max", a, b)))
    check(net, kinds=("conv2d", "conv2d", "extreme"))


def test_clip_with_bounds_from_the_data() -> None:
    net = Net(14)
    lo, hi = net.quantise(net.input(quantised=False), 0.01, 100), net.quantise(net.input(quantised=False), 0.02, -100)
    net.output(net.quantise(net.node("Clip", net.input(2, 3, 4), lo, hi)))
    check(net)


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_comparison(op: str, index: int) -> None:
    """Scales in simple ratios, so that many values are equal."""
    net = Net(20 + index)
    left, right = SHAPES[index]
    a = net.quantise(net.input(*left, quantised=False), 0.1, -3)
    b = net.quantise(net.input(*right, quantised=False), (0.1, 0.3)[index % 2], 5)
    net.output(as_float(net, net.node(op, a, b)))
    check(net, tolerance=0)


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparison_with_a_number_is_a_table(op: str) -> None:
    net = Net(30)
    x = net.quantise(net.input(1, 4, 5, 6, quantised=False), 0.1, 7)
    tests = [net.node(op, x, net.constant(0.3, np.float32)), net.node(op, net.constant(-0.5, np.float32), x)]
    for test in tests:
        net.output(as_float(net, test))
    check(net, tolerance=0, kinds=("lut8", "lut8"))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
@pytest.mark.parametrize("right", [(1, 4, 5, 6), (4, 1, 1), (1, 4, 5, 6, 2)])
def test_logic(op: str, right: tuple[int, ...]) -> None:
    net = Net(31)
    left = (1, 4, 5, 6) if len(right) < 5 else right
    a = net.node("Greater", net.input(*left), net.input(*left))
    b = net.node("Less", net.input(*right), net.constant(0.2, np.float32))
    net.output(as_float(net, net.node("Not", net.node(op, a, b))))
    check(net, tolerance=0)


@pytest.mark.parametrize("index", range(len(SHAPES)))
@pytest.mark.parametrize("number", [False, True])
def test_selection(index: int, number: bool) -> None:
    net = Net(40 + index)
    left, right = SHAPES[index]
    condition = net.node("Greater", net.input(*left), net.input(*right))
    b = net.constant(-2.0, np.float32) if number else net.input(*right, spread=2)
    net.output(net.quantise(net.node("Where", condition, net.input(*left), b)))
    check(net)


def test_selection_by_a_constant_condition() -> None:
    net = Net(50)
    condition = net.constant(net.random.integers(0, 2, (1, 1, 5, 4)), bool)
    y = net.node("Where", condition, net.input(2, 3, 5, 4), net.constant(-1.5, np.float32))
    net.output(net.quantise(net.node("Clip", y, net.constant(-1, np.float32))))
    check(net)


@pytest.mark.parametrize("condition", [(2, 3, 5, 4), (5, 4), (2, 1, 1, 1)])
@pytest.mark.parametrize("number", [False, True])
def test_selection_of_int16(condition: tuple[int, ...], number: bool) -> None:
    """As a causal mask does, and by a mask of two dimensions."""
    net = Net(53 + len(condition), "int16")
    chosen = net.constant(net.random.integers(0, 2, condition), bool)
    other = net.constant(-3.0, np.float32) if number else net.input(2, 1, 5, 4)
    net.output(net.quantise(net.node("Where", chosen, net.input(2, 3, 5, 4), other)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


def test_selection_of_one_tensor_is_a_table() -> None:
    """A leaky ReLU as some exporters write it."""
    net = Net(51)
    x = net.input(1, 4, 5, 6)
    test = net.node("Greater", x, net.constant(0.0, np.float32))
    net.output(net.quantise(net.node("Where", test, x, net.node("Mul", x, net.constant(0.1, np.float32)))))
    check(net, kinds=("lut8",))


def test_a_condition_leaves_as_bool() -> None:
    net = Net(52)
    net.output(net.node("Less", net.input(1, 4, 5, 6), net.input(1, 4, 5, 6)))
    graph = lower(net.model())
    assert graph.outputs[0].dtype == "bool"
    assert {d.op: d.where for d in graph.decisions}["Less"] == "BPU"


@pytest.mark.parametrize("high", [1.0, 2.0])
@pytest.mark.parametrize("shape", [(1, 20, 4, 5), (2, 7, 20)])
def test_slopes_per_channel(shape: tuple[int, ...], high: float) -> None:
    net = Net(60)
    extents = (20, 1, 1) if len(shape) == 4 else (20,)
    slope = net.constant(net.random.uniform(-0.5, high, extents), np.float32)
    net.output(net.quantise(net.node("PRelu", net.input(*shape), slope)))
    check(net)


@pytest.mark.parametrize("op", ["Sum", "Mean"])
def test_sum_and_mean_of_two(op: str) -> None:
    net = Net(61)
    net.output(net.quantise(net.node(op, net.input(1, 6, 5, 4), net.input(1, 6, 1, 1))))
    check(net, kinds=("add",))
