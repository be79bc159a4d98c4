"""bpux-run computes the same bytes as the Python session, and can show all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import openbpu
from e2e.runner.calls import Runner, small
from schedules.sections import without_waits
from unit import runtime_programs as programs


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


def test_the_exact_machine_gives_the_same_bytes_and_checks_waits(run: Runner, tmp_path: Path) -> None:
    expected = openbpu.Session(run.folder / "net.bpux").run(np.load(run.folder / "x.npy"))["logits"]
    arguments = ("infer", "--input_file=x.npy", "--enable_dump", f"--dump_path={tmp_path}", "--exact_machine")
    run.ok(*arguments, "--model_file=net.bpux")
    assert (tmp_path / "model_infer_output_0_logits.bin").read_bytes() == expected.tobytes()
    (tmp_path / "racy.bpux").write_bytes(without_waits((run.folder / "net.bpux").read_bytes()))
    racy = f"--model_file={tmp_path / 'racy.bpux'}"
    run.ok("infer", "--input_file=x.npy", racy)  # the fast way keeps the order of the program
    assert "no wait covers" in run.error("infer", "--input_file=x.npy", racy, "--exact_machine")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_every_type_in_every_form(runner: Path, tmp_path: Path, dtype: str) -> None:
    limits = [0, 1] if dtype == "bool" else [-1.5, 1e30] if dtype == "float32" else list(_limits(dtype))
    x = np.array([limits * 3], dtype).reshape(2, 3)
    run = small(tmp_path, runner, dtype, x)
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
    run = small(tmp_path, runner, "int8", x)
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
    run = small(tmp_path, runner, "int32", np.arange(6, dtype=np.int32).reshape(2, 3))
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
