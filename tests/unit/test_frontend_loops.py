"""Loops that are written out compute what ONNX Runtime computes; others are refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import openbpu
from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.errors import UnsupportedError
from openbpu.frontend.recurrent import MOST_STEPS

SHAPE = (2, 3)


def value(name: str, shape: Sequence[int] = SHAPE, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def step(*more: onnx.NodeProto) -> onnx.GraphProto:
    """v * number of the step + half, read from outside and inside; its mean is what it gives besides."""
    nodes = [
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["v", "f"], ["p"]),
        helper.make_node("Add", ["p", "half"], ["a"]),
        helper.make_node("Add", ["a", "outer"], ["next"]),
        helper.make_node("ReduceMean", ["next"], ["m"], keepdims=0),
        *(more or [helper.make_node("Identity", ["c"], ["goes"])]),
    ]
    inputs = [value("i", (), TensorProto.INT64), value("c", (), TensorProto.BOOL), value("v")]
    outputs = [value("goes", (), TensorProto.BOOL), value("next"), value("m", ())]
    half = helper.make_tensor("half", TensorProto.FLOAT, (), [0.5])
    return helper.make_graph(nodes, "step", inputs, outputs, [half])


def loop(body: onnx.GraphProto, steps: int, fixed: bool = True) -> tuple[Net, onnx.ModelProto]:
    net = Net(3)
    x = net.input(*SHAPE, quantised=False)
    net.nodes.append(helper.make_node("Neg", [x], ["outer"], name="outer"))
    trips = net.constant(np.int64(steps)) if fixed else net.indices(low=steps, high=steps + 1)
    last, means = net.node("Loop", trips, net.constant(np.array(True)), x, outputs=2, body=body)
    outputs = [value(last), value(means, (steps,))]
    graph = helper.make_graph(net.nodes, "loop", net.inputs, outputs, net.initializers)
    return net, helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)


def check(net: Net, model: onnx.ModelProto) -> None:
    with pytest.warns(openbpu.errors.ModelWarning, match="nothing of this model runs on the BPU"):
        results = openbpu.Session(openbpu.compile(model)).run(net.feeds)
    for got, want in zip(results.values(), reference(model, net.feeds), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    clean = frontend.prepare(model)
    assert not {"Loop", "Scan"} & {node.op_type for node in clean.graph.node}


@pytest.mark.parametrize("steps", [1, 4])
def test_steps_compute_the_loop(steps: int) -> None:
    check(*loop(step(), steps))


def test_a_condition_that_is_always_true() -> None:
    true = helper.make_tensor("t", TensorProto.BOOL, (), [True])
    check(*loop(step(helper.make_node("Constant", [], ["goes"], value=true)), 3))


def test_a_loop_within_a_loop() -> None:
    inner = helper.make_graph(
        [helper.make_node("Add", ["w", "outer"], ["w2"]), helper.make_node("Identity", ["d"], ["d2"])],
        "inner",
        [value("j", (), TensorProto.INT64), value("d", (), TensorProto.BOOL), value("w")],
        [value("d2", (), TensorProto.BOOL), value("w2")],
    )
    two = helper.make_tensor("two", TensorProto.INT64, (), [2])
    body = step()
    body.node[3].input[1] = "looped"
    nodes = [*body.node[:3], helper.make_node("Loop", ["two", "", "v"], ["looped"], body=inner), *body.node[3:]]
    del body.node[:]
    body.node.extend(nodes)
    body.initializer.append(two)
    check(*loop(body, 3))


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_steps_compute_the_scan(axis: int, backwards: int) -> None:
    """Rows or columns of a matrix, from either end; the sum so far, and all of them."""
    net = Net(4)
    x = net.input(4, 5, quantised=False)
    width = 5 - axis
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["s2"]), helper.make_node("Identity", ["s2"], ["o"])],
        "sum",
        [value("s", (width,)), value("r", (width,))],
        [value("s2", (width,)), value("o", (width,))],
    )
    options = {"scan_input_axes": [axis], "scan_output_axes": [axis], "scan_output_directions": [backwards]}
    options |= {"scan_input_directions": [backwards], "num_scan_inputs": 1}
    start = net.constant(np.zeros(width), np.float32)
    check(net, net.model(*net.node("Scan", start, x, outputs=2, body=body, **options)))


@pytest.mark.parametrize("case", ["long", "run time", "condition"])
def test_other_loops_are_refused(case: str) -> None:
    body = step(helper.make_node("Greater", ["m", "half"], ["goes"])) if case == "condition" else step()
    _, model = loop(body, MOST_STEPS + 1 if case == "long" else 3, fixed=case != "run time")
    with pytest.raises(UnsupportedError, match="the number of its steps must be known at compile time"):
        openbpu.compile(model)
