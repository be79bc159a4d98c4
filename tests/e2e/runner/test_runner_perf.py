"""bpux-run perf: honest figures, profiles, and an end when it is asked for one."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openbpu
from e2e.runner.calls import Runner, figures
from unit import runtime_programs as programs


def test_throughput_is_frames_by_run_time(run: Runner) -> None:
    start = time.perf_counter()
    shown = figures(run.ok("perf", "--model_file=net.bpux", "--frame_count=30"))
    wall = (time.perf_counter() - start) * 1e3
    assert (shown["threads"], shown["frames"]) == (1, 30)
    assert shown["throughput"] == pytest.approx(1e3 * 30 / shown["run time"], rel=1e-4)  # six digits are printed
    assert 0 < shown["latency"] * 30 <= shown["run time"] * 1.01 < wall
    assert figures(run.ok("perf", "--model_file=net.bpux"))["frames"] == 200


def test_a_run_by_time(run: Runner) -> None:
    start = time.perf_counter()
    arguments = ("--perf_time_in_seconds=1", "--thread_num=2", "--frame_count=1")
    shown = figures(run.ok("perf", "--model_file=net.bpux", *arguments))
    assert 1000 <= shown["run time"] < (time.perf_counter() - start) * 1e3
    assert shown["frames"] > 1


def _times(value: dict[str, float]) -> tuple[float, float, float]:
    assert set(value) == {"avg_time", "max_time", "min_time"}
    assert 0 <= value["min_time"] <= value["avg_time"] <= value["max_time"]
    return value["avg_time"], value["max_time"], value["min_time"]


@pytest.fixture
def profiled(run: Runner, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, str]], str]:
    """Both objects of profiler.log, the rows of profiler.csv, and what was printed."""
    target = tmp_path / "deep" / "er"
    out = run.ok("perf", "--model_file=net.bpux", "--frame_count=40", "--thread_num=2", f"--profile_path={target}")
    assert sorted(file.name for file in target.iterdir()) == ["profiler.csv", "profiler.log"]
    first, second = (json.loads(part) for part in (target / "profiler.log").read_text().split("***"))
    return first, second, list(csv.DictReader(io.StringIO((target / "profiler.csv").read_text()))), out


def test_profiler_log(profiled: tuple[dict[str, Any], dict[str, Any], list[dict[str, str]], str]) -> None:
    first, second, _, out = profiled
    shown = figures(out)
    condition = first["running_condition"]
    assert condition == {
        "core_id": 0,
        "frame_count": 40,
        "model_name": "small",
        "run_time": pytest.approx(shown["run time"], rel=1e-5),
        "thread_num": 2,
    }
    assert first["perf_result"] == {
        "FPS": pytest.approx(1e3 * 40 / condition["run_time"], rel=1e-5),
        "average_latency": pytest.approx(shown["latency"], rel=1e-3),
    }
    assert set(second) == {"model_latency", "processor_latency", "task_latency"}
    nodes = list(second["model_latency"])
    assert nodes == ["Node-0-CPU-QUANTIZE", "Node-1-BPU-CONV2D_bpu_segment_0", "Node-2-CPU-DEQUANTIZE"]
    bpu = second["model_latency"][nodes[1]]
    assert list(bpu) == ["Stage1-GenerateBpuTask", "Stage2-BpuCoreProcess", "Total"]
    assert list(second["model_latency"][nodes[0]]) == ["Total"]
    means = {name: [_times(times)[0] for times in stages.values()] for name, stages in second["model_latency"].items()}
    # The nodes follow one another without a gap, and a node of the CPU has one figure for waiting and work.
    assert sum(means[node][-1] for node in nodes) <= _times(second["task_latency"]["TaskRunningTime"])[0] * 1.001
    assert sum(means[nodes[1]][:2]) == pytest.approx(means[nodes[1]][2], abs=2e-6)  # six digits are written
    processors = {key: _times(times)[0] for key, times in second["processor_latency"].items()}
    assert processors["BPU_inference_time_cost"] == pytest.approx(means[nodes[1]][1], abs=2e-6)
    mean, most, least = _times(second["task_latency"]["TaskRunningTime"])
    assert sum(processors.values()) <= mean
    assert least <= first["perf_result"]["average_latency"] <= most


def test_profiler_csv(profiled: tuple[dict[str, Any], dict[str, Any], list[dict[str, str]], str]) -> None:
    _, second, rows, _ = profiled
    expected = [
        (node, node.split("-")[2], stage, *_times(times))
        for node, stages in second["model_latency"].items()
        for stage, times in stages.items()
    ]
    got = [
        (r["node"], r["processor"], r["stage"], float(r["avg_ms"]), float(r["max_ms"]), float(r["min_ms"]))
        for r in rows
    ]
    assert got[: len(expected)] == expected
    assert [row[0] for row in got[len(expected) :]] == [*second["processor_latency"], *second["task_latency"]]


def test_interrupt_ends_with_the_results_so_far(run: Runner, tmp_path: Path) -> None:
    command = [str(run.binary), "perf", "--model_file=net.bpux", "--perf_time=10", f"--profile_path={tmp_path}"]
    process = subprocess.Popen(command, cwd=run.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""
    assert "(interrupted)" in out
    assert figures(out)["frames"] > 0
    assert json.loads((tmp_path / "profiler.log").read_text().split("***")[0])["perf_result"]["FPS"] > 0


# ---- scheduling


@pytest.fixture(scope="module")
def long_run(folder: Path) -> str:
    """A program of some hundred milliseconds in short instructions."""
    (folder / "long.bpux").write_bytes(programs.convolution(channels=512, repeats=4000))
    return "--model_file=long.bpux"


def test_a_run_that_takes_too_long_fails(run: Runner, long_run: str) -> None:
    message = run.error("perf", long_run, "--task_timeout=1", "--enable_warmup=false", "--frame_count=3")
    assert "time" in message, message
    run.ok("perf", "--model_file=net.bpux", "--task_timeout=60000", "--frame_count=3")


def test_an_interrupt_need_not_wait_for_the_frame(run: Runner, long_run: str) -> None:
    command = [str(run.binary), "perf", long_run, "--isa=scalar", "--enable_warmup=false", "--thread_num=2"]
    process = subprocess.Popen(command, cwd=run.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)  # a frame takes minutes
    assert process.returncode == 0 and errors == ""
    assert "frames        0 (interrupted)" in out


@pytest.mark.parametrize("priority", [0, 253, 254, 255])
def test_priorities_change_no_results(run: Runner, tmp_path: Path, priority: int) -> None:
    expected = openbpu.Session(run.folder / "net.bpux").run(np.load(run.folder / "x.npy"))["logits"]
    arguments = ("--model_file=net.bpux", "--input_file=x.npy", f"--task_priority={priority}", "--thread_num=4")
    run.ok("perf", *arguments, "--core_id=2", "--enable_dump", f"--dump_path={tmp_path}", "--frame_count=40")
    assert (tmp_path / "model_infer_output_0_logits.bin").read_bytes() == expected.tobytes()


def test_a_dump_is_written_whoever_ran_the_frame(run: Runner, tmp_path: Path) -> None:
    for repeat in range(5):
        arguments = ("--thread_num=32", "--frame_count=1", "--enable_warmup=false", "--input_file=x.npy")
        run.ok("perf", "--model_file=net.bpux", *arguments, "--enable_dump", f"--dump_path={tmp_path / str(repeat)}")
        assert [file.name for file in (tmp_path / str(repeat)).iterdir()] == ["model_infer_output_0_logits.bin"]
