"""Three spatial dimensions, look-ups by run-time indices and moves of many dimensions against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import openbpu
from lowering.check import check
from lowering.nets import Net
from openbpu import _native
from openbpu.lower import lower

CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 5, 6, 7), (8, 3, 3, 3, 3), {"pads": [1] * 6}),
    ((2, 4, 6, 5, 4), (6, 4, 2, 3, 1), {"strides": [2, 1, 2]}),
    ((1, 3, 8, 6, 6), (5, 3, 3, 1, 2), {"dilations": [2, 1, 3], "pads": [2, 0, 1, 0, 1, 2]}),
    ((1, 4, 4, 5, 5), (6, 2, 3, 3, 3), {"group": 2, "pads": [1] * 6, "strides": [1, 2, 2]}),
    ((2, 6, 3, 4, 4), (6, 1, 3, 3, 3), {"group": 6, "pads": [1] * 6}),
    ((1, 3, 5, 6, 7), (4, 3, 1, 1, 1), {}),
    ((1, 3, 5, 7, 6), (4, 3, 3, 2, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2, 1]}),
]


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
def test_conv(case: int) -> None:
    shape, kernel, attributes = CONVOLUTIONS[case]
    net = Net(case, ("int8", "uint8")[case % 2])
    weight = net.weight(net.random.standard_normal(kernel))
    bias = net.constant(net.random.standard_normal(kernel[0]), np.float32)
    y = net.node("Conv", net.input(*shape), weight, bias, **attributes)
    net.output(net.quantise(net.node("Relu", y)))
    graph = check(net)
    assert sum(op.kind == "conv2d" for op in graph.ops) == 1, "one requantisation"


def test_two_convolutions_exchange_images() -> None:
    net = Net(10)
    x = net.input(1, 3, 4, 6, 6)
    for ci in (3, 8):
        y = net.node("Conv", x, net.weight(net.random.standard_normal((8, ci, 3, 3, 3)) * 0.2), pads=[1] * 6)
        x = net.quantise(net.node("Relu", y))
    net.output(net.quantise(net.node("GlobalAveragePool", x)))
    check(net)


@pytest.mark.parametrize("ceil", [0, 1])
def test_max_pool(ceil: int) -> None:
    net = Net(11)
    x = net.input(2, 5, 6, 7, 8)
    y = net.node("MaxPool", x, kernel_shape=[3, 2, 3], strides=[2, 2, 1], pads=[1, 0, 1, 1, 1, 0], ceil_mode=ceil)
    net.output(net.quantise(y))
    check(net)


def test_volumes_longer_than_an_extent() -> None:
    net = Net(12)
    x = net.input(1, 4, 4, 130, 130)  # 67,600 elements behind the channels
    y = net.quantise(net.node("Add", x, net.input(1, 4, 4, 130, 130)))
    z = net.quantise(net.node("Mul", y, net.input(4, 1, 1, 1)))
    axes = [net.constant(np.array(v, np.int64)) for v in ([1], [3], [1])]
    net.output(net.quantise(net.node("Concat", net.node("Slice", z, *axes), y, axis=1)))
    check(net, tolerance=4)  # of the sum, the product and the common scale, one behind the other


def test_patches_of_patches() -> None:
    """More axes than four, and more than 65,535 elements inside of the one that is cut, as in Hiera."""
    net = Net(13)
    x = net.input(1, 56 * 56, 96)
    for count, side in ((1, 28), (4, 14), (16, 7)):
        x = net.node("Reshape", x, net.constant(np.array([count, side, 2, side, 2, 96])))
        x = net.node("Transpose", x, perm=[0, 2, 4, 1, 3, 5])
    net.output(net.quantise(net.node("Reshape", x, net.constant(np.array([1, 56 * 56, 96])))))
    check(net)


# ---- look-ups


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("indices", [(7,), (2, 3), ()])
def test_gather_at_run_time(axis: int, indices: tuple[int, ...], dtype: str) -> None:
    net = Net(20 + axis)
    shape = (3, 5, 4, 6)
    index = net.indices(*indices, low=-shape[axis], high=shape[axis], dtype=dtype)
    net.output(net.quantise(net.node("Gather", net.input(*shape), index, axis=axis)))
    graph = check(net)
    assert any(op.kind == "gather" for op in graph.ops)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("shape", [(9, 5), (4, 9, 5), (2, 3, 9, 2, 5)])
def test_gather_of_other_ranks(shape: tuple[int, ...], dtype: str) -> None:
    net = Net(21, dtype, opset=21)
    index = net.indices(2, 2, low=0, high=9)
    net.output(net.quantise(net.node("Gather", net.input(*shape), index, axis=shape.index(9))))
    graph = check(net)
    assert any(op.kind == "gather" for op in graph.ops)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_embedding_table_is_quantised_as_its_result(dtype: str) -> None:
    net = Net(22, dtype, opset=21)
    table = net.constant(net.random.standard_normal((50, 12)), np.float32)
    net.output(net.quantise(net.node("Gather", table, net.indices(2, 7, low=0, high=50))))
    graph = check(net, kinds=("constant", "gather", "reshape"))
    assert graph.ops[0].consts["data"].shape == (1, 1, 50, 12)


@pytest.mark.parametrize("shape", [(3, 150), (2, 150, 4), (1, 150, 3, 4), (1, 2, 150, 3, 2)])
def test_many_constant_indices(shape: tuple[int, ...]) -> None:
    """As in the lift of a camera's image to a plan, or in an unfolding to patches."""
    net = Net(24)
    index = net.constant(net.random.integers(-150, 150, (5, 40)), np.int64)
    net.output(net.quantise(net.node("Gather", net.input(*shape), index, axis=shape.index(150))))
    graph = check(net)
    assert any(op.kind == "gather" for op in graph.ops)


