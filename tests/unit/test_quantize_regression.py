"""Regression: weights for inputs that are quantised lean on those that can be trusted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from float_networks import Net, run, samples
from onnx import helper

from openbpu import frontend, ptq
from openbpu.ptq.moments import Grid, Moments, gathered, grid_of
from openbpu.ptq.patches import Layout, layout
from openbpu.ptq.regression import regression, worth_it

ROWS, INPUTS, OUTPUTS = 400, 12, 5


def _product() -> tuple[Layout, np.ndarray]:
    weight = np.random.default_rng(0).standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
    found = layout(helper.make_node("MatMul", ["x", "weight"], ["y"]), weight)
    assert found is not None
    return found, weight


def _floats(seed: int, count: int = 8) -> list[np.ndarray]:
    """Inputs of which the second half follows the first, and is a hundred times smaller: below a step of 8 bits."""
    random = np.random.default_rng(seed)
    first = random.standard_normal((count, ROWS, INPUTS // 2))
    second = 0.01 * (first + 0.3 * random.standard_normal(first.shape))
    return [x.astype(np.float32) for x in np.concatenate([first, second], axis=-1)]


def _quantised(floats: list[np.ndarray], step: float) -> list[np.ndarray]:
    return [(np.rint(x / step) * step).astype(np.float32) for x in floats]


def _halves(found: Layout, inputs: list[np.ndarray], floats: list[np.ndarray], step: float) -> tuple[Moments, Moments]:
    grid = grid_of(step, inputs, floats)
    return gathered(found, grid, inputs[::2], floats[::2]), gathered(found, grid, inputs[1::2], floats[1::2])


def _regressed(found: Layout, weight: np.ndarray, halves: tuple[Moments, Moments]) -> np.ndarray | None:
    better = regression(found, weight, halves, about_mean=True)
    return None if better is None else better()


def test_weights_lean_on_inputs_that_can_be_trusted() -> None:
    """Large weights of inputs that rounding hides go over to those that say the same."""
    found, weight = _product()
    weight[INPUTS // 2 :] *= 50
    step, floats = 0.05, _floats(1)
    better = _regressed(found, weight, _halves(found, _quantised(floats, step), floats, step))
    assert better is not None
    others = _floats(2)
    noise = [
        sum(float(((q @ w - x @ weight) ** 2).sum()) for q, x in zip(_quantised(others, step), others, strict=True))
        for w in (weight, better)
    ]
    assert noise[1] < 0.5 * noise[0], noise


def test_what_cannot_be_better_stays() -> None:
    """Nothing is lost, or what is lost has nothing to do with what is seen."""
    found, weight = _product()
    floats = [0.5 * np.rint(x / 0.5) for x in _floats(3)]
    assert _regressed(found, weight, _halves(found, floats, floats, 0.5)) is None
    random = np.random.default_rng(4)
    noisy = [(x + 0.5 * random.integers(-1, 2, x.shape)).astype(np.float32) for x in floats]
    independent = [(x + (x - n)).astype(np.float32) for x, n in zip(floats, noisy, strict=True)]
    change = _regressed(found, weight, _halves(found, floats, independent, 0.5))
    assert change is None or np.abs(change - weight).max() < 0.05


@pytest.mark.parametrize("about_mean", [True, False])
def test_moments_are_those_of_numpy(about_mean: bool) -> None:
    found, _ = _product()
    step, floats = 0.05, [x + np.float32(0.4) for x in _floats(5)]
    inputs = _quantised(floats, step)
    first, second = _halves(found, inputs, floats, step)
    x, d = (
        np.concatenate(inputs).astype(np.float64),
        np.concatenate([f - q for f, q in zip(floats, inputs, strict=True)]),
    )
    if about_mean:
        x, d = x - x.mean(axis=0), d - d.mean(axis=0)
    both = first + second
    assert both.rows == len(x)
    np.testing.assert_allclose(both.inputs(about_mean)[0], x.T @ x / len(x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        both.differences(about_mean)[0], d.T @ x / len(x), atol=2e-4
    )  # d in eighths of a step: 5 deviations


def test_no_rows_say_nothing() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        Moments(Grid(0.1)).inputs()
    found, weight = _product()
    empty = [np.zeros((0, INPUTS), np.float32)] * 4
    assert _regressed(found, weight, _halves(found, empty, empty, 0.1)) is None


_GROUPED = {"group": 3, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 0, 1]}


@pytest.mark.parametrize(
    ("images", "kernel", "attributes"),
    [(1, 3, _GROUPED), (1, 1, {}), (1, 1, {"pads": [1, 0, 0, 1]}), (4, 1, {"strides": [2, 2]})],
    ids=["grouped", "points", "padded points", "points of four images"],
)
def test_rows_make_the_outputs_of_a_convolution(images: int, kernel: int, attributes: dict[str, object]) -> None:
    """Stride, dilation, padding and groups: rows times matrices are what the operator computes."""
    random, groups = np.random.default_rng(6), int(str(attributes.get("group", 1)))
    weight = random.standard_normal((6, 6 // groups, kernel, kernel)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "weight"], ["y"], **attributes)
    found = layout(node, weight)
    assert found is not None and worth_it(found) and found.groups == groups
    x = random.standard_normal((images, 6, 8, 10)).astype(np.float32)
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "weight", "y")]
    graph = helper.make_graph([node], "conv", info[:2], info[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (wanted,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x, "weight": weight})
    (rows,) = found.rows([x], 768)
    outputs = np.einsum("pgk,gmk->gmp", rows, found.matrices(weight)).reshape(6, images, *wanted.shape[2:])
    outputs = outputs.swapaxes(0, 1)
    np.testing.assert_allclose(outputs, wanted, atol=1e-5)
    np.testing.assert_array_equal(found.weights(found.matrices(weight)), weight)


@pytest.mark.parametrize("kernel", [1, 3])
def test_an_empty_feature_map_has_no_rows(kernel: int) -> None:
    weight = np.zeros((4, 6, kernel, kernel), np.float32)
    found = layout(helper.make_node("Conv", ["x", "w"], ["y"], pads=[kernel // 2] * 4), weight)
    assert found is not None
    (rows,) = found.rows([np.zeros((1, 6, 0, 10), np.float32)], 768)
    assert rows.shape == (0, 1, 6 * kernel * kernel)


def test_depthwise_layers_have_nothing_to_lean_on() -> None:
    found = layout(helper.make_node("Conv", ["x", "w"], ["y"], group=8), np.zeros((8, 1, 3, 3), np.float32))
    assert found is not None and not worth_it(found)


def test_a_network_gains_on_other_samples() -> None:
    """Channels too small for the scale that all share, under weights that count on them."""
    net = Net(11)
    x = net.op("Relu", net.conv("x", 3, 24, 1))
    small = net.op("Mul", x, net.constant(np.where(np.arange(24) % 2, 1, 0.01).astype(np.float32).reshape(1, 24, 1, 1)))
    model = frontend.prepare(net.model(net.conv(small, 24, 8, 1, out="y")))
    last = model.graph.node[-1].input[1]
    for tensor in model.graph.initializer:
        if tensor.name == last:
            weight = onnx.numpy_helper.to_array(tensor).copy()
            weight[:, ::2] *= 100
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight, last))
    noise = {}
    for steps in (("rounding", "bias"), ("regression", "rounding", "bias")):
        qdq = ptq.quantize(model, samples(16), calibration="max", refinement=steps)
        noise[steps] = _noise(model, qdq)
    assert noise["regression", "rounding", "bias"] < 0.96 * noise["rounding", "bias"], noise


def _noise(model: onnx.ModelProto, qdq: onnx.ModelProto) -> float:
    feeds = samples(8, seed=9)
    return sum(float(((a - b) ** 2).sum()) for a, b in zip(run(model, *feeds), run(qdq, *feeds), strict=True))
