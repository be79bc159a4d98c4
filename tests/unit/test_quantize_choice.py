"""Networks with extremes, comparisons, reductions and look-ups: quantised, on the BPU, close to the float model."""

from __future__ import annotations

from collections.abc import Callable

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu


def spatial_attention() -> onnx.ModelProto:
    """A gate from the mean and the largest of all channels of a pixel."""
    net = nets.Net(1)
    x = net.op("Relu", net.conv("x", 3, 16))
    both = [net.op(kind, x, axes=[1], keepdims=1) for kind in ("ReduceMean", "ReduceMax")]
    gate = net.op("Sigmoid", net.conv(net.op("Concat", *both, axis=1), 2, 1, 5))
    return net.model(net.conv(net.op("Mul", x, gate), 16, 8, 1, out="y"))


def maxout() -> onnx.ModelProto:
    """Maximum of two convolutions, minimum with a third, slopes per channel."""
    net = nets.Net(2)
    x = net.op("Max", net.conv("x", 3, 16), net.conv("x", 3, 16))
    x = net.op("Min", x, net.conv("x", 3, 16, 1))
    slope = net.constant(net.random.uniform(0, 0.5, (16, 1, 1)))
    x = net.op("PRelu", net.conv(x, 16, 16), slope)
    return net.model(net.conv(x, 16, 8, 1, out="y"))


def selection() -> onnx.ModelProto:
    """Values chosen by the comparison of two feature maps; a ratio of two."""
    net = nets.Net(3)
    a, b = net.conv("x", 3, 16), net.conv("x", 3, 16)
    x = net.op("Where", net.op("Greater", a, b), a, net.conv("x", 3, 16))
    ratio = net.op("Div", x, net.op("Add", net.op("Exp", net.op("Tanh", b)), net.constant(1.0)))
    return net.model(net.conv(ratio, 16, 8, 1, out="y"))


def norms() -> onnx.ModelProto:
    net = nets.Net(4)
    x = net.conv("x", 3, 16)
    parts = [net.op(kind, x, axes=[1], keepdims=1) for kind in ("ReduceL1", "ReduceL2", "ReduceSumSquare")]
    return net.model(net.op("Concat", *parts, axis=1, out="y"))


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], float]] = {
    "spatial_attention": (spatial_attention, 25), "maxout": (maxout, 22), "selection": (selection, 17),
    "norms": (norms, 25),
}  # fmt: skip


def feeds_of(array: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": array}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_of_it_runs_on_the_bpu_and_is_close(name: str) -> None:
    build, least = NETWORKS[name]
    model = build()
    report = openbpu.check(model)
    assert not [d for d in report.decisions if d.where == "CPU"], report
    samples = nets.samples(12)
    session = openbpu.Session(openbpu.build(model, samples[:8]))
    for sample in samples[8:]:
        (want,) = nets.run(model, sample)
        (got,) = session.run(feeds_of(sample)).values()
        assert nets.sqnr(want[0], got) > least


def test_segmentation_ends_in_indices() -> None:
    net = nets.Net(5)
    x = net.conv(net.op("Relu", net.conv("x", 3, 16)), 16, 7, 1)
    net.op("ArgMax", x, axis=1, keepdims=0, out="y")
    model = net.model("y")
    assert {d.op: d.where for d in openbpu.check(model).decisions}["ArgMax"] == "BPU"
    samples = nets.samples(8)
    session = openbpu.Session(openbpu.build(model, samples))
    (want,), (got,) = nets.run(model, samples[0]), session.run(feeds_of(samples[0])).values()
    assert got.dtype == np.int64 and (got == want[0]).mean() > 0.95


def test_tests_of_float_tensors_stay_float() -> None:
    """Quantising an input only to compare it would change the result and save nothing."""
    net = nets.Net(6)
    net.op("ArgMax", "x", axis=1, out="y")
    model = net.model("y")
    samples = nets.samples(3)
    assert {d.op: d.where for d in openbpu.check(model).decisions}["ArgMax"] == "CPU"
    with pytest.warns(openbpu.errors.ModelWarning, match="nothing of this model"):
        session = openbpu.Session(openbpu.compile(model))
    np.testing.assert_array_equal(
        next(iter(session.run(feeds_of(samples[0])).values())), nets.run(model, samples[0])[0][0]
    )


def test_embedding_of_tokens() -> None:
    net = nets.Net(7)
    x = net.op("Gather", net.normal(100, 32), "tokens")
    x = net.op("MatMul", net.op("Add", x, net.normal(1, 12, 32)), net.normal(32, 8, scale=0.2), out="y")
    graph = onnx.helper.make_graph(
        net.nodes,
        "net",
        [onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, [1, 12])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 12, 8])],
        net.initialisers,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    random = np.random.default_rng(8)
    samples = [{"tokens": random.integers(0, 100, (1, 12))} for _ in range(8)]
    assert {d.where for d in openbpu.check(model).decisions if d.op in ("Gather", "Add", "MatMul")} == {"BPU"}
    session = openbpu.Session(openbpu.build(model, samples))
    for sample in samples:
        assert nets.sqnr(nets.run(model, sample)[0][0], session.run(sample)["y"]) > 28