def test_indices_that_are_picked_from_an_input() -> None:
    """One column for each table, as recommenders have them."""
    net = Net(25)
    columns = net.indices(3, 2, low=0, high=20)
    for column in range(2):
        picked = net.node("Gather", columns, net.constant(column, np.int64), axis=1)
        table = net.constant(net.random.standard_normal((20, 6)), np.float32)
        net.output(net.quantise(net.node("Gather", table, picked)))
    report = openbpu.check(net.model())
    assert ["integers" in decision.reason for decision in report.on_cpu] == [True, True]


def test_indices_from_the_bpu() -> None:
    net = Net(23)
    best = net.node("ArgMax", net.input(1, 6, 4, 5), axis=1, keepdims=0)
    net.output(net.quantise(net.node("Gather", net.input(6, 8), best)))
    check(net)


@pytest.mark.parametrize("isa", _native.available_isas())
@pytest.mark.parametrize("wrong", [-10, 9, 1 << 40])
def test_an_index_outside_ends_the_run(isa: str, wrong: int) -> None:
    net = Net(24)
    index = net.indices(4, low=0, high=9)
    net.output(net.quantise(net.node("Gather", net.input(9, 5), index)))
    session = openbpu.Session(openbpu.compile(net.model()), isa=isa)
    good = session.run(net.feeds)
    with pytest.raises(openbpu.OpenBpuError, match="index lies outside"):
        session.run({**net.feeds, index: np.array([0, wrong, 1, 2])})
    for name, array in session.run(net.feeds).items():
        np.testing.assert_array_equal(array, good[name])


# ---- moves


@pytest.mark.parametrize(("shape", "repeats"), [
    ((2, 3), (2, 3)), ((2, 3, 4), (1, 3, 1)), ((1, 5, 4, 3), (2, 1, 3, 1)), ((2, 4, 1, 3), (1, 3, 70, 1)),
    ((2, 1, 3, 2, 1), (1, 4, 2, 1, 3)), ((5,), (4,)),
])  # fmt: skip
def test_tile(shape: tuple[int, ...], repeats: tuple[int, ...]) -> None:
    net = Net(30)
    net.output(net.quantise(net.node("Tile", net.input(*shape), net.constant(repeats, np.int64))))
    check(net)


@pytest.mark.parametrize(("shape", "target"), [((3, 1, 4, 1, 5), (3, 2, 4, 6, 5)), ((2, 1, 4), (3, 2, 3, 4)),
                                               ((1, 2, 1, 3, 1, 4), (5, 2, 1, 3, 6, 4))])  # fmt: skip
def test_expand(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    net = Net(31)
    net.output(net.quantise(net.node("Expand", net.input(*shape), net.constant(target, np.int64))))
    check(net)


def test_pad_of_five_dimensions() -> None:
    net = Net(32)
    pads = net.constant([0, 1, 0, 2, 1, 1, 0, 0, 1, 3], np.int64)
    net.output(net.quantise(net.node("Pad", net.input(2, 3, 2, 4, 3), pads, net.constant(0.7, np.float32))))
    check(net)


def test_alternating_repetition_beyond_four_groups_runs_on_the_cpu() -> None:
    net = Net(33)
    a, b = net.input(2, 1, 3, 1, 2, 1), net.input(1, 3, 1, 2, 1, 4)
    net.output(net.quantise(net.node("Add", a, b)))
    decisions = {d.op: d for d in lower(net.model()).decisions}
    assert decisions["Add"].where == "CPU" and "four groups" in decisions["Add"].reason
