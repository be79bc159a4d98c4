"""bpux-run as a user calls it: the same bytes as the Python session, honest figures, one error line for bad input."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import openbpu
from unit import runtime_programs as programs


class Runner:
    """Calls the binary in a folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.binary), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)

    def ok(self, *arguments: object) -> str:
        result = self.call(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def error(self, *arguments: object) -> str:
        """The error line of a call that fails as it should, leaving nothing behind."""
        before = sorted(self.folder.rglob("*"))
        result = self.call(*arguments)
        assert result.returncode == 1, result.stdout + result.stderr
        lines = [line for line in result.stderr.splitlines() if not line.startswith(f"{self.binary.name}: note:")]
        assert len(lines) == 1 and lines[0].startswith(f"{self.binary.name}: error: "), result.stderr
        assert sorted(self.folder.rglob("*")) == before, "something half-written stayed behind"
        return lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, float_model: onnx.ModelProto, samples: list[np.ndarray]) -> Path:
    """net.bpux, the same under another name, small programs, and one image in every form."""
    folder = tmp_path_factory.mktemp("runner")
    qdq = openbpu.quantize(float_model, samples)
    executable = openbpu.compile(qdq)
    executable.save(folder / "net.bpux")
    qdq.graph.name = "second"
    openbpu.compile(qdq).save(folder / "renamed.bpux")
    (folder / "second.bpux").write_bytes(programs.copies(("a", "y", "int8"), ("b", "z", "float32")))
    (folder / "trap.bpux").write_bytes(programs.trap(7))
    (folder / "broken.bpux").write_bytes(executable.to_bytes()[:-1])
    x = samples[3]
    np.save(folder / "x.npy", x)
    (folder / "x.bin").write_bytes(x.tobytes())
    (folder / "x.txt").write_text(" ".join(f"{v:.9g}" for v in x.reshape(-1)))
    padded = np.full((1, 3, 32, 64), np.nan, np.float32)
    padded[..., :32] = x
    (folder / "padded.bin").write_bytes(padded.tobytes())
    return folder


@pytest.fixture
def run(runner: Path, folder: Path) -> Runner:
    return Runner(runner / "bpux-run", folder)


def _small(tmp_path: Path, runner: Path, dtype: str, x: np.ndarray) -> Runner:
    """A folder with a program that copies input a to output y."""
    (tmp_path / "copy.bpux").write_bytes(programs.copies(("a", "y", dtype)))
    np.save(tmp_path / "a.npy", x)
    return Runner(runner / "bpux-run", tmp_path)


# ---- the binary


def test_the_binary_is_static(runner: Path) -> None:
    data = (runner / "bpux-run").read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    table, size, count = (struct.unpack_from(f"<{f}", data, at)[0] for f, at in (("Q", 32), ("H", 54), ("H", 56)))
    kinds = [struct.unpack_from("<I", data, table + k * size)[0] for k in range(count)]
    assert 1 in kinds and 3 not in kinds, "segments: some to load, no dynamic loader asked for"


def test_the_alias_behaves_the_same(runner: Path, folder: Path, run: Runner) -> None:
    alias = Runner(runner / "hrt_model_exec", folder)
    arguments = ("model_info", "--model_file=net.bpux")
    assert alias.ok(*arguments) == run.ok(*arguments)
    assert alias.error("perf").startswith("hrt_model_exec: error: --model_file")
    assert alias.ok("--help").replace("hrt_model_exec", "bpux-run") == run.ok("--help") == run.ok() == run.ok("help")


def test_the_wheel_brings_both_names(folder: Path) -> None:
    try:
        files = importlib.metadata.files("openbpu") or []
    except importlib.metadata.PackageNotFoundError:
        if "OPENBPU_REQUIRE_ALL" in os.environ:
            raise
        pytest.skip("openbpu is not installed")
    for name in ("bpux-run", "hrt_model_exec"):
        (path,) = (Path(str(file.locate())) for file in files if file.name == name)
        Runner(path, folder).ok("model_info", "--model_file=net.bpux")


