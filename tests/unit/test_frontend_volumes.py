"""Windows over volumes and products with a run-time bias as nodes that the BPU has instructions for."""

from __future__ import annotations

from typing import Any

import float_networks as nets
import numpy as np
import pytest

import openbpu
from lowering.check import check_model
from lowering.nets import Net
from openbpu import frontend
from openbpu.errors import ModelWarning
from unit.test_frontend_decomposition import agree


def placed(model: Any) -> set[str]:
    """Operators that would stay on the CPU."""
    return {decision.op for decision in openbpu.check(model).on_cpu}


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("counted", [0, 1])
def test_means_of_volumes(ceil: int, counted: int) -> None:
    net = nets.Net(1)
    given = {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2], "pads": [1, 1, 0, 0, 1, 1]}
    net.op("AveragePool", "x", out="y", ceil_mode=ceil, count_include_pad=counted, **given)
    prepared = agree(net.model("y", shape=(2, 3, 5, 6, 7)), "none")
    kernels = [a.ints for node in prepared.graph.node for a in node.attribute if a.name == "kernel_shape"]
    assert [len(kernel) for kernel in kernels] == [2, 2]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolutions_of_volumes(groups: int, bias: bool) -> None:
    net = nets.Net(2)
    operands = [net.normal(4, 3, 2, 3, 2), *([net.normal(3 * groups)] if bias else [])]
    net.op("ConvTranspose", "x", *operands, out="y", group=groups, strides=[2, 2, 1], pads=[0, 1, 0, 0, 0, 1])
    prepared = agree(net.model("y", shape=(2, 4, 3, 4, 5)), "none")
    assert "Transpose" in {node.op_type for node in prepared.graph.node}


@pytest.mark.parametrize("step", [1, 3])
def test_steps_in_depth_that_overlap_or_leave_gaps_stay(step: int) -> None:
    net = nets.Net(3)
    net.op("ConvTranspose", "x", net.normal(2, 3, 2, 2, 2), out="y", strides=[step, 2, 2])
    prepared = agree(net.model("y", shape=(1, 2, 3, 3, 3)), "none")
    assert [node.op_type for node in prepared.graph.node] == ["ConvTranspose"]


@pytest.mark.parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("constant", [False, True])
def test_products_with_a_bias_of_run_time(turned: tuple[int, int], constant: bool) -> None:
    net = nets.Net(4)
    shapes = [(5, 4)[:: -1 if turned[0] else 1], (4, 6)[:: -1 if turned[1] else 1], (1, 6)]
    b = net.normal(*shapes[1]) if constant else "b"
    net.op("Gemm", "x", b, "c", out="y", transA=turned[0], transB=turned[1], alpha=0.5, beta=2.0)
    more = {"c": shapes[2]} if constant else {"b": shapes[1], "c": shapes[2]}
    agree(net.model("y", shape=shapes[0], **more), "Gemm")


def test_they_run_on_the_bpu() -> None:
    net = nets.Net(5)
    x = net.op("Conv", "x", net.normal(4, 2, 3, 3, 3))
    x = net.op("AveragePool", x, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    x = net.op("Relu", net.op("ConvTranspose", x, net.normal(4, 3, 2, 2, 2), strides=[2, 2, 2]), out="y")
    model = net.model("y", shape=(1, 2, 6, 10, 10))
    assert placed(model) == set()
    random = np.random.default_rng(1)
    samples = [{"x": random.standard_normal((1, 2, 6, 10, 10)).astype(np.float32)} for _ in range(4)]
    session = openbpu.Session(openbpu.compile(openbpu.quantize(model, samples)))
    got, want = session.run(samples[0])["y"].ravel(), nets.run(model, samples[0])[0].ravel()
    assert got @ want / (np.linalg.norm(got) * np.linalg.norm(want)) > 0.999


def test_a_float_layer_of_few_steps_stays_whole() -> None:
    net = nets.Net(6)
    net.op("LSTM", "x", net.normal(1, 32, 5), net.normal(1, 32, 8), out="y", hidden_size=8)
    with pytest.warns(ModelWarning, match="nothing of this model"):
        program = openbpu.compile(net.model("y", shape=(6, 2, 5)))
    assert program.disassemble().count("CPUCALL") < 6


COLUMNS = [
    ((5, 6), (2, 3), {}), ((7, 6), (3, 2), {"strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ((8, 8), (2, 2), {"dilations": [2, 1], "strides": [1, 3]}), ((4, 4), (2, 2), {"strides": [2, 2]}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(("extents", "block", "given"), COLUMNS)
def test_images_of_columns(
    extents: tuple[int, int], block: tuple[int, int], given: dict[str, list[int]], dtype: str
) -> None:
    net = Net(8, dtype, opset=21)
    pads, steps = given.get("pads", [0] * 4), []
    for a in (0, 1):
        reach = given.get("dilations", [1, 1])[a] * (block[a] - 1) + 1
        steps.append((extents[a] + pads[a] + pads[a + 2] - reach) // given.get("strides", [1, 1])[a] + 1)
    x = net.input(2, 3 * block[0] * block[1], steps[0] * steps[1])
    y = net.node("Col2Im", x, net.constant(extents, np.int64), net.constant(block, np.int64), **given)
    net.output(net.quantise(y))
    graph = check_model(frontend.prepare_qdq(net.model()), net.feeds)
    assert not any(decision.where == "CPU" for decision in graph.decisions)
