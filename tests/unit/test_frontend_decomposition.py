"""Operators written out as others: the same numbers in float, and all of it on the BPU once quantised."""

from __future__ import annotations

from collections.abc import Callable

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu
from lowering.check import check
from lowering.nets import Net
from openbpu import frontend

EQUATIONS = [
    ("nchw,nkc->nkhw", (1, 6, 4, 5), (1, 7, 6)), ("bhid,bhjd->bhij", (2, 3, 5, 4), (2, 3, 6, 4)),
    ("ij,jk", (5, 4), (4, 6)), ("bij,bjk->bik", (2, 5, 4), (2, 4, 3)), ("bi,bj->bji", (2, 5), (2, 4)),
    ("bchw,bc->bhw", (2, 5, 4, 3), (2, 5)), ("abc,cd->dab", (2, 3, 4), (4, 5)), ("abc,abd->acd", (2, 3, 4), (2, 3, 5)),
    ("i,j->ij", (4,), (5,)), ("abx,bcd->acd", (2, 3, 4), (3, 5, 2)),
]  # fmt: skip


def einsum(equation: str, left: tuple[int, ...], right: tuple[int, ...], constant: int | None) -> onnx.ModelProto:
    """One operand or none is constant."""
    net = nets.Net(1)
    a = net.normal(*left) if constant == 0 else "x"
    b = net.normal(*right) if constant == 1 else "z"
    net.op("Einsum", a, b, equation=equation, out="y")
    shapes = {"x": left, "z": right}
    used = [name for name in ("x", "z") if name in (a, b)]
    if used == ["z"]:
        net.nodes[-1].input[:] = [a, "x"]
        return net.model("y", shape=right)
    return net.model("y", shape=shapes["x"], **({"z": right} if "z" in used else {}))


