"""Reductions over any axes, and indices of extremes, against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

MEANS = ["ReduceMean", "ReduceSum"]
EXTREMES = ["ReduceMax", "ReduceMin"]
NORMS = ["ReduceL1", "ReduceL2", "ReduceSumSquare"]
SHAPES = [(2, 5, 4, 3), (3, 4, 6), (5, 9), (2, 3, 4, 2, 5)]
CASES = [(s, axes) for s in SHAPES for count in range(1, len(s) + 1) for axes in combinations(range(len(s)), count)]


def reduced(net: Net, op: str, x: str, axes: tuple[int, ...], keepdims: int = 1) -> str:
    if op == "ReduceSum":
        return str(net.node(op, x, net.constant(axes, np.int64), keepdims=keepdims))
    return str(net.node(op, x, axes=list(axes), keepdims=keepdims))


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_reduction_over_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Every operator on one input; dimensions are dropped for every second set of axes."""
    net = Net(len(shape) * 100 + sum(axes), ("int8", "uint8")[len(axes) % 2])
    x = net.input(*shape)
    for op in (*MEANS, *EXTREMES, *NORMS):
        net.output(net.quantise(reduced(net, op, x, axes, sum(axes) % 2)))
    check(net)


@pytest.mark.parametrize("op", [*MEANS, *EXTREMES, *NORMS])
@pytest.mark.parametrize("seed", range(4))
def test_random_scales(op: str, seed: int) -> None:
    net = Net(seed)
    shape = [int(net.random.integers(1, 20)) for _ in range(4)]
    shape[seed] *= 12
    axes = tuple(np.flatnonzero(net.random.integers(0, 2, 4)).tolist()) or (1,)
    y = reduced(net, op, net.input(*shape, spread=float(net.random.uniform(0.1, 5))), axes)
    scale, zero = net.parameters(y)
    net.output(net.quantise(y, float(np.float32(scale * 2.0 ** net.random.uniform(-2, 2))), zero))
    check(net)


def test_reductions_in_place_need_no_copies() -> None:
    net = Net(1)
    image = net.input(2, 24, 5, 6)
    for axes in ((1,), (2, 3), (1, 2, 3)):
        net.output(net.quantise(reduced(net, "ReduceMean", image, axes)))
    net.output(net.quantise(reduced(net, "ReduceMax", net.input(3, 7, 16), (1,), 0)))
    graph = check(net)
    assert not any(op.kind in ("transpose", "concat") for op in graph.ops), str(graph)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_index_of_the_extreme(op: str, keepdims: int, shape: tuple[int, ...]) -> None:
    """Coarse scales: many values are equal, and the first of them counts."""
    net = Net(len(shape))
    x = net.quantise(net.input(*shape, quantised=False), 0.5, 3)
    for axis in range(len(shape)):
        net.output(net.node(op, x, axis=axis, keepdims=keepdims))
    graph = check(net, tolerance=0)
    assert all(op.kind != "cpu" for op in graph.ops)


def test_classes_of_a_segmentation() -> None:
    net = Net(5)
    y = net.node("Conv", net.input(1, 8, 9, 7), net.weight(net.random.standard_normal((21, 8, 1, 1))))
    net.output(net.node("ArgMax", net.quantise(y), axis=1, keepdims=0))
    check(net, tolerance=0, kinds=("conv2d", "argmax"))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools_of_volumes(op: str) -> None:
    net = Net(6)
    net.output(net.quantise(net.node(op, net.input(2, 5, 3, 4, 6))))
    check(net)


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_reduction_of_int16(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    net = Net(len(shape) * 10 + sum(axes), "int16")
    x = net.input(*shape)
    for op in (*MEANS, *EXTREMES, "ReduceL1"):
        net.output(net.quantise(reduced(net, op, x, axes, sum(axes) % 2)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 3, 6), (1, 4, 2, 3, 5)])
def test_global_norms(shape: tuple[int, ...], p: int) -> None:
    net = Net(p)
    net.output(net.quantise(net.node("GlobalLpPool", net.input(*shape), p=p)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


PRODUCTS = [
    ((4, 6), (1,), 2), ((2, 5, 2), (2,), 2), ((3, 3), (0,), 3), ((2, 4, 3, 5), (1,), 4), ((2, 2, 3, 2), (1, 3), 4),
    ((1, 2, 2, 2), (2, 3), 4), ((2, 1, 2, 3, 5), (2, 3), 6), ((5, 4), (0,), 5),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("shape", "axes", "count"), PRODUCTS)
def test_products(shape: tuple[int, ...], axes: tuple[int, ...], count: int, dtype: str) -> None:
    net = Net(count + len(shape), dtype)
    x = net.input(*shape, quantised=False)
    net.feeds[x] = np.clip(net.feeds[x], -1.2, 1.2)
    net.output(net.quantise(reduced(net, "ReduceProd", net.quantise(x), axes, count % 2)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


def test_products_of_int16() -> None:
    net = Net(3, "int16")
    net.output(net.quantise(reduced(net, "ReduceProd", net.input(6, 2), (1,))))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize(("count", "reason"), [(65, "64"), (12, "large")])
def test_products_that_16_bits_cannot_hold_run_on_the_cpu(count: int, reason: str) -> None:
    net = Net(4)
    net.output(net.quantise(reduced(net, "ReduceProd", net.input(6, count, spread=2.0), (1,)), 0.01))
    decision = next(d for d in lower(net.model()).decisions if d.op == "ReduceProd")
    assert decision.where == "CPU" and reason in decision.reason
