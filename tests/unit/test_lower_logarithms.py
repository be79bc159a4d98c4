"""LogSoftmax and ReduceLogSumExp against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

SHAPES = [
    ((3, 40), 1), ((1, 9, 96), -1), ((2, 5, 4, 3), 1), ((2, 5, 4, 3), 2), ((2, 5, 4, 3), 3), ((2, 5, 4, 3), 0),
    ((1, 21, 7, 5), 1), ((3, 7), 0), ((2, 3, 4, 2, 5), 2), ((2, 3, 4, 2, 5), 4), ((17,), 0), ((4, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_log_softmax(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    net = Net(300 + axis, dtype)
    net.output(net.quantise(net.node("LogSoftmax", net.input(*shape, spread=3.0), axis=axis)))
    graph = check(net, tolerance=2)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("seed", range(12))
def test_log_softmax_of_random_shapes_and_scales(seed: int) -> None:
    """Up to the most terms there may be, nearly equal values and values far apart."""
    net = Net(seed, ("int8", "uint8")[seed % 2])
    count = int(2 ** net.random.uniform(1, 12))
    x = net.input(int(net.random.integers(1, 4)), count, spread=float(10.0 ** net.random.uniform(-2, 1.5)))
    y = net.node("LogSoftmax", x, axis=-1)
    scale, zero = net.parameters(y)
    net.output(net.quantise(y, float(np.float32(scale * 2.0 ** net.random.uniform(0, 1))), zero))
    check(net, tolerance=2)


@pytest.mark.parametrize("count", [4, 40, 400])
@pytest.mark.parametrize("axis", [1, 2])
def test_log_softmax_of_int16(count: int, axis: int) -> None:
    net = Net(count, "int16")
    shape = (3, count, 2) if axis == 1 else (2, 3, count)
    net.output(net.quantise(net.node("LogSoftmax", net.input(*shape, spread=2.0), axis=axis)))
    graph = check(net, tolerance=2)
    assert not any(op.kind == "cpu" for op in graph.ops)


def test_log_softmax_of_equal_and_of_extreme_values() -> None:
    net = Net(5)
    x = net.quantise(net.input(3, 50, quantised=False), 0.1, 0)
    feed = net.feeds[next(iter(net.feeds))]
    feed[0], feed[1], feed[2] = 0.5, -12.8, -12.8
    feed[2, 7] = 12.7
    net.output(net.quantise(net.node("LogSoftmax", x, axis=-1)))
    check(net, tolerance=2)


@pytest.mark.parametrize("axis", [0, 2])
def test_log_softmax_of_single_values_is_zero(axis: int) -> None:
    net = Net(8)
    net.output(net.quantise(net.node("LogSoftmax", net.input(1, 5, 1), axis=axis), 1e-5, 100))
    check(net, tolerance=0)


def test_log_softmax_of_more_terms_runs_on_the_cpu() -> None:
    net = Net(6)
    net.output(net.quantise(net.node("LogSoftmax", net.input(1, 4097), axis=-1)))
    decision = next(d for d in lower(net.model()).decisions if d.op == "LogSoftmax")
    assert decision.where == "CPU" and "4096" in decision.reason


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_log_sum_exp(axes: tuple[int, ...], keepdims: int, dtype: str) -> None:
    net = Net(sum(axes), dtype)
    y = net.node("ReduceLogSumExp", net.input(2, 5, 4, 3, spread=2.0), axes=list(axes), keepdims=keepdims)
    net.output(net.quantise(y))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("seed", range(6))
def test_log_sum_exp_of_random_shapes_and_scales(seed: int) -> None:
    net = Net(seed)
    shape = [int(net.random.integers(1, 12)) for _ in range(int(net.random.integers(1, 6)))]
    axes = np.flatnonzero(net.random.integers(0, 2, len(shape))).tolist() or [0]
    x = net.input(*shape, spread=float(10.0 ** net.random.uniform(-1, 1)))
    net.output(net.quantise(net.node("ReduceLogSumExp", x, axes=axes)))
    check(net)


def test_log_sum_exp_of_int16() -> None:
    net = Net(7, "int16")
    net.output(net.quantise(net.node("ReduceLogSumExp", net.input(3, 30, spread=2.0), axes=[1])))
    check(net, tolerance=2)
