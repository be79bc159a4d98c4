"""Float networks around single operators: quantised, nothing of them on the CPU, and close to the float model."""

from __future__ import annotations

from collections.abc import Callable

import float_networks as nets
import onnx
import pytest

import openbpu


def log_softmax(net: nets.Net) -> str:
    return net.op("LogSoftmax", net.conv("x", 3, 12), axis=1)


def log_sum_exp(net: nets.Net) -> str:
    return net.op("ReduceLogSumExp", net.conv("x", 3, 12), axes=[1], keepdims=1)


OPERATORS: dict[str, tuple[Callable[[nets.Net], str], float]] = {  # what it builds, least SQNR in dB
    "log_softmax": (log_softmax, 30),
    "log_sum_exp": (log_sum_exp, 30),
}


def _model(build: Callable[[nets.Net], str]) -> onnx.ModelProto:
    net = nets.Net(21)
    net.op("Identity", build(net), out="y")
    return net.model("y", shape=(1, 3, 16, 16))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, bits: int) -> None:
    build, least = OPERATORS[name]
    model, samples = _model(build), nets.samples(10, (1, 3, 16, 16))
    options = {"all_nodes_type": "int16"} if bits == 16 else {}
    qdq = openbpu.quantize(model, samples[:8], **options)
    report = openbpu.check(qdq)
    assert not [d for d in report.decisions if d.where == "CPU"], report
    session = openbpu.Session(openbpu.compile(qdq))
    for sample in samples[8:]:
        got = session.run({"x": sample})["y"]
        assert nets.sqnr(nets.run(model, sample)[0][0], got) > least + (10 if bits == 16 else 0)
        assert nets.sqnr(nets.run(qdq, sample)[0][0], got) > 40