def test_version(run: Runner) -> None:
    assert run.ok("--version").startswith(f"openbpu {openbpu.__version__}, instruction set 1")


# ---- results


@pytest.mark.parametrize(
    "source", [("x.npy",), ("x.bin",), ("x.txt",), ("padded.bin", "--input_stride=24576,8192,256,4")]
)
@pytest.mark.parametrize("form", ["bin", "npy", "txt"])
def test_outputs_are_those_of_the_session(
    run: Runner, tmp_path: Path, samples: list[np.ndarray], source: tuple[str, ...], form: str
) -> None:
    expected = openbpu.Session(run.folder / "net.bpux").run(samples[3])["logits"]
    arguments = ("infer", "--model_file", "net.bpux", "--input_file", *source)
    run.ok(*arguments, "--enable_dump", "--dump_path", tmp_path, "--dump_format", form)
    (file,) = tmp_path.iterdir()
    assert file.name == f"model_infer_output_0_logits.{form}"
    if form == "bin":
        assert file.read_bytes() == expected.tobytes()
    elif form == "npy":
        got = np.load(file)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert got.tobytes() == expected.tobytes()
    else:
        lines = file.read_text().splitlines()
        assert lines == [f"{v:.9f}" for v in expected.reshape(-1)]


@pytest.mark.parametrize("isa", openbpu._native.available_isas())
def test_every_isa_and_several_cores_give_the_same_bytes(run: Runner, tmp_path: Path, isa: str) -> None:
    expected = openbpu.Session(run.folder / "net.bpux").run(np.load(run.folder / "x.npy"))["logits"]
    arguments = ("infer", "--model_file=net.bpux", "--input_file=x.npy", f"--isa={isa}", "--core_id=1,2")
    run.ok(*arguments, "--enable_dump", f"--dump_path={tmp_path}")
    assert (tmp_path / "model_infer_output_0_logits.bin").read_bytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_every_type_in_every_form(runner: Path, tmp_path: Path, dtype: str) -> None:
    limits = [0, 1] if dtype == "bool" else [-1.5, 1e30] if dtype == "float32" else list(_limits(dtype))
    x = np.array([limits * 3], dtype).reshape(2, 3)
    run = _small(tmp_path, runner, dtype, x)
    (tmp_path / "a.bin").write_bytes(x.tobytes())
    words = x.astype(np.int8) if dtype == "bool" else x
    (tmp_path / "a.txt").write_text("\n".join(", ".join(str(v) for v in row) for row in words.tolist()))
    for form in ("npy", "bin", "txt"):
        run.ok("infer", "--model_file=copy.bpux", f"--input_file=a.{form}", "--enable_dump", f"--dump_format={form}")
        file = tmp_path / f"model_infer_output_0_y.{form}"
        if form == "npy":
            assert np.load(file).dtype == x.dtype
            np.testing.assert_array_equal(np.load(file), x)
        elif form == "bin":
            assert file.read_bytes() == x.tobytes()
        else:
            np.testing.assert_array_equal(
                np.loadtxt(file).astype(dtype) if dtype != "int64" else _longs(file), x.ravel()
            )


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float16", "float64"])
def test_types_of_cpu_parts(runner: Path, tmp_path: Path, dtype: str) -> None:
    values = [-1.5, 65504, 2.0**-24, 0, np.inf, 0.1] if dtype.startswith("float") else [*_limits(dtype), 1, 2, 3, 4]
    x = np.array(values, dtype).reshape(2, 3)
    (tmp_path / "copy.bpux").write_bytes(programs.identities(("a", "y", dtype)))
    np.save(tmp_path / "a.npy", x)
    (tmp_path / "a.txt").write_text(" ".join(repr(v) for v in x.ravel().tolist()))
    run = Runner(runner / "bpux-run", tmp_path)
    assert f"tensor type        {dtype}\n" in run.ok("model_info", "--model_file=copy.bpux")
    for source in ("npy", "txt"):
        arguments = ("infer", "--model_file=copy.bpux", f"--input_file=a.{source}", "--enable_dump")
        run.ok(*arguments, "--dump_format=npy", "--dump_intermediate=1")
        got = np.load(tmp_path / "model_infer_output_0_y.npy")
        assert (got.dtype, got.tobytes()) == (x.dtype, x.tobytes())
        assert (tmp_path / "instruction_0000_Identity.bin").read_bytes() == x.tobytes()
        run.ok(*arguments, "--dump_format=txt", "--dump_precision=30")
        words = (tmp_path / "model_infer_output_0_y.txt").read_text().split()
        assert [float(w) if x.dtype.kind == "f" else int(w) for w in words] == x.ravel().tolist()
    run.ok("perf", "--model_file=copy.bpux", "--profile_path=.")  # random data of the type
    second = json.loads((tmp_path / "profiler.log").read_text().split("***")[1])
    assert list(second["model_latency"]) == ["Node-0-CPU-Identity"]


