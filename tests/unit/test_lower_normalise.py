"""LayerNormalization, RMSNormalization and attention against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import openbpu
from lowering.check import check, check_model
from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.lower import lower
from openbpu.schedule import placement


def _gains(net: Net, shape: tuple[int, ...]) -> tuple[str, str]:
    gain, offset = 1 + 0.4 * net.random.standard_normal(shape), 0.5 * net.random.standard_normal(shape)
    return net.constant(gain, np.float32), net.constant(offset, np.float32)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7, 40), -1), ((1, 9, 96), -1), ((2, 5, 33), 2), ((2, 3, 4, 24), -1), ((2, 6, 5, 4), 1), ((1, 4, 2, 3, 16), -1)],
)
def test_layer_normalization(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    net = Net(90, dtype)
    y = net.node("LayerNormalization", net.input(*shape), *_gains(net, shape[axis:]), axis=axis, epsilon=1e-6)
    net.output(net.quantise(y))
    graph = check(net, tolerance=1)
    assert [op.kind for op in graph.ops].count("norm") == 1


def test_layer_normalization_without_offset_and_of_equal_rows() -> None:
    net = Net(91)
    x = net.input(1, 6, 48)
    net.feeds[next(iter(net.feeds))][:, 2:4] = 0.75
    y = net.node("LayerNormalization", x, _gains(net, (48,))[0], axis=-1)
    net.output(net.quantise(y))
    check(net, tolerance=1)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 8, 4, 5), 1), ((1, 2, 16, 1, 1), 1), ((2, 2, 3, 4, 3), 0)])
def test_softmax_between_more_than_four_dimensions(shape: tuple[int, ...], axis: int) -> None:
    """As selective kernels weigh their branches."""
    net = Net(99)
    net.output(net.quantise(net.node("Softmax", net.input(*shape), axis=axis), 1 / 256, -128))
    check(net, tolerance=2)


@pytest.mark.parametrize("shape", [(7, 40), (1, 9, 96)])
def test_rms_normalization(shape: tuple[int, ...]) -> None:
    net = Net(92, opset=23)
    y = net.node("RMSNormalization", net.input(*shape), _gains(net, shape[-1:])[0], axis=-1, epsilon=1e-5)
    net.output(net.quantise(y))
    check(net, tolerance=1)


@pytest.mark.parametrize(("shape", "axis"), [((7, 40), -1), ((1, 9, 192), -1), ((2, 3, 4, 24), -1), ((2, 6, 5, 4), 1)])
def test_norms_of_int16(shape: tuple[int, ...], axis: int) -> None:
    net = Net(97, "int16", opset=23)
    gain, offset = _gains(net, shape[axis:])
    y = net.quantise(net.node("LayerNormalization", net.input(*shape), gain, offset, axis=axis, epsilon=1e-6))
    if axis == -1:
        y = net.quantise(net.node("RMSNormalization", y, gain, axis=axis, epsilon=1e-5))
        y = net.quantise(net.node("LpNormalization", y, axis=axis))
    net.output(y)
    graph = check(net, tolerance=4 if axis == -1 else 2)  # differences of three operators add up
    assert [op.kind for op in graph.ops].count("norm") == (3 if axis == -1 else 1)
    assert not any(op.kind == "cpu" for op in graph.ops)


def test_a_norm_of_int16_gives_int8_and_int8_gives_int16() -> None:
    net = Net(98, "int16", opset=21)
    x = net.node("LayerNormalization", net.input(3, 50), *_gains(net, (50,)), axis=-1)
    net.dtype = "int8"
    x = net.quantise(x)
    net.dtype = "int16"
    net.output(net.quantise(net.node("LayerNormalization", x, *_gains(net, (50,)), axis=-1)))
    graph = check(net, tolerance=200)  # a step of the int8 tensor between the two
    assert [op.kind for op in graph.ops if op.kind in ("norm", "rescale", "cpu")] == ["norm", "rescale", "norm"]
    assert [value.dtype for op in graph.ops if op.kind == "norm" for value in op.outputs] == ["int8", "int16"]


def test_what_follows_a_norm_joins_it() -> None:
    net = Net(93)
    y = net.node("LayerNormalization", net.input(1, 9, 32), *_gains(net, (32,)), axis=-1)
    y = net.node("Add", net.node("Mul", y, _gains(net, (32,))[0]), net.constant(0.5, np.float32))
    net.output(net.quantise(net.node("Relu", y)))
    check(net, tolerance=1, kinds=("norm",))


def test_a_norm_whose_deviation_is_read_runs_on_the_cpu() -> None:
    net = Net(94)
    y, _, deviation = net.node("LayerNormalization", net.input(1, 9, 32), *_gains(net, (32,)), outputs=3, axis=-1)
    net.output(net.quantise(y))
    net.output(deviation)
    decision = next(d for d in lower(net.model()).decisions if d.op == "LayerNormalization")
    assert decision.where == "CPU" and "deviation" in decision.reason


def attention(net: Net, tokens: int, heads: int, size: int, masked: bool) -> str:
    """Heads of three quantised tensors [1, tokens, heads * size], mixed and joined again."""
    width = heads * size

    def split(x: str, *perm: int) -> str:
        shape = net.constant([1, tokens, heads, size], np.int64)
        return net.node("Transpose", net.node("Reshape", x, shape), perm=perm)

    q, k, v = (net.input(1, tokens, width) for _ in range(3))
    scores = net.node("MatMul", split(q, 0, 2, 1, 3), split(k, 0, 2, 3, 1))
    scores = net.quantise(net.node("Div", scores, net.constant(np.sqrt(size), np.float32)))
    if masked:
        mask = net.input(1, 1, 1, tokens, quantised=False)
        net.feeds[mask] = np.where(np.arange(tokens) % 3 == 2, -30, 0).astype(np.float32).reshape(1, 1, 1, tokens)
        scores = net.quantise(net.node("Add", scores, net.quantise(mask)))
    scores = net.quantise(net.node("Softmax", scores, axis=-1), 1 / 256, -128 if net.dtype == "int8" else 0)
    mixed = net.quantise(net.node("MatMul", scores, split(v, 0, 2, 1, 3)))
    joined = net.node("Transpose", mixed, perm=(0, 2, 1, 3))
    return net.node("Reshape", joined, net.constant([1, tokens, width], np.int64))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("tokens", "heads", "size"), [(9, 3, 16), (33, 2, 20), (16, 1, 8), (70, 4, 64)])
def test_attention_moves_nothing(tokens: int, heads: int, size: int, masked: bool) -> None:
    net = Net(95)
    x = attention(net, tokens, heads, size, masked)
    weight = net.weight(net.random.standard_normal((heads * size, 8)) / 8, axis=1)
    net.output(net.quantise(net.node("MatMul", x, weight)))
    graph = check(net, tolerance=4)  # differences of five operators add up
    views = placement.Placement(graph).views
    moves = [op.kind for op in graph.ops if op.kind in placement.VIEWS and op not in views]
    assert not moves, str(graph)


def test_a_function_between_moves_lets_them_cancel() -> None:
    net = Net(96)
    x = net.node("Transpose", net.input(2, 5, 12, 7), perm=(0, 2, 3, 1))
    x = net.quantise(net.node("Sigmoid", x))
    net.output(net.node("Transpose", x, perm=(0, 3, 1, 2)))
    graph = check(net, kinds=("lut8",))
    assert len(graph.ops) == 3


def test_a_mask_does_not_set_the_scale_of_scores() -> None:
    tokens = 12
    net = Encoder(tokens)
    random = np.random.default_rng(3)
    feeds = []
    for count in (5, 9, 12):
        x = random.standard_normal((1, tokens, 16)).astype(np.float32)
        feeds.append({"x": x, "mask": np.where(np.arange(tokens) < count, 0, -1e4).astype(np.float32)[None, None]})
    qdq = openbpu.quantize(net.model, feeds, refinement=())
    for feed in feeds:
        (want,), (got,) = reference(net.model, feed), reference(qdq, feed)
        assert np.abs(got - want).max() < 0.05 * np.abs(want).max()  # with a scale of 1e4 / 255 nothing would be left


class Encoder:
    """One head of attention over x [1, tokens, 16] with an additive mask [1, 1, tokens]."""

    def __init__(self, tokens: int) -> None:
        nodes = [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["x", "turned"], ["product"]),
            helper.make_node("Add", ["product", "mask"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
            helper.make_node("MatMul", ["weights", "x"], ["y"]),
        ]
        shapes = {"x": (1, tokens, 16), "mask": (1, 1, tokens), "y": (1, tokens, 16)}
        infos = {k: helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()}
        graph = helper.make_graph(nodes, "encoder", [infos["x"], infos["mask"]], [infos["y"]])
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


_EQUATIONS = [("bhid,bhjd->bhij", (1, 2, 5, 8), (1, 2, 6, 8)), ("bij,bjk->bik", (2, 3, 5), (2, 5, 4))]


@pytest.mark.parametrize("equation, left, right", _EQUATIONS)
def test_einsum_of_quantised_tensors_is_a_product(equation: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    net = Net(97)
    net.output(net.quantise(net.node("Einsum", net.input(*left), net.input(*right), equation=equation)))
    graph = check_model(frontend.prepare_qdq(net.model()), net.feeds)
    assert not any(decision.where == "CPU" for decision in graph.decisions)


@pytest.mark.parametrize("groups, uniform", [(6, True), (6, False), (2, False), (1, False)])
def test_normalisation_of_quantised_images_is_rows(groups: int, uniform: bool) -> None:
    net = Net(98, opset=21)
    x = net.input(2, 6, 5, 4)
    gain, offset = (
        net.constant(np.full(6, 0.7) if uniform else net.random.uniform(0.5, 2, 6), np.float32) for _ in "go"
    )
    if groups == 6:
        y = net.node("InstanceNormalization", x, gain, offset)
    else:
        y = net.node("GroupNormalization", x, gain, offset, num_groups=groups)
    result = net.quantise(y)
    model = net._model([result])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(result, TensorProto.FLOAT, (2, 6, 5, 4)))
    graph = check_model(frontend.prepare_qdq(model), net.feeds, tolerance=2)
    assert not any(decision.where == "CPU" for decision in graph.decisions)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(
    ("shape", "size"), [((1, 7, 5, 4), 3), ((2, 24, 3, 3), 5), ((2, 6, 1, 9), 3), ((1, 3, 4, 4), 7)]
)
@pytest.mark.parametrize(("alpha", "beta", "bias"), [(1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 0.5)])
def test_local_response(shape: tuple[int, ...], size: int, alpha: float, beta: float, bias: float, dtype: str) -> None:
    net = Net(size, dtype)
    y = net.node("LRN", net.input(*shape, spread=2.0), size=size, alpha=alpha, beta=beta, bias=bias)
    net.output(net.quantise(y))
    graph = check(net, tolerance=1 if dtype != "int16" else 6)  # of int16: four roundings
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(("shape", "axes"), [((1, 6, 5, 4), [0, 2, 3]), ((3, 5, 4, 7), [2, 3])])
def test_mean_and_variance_of_quantised_images(shape: tuple[int, ...], axes: list[int], dtype: str) -> None:
    net = Net(99, dtype, opset=21)
    net.output(net.quantise(net.node("MeanVarianceNormalization", net.input(*shape, spread=3.0), axes=axes)))
    graph = check_model(frontend.prepare_qdq(net.model()), net.feeds, tolerance=2)
    assert not any(decision.where == "CPU" for decision in graph.decisions)
