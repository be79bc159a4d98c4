"""Sampling at run-time coordinates against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import pytest

import openbpu
from lowering.check import check
from lowering.nets import Net


def grid_of(net: Net, *shape: int) -> str:
    """A float input that stays float: places in the image and around it."""
    name = net.input(*shape, 2, quantised=False)
    net.feeds[name] = net.random.uniform(-1.4, 1.4, (*shape, 2)).astype(np.float32)
    return str(name)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    net = Net(10 + corners, ("int8", "uint8")[corners])
    x, grid = net.input(2, 5, 7, 6), grid_of(net, 2, 4, 9)
    y = net.node("GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=corners)
    net.output(net.quantise(y))
    graph = check(net)
    assert any(op.kind == "grid_sample" for op in graph.ops)


def test_newer_names_and_a_constant_grid() -> None:
    net = Net(20, opset=20)
    grid = net.constant(net.random.uniform(-1.2, 1.2, (1, 5, 6, 2)), np.float32)
    net.output(net.quantise(net.node("GridSample", net.input(1, 17, 8, 8), grid, mode="linear")))
    check(net)


def test_a_quantised_grid() -> None:
    """Coordinates that the BPU computes are dequantised: the places are those of the model."""
    net = Net(21)
    grid = net.quantise(net.node("Tanh", net.input(1, 4, 5, 2)), 1 / 127)
    net.output(net.quantise(net.node("GridSample", net.input(1, 3, 9, 9), grid, padding_mode="border")))
    check(net)


@pytest.mark.parametrize("attributes", [{"mode": "bicubic"}, {"padding_mode": "reflection"}])
def test_other_modes_run_on_the_cpu(attributes: dict[str, str]) -> None:
    net = Net(22)
    net.output(net.quantise(net.node("GridSample", net.input(1, 3, 9, 9), grid_of(net, 1, 4, 4), **attributes)))
    decisions = {d.op: d.where for d in openbpu.check(net.model()).decisions}
    assert decisions["GridSample"] == "CPU"


def test_the_grid_of_a_float_model_stays_float() -> None:
    net = nets.Net(3)
    y = net.op("GridSample", net.op("Relu", net.conv("x", 3, 8)), "grid", align_corners=1)
    model = net.model(net.conv(y, 8, 4, out="y"), shape=(1, 3, 32, 32), grid=(1, 16, 16, 2))
    assert not [d for d in openbpu.check(model).decisions if d.where == "CPU"]
    random = np.random.default_rng(4)
    samples = [{"x": x, "grid": random.uniform(-1.1, 1.1, (1, 16, 16, 2)).astype(np.float32)} for x in nets.samples(8)]
    qdq = openbpu.quantize(model, samples)
    (sampling,) = [n for n in qdq.graph.node if n.op_type == "GridSample"]
    assert sampling.input[1] == "grid"
    session = openbpu.Session(openbpu.compile(qdq))
    for sample in samples:
        assert nets.sqnr(nets.run(model, sample)[0][0], session.run(sample)["y"]) > 28
