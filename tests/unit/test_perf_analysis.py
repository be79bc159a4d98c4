"""The analyzer's files, reports read back, and MACs counted on the ONNX side."""

from __future__ import annotations

import json
import math
from pathlib import Path

import onnx
import pytest
from bench.models import networks
from bench.performance.calibrate import FIT, LIMIT, PUBLIC_MS, compiled
from bench.performance.yolov8 import yolov8
from onnx import numpy_helper

import openbpu
from openbpu.errors import ConfigError
from openbpu.perf import PerfReport, analysis, estimate
from unit.perf_programs import striped


def test_a_report_is_read_back_whole() -> None:
    report = estimate(striped())
    assert PerfReport.from_json(report.to_json()) == report
    for text in ("{}", "[]", "x", '{"openbpu": {}}', '{"openbpu": {"profile": {"name": "x"}}}'):
        with pytest.raises(ConfigError):
            PerfReport.from_json(text)


def test_the_files_of_the_analyzer(tmp_path: Path) -> None:
    report = openbpu.estimate(yolov8("n", 64), march="nash-m")
    paths = analysis.write(report, tmp_path)
    assert [p.name for p in paths] == ["yolov8n.json", "analysis_summary.json", "hb_analyzer_report.html"]
    assert PerfReport.from_json(paths[0].read_bytes()) == report
    summary = json.loads(paths[1].read_text())
    indicators = {row["title"]: row["value"] for row in summary["hbm_key_indicators"]}
    assert indicators["latency"] == pytest.approx(report.latency_us, abs=1e-3)
    total = sum(layer.time_us for layer in report.layers)
    assert sum(summary["hbm_op_time_by_type"].values()) == pytest.approx(total, rel=1e-3)
    assert sum(summary["hbm_block_time"].values()) == pytest.approx(total, rel=1e-3)
    top = [row["time"] for row in summary["hbm_top_layers_by_total_time"]]
    assert top == sorted(top, reverse=True)
    assert summary["bc_quantized_model_cpu_ops"] == {"quantize": 1, "dequantize": 6}


def _onnx_macs(model: onnx.ModelProto) -> int:
    """Products of Conv, Gemm and MatMul nodes, from their shapes alone."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]].shape[1:])
        elif node.op_type == "Gemm":
            total += math.prod(shapes[node.output[0]]) * weights[node.input[1]].shape[1]
    return total


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_macs_are_those_of_the_onnx_model(name: str) -> None:
    model = networks.NETWORKS[name]()
    assert openbpu.estimate(model, optimize_level="O0").macs == _onnx_macs(model)


def test_a_public_latency_that_nothing_was_fitted_to() -> None:
    """One of the five; `python -m bench.performance.calibrate` checks all ten figures."""
    assert ("nash-m", "n") not in FIT and len(FIT) == 5
    report = estimate(compiled("n", "nash-m"))
    public = PUBLIC_MS["nash-m"]["n"]
    assert abs(report.latency_us / 1e3 / public - 1) < LIMIT, report.line


def test_flops_of_the_generated_networks() -> None:
    """Public figures at 640 x 640, two operations per product; those of m, l and x are 78.9, 165.2 and 257.8."""
    for size, giga in (("n", 8.7), ("s", 28.6)):
        assert 2 * _onnx_macs(yolov8(size)) / 1e9 == pytest.approx(giga, abs=0.06)


def test_options_of_models_are_refused_for_executables(tmp_path: Path) -> None:
    path = tmp_path / "net.bpux"
    path.write_bytes(striped())
    assert openbpu.estimate(path) == estimate(striped())
    for options in (
        {"input_shapes": {"x": (1, 2)}},
        {"run_on_cpu": ["conv"]},
        {"remove_node_type": ["Quantize"]},
        {"core_num": 2},
    ):
        with pytest.raises(ConfigError, match="belong to a model"):
            openbpu.estimate(path, **options)
    report = estimate(striped())
    for name in ("x.pdf", "x", "json"):
        with pytest.raises(ConfigError, match="ends in"):
            report.save(tmp_path / name)
    for name in ("x.htm", "x.trace.json", "x.json"):
        report.save(tmp_path / name)
    assert PerfReport.from_json((tmp_path / "x.json").read_text()) == report
    assert "traceEvents" in (tmp_path / "x.trace.json").read_text()
    assert (tmp_path / "x.htm").read_text().startswith("<!DOCTYPE html>")
