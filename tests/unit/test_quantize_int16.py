"""int16 activations chosen by the quantiser: which tensors get them, and what the compiled program makes of them."""

from __future__ import annotations

from collections import Counter

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu
from openbpu.errors import ConfigError
from openbpu.runtime import Session

# SQNR in dB of a compiled program with all activations int16 against the float network, less 3 dB: what weights cost.
NETWORKS = {
    "residual": (nets.residual(), (1, 3, 32, 32), 39),
    "silu": (nets.activation("silu"), (1, 3, 32, 32), 35),
    "hardswish": (nets.activation("hardswish"), (1, 3, 32, 32), 35),
    "gelu": (nets.activation("gelu"), (1, 3, 32, 32), 35),
    "squeeze_excite": (nets.squeeze_excite(), (1, 3, 32, 32), 39),
    "unet": (nets.unet(), (1, 3, 32, 32), 37),
    "detector": (nets.detector(), (1, 3, 32, 32), 36),
    "attention": (nets.attention(), (1, 20, 32), 39),
    "norms": (nets.norms(), (1, 3, 32, 32), 36),
}


def _types(qdq: onnx.ModelProto) -> Counter[str]:
    """Element types of activations: those of zero points of QuantizeLinear nodes."""
    constants = {t.name: t for t in qdq.graph.initializer}
    codes = [constants[n.input[2]].data_type for n in qdq.graph.node if n.op_type == "QuantizeLinear"]
    return Counter(onnx.TensorProto.DataType.Name(code).lower() for code in codes)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_int16(name: str) -> None:
    model, shape, least = NETWORKS[name]
    samples = nets.samples(10, shape)
    qdq = openbpu.quantize(model, samples[:8], all_nodes_type="int16", refinement=())
    assert set(_types(qdq)) == {"int16"}
    executable = openbpu.compile(qdq)
    assert executable.meta["split"]["cpu"] == 0
    session = Session(executable)
    wanted = nets.run(model, *samples[8:])
    answers = [list(session.run(x).values()) for x in samples[8:]]
    for index, want in enumerate(wanted):
        got = np.concatenate([answer[index] for answer in answers])
        assert nets.sqnr(want.reshape(got.shape), got) > least


def _pairs(qdq: onnx.ModelProto) -> dict[str, str]:
    """Tensor of the float model -> type of the pair right behind it; its int8 copy ends in "/copy"."""
    constants = {t.name: t for t in qdq.graph.initializer}
    found = {}
    for node in qdq.graph.node:
        if node.op_type == "QuantizeLinear":
            code = constants[node.input[2]].data_type
            found[node.output[0].rpartition("/")[0]] = onnx.TensorProto.DataType.Name(code).lower()
    return found


def test_a_name_counts_more_than_an_operator_type_and_that_more_than_the_model() -> None:
    model = nets.residual()
    convolutions = [n.name for n in openbpu.frontend.prepare(model).graph.node if n.op_type == "Conv"]
    samples = nets.samples(3)

    def types(**options: object) -> Counter[str]:
        return _types(openbpu.quantize(model, samples, refinement=(), **options))  # type: ignore[arg-type]

    everything = types(all_nodes_type="int16")
    assert set(everything) == {"int16"}
    assert set(types()) == {"int8"}
    by_operator = types(node_types={"Conv": "int16"})
    assert by_operator["int16"] > 0
    one = types(node_types={convolutions[0]: "int16"})
    assert 0 < one["int16"] < by_operator["int16"] <= everything["int16"]
    assert one["int8"] > 0
    but_one = types(all_nodes_type="int16", node_types={"Conv": "int8", convolutions[0]: "int16"})
    assert one["int16"] < but_one["int16"]


def test_an_int8_node_reads_an_int8_copy() -> None:
    model = nets.unet()
    prepared = openbpu.frontend.prepare(model)
    last = [n for n in prepared.graph.node if n.op_type == "Conv"][-1]
    samples = nets.samples(8)
    qdq = openbpu.quantize(model, samples[:6], refinement=(), all_nodes_type="int16", node_types={last.name: "int8"})
    pairs = _pairs(qdq)
    assert pairs[f"{last.input[0]}/copy"] == "int8" and pairs[last.input[0]] == "int16"
    executable = openbpu.compile(qdq)
    assert executable.meta["split"]["cpu"] == 0 and "RESCALE" in executable.disassemble()
    got = np.concatenate([next(iter(Session(executable).run(x).values())) for x in samples[6:]])
    want = nets.run(qdq, *samples[6:])[0]
    assert nets.sqnr(want.reshape(got.shape), got) > 45  # both are quantised alike


def test_a_norm_that_is_lifted_stays_off_the_cpu() -> None:
    samples = nets.samples(4, (1, 3, 32, 32))
    qdq = openbpu.quantize(nets.norms(), samples, node_types={"LayerNormalization": "int16"}, refinement=())
    assert set(_types(qdq)) == {"int8", "int16"}
    executable = openbpu.compile(qdq)
    assert executable.meta["split"]["cpu"] == 0 and executable.disassemble().count(":NORM16[") == 2


def test_float_by_type_is_the_cpu() -> None:
    model = nets.residual()
    qdq = openbpu.quantize(model, nets.samples(3), refinement=(), node_types={"Conv": "float"})
    report = openbpu.check(qdq)
    assert all(d.where == "CPU" for d in report.decisions if d.op == "Conv")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"node_types": {"Convolution": "int16"}}, "no such node or operator"),
        ({"node_types": {"Conv": "int4"}}, "int8, int16, float"),
        ({"all_nodes_type": "int32"}, "int8, int16, float"),
    ],
)
def test_wrong_types_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        openbpu.quantize(nets.residual(), nets.samples(2), **options)  # type: ignore[arg-type]
