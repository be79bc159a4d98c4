"""Quantised models: valid, runnable, deterministic, close to the float model, within the bounds of the arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import openbpu
from openbpu import frontend, ptq
from openbpu.errors import ConfigError, ModelError, ModelWarning
from openbpu.ptq import second_order

# SQNR in dB on samples that calibration has not seen, for Gaussian inputs and random weights: what each gives with
# default settings, less 3 dB. A misplaced pair or a wrong scale costs more than that.
NETWORKS = {
    "residual": (nets.residual(), (1, 3, 32, 32), 28),
    "silu": (nets.activation("silu"), (1, 3, 32, 32), 27),
    "hardswish": (nets.activation("hardswish"), (1, 3, 32, 32), 26),
    "gelu": (nets.activation("gelu"), (1, 3, 32, 32), 27),
    "squeeze_excite": (nets.squeeze_excite(), (1, 3, 32, 32), 26),
    "unet": (nets.unet(), (1, 3, 32, 32), 26),
    "detector": (nets.detector(), (1, 3, 32, 32), 24),
    "attention": (nets.attention(), (1, 20, 32), 28),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_close_to_the_float_model(name: str) -> None:
    model, shape, least = NETWORKS[name]
    clean = frontend.prepare(frontend.load(model))
    samples = nets.samples(16, shape)
    qdq = ptq.quantize(clean, samples[:12])
    onnx.checker.check_model(qdq, full_check=True)
    assert [o.name for o in qdq.graph.output] == [o.name for o in model.graph.output]
    for want, got in zip(nets.run(clean, *samples[12:]), nets.run(qdq, *samples[12:]), strict=True):
        assert nets.sqnr(want, got) > least


@pytest.mark.parametrize("calibration", ptq.CALIBRATIONS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_calibration(calibration: str, symmetric: bool) -> None:
    clean = frontend.prepare(nets.residual())
    samples = nets.samples(8)
    qdq = ptq.quantize(clean, samples[:6], calibration=calibration, symmetric=symmetric, refinement=())
    assert nets.sqnr(nets.run(clean, *samples[6:])[0], nets.run(qdq, *samples[6:])[0]) > 33
    facts = {p.key: p.value for p in qdq.metadata_props}
    assert facts["openbpu.calibration"] == calibration and facts["openbpu.symmetric"] == str(symmetric).lower()


def test_an_output_that_is_an_input_is_that_input() -> None:
    """Not rounded: a pair behind the input is for what reads it."""
    model = nets.activation("silu")
    model.graph.output.append(model.graph.input[0])
    samples = nets.samples(4, (1, 3, 32, 32))
    qdq = openbpu.quantize(model, samples, calibration="max")
    (name,) = (info.name for info in model.graph.input)
    results = openbpu.Session(openbpu.compile(qdq)).run({name: samples[0]})
    np.testing.assert_array_equal(results[name], samples[0])


def test_same_inputs_give_the_same_bytes() -> None:
    first, second = (
        ptq.quantize(frontend.prepare(nets.squeeze_excite()), nets.samples(4)).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_any_number_of_threads_and_any_order_of_sets_gives_the_same_bytes() -> None:
    """Wide enough for the libraries below to share the work: 2,304 columns, products of 256 x 2,304."""
    here = {"NETS": str(Path(__file__).parent)}
    hashes = {
        subprocess.run(
            [sys.executable, "-c", _HASH], check=True, capture_output=True, text=True,
            env=os.environ | here | {"OPENBLAS_NUM_THREADS": count, "ONE_CPU": only, "PYTHONHASHSEED": seed},
        ).stdout
        for count, only, seed in (("1", "yes", "1"), ("4", "", "2"))
    }  # fmt: skip
    assert len(hashes) == 1 and len(hashes.pop().strip()) == 64


_HASH = """
import hashlib, os, sys
if os.environ["ONE_CPU"]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.path[:0] = [os.environ["NETS"]]
import float_networks as nets
from openbpu import frontend, ptq
net = nets.Net(3)
x = net.op("Relu", net.conv("x", 3, 256, stride=4))
x = net.op("Relu", net.conv(x, 256, 256))
x = net.conv(net.op("GlobalAveragePool", x), 256, 64, 1, out="y")
digest = hashlib.sha256()
for model, samples in ((net.model("y"), nets.samples(6)), (nets.attention(), nets.samples(4, (1, 20, 32)))):
    digest.update(ptq.quantize(frontend.prepare(model), samples).SerializeToString(deterministic=True))