def _limits(dtype: str) -> tuple[int, int]:
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _longs(file: Path) -> np.ndarray:
    return np.array([int(line) for line in file.read_text().split()], np.int64)


def test_quantised_outputs_can_be_dequantised(runner: Path, tmp_path: Path) -> None:
    x = np.array([[-128, -1, 0], [1, 2, 127]], np.int8)  # scale 0.5, zero point 1
    run = _small(tmp_path, runner, "int8", x)
    expected = ((x.astype(np.float32) - 1) * 0.5).astype(np.float32)
    for form in ("npy", "bin", "txt"):
        arguments = ("--hybrid_dequantize_process", "--enable_dump", f"--dump_format={form}", "--dump_precision=2")
        run.ok("infer", "--model_file=copy.bpux", "--input_file=a.npy", *arguments)
    assert np.load(tmp_path / "model_infer_output_0_y.npy").dtype == np.float32
    np.testing.assert_array_equal(np.load(tmp_path / "model_infer_output_0_y.npy"), expected)
    assert (tmp_path / "model_infer_output_0_y.bin").read_bytes() == expected.tobytes()
    assert (tmp_path / "model_infer_output_0_y.txt").read_text().split() == [f"{v:.2f}" for v in expected.ravel()]


@pytest.mark.parametrize("axis,lines", [(-1, 6), (0, 1), (1, 2), (2, 6)])
def test_lines_of_text(runner: Path, tmp_path: Path, axis: int, lines: int) -> None:
    run = _small(tmp_path, runner, "int32", np.arange(6, dtype=np.int32).reshape(2, 3))
    arguments = ("--enable_dump", "--dump_format=txt", f"--dump_txt_axis={axis}")
    run.ok("infer", "--model_file=copy.bpux", "--input_file=a.npy", *arguments)
    text = (tmp_path / "model_infer_output_0_y.txt").read_text()
    assert len(text.splitlines()) == lines and text.endswith("\n")
    assert text.split() == list("012345")


def test_best_classes(run: Runner, samples: list[np.ndarray]) -> None:
    logits = openbpu.Session(run.folder / "net.bpux").run(samples[3])["logits"][0]
    out = run.ok("infer", "--model_file=net.bpux", "--input_file=x.npy", "--enable_cls_post_process")
    found = re.findall(r"logits +TOP (\d): class (\d+), score (\S+)", out)
    assert [int(rank) for rank, _, _ in found] == list(range(5))
    assert [int(index) for _, index, _ in found] == np.argsort(-logits, kind="stable")[:5].tolist()
    np.testing.assert_allclose([float(s) for _, _, s in found], np.sort(logits)[::-1][:5], rtol=1e-5)  # %g: 6 digits


def test_model_info_says_what_the_executable_says(run: Runner) -> None:
    out = run.ok("model_info", "--model_file", "net.bpux,second.bpux")
    for file in ("net.bpux", "second.bpux"):
        executable = openbpu.load(run.folder / file)
        assert f"{executable.entries[0]} ({file})" in out
        for port in executable.ports():
            assert f"name               {port.name}\n" in out
            assert f"({','.join(map(str, port.shape))})" in out
            assert port.dtype in out
    assert "scale 0.5, zero point 1" in out
    assert "(12288,4096,128,4)" in out  # strides of 1x3x32x32 floats
    assert run.ok("model_info", "-model_file", "net.bpux", "--model-name=small").count("model  ") == 1


