"""`openbpu bench --profile` on a real network: every figure against facts found another way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import openbpu
from unit import runtime_programs as programs

# Multiply-accumulates by hand: output pixels * output channels * kernel * input channels of a group.
MACS = {
    ("stem", "stem.act"): 16 * 16 * 16 * 9 * 3,
    ("dw", "dw.act"): 16 * 16 * 16 * 9,
    ("pw",): 16 * 16 * 16 * 16,
    ("fc",): 10 * 16,
}
# Bytes that an operator cannot do without: input, weights, output.
BYTES = {
    ("stem", "stem.act"): 32 * 32 * 3 + 16 * 27 + 16 * 16 * 16,
    ("dw", "dw.act"): 2 * 16 * 16 * 16 + 16 * 9,
    ("pw",): 2 * 16 * 16 * 16 + 16 * 16,
    ("pool",): 16 * 16 * 16 + 8 * 8 * 16,
    ("fc",): 16 + 160 + 10,
}


def _openbpu(*arguments: object) -> str:
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, float_model: onnx.ModelProto, samples: list[np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("profile") / "net.bpux"
    openbpu.build(float_model, samples).save(path)
    return path


@pytest.fixture(scope="module", params=[1, 2])
def measured(request: pytest.FixtureRequest, network: Path) -> dict[str, Any]:
    """What the command prints as JSON, and its trace."""
    trace = network.parent / "trace.json"
    options = ("--profile", "--json", "--trace", trace, "--runs", 5, "--threads", request.param)
    report: dict[str, Any] = json.loads(_openbpu("bench", network, *options))
    return {**report, "trace": json.loads(trace.read_text())}


def test_every_instruction_has_its_figures(measured: dict[str, Any], network: Path) -> None:
    profile = measured["profile"]
    explained = openbpu.Session(network).explain().steps
    assert [(s["instruction"], s["op"], s["row"]) for s in profile["steps"]] == [
        (s.instruction, s.op, s.row) for s in explained
    ]
    assert profile["threads"] == measured["threads"]
    for step in profile["steps"]:
        joined = step["reason"] == "runs with the instruction before it"
        assert (step["nanoseconds"] == 0) == joined, step
        assert step["bytes"] > 0
        expected = 0 if joined else step["macs"] / step["nanoseconds"]
        assert step["gmac_per_second"] == pytest.approx(expected)
        assert step["percent"] == pytest.approx(100 * step["nanoseconds"] / profile["total_nanoseconds"])
    assert sum(step["percent"] for step in profile["steps"]) == pytest.approx(100)


def test_macs_and_bytes_are_those_of_the_onnx_nodes(measured: dict[str, Any]) -> None:
    by_nodes = {tuple(step["nodes"]): step for step in measured["profile"]["steps"]}
    for nodes, macs in MACS.items():
        assert by_nodes[nodes]["macs"] == macs, nodes
    assert sum(step["macs"] for step in measured["profile"]["steps"]) == sum(MACS.values())
    for nodes, least in BYTES.items():
        assert least <= by_nodes[nodes]["bytes"] <= 1.5 * least + 512, nodes  # tables, and channels filled up to 16


def test_nodes_are_those_of_the_users_model(measured: dict[str, Any], float_model: onnx.ModelProto) -> None:
    names = {node.name for node in float_model.graph.node}
    found = [name for step in measured["profile"]["steps"] for name in step["nodes"]]
    assert set(found) <= names
    normalised = {name for name in names if name.endswith(".bn")}  # these live on in the weights
    views = {"flatten"}  # no instruction
    assert names - set(found) == normalised | views


def test_percent_of_the_peak(measured: dict[str, Any]) -> None:
    profile = measured["profile"]
    peak = profile["peak_gmac_per_second"]
    if profile["isa"] == "scalar":
        assert peak == 0
    for step in profile["steps"]:
        share = 100 * step["gmac_per_second"] / peak if peak else 0
        assert step["percent_of_peak"] == pytest.approx(share)
        assert share < 110, "beyond what the instructions can do, measured beside"


def test_the_trace_is_one_that_perfetto_takes(measured: dict[str, Any]) -> None:
    """By the Trace Event format: complete events with microseconds in two named lanes, one after the other."""
    events = measured["trace"]["traceEvents"]
    names = {(e["name"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    assert names[("thread_name", 1)] == "BPU" and names[("thread_name", 2)] == "CPU"
    assert names[("process_name", 0)].startswith("openbpu ")
    complete = [e for e in events if e["ph"] == "X"]
    assert len(complete) + len(names) == len(events)
    end = 0.0
    for event in complete:
        assert all(isinstance(event[key], str) for key in ("name", "cat"))
        assert all(isinstance(event[key], int) for key in ("pid", "tid"))
        assert event["ts"] == pytest.approx(end, abs=1e-6)
        assert event["dur"] > 0
        assert event["tid"] == (2 if event["cat"] in ("QUANTIZE", "DEQUANTIZE") else 1)
        end = event["ts"] + event["dur"]
    assert end == pytest.approx(measured["profile"]["total_nanoseconds"] / 1e3)


def test_the_trace_tells_of_each_step_what_the_profile_tells(measured: dict[str, Any]) -> None:
    told = []
    for event in measured["trace"]["traceEvents"]:
        if event["ph"] == "X":
            arguments = event["args"]
            told.append((arguments["instruction"], event["cat"], arguments["kernel"], arguments["nodes"]))
            told += [(j["instruction"], j["op"], j["kernel"], j["nodes"]) for j in arguments["joined"]]
    steps = measured["profile"]["steps"]
    assert told == [(s["instruction"], s["op"], s["row"], s["nodes"]) for s in steps]


def test_the_table_names_everything(network: Path) -> None:
    text = _openbpu("bench", network, "--profile", "--runs", 3)
    for word in ("us", "GMAC/s", "% peak", "KB", "instruction", "kernel", "ONNX nodes", "CONV2D", "stem, stem.act"):
        assert word in text
    assert "1 thread:" in text
    for step in openbpu.Session(network).explain().steps:
        assert step.row in text
        if step.reason == "runs with the instruction before it":
            assert f"the time includes {step.instruction}" in text


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_inputs_of_every_type_are_made_up(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "copy.bpux").write_bytes(programs.copies(("a", "y", dtype)))
    report = json.loads(_openbpu("bench", tmp_path / "copy.bpux", "--runs", 2, "--profile", "--json"))
    assert [step["op"] for step in report["profile"]["steps"]] == ["COPY"]