print(digest.hexdigest())
"""


def test_what_the_model_says_of_itself_is_kept() -> None:
    clean = frontend.prepare(nets.residual())
    clean.metadata_props.add(key="classes", value="cat,dog")
    facts = {p.key: p.value for p in ptq.quantize(clean, nets.samples(2)).metadata_props}
    assert facts["classes"] == "cat,dog"
    taken = facts["openbpu.refinement"].split("+")
    assert taken == [step for step in ptq.REFINEMENTS if step in taken]
    assert {"equalisation", "smoothing"} <= {*taken}
    assert not {"wide-sums", "wide-tails"} & {*taken}  # neither norms nor a concat at the end
    assert facts["openbpu.samples"] == "2" and facts["openbpu.version"]


def test_progress_counts_to_the_end() -> None:
    steps: dict[str, list[tuple[int, int]]] = {}
    ptq.quantize(
        frontend.prepare(nets.residual()),
        iter(nets.samples(3)),
        progress=lambda stage, done, total: steps.setdefault(stage, []).append((done, total)),
    )
    assert [done for done, _ in steps["calibrate: ranges"]] == [1, 2, 3]
    assert steps["calibrate: histograms"] == [(1, 3), (2, 3), (3, 3)]
    assert steps["refine layers"][-1] == (4, 4)


def test_wrong_options_and_models() -> None:
    clean = frontend.prepare(nets.residual())
    with pytest.raises(ConfigError, match=r"auto, max, percentile, kl, mse; got entropy"):
        ptq.quantize(clean, nets.samples(1), calibration="entropy")
    with pytest.raises(ConfigError, match="refinement"):
        ptq.quantize(clean, nets.samples(1), refinement=["magic"])
    with pytest.raises(ModelError, match="quantised already"):
        ptq.quantize(ptq.quantize(clean, nets.samples(1)), nets.samples(1))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value,message", [(np.nan, "NaN"), (np.inf, "finite")])
def test_weights_that_are_no_numbers(value: float, message: str) -> None:
    net = nets.Net(1)
    net.op("Conv", "x", net.constant(np.full((4, 3, 1, 1), value), "w"), out="y")
    with pytest.raises(ModelError, match=message):
        ptq.quantize(frontend.prepare(net.model("y")), nets.samples(1))


# ---- products of every shape


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "batched", "transposed A", "groups", "grouped ConvTranspose", "1d"])
def test_products_of_unusual_shape(kind: str) -> None:
    net, shape = nets.Net(2), (1, 3, 32, 32)
    if kind == "MatMul":  # without a bias: the correction brings one
        net.op("MatMul", net.op("Reshape", "x", net.constant(np.array([1, 96, 32]))), net.normal(32, 5), out="y")
    elif kind == "Gemm":
        pooled = net.op("AveragePool", "x", kernel_shape=[4, 4], strides=[4, 4])
        net.op("Gemm", net.op("Flatten", pooled), net.normal(192, 5), net.normal(1, 5), alpha=0.5, out="y")
    elif kind == "batched":
        net.op("MatMul", "x", net.normal(3, 32, 4), out="y")
    elif kind == "transposed A":
        net.op("Gemm", net.op("Flatten", "x"), net.normal(1, 5), net.normal(5), transA=1, out="y")
    elif kind == "groups":
        net.conv(net.conv("x", 3, 8), 8, 12, group=4, out="y")
    elif kind == "grouped ConvTranspose":
        x = net.conv("x", 3, 8)
        net.op("ConvTranspose", x, net.normal(8, 3, 2, 2), net.normal(6), strides=[2, 2], group=2, out="y")
    else:
        shape = (1, 3, 64)
        net.op("Relu", net.op("Conv", "x", net.normal(4, 3, 5), net.normal(4)), out="y")
    clean = frontend.prepare(net.model("y", shape=shape))
    samples = nets.samples(4, shape)
    qdq = ptq.quantize(clean, samples)
    assert nets.sqnr(nets.run(clean, *samples)[0], nets.run(qdq, *samples)[0]) > 28


# ---- bounds of the integer arithmetic


def weight_ratios(qdq: onnx.ModelProto) -> np.ndarray:
    """Input scale * weight scale / output scale of every channel of every convolution."""
    constants = {t.name: numpy_helper.to_array(t) for t in qdq.graph.initializer}
    producers = {name: n for n in qdq.graph.node for name in n.output}
    ratios = []
    for node in qdq.graph.node:
        if node.op_type != "Conv":
            continue
        name = node.output[0]
        while (after := next(n for n in qdq.graph.node if name in n.input)).op_type != "QuantizeLinear":
            name = after.output[0]
        scales = [constants[producers[i].input[1]].astype(np.float64) for i in node.input[:2]]
        ratios.append(scales[0] * scales[1] / constants[after.input[1]])
    return np.concatenate(ratios)


def test_channels_of_absurd_magnitude() -> None:
    """Zero, vanishing and huge weights, and biases far beyond the weights, in one convolution."""
    net = nets.Net(3)
    weight = net.random.standard_normal((8, 3, 3, 3))
    weight[2], weight[3], weight[4] = 0, weight[3] * 1e-9, weight[4] * 1e4
    bias = [0, 0, 0.5, 100, 0, 1e5, 0, -3]
    x = net.op("Relu", net.op("Conv", "x", net.constant(weight), net.constant(np.array(bias)), pads=[1] * 4))
    net.conv(x, 8, 4, 1, out="y")
    clean = frontend.prepare(net.model("y"))
    samples = nets.samples(6)
    qdq = ptq.quantize(clean, samples[:4])
    assert nets.sqnr(nets.run(clean, *samples[4:])[0], nets.run(qdq, *samples[4:])[0]) > 30
    ratios = weight_ratios(qdq)
    assert ratios.min() > 2.0**-21 and ratios.max() < 2.0**7


def test_a_tensor_that_is_always_zero_gets_a_sane_scale() -> None:
    net = nets.Net(4)
    x = net.op("Relu", net.op("Conv", "x", net.normal(4, 3, 1, 1, scale=0.01), net.constant(np.full(4, -9.0))))
    net.conv(x, 4, 4, 1, out="y")
    clean = frontend.prepare(net.model("y"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        qdq = ptq.quantize(clean, nets.samples(3))
    assert weight_ratios(qdq).max() < 2.0**7
    scales = [numpy_helper.to_array(t) for t in qdq.graph.initializer if t.name.endswith("/scale")]
    assert all(2.0**-30 < float(s) < 2.0**30 for s in scales)


def test_results_too_small_for_their_sums_are_warned_of() -> None:
    net = nets.Net(5)
    net.op("Clip", net.conv("x", 3, 4), net.constant(0.0), net.constant(6.0), out="y")
    clean = frontend.prepare(net.model("y"))
    with pytest.warns(ModelWarning, match=r"tensor y: .*had to grow from 0\.0235"):
        ptq.quantize(clean, [x * 1e12 for x in nets.samples(2)])


# ---- refinement


def test_rounding_in_blocks_is_the_same_as_column_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    for batch in ((), (5,)):  # one covariance, or one per channel
        factors = random.standard_normal((*batch, 250, 200))
        covariance = factors.swapaxes(-1, -2) @ factors / 250 + 0.1 * np.eye(200)
        weight = random.standard_normal((5, 200))
        scale = np.abs(weight).max(axis=1) / 127
        rounded = []
        for block in (32, 1000):
            monkeypatch.setattr(second_order, "_BLOCK", block)
            rounded.append(second_order.round_weights(weight, scale, second_order.upper_factor(covariance.copy())))
        np.testing.assert_array_equal(*rounded)
        nearest = np.clip(np.rint(weight / scale[:, None]), -127, 127)
        second, first = (
            float(np.einsum("ci,cij,cj->", e, np.broadcast_to(covariance, (5, 200, 200)), e))
            for e in (weight - rounded[0] * scale[:, None], weight - nearest * scale[:, None])
        )
        assert second < 0.8 * first, "the error of the output is smaller than with nearest rounding"


def test_refinement_lowers_the_error() -> None:
    """Means of depthwise outputs shift with nearest rounding; second-order rounding and bias correction mend it."""
    net = nets.Net(6)
    x = net.relu6(net.conv("x", 3, 16, stride=2))
    for _ in range(3):
        x = net.relu6(net.conv(net.relu6(net.conv(x, 16, 16, group=16)), 16, 16, 1))
    net.op("Gemm", net.op("Flatten", net.op("GlobalAveragePool", x)), net.normal(16, 10), net.normal(10), out="y")
    clean = frontend.prepare(net.model("y"))
    samples = [x + 1 for x in nets.samples(24)]
    want = nets.run(clean, *samples[16:])[0]
    noise = {}
    for steps in ((), ("bias",), ("rounding", "bias")):
        qdq = ptq.quantize(clean, samples[:16], refinement=steps)
        noise[steps] = nets.sqnr(want, nets.run(qdq, *samples[16:])[0])
    assert noise["bias",] > noise[()] + 2, noise
    assert noise["rounding", "bias"] > noise[()] + 2, noise


def test_a_tensor_too_long_for_a_surface_is_quantised_where_it_has_its_shape() -> None:
    net, shape = nets.Net(1), (1, 16, 65, 65)
    rows = net.op("Reshape", net.op("Relu", "x"), net.constant(np.array([1, 1, 16 * 65 * 65])))
    normal = net.op("InstanceNormalization", rows, net.constant(np.ones(1)), net.constant(np.zeros(1)))
    image = net.op("Reshape", normal, net.constant(np.array(shape)))
    model = net.model(net.conv(image, 16, 4, out="y"), shape=shape)
    qdq = openbpu.quantize(model, nets.samples(2, shape))
    kinds = {decision.op for decision in openbpu.check(qdq).on_cpu}
    assert kinds <= {"Reshape", "InstanceNormalization", "QuantizeLinear", "DequantizeLinear"}
    x = nets.samples(1, shape)[0]
    assert nets.sqnr(nets.run(model, x)[0][0], openbpu.Session(openbpu.compile(qdq)).run({"x": x})["y"]) > 20


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("spread", [1e-42, 1e-6])
def test_tensors_that_are_almost_constant_have_histograms(offset: float, spread: float) -> None:
    net = nets.Net(1)
    net.op("Relu", net.op("Add", net.op("Mul", "x", net.constant(spread)), net.constant(offset)), out="y")
    qdq = openbpu.quantize(net.model("y", shape=(1, 64)), nets.samples(2, (1, 64)), calibration="mse", refinement=())
    assert openbpu.compile(qdq)
