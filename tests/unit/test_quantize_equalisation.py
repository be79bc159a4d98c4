"""Equal channels: where factors go, that the float network stays the same, and that the error falls."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import openbpu
from openbpu import frontend, ptq
from openbpu.errors import ModelError
from openbpu.ptq.equalisation import RECORD, equalised, rewritten
from openbpu.ptq.sites import Site, by_input_channel, input_peaks, sites

SPREAD = 2.0 ** np.linspace(-6, 0, 16)


def uneven(middle: str = "Relu", depthwise: bool = False) -> onnx.ModelProto:
    """Two convolutions; the channels between them differ by a factor of 64."""
    net = nets.Net(1)
    weight = net.random.standard_normal((16, 3, 3, 3)) * 0.3 * SPREAD.reshape(-1, 1, 1, 1)
    x = net.op("Conv", "x", net.constant(weight), net.constant(SPREAD * 0.1), pads=[1] * 4)
    x = net.relu6(x) if middle == "Clip" else net.op(middle, x)
    if depthwise:
        x = net.op("Conv", x, net.normal(16, 1, 3, 3), net.normal(16), group=16)
    second = net.random.standard_normal((8, 16, 1, 1)) / SPREAD.reshape(1, -1, 1, 1)
    return frontend.prepare(net.model(net.op("Conv", x, net.constant(second), out="y")))


def residual_chain() -> onnx.ModelProto:
    """All tensors of the chain have the same factors: two producers, two readers, two sums."""
    net = nets.Net(2)
    spread = 2.0 ** np.linspace(-5, 0, 12)

    def made(x: str, inputs: int) -> str:
        return net.op(
            "Conv", x, net.constant(net.random.standard_normal((12, inputs, 1, 1)) * spread[:, None, None, None])
        )

    def read(x: str, out: str = "") -> str:
        return net.op(
            "Conv", x, net.constant(net.random.standard_normal((12, 12, 1, 1)) / spread[:, None, None]), out=out
        )

    x = made("x", 3)
    x = net.op("Add", x, made(net.op("Relu", read(x)), 12))
    return frontend.prepare(net.model(read(x, "y")))


def encoder(doubled: bool = True) -> onnx.ModelProto:
    """A norm with gains from 0.02 to 2, read by a product and, if `doubled`, by a sum."""
    net = nets.Net(3)
    gain = net.constant(2.0 ** np.linspace(-5, 1, 32))
    x = net.op("LayerNormalization", "x", gain, net.normal(32, scale=0.01), axis=-1)
    weight = net.random.standard_normal((32, 32)) / 2.0 ** np.linspace(-5, 1, 32)[:, None]
    y = net.op("Add", net.op("MatMul", x, net.constant(weight)), net.normal(32))
    y = net.op("Tanh", net.op("Add", y, x)) if doubled else y
    return frontend.prepare(net.model(net.op("MatMul", y, net.normal(32, 4), out="y"), shape=(1, 20, 32)))


def error(model: onnx.ModelProto, shape: tuple[int, ...] = (1, 3, 32, 32), **options: object) -> float:
    """SQNR in dB on samples that did not calibrate."""
    samples = nets.samples(16, shape)
    qdq = ptq.quantize(model, samples[:8], calibration="max", **options)  # type: ignore[arg-type]
    return nets.sqnr(nets.run(model, *samples[8:])[0], nets.run(qdq, *samples[8:])[0])


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize("middle", ["Relu", "LeakyRelu", "GlobalAveragePool"])
def test_uneven_channels_become_even(middle: str) -> None:
    model = uneven(middle)
    assert error(model, refinement=("equalisation",)) > error(model, refinement=()) + 6


def test_residual_chains_are_one_site() -> None:
    model = residual_chain()
    chain = next(s for s in sites(model, ()) if len(s.producers) == 2)
    assert len(chain.tensors) == 3 and len(chain.readers) == 2
    assert error(model, refinement=("equalisation",)) > error(model, refinement=()) + 3


def test_a_chain_that_is_int16_still_has_even_channels_for_those_that_read_int8() -> None:
    """Its sum is lifted; what reads the int8 copies of the chain gains what it gained before."""
    model = residual_chain()
    (add,) = (n.name for n in model.graph.node if n.op_type == "Add")
    samples = nets.samples(8)
    found = {}
    for steps in ((), ("equalisation",)):
        mixed = ptq.quantize(model, samples, refinement=steps, int16=[add])
        want, got = (np.stack([nets.run(m, x)[0] for x in samples]) for m in (model, mixed))
        found[steps] = nets.sqnr(want, got)
    assert found["equalisation",] > found[()] + 3
    everything = [n.name for n in model.graph.node]
    assert RECORD not in {p.key for p in ptq.quantize(model, samples, int16=everything).metadata_props}


def test_a_norm_that_others_read_is_doubled() -> None:
    model, shape = encoder(), (1, 20, 32)
    samples = nets.samples(8, shape)
    qdq = ptq.quantize(model, samples, refinement=("smoothing",))
    assert sum(n.op_type == "LayerNormalization" for n in qdq.graph.node) == 2
    assert error(model, shape, refinement=("smoothing",)) > error(model, shape, refinement=())
    assert error(encoder(False), shape, refinement=("smoothing",)) > error(encoder(False), shape, refinement=()) + 6
    session = openbpu.Session(openbpu.compile(qdq))
    (want,), (got,) = nets.run(model, samples[0]), session.run({"x": samples[0]}).values()
    assert nets.sqnr(want[0], got) > 25


def test_equal_channels_are_left_alone() -> None:
    model = frontend.prepare(nets.attention())
    qdq = ptq.quantize(model, nets.samples(6, (1, 20, 32)))
    assert RECORD not in {p.key for p in qdq.metadata_props} and equalised(model, qdq) is model


@pytest.mark.parametrize("middle,depthwise", [("Relu", False), ("Clip", False), ("Clip", True), ("Add", False)])
def test_the_float_network_stays_the_same(middle: str, depthwise: bool) -> None:
    model = uneven(middle, depthwise) if middle != "Add" else residual_chain()
    samples = nets.samples(6)
    qdq = ptq.quantize(model, samples, per_channel=True)
    same = equalised(model, qdq)
    assert same is not model
    onnx.checker.check_model(same, full_check=True)
    assert nets.sqnr(nets.run(model, *samples)[0], nets.run(same, *samples)[0]) > 100


def test_clips_keep_what_reaches_them() -> None:
    """A channel that reaches 6 has the factor 1, one that is never near has room for twice what was seen."""
    model = uneven("Clip")
    samples = [8 * s for s in nets.samples(8)]
    qdq = ptq.quantize(model, samples, per_channel=True)
    (site,) = [s for s in sites(model, ()) if s.bounds]
    (clip,) = site.bounds
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    probe.graph.output.add().CopyFrom(next(i for i in model.graph.value_info if i.name == clip))
    peaks = nets.run(probe, *samples)[1].max(axis=(0, 1, 3, 4))
    before, after = (
        {n.output[0]: weights_of(m)[n.input[1]] for n in m.graph.node if n.op_type == "Conv"}
        for m in (model, equalised(model, qdq))
    )
    factors = np.abs(before[site.name]).max(axis=(1, 2, 3)) / np.abs(after[site.name]).max(axis=(1, 2, 3))
    assert factors[peaks >= 6] == pytest.approx(1)
    assert (factors * 6 >= 2 * np.minimum(peaks, 3) * 0.99).all() and factors.min() < 0.6


def test_constants_that_others_read_are_copied() -> None:
    net = nets.Net(4)
    shared = net.constant(net.random.standard_normal((3, 3, 1, 1)))
    x = net.op("Conv", net.op("Conv", "x", shared), shared)
    model = frontend.prepare(net.model(net.op("Sigmoid", x, out="y")))
    (site,) = sites(model, ())
    same = rewritten(model, [(site, np.array([1.0, 0.5, 0.25]))], ())
    samples = nets.samples(2)
    assert nets.sqnr(nets.run(model, *samples)[0], nets.run(same, *samples)[0]) > 100


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax", "HardSigmoid"])
def test_functions_that_factors_do_not_pass_are_no_sites(op: str) -> None:
    net = nets.Net(5)
    x = net.op(op, net.conv("x", 3, 4, 1))
    assert sites(frontend.prepare(net.model(net.conv(x, 4, 4, 1, out="y"))), ()) == []


def test_clips_that_begin_elsewhere_are_no_sites() -> None:
    net = nets.Net(6)
    x = net.op("Clip", net.conv("x", 3, 4, 1), net.constant(-1.0), net.constant(1.0))
    assert sites(frontend.prepare(net.model(net.conv(x, 4, 4, 1, out="y"))), ()) == []


def test_gates_pass_factors_on_and_take_none() -> None:
    net = nets.Net(7)
    x = net.op("Relu", net.conv("x", 3, 8, 1))
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", x), 8, 8, 1))
    found = sites(frontend.prepare(net.model(net.conv(net.op("Mul", x, gate), 8, 4, 1, out="y"))), ())
    assert [len(s.readers) for s in found] == [2]


def test_nodes_on_the_cpu_take_no_part() -> None:
    model = uneven()
    names = [n.name for n in model.graph.node if n.op_type == "Conv"]
    assert sites(model, ()) and not sites(model, (names[1],)) and not sites(model, (names[0],))


def test_grouped_weights_by_input_channel() -> None:
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    weight = np.arange(1, 17, dtype=np.float64).reshape(4, 4, 1, 1)
    factors = np.arange(1.0, 9)
    scaled = by_input_channel(node, weight, factors)
    np.testing.assert_array_equal(scaled[:2, :, 0, 0], weight[:2, :, 0, 0] * factors[:4])
    np.testing.assert_array_equal(scaled[2:, :, 0, 0], weight[2:, :, 0, 0] * factors[4:])
    np.testing.assert_array_equal(input_peaks(node, weight), [5, 6, 7, 8, 13, 14, 15, 16])


def test_another_float_model_is_refused() -> None:
    qdq = ptq.quantize(uneven(), nets.samples(4), per_channel=True)
    with pytest.raises(ModelError, match="made from this float model"):
        equalised(frontend.prepare(nets.attention()), qdq)
    assert isinstance(sites(uneven(), ())[0], Site)


def test_the_report_sees_the_channels_as_they_are() -> None:
    """Values of equalised tensors are compared with equalised float values: no layer looks broken."""
    model, samples = uneven(), nets.samples(8)
    report = openbpu.accuracy(model, ptq.quantize(model, samples, per_channel=True), samples)
    assert report.sqnr_db > 30 and min(layer.sqnr_db for layer in report.layers) > 30