# ---- values between


def _values(run: Runner, target: Path, *options: object) -> dict[str, tuple[np.ndarray, float, int]]:
    """What --dump_intermediate has written, by operation: array, scale, zero point."""
    arguments = ("infer", "--model_file=net.bpux", "--input_file=x.npy", f"--dump_path={target}", *options)
    found = {}
    pattern = r"dumped +(\S+/instruction_\d{4}_(\w+)\.bin) (\w+) (\S+) scale (\S+) zero point (-?\d+)"
    for path, op, dtype, shape, scale, zero_point in re.findall(pattern, run.ok(*arguments)):
        array = np.frombuffer(Path(path).read_bytes(), dtype).reshape(tuple(map(int, shape.split("x"))))
        found[f"{op}{sum(key.startswith(op) for key in found) or ''}"] = (array, float(scale), int(zero_point))
    return found


def test_values_between_are_those_that_the_instructions_make(run: Runner, tmp_path: Path) -> None:
    x = np.load(run.folder / "x.npy")
    values = _values(run, tmp_path, "--dump_intermediate=1")
    q, scale, zero_point = values["QUANTIZE"]
    expected = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
    assert np.mean(q != expected.transpose(0, 2, 3, 1)) < 1e-3, "scales are printed with nine digits"
    added = values["ADD"][0]
    pooled = added.reshape(1, 8, 2, 8, 2, -1).max((2, 4))
    np.testing.assert_array_equal(values["MAXPOOL"][0], pooled)
    logits, scale, zero_point = values["MATMUL"]
    real = openbpu.Session(run.folder / "net.bpux").run(x)["logits"]
    np.testing.assert_allclose((logits.reshape(real.shape).astype(np.float32) - zero_point) * scale, real, rtol=1e-6)
    np.testing.assert_array_equal(values["DEQUANTIZE"][0].reshape(real.shape), real)
    steps = openbpu.Session(run.folder / "net.bpux").explain().steps
    assert len(values) == len(steps) == len(list(tmp_path.iterdir()))
    assert {f"instruction_{s.instruction:04}_{s.op}.bin" for s in steps} == {file.name for file in tmp_path.iterdir()}


def test_values_between_are_the_same_on_every_isa(run: Runner, tmp_path: Path) -> None:
    reference = _values(run, tmp_path / "scalar", "--dump_intermediate=1", "--isa=scalar")
    for isa in openbpu._native.available_isas():
        values = _values(run, tmp_path / isa, "--dump_intermediate=1", f"--isa={isa}", "--core_id=1,2")
        assert {k: v[0].tobytes() for k, v in values.items()} == {k: v[0].tobytes() for k, v in reference.items()}


