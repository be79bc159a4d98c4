"""Sums in front of norms: 16 bits where a channel is far larger than the others, 8 where none is."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu
from openbpu import frontend, ptq

SHAPE = (1, 20, 32)


def encoder(largest: float, after: bool = True) -> onnx.ModelProto:
    """Two residual sums, norms behind them (`after`) or beside them; one channel of the first is `largest`."""
    net = nets.Net(7)
    spread = np.ones(32)
    spread[5] = largest

    def product(y: str, scale: np.ndarray) -> str:
        weight = net.random.standard_normal((32, 32)) / np.sqrt(32) * scale
        return net.op("Add", net.op("MatMul", y, net.constant(weight)), net.normal(32, scale=0.1))

    def norm(y: str) -> str:
        gain = net.constant(np.where(spread > 1, 0.5, 1.0))
        return net.op("LayerNormalization", y, gain, net.normal(32, scale=0.01), axis=-1)

    first = net.op("Add", "x", product("x", spread))
    inner = norm(first)
    second = net.op("Add", inner if after else first, product(inner, np.ones(32)))
    return frontend.prepare(net.model(net.op("MatMul", norm(second), net.normal(32, 8), out="y"), shape=SHAPE))


def facts(qdq: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in qdq.metadata_props}


def error(model: onnx.ModelProto, *refinement: str) -> float:
    """SQNR in dB on samples that did not calibrate."""
    samples = nets.samples(16, SHAPE)
    qdq = ptq.quantize(model, samples[:8], calibration="max", refinement=refinement)
    return nets.sqnr(nets.run(model, *samples[8:])[0], nets.run(qdq, *samples[8:])[0])


@pytest.mark.parametrize("after", [True, False], ids=["norm after", "norm before"])
def test_a_large_channel_gets_16_bits(after: bool) -> None:
    model = encoder(100, after)
    assert error(model, "wide-sums") > error(model) + 6
    assert error(model, "wide-sums", "smoothing") >= error(model, "wide-sums") - 0.3


@pytest.mark.parametrize("after", [True, False], ids=["norm after", "norm before"])
def test_the_compiled_model_keeps_it_all_on_the_bpu(after: bool) -> None:
    model, samples = encoder(100, after), nets.samples(9, SHAPE)
    qdq = openbpu.quantize(model, samples[:8])
    assert int(facts(qdq)["openbpu.int16_sums"]) >= 1
    assert facts(qdq)["openbpu.refinement"].startswith("wide-sums+")
    executable = openbpu.compile(qdq)
    want, got = nets.run(model, samples[8])[0][0], openbpu.Session(executable).run({"x": samples[8]})["y"]
    assert nets.sqnr(want, got) > 25
    assert "CPUCALL" not in executable.disassemble()


def test_even_channels_stay_int8() -> None:
    qdq = ptq.quantize(encoder(1.0), nets.samples(4, SHAPE), refinement=("wide-sums",))
    assert facts(qdq)["openbpu.int16_sums"] == "0" and facts(qdq)["openbpu.refinement"] == ""
    bare = ptq.quantize(encoder(1.0), nets.samples(4, SHAPE), refinement=())
    assert [n.op_type for n in qdq.graph.node] == [n.op_type for n in bare.graph.node]


@pytest.mark.parametrize("key", ["Add", "LayerNormalization"])
def test_a_type_that_was_asked_for_stays(key: str) -> None:
    qdq = openbpu.quantize(encoder(100), nets.samples(4, SHAPE), node_types={key: "int8"}, calibration="max")
    assert facts(qdq)["openbpu.int16_sums"] == "0"


def test_without_the_step_all_is_int8() -> None:
    qdq = openbpu.quantize(encoder(100), nets.samples(4, SHAPE), refinement=("smoothing",), calibration="max")
    arrays = {t.name: t.data_type for t in qdq.graph.initializer}
    assert onnx.TensorProto.INT16 not in arrays.values()
