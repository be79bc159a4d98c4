"""hb_model_info and hb_analyzer; what an interrupt and the log leave behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import openbpu
from e2e.vendor_commands import Commands, write_project
from openbpu import pipeline
from openbpu.workflow.logfile import logged
from openbpu.workflow.stages import log
from unit.float_networks import residual

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a build in out/."""
    from openbpu.config import Config
    from openbpu.workflow import build
    from openbpu.workflow.summary import summarise

    folder = tmp_path_factory.mktemp("built")
    image = {"input_type_rt": "nv12", "input_type_train": "rgb", "input_layout_train": "NCHW", "mean_value": 127.5}
    summarise(build(Config.from_yaml(write_project(folder, residual(), SHAPE, {"input_parameters": image}))))
    return folder


@pytest.fixture
def hb(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], built: Path) -> Commands:
    monkeypatch.chdir(built)
    return Commands(monkeypatch, capfd)


def _rows(text: str, title: str) -> dict[str, str]:
    """The rows of the table with this title, first column to the rest."""
    lines = iter(text.splitlines())
    assert title in lines
    next(lines), next(lines)
    return {line.split()[0]: " ".join(line.split()[1:]) for line in _until_empty(lines)}


def _until_empty(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line or line.startswith("wrote"):
            return
        yield line


def test_a_program_says_what_it_is(hb: Commands, built: Path) -> None:
    code, out, error = hb("hb_model_info out/net.bpux")
    assert code == 0, error
    assert _rows(out, "inputs and outputs") == {
        "x_y": "input 1x32x32x1 uint8",
        "x_uv": "input 1x16x16x2 uint8",
        "y": "output 1x10 float32",
    }
    assert _rows(out, "input_parameters")["mean_value"] == "[[127.5]]"
    assert _rows(out, "memory")["input"] == "1,536"
    written = json.loads((built / ".hb_model_info" / "net.json").read_text())
    assert written["versions"]["march"] == "nash-e"
    assert written["configuration"]["model_parameters"]["onnx_model"] == "net.onnx"
    assert str(built) not in json.dumps(written)
    assert not (built / ".hb_model_info" / "net.html").exists()
    code, _, error = hb("hb_model_info out/net.bpux -v")
    assert code == 0, error
    assert "conv2d" in (built / ".hb_model_info" / "net.html").read_text()


def test_a_model_says_what_can_be_taken_off(hb: Commands) -> None:
    code, out, error = hb("hb_model_info out/net_ptq_model.onnx")
    assert code == 0, error
    assert sorted(_rows(out, "nodes that can be taken off").values()) == ["Dequantize", "Quantize"]
    assert _rows(out, "net_ptq_model")["stage"] == "ptq"
    code, out, _ = hb("hb_model_info net.onnx")
    assert code == 0
    assert _rows(out, "inputs and outputs")["x"] == "input ?x3x32x32 float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.bpux", "none.bpux: the file must be readable"),
        ("net.yaml", "a .bpux or .onnx file; got .yaml"),
        ("out/net.bpux -n other", "the file has no such model; got other. It has net"),
        ("net.onnx -n other", "an ONNX file holds one model"),
    ],
)
def test_wrong_files(arguments: str, message: str, hb: Commands) -> None:
    code, _, error = hb(f"hb_model_info {arguments}")
    assert code == 1
    assert message in error


def test_the_analyzer_takes_programs_models_and_reports(hb: Commands, built: Path) -> None:
    for source in ("-m out/net.bpux", "-m net.onnx --march nash-e", "--perf out/net.json"):
        code, out, error = hb(f"hb_analyzer analyze {source} -o analysis")
        assert code == 0, error
        assert float(_rows(out, next(x for x in out.splitlines() if "(estimate)" in x))["latency"].split()[0]) > 0
        assert "conv2d" in _rows(out, "time by operator")
    names = {"analysis_summary.json", "hb_analyzer_report.html", "net.json"}
    assert names <= {p.name for p in (built / "analysis").iterdir()}
    for wrong in ("", "-m net.onnx --perf out/net.json"):
        code, _, error = hb(f"hb_analyzer analyze {wrong}")
        assert code == 2
        assert "give -m MODEL or --perf REPORT.json, one of both" in error
    assert hb("hb_analyzer analyze --perf out/net.html")[0] == 1
    assert hb("hb_analyzer visualize -m out/net.bpux")[0] == 0
    assert "<svg" in (built / ".hb_analyzer" / "net.bpux.html").read_text()


def test_layers_become_outputs(tmp_path: Path) -> None:
    from openbpu.config import Config
    from openbpu.workflow import build

    path = write_project(tmp_path, residual(), SHAPE, {"model_parameters": {"layer_out_dump": True}})
    result = build(Config.from_yaml(path))
    assert result.executable is not None
    x = np.load(tmp_path / "samples" / "0.npy")[None]
    outputs = openbpu.Session(result.executable).run({"x": x})
    assert len(outputs) > 5
    model = onnx.load(tmp_path / "out" / "net_quantized_model.onnx")
    assert list(outputs) == [o.name for o in model.graph.output]


def test_an_interrupt_leaves_whole_files_only(hb: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "compile", interrupted)
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert "hb_compile: interrupted; nothing is half-written." in error
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert written == ["hb_compile.log", *(f"net_{s}_model.onnx" for s in _STAGES)]
    assert "ERROR   compile: interrupted" in (tmp_path / "out" / "hb_compile.log").read_text()
    assert not log.handlers
    for stage in _STAGES:
        onnx.checker.check_model(tmp_path / "out" / f"net_{stage}_model.onnx")


_STAGES = ("calibrated", "optimized_float", "original_float", "ptq", "quantized")


def test_verbose_says_more_and_the_default_little(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})
    quiet, verbose, everything = (hb(f"hb_compile -c {path} --skip export{v}")[2] for v in ("", " -v", " -vv"))
    assert "optimize: begins" not in quiet
    assert "optimize: begins" in verbose and "The quantized model output" not in verbose
    assert "The quantized model output" in everything
    assert "\x1b" not in quiet  # plain where there is no terminal


def test_the_log_rotates(tmp_path: Path) -> None:
    said: list[tuple[int, str]] = []
    with logged(tmp_path / "out", "hb_compile.log", lambda level, text: said.append((level, text))) as path:
        for _ in range(40):
            log.debug("x" * 100_000)
    assert path.stat().st_size < 1 << 20
    assert len(list(path.parent.iterdir())) == 4
    assert {level for level, _ in said} == {logging.DEBUG}