@pytest.mark.parametrize("level", [2, 3])
def test_values_between_as_text(run: Runner, tmp_path: Path, level: int) -> None:
    values = _values(run, tmp_path, f"--dump_intermediate={level}", "--dump_precision=6")
    array, scale, zero_point = values["CONV2D"]
    (text, *_) = sorted(tmp_path.glob("*_CONV2D.txt"))
    got = np.loadtxt(text)
    assert got.shape == (array.size // array.shape[-1], array.shape[-1]), "a line is a pixel"
    expected = array if level == 2 else (array.astype(np.float64) - zero_point) * scale
    np.testing.assert_allclose(got, expected.reshape(got.shape), atol=0 if level == 2 else 1e-6)  # six digits
    assert len(list(tmp_path.iterdir())) == 2 * len(values)


# ---- perf


def _figures(out: str) -> dict[str, float]:
    keys = ("threads", "frames", "run time", "latency", "throughput")
    return {key: float(re.search(rf"^{key} +([\d.]+)", out, re.MULTILINE)[1]) for key in keys}  # type: ignore[index]


def test_throughput_is_frames_by_run_time(run: Runner) -> None:
    start = time.perf_counter()
    figures = _figures(run.ok("perf", "--model_file=net.bpux", "--frame_count=30"))
    wall = (time.perf_counter() - start) * 1e3
    assert (figures["threads"], figures["frames"]) == (1, 30)
    assert figures["throughput"] == pytest.approx(1e3 * 30 / figures["run time"], rel=1e-4)  # six digits are printed
    assert 0 < figures["latency"] * 30 <= figures["run time"] * 1.01 < wall
    assert _figures(run.ok("perf", "--model_file=net.bpux"))["frames"] == 200


def test_a_run_by_time(run: Runner) -> None:
    start = time.perf_counter()
    arguments = ("--perf_time_in_seconds=1", "--thread_num=2", "--frame_count=1")
    figures = _figures(run.ok("perf", "--model_file=net.bpux", *arguments))
    assert 1000 <= figures["run time"] < (time.perf_counter() - start) * 1e3
    assert figures["frames"] > 1


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
    figures = _figures(out)
    condition = first["running_condition"]
    assert condition == {
        "core_id": 0,
        "frame_count": 40,
        "model_name": "small",
        "run_time": pytest.approx(figures["run time"], rel=1e-5),
        "thread_num": 2,
    }
    assert first["perf_result"] == {
        "FPS": pytest.approx(1e3 * 40 / condition["run_time"], rel=1e-5),
        "average_latency": pytest.approx(figures["latency"], rel=1e-3),
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
    assert _figures(out)["frames"] > 0
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


# ---- options


@pytest.mark.parametrize(
    "arguments",
    [
        "infer --model_file=net.bpux --input_file=x.npy --enable_dump --dump_path={}",
        "infer --model_file net.bpux --input_file x.npy --enable_dump true --dump_path {}",
        "-model_file=net.bpux -input_file=x.npy infer -enable_dump=1 -dump_path {}",
        "--model-file net.bpux --enable-dump infer --input-file=x.npy --dump-path={}",
        "infer --noenable_dump --model_file=net.bpux --input_file=x.npy --dump_path={} --enable_dump",
    ],
)
def test_options_are_written_in_many_ways(run: Runner, tmp_path: Path, arguments: str) -> None:
    run.ok(*arguments.format(tmp_path).split())
    assert [file.name for file in tmp_path.iterdir()] == ["model_infer_output_0_logits.bin"]


@pytest.mark.parametrize("switch", ["--noenable_dump", "--enable_dump=false", "--enable_dump 0", ""])
def test_switches_that_are_off(run: Runner, tmp_path: Path, switch: str) -> None:
    run.ok("infer", "--model_file=net.bpux", "--input_file=x.npy", *switch.split(), f"--dump_path={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_options_without_meaning_are_said_to_have_no_effect(run: Runner) -> None:
    result = run.call("model_info", "--model_file=net.bpux", "--log_level", "2", "--roi_infer", "--thread_num=4")
    assert result.returncode == 0
    notes = result.stderr.splitlines()
    assert len(notes) == 3 and all(" has no effect" in note for note in notes)
    assert notes[2] == "bpux-run: note: --thread_num has no effect with model_info"


_X = "--model_file=net.bpux --input_file=x.npy"


@pytest.mark.parametrize(
    "arguments,words",
    [
        ("inferr --model_file=net.bpux", ["inferr", "did you mean infer?"]),
        ("perf --modelfile=net.bpux", ["--modelfile", "did you mean --model_file?"]),
        ("perf --frames=3", ["did you mean --frame_count?"]),
        ("perf --xyzzy", ["--xyzzy", "--help"]),
        ("perf extra --model_file=net.bpux", ["extra", "perf"]),
        ("perf --model_file", ["--model_file", "needs a value"]),
        ("perf", ["--model_file", "needed"]),
        ("perf --model_file=net.bpux --thread_num=0", ["--thread_num", "1 to 32", "0"]),
        ("perf --model_file=net.bpux --thread_num=33", ["--thread_num", "33"]),
        ("perf --model_file=net.bpux --thread_num=two", ["--thread_num", "two"]),
        ("perf --model_file=net.bpux --frame_count=99999999999999999999", ["--frame_count"]),
        ("perf --model_file=net.bpux --enable_warmup=maybe", ["--enable_warmup", "true or false", "maybe"]),
        ("perf --model_file=net.bpux --core_id=5", ["--core_id", "5"]),
        ("perf --model_file=net.bpux --core_id=1,1", ["--core_id", "1,1"]),
        ("perf --model_file=net.bpux --core_id=0,1", ["--core_id", "0,1"]),
        ("perf --model_file=net.bpux --task_priority=256", ["--task_priority", "0 to 255", "256"]),
        (f"infer {_X} --dump_intermediate=4", ["--dump_intermediate", "0 to 3"]),
        ("perf --model_file=net.bpux --isa=sse9", ["sse9", "scalar"]),
        ("perf --model_file=missing.bpux", ["missing.bpux", "No such file"]),
        ("perf --model_file=.", ["error: .: cannot be read"]),
        ("perf --model_file=x.npy", ["x.npy", "magic"]),
        ("perf --model_file=broken.bpux", ["broken.bpux", "file_size"]),
        ("perf --model_file=net.bpux,second.bpux", ["--model_name", "small (net.bpux)", "copies (second.bpux)"]),
        ("perf --model_file=net.bpux,net.bpux --model_name=small", ["--model_name", "several"]),
        ("perf --model_file=net.bpux --model_name=smallx", ["smallx", "did you mean small?"]),
        ("infer --model_file=net.bpux", ["--input_file", "needed"]),
        ("infer --model_file=net.bpux --input_file=x.npy,x.npy", ["--input_file", "1", "got 2"]),
        ("infer --model_file=net.bpux --input_file=missing.npy", ["input image", "missing.npy", "No such file"]),
        (
            "infer --model_file=net.bpux --input_file=cat.jpg",
            ["cat.jpg", "decoded", "numpy.save", "float32, 1x3x32x32"],
        ),
        ("infer --model_file=net.bpux --input_file=x.dat", ["x.dat", ".npy, .bin or .txt"]),
        (f"infer {_X} --input_valid_shape=1,3,64,64", ["1x3x32x32", "1x3x64x64", "Compile"]),
        (f"infer {_X} --input_valid_shape=1,3,64", ["4 dimensions", "1,3,64"]),
        (f"infer {_X} --input_valid_shape=1,3,x,64", ["whole numbers"]),
        (f"infer {_X} --input_valid_shape=1,3,32,32;1", ["one list per input", "got 2"]),
        (f"infer {_X} --input_stride=12288,4096,128,4", ["--input_stride", ".bin"]),
        ("infer --model_file=net.bpux --input_file=x.bin --input_stride=12288,4096,64,4", ["stride 2", "128", "64"]),
        ("infer --model_file=net.bpux --input_file=x.bin --input_stride=24576,8192,256,4", ["input_stride", "12288"]),
        ("infer --model_file=net.bpux --input_file=padded.bin", ["padded.bin", "12288"]),
        (f"infer {_X} --enable_dump --dump_format=jpg", ["--dump_format", "jpg"]),
        (f"infer {_X} --enable_dump --dump_format=txt --dump_txt_axis=3", ["logits", "2 dimensions", "3"]),
        (f"infer {_X} --enable_dump --dump_path=x.npy", ["x.npy", "folder"]),
        (f"infer {_X} --enable_dump --dump_path=x.npy/deeper", ["x.npy/deeper"]),
        ("perf --model_file=net.bpux --profile_path=x.npy", ["x.npy", "folder"]),
        ("perf --model_file=trap.bpux", ["trap 7"]),
    ],
)
def test_bad_command_lines_and_files(run: Runner, arguments: str, words: list[str]) -> None:
    (run.folder / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    (run.folder / "x.dat").write_bytes(b"")
    message = run.error(*arguments.split())
    for word in words:
        assert word in message, message


_FLOATS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "dtype,name,data,words",
    [
        ("float32", "a.npy", np.zeros((2, 3)), ["<f4", "<f8", "astype('float32')"]),
        ("float32", "a.npy", np.zeros((3, 2), np.float32), ["2x3", "3x2"]),
        ("float32", "a.npy", np.asfortranarray(_FLOATS), ["C order"]),
        ("int16", "a.npy", np.zeros((2, 3), ">i2"), ["<i2", ">i2"]),
        ("float32", "a.npy", np.zeros(2, [("x", "<f4")]), ["plain element type"]),
        ("float32", "a.npy", b"", ["magic"]),
        ("float32", "a.npy", b"\x93NUMPY\x01\x00\xff\xff" + bytes(50), ["beyond the file"]),
        ("float32", "a.npy", b"\x93NUMPY\x09\x00" + bytes(100), ["version"]),
        ("float32", "a.npy", b"\x93NUMPY\x01\x00\x10\x00" + b" " * 16 + bytes(24), ["element type"]),
        ("float32", "a.bin", bytes(23), ["24 bytes", "holds 23"]),
        ("float32", "a.bin", bytes(25), ["more than the 24 bytes"]),
        ("float32", "a.bin", b"", ["holds 0"]),
        ("float32", "a.txt", b"1 2 3 4 5", ["6 numbers", "holds 5"]),
        ("float32", "a.txt", b"1 2 3 4 5 6 7", ["6 numbers", "holds 7"]),
        ("float32", "a.txt", b"1 2 3 4 5 six", ["number 5", "six"]),
        ("int8", "a.txt", b"1 2 3 4 5 128", ["number 5", "int8", "128"]),
        ("int8", "a.txt", b"1 2 3 4 5 1.5", ["number 5", "1.5"]),
        ("uint8", "a.txt", b"1 2 3 4 5 -1", ["number 5", "-1"]),
        ("bool", "a.bin", bytes([0, 1, 0, 1, 2, 0]), ["0 or 1", "2"]),
    ],
)
def test_bad_input_files(runner: Path, tmp_path: Path, dtype: str, name: str, data: Any, words: list[str]) -> None:
    run = _small(tmp_path, runner, dtype, np.zeros(0))
    if isinstance(data, bytes):
        (tmp_path / name).write_bytes(data)
    else:
        np.save(tmp_path / name, data)
    message = run.error("infer", "--model_file=copy.bpux", f"--input_file={name}", "--enable_dump")
    for word in ["input a", name, *words]:
        assert word in message, message


def test_versions_of_npy(runner: Path, tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    run = _small(tmp_path, runner, "float32", x)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, x, version)
        run.ok("infer", "--model_file=copy.bpux", "--input_file=a.npy", "--enable_dump")
        assert (tmp_path / "model_infer_output_0_y.bin").read_bytes() == x.tobytes()


# ---- the page


def _page() -> str:
    return (Path(__file__).parents[2] / "docs" / "runner.md").read_text()


def test_the_examples_of_the_page_work(runner: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("net.bpux", "x.npy", "x.bin", "x.txt", "padded.bin"):
        shutil.copy(folder / name, tmp_path)
    shutil.copy(folder / "renamed.bpux", tmp_path / "second.bpux")
    lines = [
        line for block in re.findall(r"```sh example\n(.*?)```", _page(), re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) > 20
    for line in lines:
        program, *arguments = line.split()
        Runner(runner / program, tmp_path).ok(*arguments)


def test_the_page_tells_every_option_with_an_example(run: Runner) -> None:
    options = re.findall(r"^  --(\w+)", run.ok("--help"), re.MULTILINE)
    assert len(options) > 25
    examples = "\n".join(re.findall(r"```sh example\n(.*?)```", _page(), re.DOTALL)) + "--perf_time=5"
    effective = run.ok("--help").split("accepted without effect")[0]
    for option in options:
        assert f"`{option}`" in _page(), option
        if f"--{option} " in effective:
            assert f"--{option}" in examples, option
