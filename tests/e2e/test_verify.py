"""openbpu verify and hb_verifier: stages of a build on the same inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import openbpu
from e2e.vendor_commands import Commands, write_photographs, write_project
from openbpu.artefacts.feeds import Inputs
from openbpu.artefacts.stages import stage
from openbpu.config import Config
from openbpu.errors import ConfigError, OpenBpuError, SampleError
from openbpu.preprocess import InputSpec, Recipe, Resize
from openbpu.workflow import build
from unit.float_networks import Net

SHAPE = (1, 3, 16, 16)
STAGES = ("original_float", "optimized_float", "calibrated", "ptq", "quantized")


def _network() -> onnx.ModelProto:
    net = Net(3)
    features = net.op("Relu", net.conv("x", 3, 8, stride=2))
    return net.model(net.op("ReduceMean", net.conv(features, 8, 4), axes=[2, 3], keepdims=0, out="y"), shape=SHAPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose program takes and gives integers, and programs for a camera beside it."""
    folder = tmp_path_factory.mktemp("verify")
    ends = {"model_parameters": {"remove_node_type": "Quantize;Dequantize"}}
    build(Config.from_yaml(write_project(folder, _network(), SHAPE, ends)), measure=False)
    write_photographs(folder / "photographs", folder / "val.txt")
    recipe = Recipe((Resize(16, 16),), mean=127.5, scale=1 / 64)
    qdq = openbpu.quantize(folder / "net.onnx", folder / "photographs", preprocess=recipe, refinement=())
    onnx.save(qdq, folder / "net.qdq.onnx")
    for name, source in (("camera", "pyramid"), ("region", "resizer")):
        spec = recipe.input_spec("nv12", source=source, source_size=(64, 64))
        openbpu.compile(qdq, inputs={"x": spec}).save(folder / f"{name}.bpux")
    random = np.random.default_rng(0)
    np.save(folder / "x.npy", random.uniform(0, 255, SHAPE).astype(np.float32))
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> Commands:
    monkeypatch.chdir(folder)
    return Commands(monkeypatch, capfd)


def _files(prefix: str = "out/net") -> list[str]:
    return [*(f"{prefix}_{name}_model.onnx" for name in STAGES), f"{prefix}.bpux"]


@pytest.mark.parametrize("source", [" --input x=x.npy", ""])
def test_all_stages_of_a_build_agree(run: Commands, source: str) -> None:
    code, out, error = run(f"openbpu verify {' '.join(_files())} --json --fail-under 0.98{source}")
    assert code == 0, error
    report = json.loads(out)
    optimised, *quantised = report["rows"]
    assert optimised["mode"] == "consistency" and optimised["ok"]
    assert [row["mode"] for row in quantised] == ["cosine"] * 4
    assert quantised[-2]["steps"] is not None and all(0.98 < row["cosine"] < 1 for row in quantised)
    assert report["seed"] == (None if source else 0) and report["samples"] == 1
    assert [kind for _, kind in report["stages"]] == ["float", "float", "QDQ", "QDQ", "QDQ", "executable"]


def test_the_program_follows_its_last_stage_within_a_step(folder: Path) -> None:
    (row,) = openbpu.verify([folder / name for name in _files()[-2:]], count=8).rows
    assert row.steps is not None and row.steps <= 1.001 and row.equal > 0.5


def test_what_differs_has_an_exit_code_of_its_own(run: Commands, folder: Path) -> None:
    other = onnx.load(folder / "net.onnx")
    bias = next(t for t in other.graph.initializer if len(t.dims) == 1)
    array = numpy_helper.to_array(bias) + np.float32(0.5)
    bias.CopyFrom(numpy_helper.from_array(array, bias.name))
    onnx.save(other, folder / "other.onnx")
    code, out, error = run("openbpu verify net.onnx other.onnx --seed 3 --samples 2")
    assert code == 3 and "DIFFERS" in out and "2 inputs: random, seed 3" in out and "other.onnx, output y" in error
    assert run("openbpu verify net.onnx other.onnx --digits 0")[0] == 0, "less than 1.5 of the last digit"
    code, out, error = run("openbpu verify net.onnx other.onnx --mode cosine --fail-under 0.9999999")
    assert code == 3 and "below" in out
    assert run("openbpu verify net.onnx net.onnx other.onnx --against previous --mode cosine")[0] == 0
    code, out, _ = run("openbpu verify out/net.bpux out/net.bpux --exact")
    assert code == 0 and "consistent" in out and "100.0 %" in out


