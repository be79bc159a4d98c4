"""Files of a build hold no folder of the machine that made them; batches and several models reach the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import openbpu
from e2e.vendor_commands import Commands, write_project
from openbpu.config import Config
from openbpu.workflow import build
from openbpu.workflow.summary import summarise
from unit.float_networks import Net

SHAPE = (1, 3, 16, 16)


def _network() -> onnx.ModelProto:
    net = Net(3)
    last = net.conv(net.op("Relu", net.conv("x", 3, 8, stride=2)), 8, 4)
    return net.model(net.op("ReduceMean", last, axes=[2, 3], keepdims=0, out="y"), shape=("batch", *SHAPE[1:]))


def _built(folder: Path, inputs: dict[str, Any]) -> openbpu.Executable:
    folder.mkdir(exist_ok=True)
    keys = {
        "input_type_rt": "nv12",
        "input_type_train": "rgb",
        "input_layout_train": "NCHW",
        "mean_value": 127.5,
        "scale_value": 0.02,
        **inputs,
    }
    models = {"onnx_model": str(folder / "net.onnx"), "working_dir": str(folder / "out")}  # absolute, as users write
    path = write_project(folder, _network(), SHAPE, {"input_parameters": keys, "model_parameters": models})
    result = build(Config.from_yaml(path))
    summarise(result)
    assert result.executable is not None
    return result.executable


def test_no_file_names_the_folder_of_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "a_private_folder"
    _built(folder, {})
    files = [path for path in (folder / "out").rglob("*") if path.suffix in (".bpux", ".onnx", ".json", ".html")]
    assert {"net.bpux", "net_ptq_model.onnx", "net_original_float_model.onnx"} <= {path.name for path in files}
    for path in files:
        data = path.read_bytes()
        for text in (str(tmp_path), folder.name):
            assert text.encode() not in data, f"{path.name} holds {text}"


@pytest.mark.parametrize("separate", [False, True])
def test_batches_of_the_configuration_reach_the_program(tmp_path: Path, separate: bool) -> None:
    program = _built(tmp_path, {"input_batch": 2, "separate_batch": separate})
    ports = {port.name: port.shape for port in program.ports()}
    if separate:
        images = {f"x_{image}_{plane}" for image in range(2) for plane in ("y", "uv")}
        assert ports.keys() == images | {"y"} and ports["x_1_y"] == (1, 16, 16, 1)
    else:
        assert ports["x_y"] == (2, 16, 16, 1) and ports["x_uv"] == (2, 8, 8, 2)
    assert ports["y"] == (2, 4) and program.cameras["x"].separate_batch == separate
    report = openbpu.verify([tmp_path / "out" / f"net_{s}_model.onnx" for s in ("ptq", "quantized")])
    assert report.rows[0].cosine == 1
    report = openbpu.verify([tmp_path / "out" / "net_quantized_model.onnx", tmp_path / "out" / "net.bpux"])
    assert report.rows[0].cosine > 0.99 and report.rows[0].shape == (2, 4)


def test_one_of_several_models(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Commands(monkeypatch, capfd)
    camera = _built(tmp_path, {})
    plain = openbpu.compile(tmp_path / "out" / "net_quantized_model.onnx")
    openbpu.link([("plain", plain), ("camera", camera)]).save("both.bpux")
    code, out, error = run("hb_model_info both.bpux -n camera")
    assert code == 0 and "x_uv" in out and "models in the file: plain, camera" in out, error
    code, out, _ = run("hb_model_info both.bpux -n plain")
    assert code == 0 and "x_uv" not in out
    line = "openbpu verify out/net_quantized_model.onnx both.bpux --entry camera --fail-under 0.98"
    code, out, error = run(line)
    assert code == 0 and "arrives as nv12" in out, error
    assert run("openbpu visualize both.bpux --entry camera")[0] == 0
    assert "x_uv" in Path("both.bpux.html").read_text()
    code, _, error = run("openbpu visualize both.bpux --entry none")
    assert code == 1 and "none" in error
