"""Legal and unusual graphs: shared initializers, outputs that are inputs, sub-graphs, odd names, many nodes."""

from __future__ import annotations

import sys
from types import FrameType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import openbpu
from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.errors import OpenBpuError
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.schedule import schedule


def both(model: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float = 1e-5) -> openbpu.Executable:
    """The executable; every output equal to ONNX Runtime's, in order, name and type."""
    with pytest.warns() if not frontend.is_quantised(model) else _nothing():
        executable = openbpu.compile(model)
    results = openbpu.Session(executable).run(feeds)
    assert list(results) == [output.name for output in model.graph.output]
    for got, want in zip(results.values(), reference(model, feeds), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return executable


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_shared_initializers_and_constants_as_nodes() -> None:
    net = Net(1)
    x = net.input(1, 4, 6, 6, quantised=False)
    weight = net.constant(net.random.standard_normal((4, 4, 3, 3)), np.float32)
    y = net.node("Conv", net.node("Conv", x, weight, pads=[1] * 4), weight)
    half = net.node("Constant", value=numpy_helper.from_array(np.full((1,), 0.5, np.float32)))
    net.output(net.node("Mul", y, half))
    net.output(net.node("Add", y, half))
    both(net.model(), net.feeds)


def test_outputs_that_are_inputs_or_constants_or_twice_the_same() -> None:
    net = Net(2)
    x = net.input(2, 3, quantised=False)
    y = net.node("Identity", x)
    net.output(y)
    net.output(net.node("Identity", x))
    net.output(net.node("Reshape", x, net.constant([3, 2], np.int64)))
    net.output(net.node("Constant", value=numpy_helper.from_array(np.arange(3, dtype=np.float32))))
    z = net.node("Exp", x)
    net.output(z)
    net.output(net.node("Identity", z))
    net.output(net.node("Log", z))
    net.output(net.node("Exp", x))
    net.output(net.node("Sqrt", net.node("Exp", x)))
    both(net.model(), net.feeds)


def test_an_output_that_is_an_input_itself() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"], name="n")], "g", [x], [x, y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    results = openbpu.Session(openbpu.compile(model)).run({"x": array})
    np.testing.assert_array_equal(results["x"], array)
    np.testing.assert_array_equal(results["y"], -array)


def test_optional_operands_in_the_middle() -> None:
    net = Net(3)
    x = net.input(1, 2, 4, 4, quantised=False)
    net.output(net.node("Clip", x, "", net.constant(0.5, np.float32)))
    both(net.model(), net.feeds)


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("quantised", [True, False])
def test_a_branch_whose_condition_is_known(condition: bool, quantised: bool) -> None:
    net = Net(4)
    x = net.input(1, 2, 4, 4, quantised=quantised)

    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, (1, 2, 4, 4))
        return helper.make_graph([helper.make_node(op, [x], [f"{op}_out"], name=f"{op}_node")], op, [], [out])

    chosen = net.node("If", net.constant(condition, bool), then_branch=branch("Relu"), else_branch=branch("Neg"))
    net.output(net.quantise(chosen, 0.05) if quantised else chosen)
    both(net.model(), net.feeds, 0.051 if quantised else 1e-6)


def test_a_branch_at_run_time_is_refused() -> None:
    net = Net(5)
    x = net.input(2, 3, quantised=False)
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, ())
    net.inputs.append(flag)
    net.feeds["flag"] = np.array(True)
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, (2, 3))
    branch = helper.make_graph([helper.make_node("Relu", [x], ["o"], name="inner")], "b", [], [out])
    net.output(net.node("If", "flag", then_branch=branch, else_branch=branch))
    with pytest.raises(OpenBpuError, match="condition must be known"):
        openbpu.compile(net.model())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_initializers_of_16_bits(kind: int) -> None:
    net = Net(6)
    x = net.input(1, 8, quantised=False)
    weight = net.random.standard_normal((8, 4)).astype(np.float32)
    wide = net.node("Cast", "half", to=TensorProto.FLOAT)
    net.initializers.append(helper.make_tensor("half", kind, weight.shape, weight.ravel()))
    net.output(net.node("MatMul", x, wide))
    both(net.model(), net.feeds, 1e-4)