def agree(model: onnx.ModelProto, gone: str) -> onnx.ModelProto:
    prepared = frontend.prepare(frontend.load(model))
    assert gone not in {node.op_type for node in prepared.graph.node}
    random = np.random.default_rng(2)
    feeds = {}
    for info in model.graph.input:
        shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
        feeds[info.name] = random.standard_normal(shape).astype(np.float32)
    for got, want in zip(nets.run(prepared, feeds), nets.run(model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    return prepared


@pytest.mark.parametrize("constant", [None, 0, 1])
@pytest.mark.parametrize(("equation", "left", "right"), EQUATIONS)
def test_einsum(equation: str, left: tuple[int, ...], right: tuple[int, ...], constant: int | None) -> None:
    agree(einsum(equation, left, right, constant), "Einsum")


@pytest.mark.parametrize("equation", ["bij->jb", "ijk->kji", "bij->bi"])
def test_einsum_of_one_operand(equation: str) -> None:
    net = nets.Net(1)
    net.op("Einsum", "x", equation=equation, out="y")
    agree(net.model("y", shape=(2, 3, 4)), "Einsum")


@pytest.mark.parametrize("equation", ["bii->b", "...ij,...jk->...ik", "ab,bc,cd->ad"])
def test_einsum_without_a_rule_stays(equation: str) -> None:
    net = nets.Net(1)
    net.op("Einsum", *["x"] * len(equation.partition("->")[0].split(",")), equation=equation, out="y")
    shape = (2, 3, 3) if equation != "ab,bc,cd->ad" else (3, 3)
    assert "Einsum" in {n.op_type for n in frontend.prepare(frontend.load(net.model("y", shape=shape))).graph.node}


def instance_norm() -> onnx.ModelProto:
    net = nets.Net(3)
    x = net.op("InstanceNormalization", net.conv("x", 3, 8), net.normal(8), net.normal(8))
    return net.model(net.conv(net.op("Relu", x), 8, 4, out="y"))


def instance_norm_of_one_gain() -> onnx.ModelProto:
    net = nets.Net(3)
    gain, offset = net.constant(np.full(8, 1.5)), net.constant(np.zeros(8))
    return net.model(net.conv(net.op("InstanceNormalization", net.conv("x", 3, 8), gain, offset), 8, 4, out="y"))


def with_ports(net: nets.Net, x: tuple[int, ...], y: tuple[int, ...]) -> onnx.ModelProto:
    """A model with operators of whose results onnx infers no shape."""
    shapes = {"x": x, "y": y}
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]) for name in shapes]
    graph = onnx.helper.make_graph(net.nodes, "net", ports[:1], ports[1:], net.initialisers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def group_norm() -> onnx.ModelProto:
    net = nets.Net(4)
    x = net.op("GroupNormalization", net.conv("x", 3, 16), net.normal(16), net.normal(16), num_groups=4)
    net.conv(x, 16, 4, out="y")
    return with_ports(net, (1, 3, 32, 32), (1, 4, 32, 32))


def group_norm_of_torch() -> onnx.ModelProto:
    """As its exporter writes it."""
    net = nets.Net(5)
    rows = net.op("Reshape", net.conv("x", 3, 16), net.constant(np.array([0, 4, -1])))
    ones, zeros = net.constant(np.ones(4)), net.constant(np.zeros(4))
    whole = net.op(
        "Reshape", net.op("InstanceNormalization", rows, ones, zeros), net.constant(np.array([1, 16, 32, 32]))
    )
    scaled = net.op("Add", net.op("Mul", whole, net.normal(16, 1, 1)), net.normal(16, 1, 1))
    return net.model(net.conv(scaled, 16, 4, out="y"), shape=(1, 3, 32, 32))


def sums() -> onnx.ModelProto:
    net = nets.Net(6)
    parts = [net.conv("x", 3, 8) for _ in range(3)]
    return net.model(net.op("Add", net.op("Sum", *parts), net.op("Mean", *parts), out="y"))


def normalised() -> onnx.ModelProto:
    """F.normalize of a feature map over its channels."""
    net = nets.Net(7)
    x = net.conv("x", 3, 16)
    norm = net.op("Clip", net.op("ReduceL2", x, axes=[1], keepdims=1), net.constant(1e-12))
    wide = net.op("Expand", norm, net.op("Shape", x))
    return net.model(net.op("Div", x, wide, out="y"), shape=(1, 3, 32, 32))


def long_instance_norm() -> onnx.ModelProto:
    """Channels of more elements than a row of LAYERNORM has."""
    net = nets.Net(9)
    x = net.op("InstanceNormalization", net.conv("x", 3, 4), net.normal(4), net.normal(4))
    return net.model(net.op("Relu", x, out="y"), shape=(1, 3, 262, 256))


def long_group_norm() -> onnx.ModelProto:
    net = nets.Net(10)
    net.op("GroupNormalization", net.conv("x", 3, 6), net.normal(6), net.normal(6), num_groups=2, out="y")
    return with_ports(net, (1, 3, 160, 150), (1, 6, 160, 150))


def mean_and_variance() -> onnx.ModelProto:
    net = nets.Net(12)
    net.op("MeanVarianceNormalization", net.conv("x", 3, 8), out="y")
    return with_ports(net, (1, 3, 32, 32), (1, 8, 32, 32))


def logarithm_of_sum() -> onnx.ModelProto:
    net = nets.Net(13)
    x = net.op("ReduceLogSum", net.op("Sigmoid", net.conv("x", 3, 8)), axes=[1], keepdims=1)
    return net.model(net.op("Relu", x, out="y"))


def padded_windows() -> onnx.ModelProto:
    """A border of -inf and windows, as networks that came from TensorFlow have them."""
    net = nets.Net(8)
    x = net.op("Relu", net.conv("x", 3, 8))
    border = net.op("Pad", x, net.constant(np.array([0, 0, 0, 1, 0, 0, 1, 1])), net.constant(-np.inf))
    best = net.op("MaxPool", border, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 0])
    return net.model(net.conv(best, 8, 4, out="y"), shape=(1, 3, 32, 32))


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], str, float]] = {
    "instance_norm": (instance_norm, "InstanceNormalization", 25),
    "instance_norm_of_one_gain": (instance_norm_of_one_gain, "InstanceNormalization", 25),
    "group_norm": (group_norm, "GroupNormalization", 25),
    "group_norm_of_torch": (group_norm_of_torch, "InstanceNormalization", 25),
    "sums": (sums, "Sum", 25),
    "padded_windows": (padded_windows, "Pad", 25),
    "normalised": (normalised, "ReduceL2", 25),
    "long_instance_norm": (long_instance_norm, "InstanceNormalization", 25),
    "long_group_norm": (long_group_norm, "GroupNormalization", 25),
    "mean_and_variance": (mean_and_variance, "MeanVarianceNormalization", 25),
    "logarithm_of_sum": (logarithm_of_sum, "ReduceLogSum", 25),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    build, gone, least = NETWORKS[name]
    model = build()
    agree(model, gone)
    report = openbpu.check(model)
    assert not [d for d in report.decisions if d.where == "CPU"], report
    samples = nets.samples(10, tuple(d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim))
    session = openbpu.Session(openbpu.build(model, samples[:8]))
    for sample in samples[8:]:
        assert nets.sqnr(nets.run(model, sample)[0][0], session.run({"x": sample})["y"]) > least


def test_batch_norm_of_sequences() -> None:
    """Behind a product, of channels that lie innermost."""
    net = nets.Net(9)
    rows = net.op("Transpose", net.op("MatMul", "x", net.normal(12, 16)), perm=[0, 2, 1])
    variance = net.constant(np.linspace(0.5, 2, 16))
    x = net.op("BatchNormalization", net.op("Relu", rows), *(net.normal(16) for _ in "123"), variance)
    model = net.model(net.op("Transpose", x, perm=[0, 2, 1], out="y"), shape=(5, 10, 12))
    agree(model, "InstanceNormalization")
    samples = np.random.default_rng(3).standard_normal((2, 5, 10, 12)).astype(np.float32)
    report = openbpu.check(openbpu.quantize(model, list(samples), calibration="max", refinement=()))
    assert not report.on_cpu


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_standardised_weights_are_constants(opset: int) -> None:
    """As the exporter of torch writes them: BatchNormalization in training mode."""
    net = nets.Net(10)
    weight = net.op("Reshape", net.normal(8, 3, 3, 3), net.constant(np.array([1, 8, 27])))
    statistics = [net.normal(8), net.constant(np.zeros(8)), net.constant(np.zeros(8)), net.constant(np.ones(8))]
    outputs = ["standard", *(f"unread{k}" for k in range(4 if opset < 14 else 2))]
    mode = {} if opset < 14 else {"training_mode": 1}
    net.nodes.append(onnx.helper.make_node("BatchNormalization", [weight, *statistics], outputs, epsilon=1e-4, **mode))
    kernel = net.op("Reshape", "standard", net.constant(np.array([8, 3, 3, 3])))
    net.op("Conv", "x", kernel, out="y")
    prepared = agree(net.model("y", opset=opset), "BatchNormalization")
    assert [node.op_type for node in prepared.graph.node] == ["Conv"]


@pytest.mark.parametrize("kind", ["Mean", "Sum", "InstanceNormalization", "Einsum"])
def test_float64_stays_as_it_is(kind: str) -> None:
    net, operands = nets.Net(8), ["x"]
    if kind == "InstanceNormalization":
        for _ in range(2):
            operands.append(f"c{len(operands)}")
            net.initialisers.append(onnx.numpy_helper.from_array(np.ones(3), operands[-1]))
    attributes = {"equation": "bchw,bdhw->bcd"} if kind == "Einsum" else {}
    net.op(kind, *(operands if len(operands) > 1 else ["x", "x"]), out="y", **attributes)
    port = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, (1, 3, 4, 4))
    graph = onnx.helper.make_graph(net.nodes, "net", [port], [onnx.ValueInfoProto(name="y")], net.initialisers)
    model = onnx.shape_inference.infer_shapes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    )
    assert kind in {node.op_type for node in frontend.prepare(frontend.load(model)).graph.node}


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (3, 5, 7)])
def test_lp_normalization(shape: tuple[int, ...], axis: int) -> None:
    net = Net(20 + axis)
    net.output(net.quantise(net.node("LpNormalization", net.input(*shape), axis=axis % len(shape), p=2)))
    check(net, tolerance=2)


