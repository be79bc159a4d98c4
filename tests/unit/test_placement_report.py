"""The placement report and what steers it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import openbpu
from lowering.nets import Net
from openbpu.errors import ConfigError, UnsupportedError


def mixed() -> tuple[onnx.ModelProto, list[np.ndarray]]:
    """Convolution and pooling, then top-k."""
    net = Net(1)
    x = net.input(1, 3, 8, 8, quantised=False)
    weight = net.constant(net.random.standard_normal((6, 3, 3, 3)) * 0.3, np.float32)
    y = net.node("Relu", net.node("Conv", x, weight))
    y = net.node("Flatten", net.node("GlobalAveragePool", y))
    values, _ = net.node("TopK", y, net.constant([2], np.int64), outputs=2)
    net.output(values)
    samples = [net.random.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(4)]
    return net.model(), samples


def test_every_node_has_its_decision(tmp_path: Path) -> None:
    model, _ = mixed()
    report = openbpu.check(model)
    where = {decision.op: decision.where for decision in report.decisions}
    assert where["Conv"] == where["GlobalAveragePool"] == "BPU" and where["TopK"] == "CPU"
    (topk,) = report.on_cpu
    assert topk.reason and topk.remedy
    assert report.line == "BPU 3 nodes, CPU 1 (TopK)"
    report.save(tmp_path / "report.json")
    assert len(json.loads((tmp_path / "report.json").read_text())["nodes"]) == len(report.decisions)
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert topk.node in page and "http" not in page.replace("http-equiv", "")


def test_a_node_kept_on_the_cpu_stays_float_in_the_quantised_model() -> None:
    model, samples = mixed()
    name = next(node.name for node in model.graph.node if node.op_type == "Conv")
    qdq = openbpu.quantize(model, samples, run_on_cpu=[name])
    assert next(d.node for d in openbpu.check(qdq).on_cpu) == name
    conv = next(node for node in qdq.graph.node if node.name == name)
    made = {output: node.op_type for node in qdq.graph.node for output in node.output}
    assert conv.input[0] == qdq.graph.input[0].name and conv.input[1] not in made
    split = openbpu.compile(qdq).meta["split"]
    assert split["cpu"] >= 2 and "asked" in split["reasons"][0]["reason"]


def test_the_quantised_model_keeps_heads_in_float() -> None:
    model, samples = mixed()
    qdq = openbpu.quantize(model, samples)
    made = {output: node for node in qdq.graph.node for output in node.output}
    topk = next(node for node in qdq.graph.node if node.op_type == "TopK")
    assert made[topk.input[0]].op_type == "DequantizeLinear"
    assert qdq.graph.output[0].name == topk.output[0]


def test_lists_are_checked() -> None:
    model, samples = mixed()
    conv, topk = (next(n.name for n in model.graph.node if n.op_type == op) for op in ("Conv", "TopK"))
    with pytest.raises(ConfigError, match=f"id you mean {conv}"):
        openbpu.check(model, run_on_cpu=[f"{conv}x"])
    with pytest.raises(ConfigError, match="one place"):
        openbpu.check(model, run_on_cpu=[conv], run_on_bpu=[conv])
    with pytest.raises(ConfigError, match="list"):
        openbpu.check(model, run_on_cpu=conv)
    with pytest.raises(UnsupportedError, match=topk):
        openbpu.quantize(model, samples, run_on_bpu=[topk])