def test_functions_of_the_model() -> None:
    net = Net(7)
    x = net.input(2, 4, quantised=False)
    net.output(net.node("Gate", x, domain="local"))
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    model = helper.make_model(
        helper.make_graph(net.nodes, "g", net.inputs, [helper.make_tensor_value_info(net.outputs[0], 1, (2, 4))]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        functions=[helper.make_function("local", "Gate", ["a"], ["b"], body, [helper.make_opsetid("", 17)])],
        ir_version=8,
    )
    both(model, net.feeds)


def test_names_with_odd_characters() -> None:
    names = ["a b/c:0", "Ünïcödé ☃", "x'\"\\{}%s", "tab\there"]
    nodes = [
        helper.make_node(op, [source], [target], name=f"node {target}")
        for op, source, target in zip(("Relu", "Exp", "Neg"), names, names[1:], strict=False)
    ]
    graph = helper.make_graph(
        nodes,
        "graph 'q'",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info(names[3], TensorProto.FLOAT, (2, 3))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    both(model, {names[0]: np.ones((2, 3), np.float32)})
    report = openbpu.check(model)
    assert "&#39;" in report.to_html() and len(report.on_cpu) + report.counts["BPU"] == 3


def test_integer_and_bool_tensors() -> None:
    net = Net(8)
    x = net.input(2, 6, quantised=False)
    found = net.node("ArgMax", x, axis=1, keepdims=0)
    net.output(found)
    net.output(net.node("Greater", x, net.constant(0.0, np.float32)))
    net.output(net.node("Cast", net.node("Mul", found, net.constant(3, np.int64)), to=TensorProto.INT32))
    net.output(net.node("Gather", x, net.node("Mod", found, net.constant(2, np.int64)), axis=0))
    both(net.model(), net.feeds)


def _chain(length: int) -> onnx.ModelProto:
    """Convolutions, sums and functions, each between Q/DQ pairs, and a float operator in every tenth place."""
    net = Net(9)
    weight = net.weight(net.random.standard_normal((4, 4, 1, 1)) / 4)
    x = previous = net.quantise(net.input(1, 4, 8, 8, quantised=False), 0.05)
    for index in range(length):
        kind = ("conv", "add", "sigmoid", "conv", "float")[index % 5]
        if kind == "conv":
            y = net.node("Conv", x, weight)
        elif kind == "add":
            y = net.node("Add", x, previous)
        else:
            y = net.node("Sigmoid" if kind == "sigmoid" else "Tan", x)
        previous, x = x, net.quantise(y, 0.05)
    net.outputs.append(x)
    info = helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, 4, 8, 8))
    graph = helper.make_graph(net.nodes, "chain", net.inputs, [info], net.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _calls(model: onnx.ModelProto) -> int:
    """How many calls of Python and native functions compile a model: unlike time, the same on all machines."""
    count = 0

    def on_event(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        schedule(lower(frontend.prepare_qdq(frontend.load(model))), profile("nash-e"))
    finally:
        sys.setprofile(None)
    return count


def test_the_work_of_compiling_grows_with_the_number_of_nodes() -> None:
    """3,000 nodes take about four times the work of 750: with a quadratic step it would be 16 times."""
    _calls(_chain(5))  # so that the parts are loaded
    calls = {length: _calls(_chain(length)) for length in (250, 1000)}  # operators; each has a Q and a DQ node too
    assert len(_chain(1000).graph.node) > 3000
    assert calls[1000] < 5 * calls[250], calls


def test_tensors_beyond_the_extents_of_a_surface_stay_float() -> None:
    net = Net(10)
    x = net.input(1, 4, 150, 150)
    y = net.node("Reshape", net.quantise(net.node("Relu", x)), net.constant([1, 90000], np.int64))
    net.output(y)
    model = net.model()
    decisions = {d.op: d for d in lower(model).decisions}
    assert decisions["Relu"].where == "BPU" and "65535" in decisions["Reshape"].reason
    both(model, net.feeds)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", ["NonZero", "Unique"])
def test_equal_nodes_whose_results_the_data_counts_keep_both_counts(op: str) -> None:
    kind = TensorProto.INT64 if op == "NonZero" else TensorProto.FLOAT
    nodes = [helper.make_node(op, ["x"], [f"y{k}"], name=f"n{k}") for k in range(2)]
    outputs = [helper.make_tensor_value_info(f"y{k}", kind, None) for k in range(2)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))
    model = helper.make_model(
        helper.make_graph(nodes, "equal", [x], outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    values = np.arange(12, dtype=np.float32).reshape(3, 4) // 3
    results = openbpu.Session(openbpu.compile(model)).run({"x": values})
    assert list(results) == ["y0", "y1", "y0.count", "y1.count"]
    assert int(results["y0.count"].item()) == int(results["y1.count"].item()) == (9 if op == "NonZero" else 4)
    np.testing.assert_array_equal(results["y0"], results["y1"])


@pytest.mark.parametrize("opset", [13, 15, 16])
def test_regions_keep_the_meaning_of_their_opset(opset: int) -> None:
    net = Net(99, opset=opset)
    regions = net.constant([[0.5, 1, 5, 6.2], [1, 1, 3, 7]], np.float32)
    batch, given = net.constant([0, 0], np.int64), {"output_height": 2, "output_width": 3, "sampling_ratio": 2}
    net.output(net.node("RoiAlign", net.input(1, 2, 8, 7, quantised=False), regions, batch, **given))
    both(net.model(), net.feeds)
    net.output(net.node("RoiAlign", net.input(1, 2, 8, 7), regions, batch, **given))
    model = net.model()
    results = openbpu.Session(openbpu.compile(model)).run(net.feeds)
    for got, want in zip(results.values(), reference(model, net.feeds), strict=True):
        np.testing.assert_allclose(got, want, atol=0.02)