@pytest.mark.parametrize(("left", "right"), [
    ((3, 4, 5), (5, 6)), ((2, 3, 4, 5), (5, 6)), ((2, 3, 4, 5), (3, 5, 6)), ((2, 1, 4, 5), (1, 3, 5, 6)),
    ((4, 5), (3, 5, 6)), ((2, 2, 3, 4, 5), (1, 1, 1, 5, 2)),
])  # fmt: skip
def test_matrix_products_that_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    net = Net(30)
    net.output(net.quantise(net.node("MatMul", net.input(*left), net.input(*right))))
    check(net)


@pytest.mark.parametrize(("left", "right"), [((3, 4, 5), (3, 5, 6)), ((2, 3, 4, 5), (1, 1, 5, 6))])
def test_constant_stacks_of_matrices(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    net = Net(31)
    weight = net.weight(net.random.standard_normal(right), axis=None)
    net.output(net.quantise(net.node("MatMul", net.input(*left), weight)))
    check(net)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 2)])
def test_one_constant_matrix_on_the_left(batch: tuple[int, ...]) -> None:
    """The adjacency of a graph, a filter bank."""
    net = Net(32)
    weight = net.weight(net.random.standard_normal((7, 5)), axis=None)
    net.output(net.quantise(net.node("MatMul", weight, net.input(*batch, 5, 4))))
    graph = check(net)
    assert sum(op.kind == "matmul_dynamic" for op in graph.ops) == 1
