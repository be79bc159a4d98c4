"""Tensors of as many rows as a sample has hits: every step of quantisation takes them, none at all included."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import openbpu
from openbpu import frontend
from openbpu.ir.quant import QuantParams
from openbpu.ptq import output_error
from openbpu.ptq.placement import place
from openbpu.ptq.samples import SampleStream


def _network(threshold: float, tail: str, shape: list[str | int] | None) -> onnx.ModelProto:
    """Convolution, comparison, the values above `threshold`, and what `tail` says of them."""
    net = nets.Net(6)
    x = net.conv(net.op("Relu", net.conv("x", 3, 8)), 8, 4, 1)
    flat = net.op("Reshape", x, net.constant(np.array([-1, 1], np.int64)))
    column = net.op("Reshape", x, net.constant(np.array([-1], np.int64)))
    hits = net.op("Compress", flat, net.op("Greater", column, net.constant(threshold)), axis=0)
    if tail == "sigmoid":
        hits = net.op("Sigmoid", hits)
    elif tail == "product":
        hits = net.op("Add", net.op("MatMul", hits, net.normal(1, 5)), net.normal(5))
    elif tail == "indices":
        hits = net.op("NonZero", x)
    model = net.model(hits)
    del model.graph.output[:]
    kind = TensorProto.INT64 if tail == "indices" else TensorProto.FLOAT
    model.graph.output.append(helper.make_tensor_value_info(hits, kind, shape))
    return model


@pytest.mark.parametrize(
    "tail,width,threshold",
    [("none", 1, 0.1), ("sigmoid", 1, 0.1), ("product", 5, 0.1), ("indices", None, 0.1), ("product", 5, 1e6)],
    ids=["rows", "function", "product", "indices", "product of nothing"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_as_many_rows_as_the_sample_has_hits(tail: str, width: int | None, threshold: float) -> None:
    shape = [4, "rows"] if width is None else ["rows", width]
    samples = nets.samples(5)
    qdq = openbpu.quantize(_network(threshold, tail, shape), samples[:4])
    outputs = openbpu.Session(openbpu.compile(qdq)).run({"x": samples[4]})
    (found,) = nets.run(qdq, samples[4])[0]
    assert (found.size == 0) == (threshold > 1)
    if tail != "indices" and found.size:
        first = next(iter(outputs.values())).ravel()[: found.size]
        assert nets.sqnr(found.ravel(), first) > 25


def test_an_output_without_a_shape() -> None:
    qdq = openbpu.quantize(_network(0.1, "none", None), nets.samples(3))
    assert any(node.op_type == "QuantizeLinear" for node in qdq.graph.node)


def test_where_nothing_can_be_compared_the_own_error_decides() -> None:
    model = frontend.prepare(_network(0.1, "sigmoid", ["rows", 1]))
    stream, placement = SampleStream(nets.samples(4), model), place(model)
    assert len(list(stream)) == 4
    proposed = {group: [QuantParams.per_tensor(s) for s in (0.01, 0.1)] for group in placement.members()}
    found = output_error.judged(model, stream, placement, proposed, lambda *_: None)
    assert found and all(judged.errors.any() for judged in found.values())
    assert found.keys() < proposed.keys()  # what only values of unknown number follow
