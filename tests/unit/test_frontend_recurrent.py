"""LSTM and GRU written out step by step compute what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.frontend.recurrent import MOST_STEPS


def layer(op: str, steps: int, direction: str, initial: bool, **attributes: int) -> tuple[Net, onnx.ModelProto]:
    net = Net(3)
    gates, count = {"LSTM": 4, "GRU": 3}[op], 2 if direction == "bidirectional" else 1
    x = net.input(steps, 2, 5, quantised=False)
    weights = [net.constant(net.random.standard_normal((count, gates * 4, n)) * 0.5, np.float32) for n in (5, 4)]
    bias = net.constant(net.random.standard_normal((count, 8 * gates)) * 0.3, np.float32)
    states = [net.constant(net.random.standard_normal((count, 2, 4)), np.float32) for _ in range(gates - 2)]
    operands = [x, *weights, bias, *(["", *states] if initial else [])]
    outputs = net.node(op, *operands, outputs=gates - 1, hidden_size=4, direction=direction, **attributes)
    for output in outputs:
        net.output(output)
    return net, net.model()


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize(("op", "attributes"), [("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1})])
def test_steps_compute_the_layer(op: str, attributes: dict[str, int], initial: bool, direction: str) -> None:
    net, model = layer(op, 5, direction, initial, **attributes)
    prepared = frontend.prepare(frontend.load(model))
    assert op not in {node.op_type for node in prepared.graph.node}
    for got, want in zip(reference(prepared, net.feeds), reference(model, net.feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_long_layers_stay() -> None:
    _, model = layer("GRU", MOST_STEPS + 1, "forward", False)
    assert "GRU" in {node.op_type for node in frontend.prepare(frontend.load(model)).graph.node}