def test_not_a_number_is_not_a_success(tmp_path: Path) -> None:
    info = [helper.make_tensor_value_info(name, 1, [1, 4]) for name in "xy"]
    for name, op in (("abs", "Abs"), ("log", "Log")):
        graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], name, info[:1], info[1:])
        onnx.save(
            helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]),
            tmp_path / f"{name}.onnx",
        )
    x = -np.ones((1, 4), np.float32)
    report = openbpu.verify([tmp_path / "abs.onnx", tmp_path / "log.onnx"], [x], mode="cosine", fail_under=-1)
    assert not report.ok and json.loads(report.to_json())["rows"][0]["cosine"] is None
    assert openbpu.verify([tmp_path / "log.onnx"] * 2, [x], digits=None).ok, "the same bits"


def test_frames_of_a_camera_are_what_the_other_stages_see(run: Commands, folder: Path) -> None:
    line = "openbpu verify net.onnx net.qdq.onnx camera.bpux region.bpux --json --fail-under 0.95"
    assert run(line)[0] == 1, "two programs with different sources"
    for program, source in (("region", ""), ("camera", " --input photographs/0.png --input photographs/1.png")):
        line = f"openbpu verify net.onnx net.qdq.onnx {program}.bpux --json --fail-under 0.95"
        code, out, error = run(line + source)
        assert code == 0, error
        report = json.loads(out)
        assert "arrives as nv12" in report["note"] and report["samples"] == (2 if source else 1)
    random = np.random.default_rng(1)
    for name, shape in (("x_y", (1, 16, 16, 1)), ("x_uv", (1, 8, 8, 2))):
        array = random.integers(0, 256, shape).astype(np.uint8)
        array.tofile(folder / f"{name}.bin")
    code, out, error = run("hb_verifier -m net.onnx,camera.bpux -i x_y.bin -i x_uv.bin --json")
    assert code == 0, error
    both = json.loads(run("openbpu verify net.onnx camera.bpux --input x_uv=x_uv.bin --input x_y=x_y.bin --json")[1])
    assert both["rows"] == json.loads(out)["rows"]
    code, _, error = run("hb_verifier -m net.onnx,camera.bpux -i x.npy")
    assert code == 1 and "nv12" in error and "x_y (uint8)" in error and "photograph" in error


def test_the_network_input_of_a_frame_is_that_of_its_reference(folder: Path) -> None:
    inputs = Inputs([stage(folder / "net.onnx"), stage(folder / "camera.bpux")])
    (sample,) = inputs.random(5, 1)
    model, program = inputs.feeds(sample)
    spec: InputSpec = stage(folder / "camera.bpux").cameras["x"]
    assert np.array_equal(model["x"], spec.reference("x", program).astype(np.float32))
    assert program.keys() == {"x_y", "x_uv"} and program["x_y"].std() > 50


def test_vendor_command(run: Commands) -> None:
    code, out, error = run(f"hb_verifier -m {','.join(_files())} -i x.npy -c 4")
    assert code == 0 and out.count("quantized_model") == 1 and "consistent" in out, error
    code, _, error = run("hb_verifier -m net.onnx,out/net.bpux --ip 10.0.0.1")
    assert code == 2 and "no board" in error


@pytest.mark.parametrize(
    "line, said",
    [
        ("net.onnx", "two files or more"),
        ("net.onnx none.onnx", "none.onnx"),
        ("net.onnx x.npy", ".bpux or .onnx file"),
        ("net.onnx out/net.bpux --input none.npy", "must exist"),
        ("net.onnx out/net.bpux --input z=x.npy", "The inputs are x"),
        ("net.onnx out/net.bpux --input net.yaml", "an input is a file of"),
        ("net.onnx net.qdq.onnx --input x_short.npy", "shape 1x3x16x16"),
        ("net.onnx net.qdq.onnx --input x_short.bin", "3072 bytes"),
        ("net.onnx out/net.bpux --entry other", "It has net"),
        ("net.onnx out/net_ptq_model.onnx --input photographs/0.png", "needs a recipe"),
    ],
)
def test_mistakes_are_said(run: Commands, folder: Path, line: str, said: str) -> None:
    np.save(folder / "x_short.npy", np.zeros((1, 3, 8, 8), np.float32))
    (folder / "x_short.bin").write_bytes(b"1234")
    code, _, error = run(f"openbpu verify {line}")
    assert code in (1, 2) and said in error and "Traceback" not in error


def test_wrong_calls(folder: Path) -> None:
    model = folder / "net.onnx"
    with pytest.raises(ConfigError, match="one of auto"):
        openbpu.verify([model, model], mode="exact")
    with pytest.raises(SampleError, match="at least one"):
        openbpu.verify([model, model], [])
    with pytest.raises(OpenBpuError, match="two files"):
        openbpu.verify(str(model))  # type: ignore[arg-type]
