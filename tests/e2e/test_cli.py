"""The command line as a user calls it: files, output, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from schedules.sections import without_waits


def _openbpu(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def _ok(*arguments: object) -> str:
    result = _openbpu(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_whole_road(workspace: Path) -> None:
    page = workspace / "accuracy.html"
    arguments = ("--samples", workspace / "calibration", "-o", workspace / "net.qdq.onnx", "--report", page)
    assert "SQNR" in _ok("quantize", workspace / "net.onnx", *arguments)
    assert "<svg" in page.read_text()
    report = json.loads(_ok("compile", workspace / "net.qdq.onnx", "-o", workspace / "net.bpux", "--json"))
    assert report["march"] == "nash-e"
    x = workspace / "calibration" / "03.npy"
    (row,) = json.loads(_ok("run", workspace / "net.bpux", "--input", x, "-o", workspace / "results", "--json"))
    logits = np.load(workspace / "results" / "logits_0.npy")
    assert row["argmax"] == int(logits.argmax())
    info = json.loads(_ok("info", workspace / "net.bpux", "--json"))
    assert [port["name"] for port in info["ports"]] == ["image", "logits"]
    assert "CONV2D" in _ok("info", workspace / "net.bpux", "--disassemble")
    bench = json.loads(_ok("bench", workspace / "net.bpux", "--runs", 3, "--profile", "--json"))
    assert bench["median_ms"] > 0
    assert bench["profile"]
    assert "median" in _ok("bench", workspace / "net.bpux", "--runs", 3, "--profile", "--trace", workspace / "t.json")
    assert json.loads((workspace / "t.json").read_text())["traceEvents"]


def test_the_exact_machine_from_the_command_line(workspace: Path) -> None:
    qdq, program, x = (workspace / name for name in ("exact.qdq.onnx", "exact.bpux", "calibration/03.npy"))
    _ok("quantize", workspace / "net.onnx", "--samples", workspace / "calibration", "-o", qdq)
    _ok("compile", qdq, "-o", program)
    (fast,) = json.loads(_ok("run", program, "--input", x, "-o", workspace / "fast", "--json"))
    for seed in (1, 2):
        exact = ("--exact-machine", "--seed", seed, "-o", workspace / "exact", "--json")
        assert json.loads(_ok("run", program, "--input", x, *exact)) == [fast]
        written = [(workspace / way / "logits_0.npy").read_bytes() for way in ("fast", "exact")]
        assert written[0] == written[1]
    program.write_bytes(without_waits(program.read_bytes()))
    assert json.loads(_ok("run", program, "--input", x, "--json")) == [fast]
    result = _openbpu("run", program, "--input", x, "--exact-machine")
    assert result.returncode == 1 and "no wait covers" in result.stderr and "Traceback" not in result.stderr


def test_a_build_ends_with_the_accuracy_and_a_code_of_its_own(workspace: Path) -> None:
    built, reports = workspace / "built.bpux", (workspace / "built.json", workspace / "built.html")
    command = ("build", workspace / "net.onnx", "--samples", workspace / "calibration", "-o", built)
    result = _openbpu(*command, *(a for r in reports for a in ("--report", r)), "--fail-under", "0.99999")
    assert result.returncode == 3, result.stderr
    assert "is below --fail-under 0.99999" in result.stderr
    assert "what adds most error" in result.stdout and "BPU" in result.stdout
    cosine = json.loads(reports[0].read_text())["cosine"]
    assert 0.9 < cosine < 0.99999 and f"cosine {cosine:.5f}" in result.stdout and "<svg" in reports[1].read_text()
    assert json.loads(_ok("info", built, "--json"))["ports"]


def test_check_says_where_nodes_run_and_why(workspace: Path) -> None:
    reports = (workspace / "placement.json", workspace / "placement.html")
    name = json.loads(_ok("check", workspace / "net.onnx", "--json"))["nodes"][0]["node"]
    text = _ok(
        *("check", workspace / "net.onnx", "--run-on-cpu", name),
        *(argument for report in reports for argument in ("-o", report)),
    )
    assert "CPU 1 (" in text
    found = json.loads(reports[0].read_text())
    assert "asked to run on the CPU" in found["nodes"][0]["reason"]
    assert found["counts"]["CPU"] == 1 and found["nodes"][0]["where"] == "CPU"
    assert name in reports[1].read_text() and "<script" not in reports[1].read_text()


def test_a_float_model_compiles_for_the_cpu_and_says_so(workspace: Path) -> None:
    result = _openbpu("compile", workspace / "net.onnx", "-o", workspace / "float.bpux")
    assert result.returncode == 0 and "nothing of this model runs on the BPU" in result.stderr
    assert "BPU 0 nodes, CPU" in result.stdout
    assert "BPU 0 nodes, CPU" in _ok("info", workspace / "float.bpux")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["compile", "missing.onnx"], "missing.onnx"),
        (["quantize", "net.onnx", "--samples", "nowhere"], "nowhere"),
        (["compile", "net.onnx", "--run-on-cpu", "nothing"], "nothing"),
        (["check", "net.onnx", "--output-nodes", "nothing"], "nothing"),
        (["compile", "calibration/00.npy"], "00.npy"),
        (["info", "net.onnx"], "net.onnx"),
        (["run", "net.onnx", "--input", "calibration/00.npy"], "net.onnx"),
        (["compile", "net.onnx", "--march", "nash-z"], "nash-z"),
    ],
)
def test_failures_are_one_line_and_exit_1(workspace: Path, arguments: list[str], message: str) -> None:
    before = sorted(workspace.rglob("*"))
    result = _openbpu(*arguments, cwd=workspace)
    assert result.returncode == 1, result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("openbpu: error:")]
    assert len(errors) == 1, result.stderr
    assert message in errors[0]
    assert "Traceback" not in result.stderr
    assert sorted(workspace.rglob("*")) == before, "something half-written stayed behind"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["quantize"],
        ["bench", "x", "--runs", "0"],
        ["quantize", "n", "--samples", "s", "--input-shape", "x:1x?"],
    ],
)
def test_wrong_command_lines_exit_2(arguments: list[str]) -> None:
    result = _openbpu(*arguments)
    assert result.returncode == 2
    assert "Usage" in result.stderr


def test_perf_takes_models_and_executables(workspace: Path) -> None:
    report, trace = workspace / "perf.json", workspace / "net.trace.json"
    text = _ok("perf", workspace / "net.onnx", "--march", "nash-m", "-o", report, "-o", trace, "--advice", 1)
    assert "nash-m: " in text and "x ideal" in text and "slower than in theory" in text
    data = json.loads(report.read_text())
    assert data["summary"]["model info"]["BPU march"] == "nash-m"
    assert json.loads(trace.read_text())["traceEvents"]
    ports = ("--remove-node-type", "Quantize", "--remove-node-type", "Dequantize", "--json")
    bare = json.loads(_ok("perf", workspace / "net.onnx", "--march", "nash-m", *ports))
    assert bare["openbpu"]["busy_us"]["CPU"] == 0 < data["openbpu"]["busy_us"]["CPU"]
    (workspace / "mine.toml").write_text('base = "nash-b"\nsram_bytes = 131072\n')
    arguments = ("--samples", workspace / "calibration", "-o", workspace / "perf.qdq.onnx")
    _ok("quantize", workspace / "net.onnx", *arguments)
    target = ("-o", workspace / "perf.bpux", "--march", workspace / "mine.toml", "--advice", 0)
    assert "slower than in theory" in _ok("compile", workspace / "perf.qdq.onnx", *target)
    (worst, *_) = json.loads(_ok("compile", workspace / "perf.qdq.onnx", *target, "--json"))["advice"]
    assert worst["slower_us"] > 0 and worst["cause"] and worst["remedy"]
    (workspace / "mine.toml").unlink()
    kept = json.loads(_ok("perf", workspace / "perf.bpux", "--json"))["openbpu"]["profile"]
    assert (kept["name"], kept["sram_bytes"]) == ("mine", 131072)
    listing = _ok("info", workspace / "perf.bpux", "--disassemble")
    assert "; mine: " in listing and "; layer 2: " in listing
    assert "; nash-m: " in _ok("info", workspace / "perf.bpux", "--disassemble", "--march", "nash-m")
    result = _openbpu("perf", workspace / "perf.bpux", "-o", workspace / "perf.pdf")
    assert result.returncode == 1 and "perf.pdf" in result.stderr


def test_unwritable_output_is_named(workspace: Path) -> None:
    _ok("quantize", workspace / "net.onnx", "--samples", workspace / "calibration", "-o", workspace / "q.onnx")
    (workspace / "file").write_bytes(b"")
    result = _openbpu("compile", workspace / "q.onnx", "-o", workspace / "file" / "net.bpux")
    assert result.returncode == 1
    assert "net.bpux" in result.stderr
    assert "Traceback" not in result.stderr
    result = _openbpu(
        "quantize", "net.onnx", "--samples", workspace / "calibration", "-o", workspace / "file" / "q.onnx"
    )
    assert result.returncode == 1 and "must be writable" in result.stderr and "calibrate" not in result.stderr


def test_interrupt_stops_cleanly(workspace: Path) -> None:
    many = workspace / "many"
    many.mkdir()
    for index in range(12000):
        (many / f"{index:05}.npy").hardlink_to(workspace / "calibration" / "00.npy")
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", "quantize", "net.onnx"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import openbpu.pipeline"], check=True, timeout=60)
    importing = time.perf_counter() - start  # so that the signal meets the work, on a busy machine too
    process = subprocess.Popen(
        [*command, "--samples", "many", "-o", "never.onnx"],
        cwd=workspace,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(max(2.5, 3 * importing))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not list(workspace.glob("*never*"))


def test_warnings_are_lines_and_the_float_model_is_kept(workspace: Path) -> None:
    one, net = ("--samples", workspace / "calibration" / "00.npy"), workspace / "net.onnx"
    quick = ("--calibration", "max", "--refinement", "none")
    result = _openbpu("quantize", net, *one, "-o", workspace / "one.qdq.onnx", *quick)
    assert result.returncode == 0
    assert "openbpu: warning: one calibration sample only" in result.stderr and ".py:" not in result.stderr
    before = net.read_bytes()
    result = _openbpu("quantize", net, *one, "-o", net, *quick)
    assert result.returncode == 2 and "would replace the float model" in result.stderr and net.read_bytes() == before


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "openbpu", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0 and "openbpu" in result.stdout


def test_a_poor_result_has_an_exit_code_of_its_own(workspace: Path) -> None:
    samples = ("--samples", workspace / "calibration")
    _ok("quantize", workspace / "net.onnx", *samples, "-o", workspace / "poor.qdq.onnx")
    command = ("accuracy", workspace / "net.onnx", workspace / "poor.qdq.onnx", *samples, "--fail-under")
    report = json.loads(_ok(*command, 0.5, "--json"))
    assert 0.9 < report["cosine"] < 1
    result = _openbpu(*command, 0.999999)
    assert result.returncode == 3
    assert "is below --fail-under 0.999999" in result.stderr
