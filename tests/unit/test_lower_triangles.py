"""Running sums and triangles of matrices against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

SHAPES = [
    ((7,), 0),
    ((5, 9), 1),
    ((5, 9), 0),
    ((2, 3, 8), -1),
    ((2, 3, 4, 5), 1),
    ((2, 3, 4, 5), 3),
    ((2, 3, 2, 4, 3), 2),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_running_sums(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    net = Net(len(shape) + axis, dtype)
    x = net.input(*shape)
    for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1)):
        at = net.constant(axis, np.int64)
        net.output(net.quantise(net.node("CumSum", x, at, exclusive=exclusive, reverse=reverse)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("seed", range(4))
def test_running_sums_of_random_scales(seed: int) -> None:
    net = Net(seed, ("int8", "uint8")[seed % 2])
    x = net.input(int(net.random.integers(1, 9)), int(net.random.integers(2, 400)), spread=float(seed + 0.5))
    y = net.node("CumSum", x, net.constant(1, np.int64))
    scale, zero = net.parameters(y)
    net.output(net.quantise(y, float(np.float32(scale * 2.0 ** net.random.uniform(-1, 2))), zero))
    check(net)


def test_longer_running_sums_run_on_the_cpu() -> None:
    net = Net(1)
    net.output(net.quantise(net.node("CumSum", net.input(1, 1025), net.constant(1, np.int64))))
    decision = next(d for d in lower(net.model()).decisions if d.op == "CumSum")
    assert decision.where == "CPU" and "1024" in decision.reason


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 6, 4), (2, 3, 5, 5), (2, 2, 2, 3, 4)])
@pytest.mark.parametrize("k", [-2, 0, 1])
def test_triangles(k: int, shape: tuple[int, ...], dtype: str) -> None:
    net = Net(k + 5, dtype)
    x = net.input(*shape)
    for upper in (0, 1):
        net.output(net.quantise(net.node("Trilu", x, net.constant(k, np.int64), upper=upper)))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


def test_a_triangle_of_integers_runs_on_the_cpu() -> None:
    """There a zero is no zero point."""
    net = Net(8)
    net.input(4, 4)
    codes = net.nodes[-1].input[0]
    turned = net.node("Trilu", codes, upper=0)
    net.output(net.node("DequantizeLinear", turned, *net.nodes[-2].input[1:]))
    decision = next(d for d in lower(net.model()).decisions if d.op == "Trilu")
    assert decision.where == "CPU" and "float" in decision.reason
