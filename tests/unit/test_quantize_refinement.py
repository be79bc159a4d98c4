"""Bias correction of tokens: a few large ones must not shift the others."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from openbpu.ir.quant import QuantParams
from openbpu.ptq.insertion import insert
from openbpu.ptq.refinement import Reference, Refinements, _shrunk, refine
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.weights import best_shares, quantise_weights

TOKENS, WIDTH = 64, 8


def _model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32) * 127, "weight")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, TOKENS, WIDTH]) for name in "xy")
    node = helper.make_node("MatMul", ["x", "weight"], ["y"], name="product")
    graph = helper.make_graph([node], "tokens", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def biases(model: onnx.ModelProto, qdq: onnx.ModelProto, stream: SampleStream, step: str) -> np.ndarray:
    """What a step adds to the bias of the product."""
    return refine(Reference(model, stream), qdq, (step,), lambda *_: None).biases["product"]


def _correction(first_token: float) -> np.ndarray:
    """What is added to the bias where the first token of each sample has that value and x covers [-1, 1]."""
    random = np.random.default_rng(5)
    samples = [random.uniform(-1, 1, (1, TOKENS, WIDTH)).astype(np.float32) for _ in range(8)]
    for sample in samples:
        sample[0, 0] = first_token
    model = _model()
    params = {"x": QuantParams.per_tensor(2 / 255), "y": QuantParams.per_tensor(2.0)}
    stream = SampleStream(samples, model)
    assert len(list(stream)) == stream.count == 8
    return biases(model, insert(model, params, Refinements()), stream, "bias")


def test_a_token_beyond_the_range_moves_no_other() -> None:
    assert np.abs(_correction(0.5)).max() < 0.2
    assert np.abs(_correction(60.0)).max() < 12  # the mean error, 127 * 59 / 64, is 117; a step of x is 1


def test_what_all_tokens_share_is_corrected() -> None:
    """A range that ends at 0.5 cuts a quarter of the values at either end, more of one if their mean is not 0."""
    random = np.random.default_rng(6)
    samples = [random.uniform(-1, 0.6, (1, TOKENS, WIDTH)).astype(np.float32) for _ in range(8)]
    model = _model()
    params = {"x": QuantParams.per_tensor(1 / 255), "y": QuantParams.per_tensor(2.0)}
    stream = SampleStream(samples, model)
    list(stream)
    found = biases(model, insert(model, params, Refinements()), stream, "bias")
    wanted = np.mean([(s - np.clip(s, -128 / 255, 127 / 255))[0].mean(0) for s in samples], axis=0) * 127
    np.testing.assert_allclose(found, wanted, atol=0.2)


def test_shifts_that_may_be_chance_are_small() -> None:
    """Differences whose mean is far above its standard error stay, those of mean zero almost vanish."""
    random = np.random.default_rng(7)
    noise = random.standard_normal((16, 1000))
    np.testing.assert_allclose(_shrunk(noise + 10), (noise + 10).mean(0), rtol=2e-3)
    assert np.square(_shrunk(noise)).mean() < 0.5 * np.square(noise.mean(0)).mean()
    np.testing.assert_array_equal(_shrunk(noise[:1]), noise[0])


def test_the_analytic_correction_is_that_of_the_mean_input() -> None:
    """Without activations in the way, an error of the weights times the mean of the input."""
    random = np.random.default_rng(8)
    samples = [random.uniform(0, 1, (1, TOKENS, WIDTH)).astype(np.float32) for _ in range(4)]
    model = _model()
    weight = random.uniform(-1, 1, (WIDTH, WIDTH)).astype(np.float32)
    weight[0] = 30.0  # coarse steps for all the others
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    params = {"x": QuantParams.per_tensor(1 / 255, -128), "y": QuantParams.per_tensor(1.0)}
    stream = SampleStream(samples, model)
    list(stream)
    qdq = insert(model, params, Refinements())
    found = biases(model, qdq, stream, "analytic-bias")
    scale = np.float32(30 / 127)
    error = weight - np.clip(np.rint(weight / scale), -127, 127) * scale
    np.testing.assert_allclose(found, np.mean([s[0].mean(0) for s in samples], axis=0) @ error, atol=5e-3)
    assert np.abs(found).max() > 0.05


def test_weight_ranges_give_up_outliers_only_if_that_pays() -> None:
    random = np.random.default_rng(9)
    normal, flat = random.standard_normal((4, 40_000)), np.sign(random.standard_normal((4, 40_000)))
    normal[:, 0] = 6.0
    shares = best_shares(np.concatenate([normal, flat]), 0)
    assert (shares[:4] < 1).all() and (shares[4:] == 1).all()

    def error(share: np.ndarray) -> np.ndarray:
        scale = np.abs(normal).max(1) / 127 * share
        return np.asarray(np.square(quantise_weights(normal, scale, 0) * scale[:, None] - normal).sum(1))

    assert (error(shares[:4]) < error(np.ones(4))).all()
