"""Recurrent layers written out step by step compute what ONNX Runtime computes, quantised ones nearly so."""

from __future__ import annotations

from typing import Any

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu
from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.frontend.recurrent import MOST_STEPS

LAYERS: list[tuple[str, dict[str, object]]] = [
    ("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {}), ("RNN", {"activations": ["Relu"]}),
]  # fmt: skip


def layer(op: str, steps: int, direction: str, initial: bool, **attributes: object) -> tuple[Net, onnx.ModelProto]:
    net = Net(3)
    gates, states = {"LSTM": (4, 2), "GRU": (3, 1), "RNN": (1, 1)}[op]
    count = 2 if direction == "bidirectional" else 1
    x = net.input(steps, 2, 5, quantised=False)
    weights = [net.constant(net.random.standard_normal((count, gates * 4, n)) * 0.5, np.float32) for n in (5, 4)]
    bias = net.constant(net.random.standard_normal((count, 8 * gates)) * 0.3, np.float32)
    given = [net.constant(net.random.standard_normal((count, 2, 4)), np.float32) for _ in range(states)]
    operands = [x, *weights, bias, *(["", *given] if initial else [])]
    outputs = net.node(op, *operands, outputs=states + 1, hidden_size=4, direction=direction, **attributes)
    for output in outputs:
        net.output(output)
    return net, net.model()


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize(("op", "attributes"), LAYERS)
def test_steps_compute_the_layer(op: str, attributes: dict[str, object], initial: bool, direction: str) -> None:
    if direction == "bidirectional" and "activations" in attributes:
        attributes = {"activations": ["Relu", "Relu"]}
    net, model = layer(op, 5, direction, initial, **attributes)
    prepared = frontend.prepare(frontend.load(model))
    assert op not in {node.op_type for node in prepared.graph.node}
    for got, want in zip(reference(prepared, net.feeds), reference(model, net.feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_long_layers_stay() -> None:
    _, model = layer("GRU", MOST_STEPS + 1, "forward", False)
    assert "GRU" in {node.op_type for node in frontend.prepare(frontend.load(model)).graph.node}


@pytest.mark.parametrize(("op", "steps", "direction"), [("LSTM", 12, "bidirectional"), ("GRU", 12, "reverse"),
                                                        ("RNN", 12, "forward"), ("LSTM", 24, "forward")])  # fmt: skip
def test_quantised_layers_run_on_the_bpu(op: str, steps: int, direction: str) -> None:
    net, count = nets.Net(3), 2 if direction == "bidirectional" else 1
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    weights = [net.normal(count, gates * 24, n, scale=0.3) for n in (16, 24)]
    states = net.op(op, "x", *weights, net.normal(count, 48 * gates, scale=0.2), hidden_size=24, direction=direction)
    rows = net.op("Transpose", states, perm=[0, 2, 1, 3])
    flat = net.op("Reshape", rows, net.constant(np.array([steps, 1, 24 * count])))
    net.op("MatMul", flat, net.normal(24 * count, 10, scale=0.2), out="y")
    model = net.model("y", shape=(steps, 1, 16))
    assert not [d for d in openbpu.check(model).decisions if d.where == "CPU"]
    samples = nets.samples(10, (steps, 1, 16))
    # Twenty-four steps are hundreds of operators: the default searches their ranges and refines them for minutes.
    options: dict[str, Any] = {} if steps * count < 24 else {"calibration": "max", "refinement": ()}
    session = openbpu.Session(openbpu.build(model, samples[:8], **options))
    for sample in samples[8:]:
        assert nets.sqnr(nets.run(model, sample)[0][0], session.run({"x": sample})["y"]) > 17
