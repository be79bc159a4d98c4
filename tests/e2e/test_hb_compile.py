"""hb_compile: modes, artefacts, tables, logs and errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import openbpu
from e2e.vendor_commands import Commands, write_project
from openbpu import pipeline
from openbpu.config import Config
from openbpu.workflow import build, stage_of
from unit.float_networks import Net, residual, unet

SHAPE = (3, 32, 32)
_STAGES = ("original_float", "optimized_float", "calibrated", "ptq", "quantized")


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()  # optimised, ONNX Runtime quantises weights that are float beside Q/DQ nodes
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, feed)[0]
    return result


def test_a_build_writes_every_artefact(hb: Commands, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    path = write_project(
        tmp_path / "project", residual(), SHAPE,
        {
            "input_parameters": {"norm_type": "no_preprocess"},
            "compiler_parameters": {"jobs": 4, "advice": 0.01},
            "model_parameters": {"debug_mode": "dump_calibration_data"},
        },
    )  # fmt: skip
    code, out, error = hb(f"hb_compile -c {path}")
    assert code == 0, error
    folder = tmp_path / "project" / "out"
    assert {p.name for p in folder.iterdir()} == {
        *(f"net_{stage}_model.onnx" for stage in _STAGES),
        *("net.bpux", "net.json", "net.html", "hb_compile.log", "calibration_data"),
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "project"]  # nothing where the caller stands
    # tables
    head = next(line for line in out.splitlines() if line.startswith("node "))
    assert head.split() == ["node", "ON", "subgraph", "type", "cosine", "similarity", "threshold", "data", "type"]
    row = next(line for line in out.splitlines() if line.startswith("Conv_0 ")).split()
    assert row[:4] == ["Conv_0", "BPU", "id(0)", "Conv"]
    assert float(row[4]) > 0.99
    assert row[6] == "int8"
    assert "The quantized model output" in out
    assert "what adds most error" in out and "SQNR" in out
    assert "BPU 9 nodes, CPU none" in out
    assert "layers slower than in theory by more than 0.01 us" in out
    assert "performance summary" in out
    # warnings once each, and the same in the log
    assert error.count("norm_type is deprecated") == 1
    assert error.count("recorded, no effect: jobs") == 1
    log = (folder / "hb_compile.log").read_text()
    assert "WARNING input_parameters.norm_type is deprecated" in log
    assert "INFO    compile: done" in log
    assert "Conv_0" in log
    # the artefacts are what they are called, and say so
    x = np.load(folder / "calibration_data" / "x" / "00000001.npy")
    assert x.shape == (1, *SHAPE)
    models = {stage: onnx.load(folder / f"net_{stage}_model.onnx") for stage in _STAGES}
    assert [stage_of(m) for m in models.values()] == list(_STAGES)
    results = {stage: _run(model, {"x": x}) for stage, model in models.items()}
    np.testing.assert_allclose(results["optimized_float"], results["original_float"], rtol=1e-4, atol=1e-2)
    weights = {t.data_type for t in models["calibrated"].graph.initializer if len(t.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT}
    error_of = {s: np.abs(r - results["original_float"]).max() for s, r in results.items()}
    assert 0 < error_of["calibrated"] <= error_of["ptq"] * 1.5
    ours = openbpu.Session(folder / "net.bpux").run({"x": x})
    np.testing.assert_allclose(ours["y"], results["quantized"], atol=error_of["ptq"])
    # what the configuration said goes along, without folders of this machine
    recorded = next(p.value for p in models["ptq"].metadata_props if p.key == "openbpu.config")
    assert json.loads(recorded)["compiler_parameters"] == {"advice": 0.01, "jobs": 4}
    assert str(tmp_path) not in recorded


def test_the_same_from_python_and_from_a_staged_artefact(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, unet(), SHAPE, {})
    result = build(Config.from_yaml(path))
    assert result.executable is not None
    first = (tmp_path / "out" / "net.bpux").read_bytes()
    for stage in ("ptq", "quantized"):
        (tmp_path / "out" / "net.bpux").unlink()
        code, out, error = hb(f"hb_compile -c {path} -m out/net_{stage}_model.onnx")
        assert code == 0, error
        assert "The quantized model output" not in out
        assert (tmp_path / "out" / "net.bpux").read_bytes() == first
    code, _, error = hb(f"hb_compile -c {path} -m out/net_calibrated_model.onnx")
    assert code == 1
    assert "*** ERROR-OCCUR-DURING load *** out/net_calibrated_model.onnx: its activations are quantised" in error


def test_the_scheduler_gets_what_is_asked_for(hb: Commands, tmp_path: Path) -> None:
    keys = {"optimize_level": "O1", "core_num": 2, "compile_mode": "balance", "balance_factor": 30}
    groups = {"model_parameters": {"march": "nash-p"}, "compiler_parameters": {**keys, "max_time_per_fc": 1000}}
    code, _, error = hb(f"hb_compile -c {write_project(tmp_path, unet(), SHAPE, groups)}")
    assert code == 0, error
    made = openbpu.Executable.load(tmp_path / "out" / "net.bpux")
    qdq = tmp_path / "out" / "net_quantized_model.onnx"
    assert made == openbpu.compile(qdq, march="nash-p", max_time_per_fc=1000, **keys)
    assert made.disassemble() != openbpu.compile(qdq, march="nash-p", optimize_level="O0").disassemble()
    assert (made.meta["options"]["optimize_level"], made.meta["options"]["core_num"]) == ("O1", 2)


def test_a_cache_is_kept_where_it_is_asked_for(hb: Commands, tmp_path: Path) -> None:
    results = []
    for keys in ({}, {"cache_mode": "enable"}, {"cache_mode": "enable"}, {"cache_mode": "enable", "cache_path": "c"}):
        path = write_project(tmp_path, residual(), SHAPE, {"compiler_parameters": keys})
        assert hb(f"hb_compile -c {path}")[0] == 0
        x = np.load(tmp_path / "samples" / "0.npy")[None]
        results.append(openbpu.Session(tmp_path / "out" / "net.bpux").run({"x": x})["y"])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert list((tmp_path / "out" / "cache").glob("*.bpux"))
    assert any((tmp_path / "c").iterdir())


def test_what_a_build_would_find_late_is_said_at_once(hb: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = (
        ({"compiler_parameters": {"cache_mode": "enable", "cache_path": "file/c"}}, "cache_path: a folder that can be"),
        (
            {"model_parameters": {"output_nodes": "Flaten_11"}},
            "output_nodes: the model has no such node; got Flat",
        ),
        (
            {"model_parameters": {"remove_node_name": "zzz"}},
            "got zzz. The command `openbpu check` lists",
        ),
    )
    for groups, message in cases:
        code, _, error = hb(f"hb_compile -c {write_project(tmp_path, residual(), SHAPE, groups)}")
        assert code == 1
        assert f"{next(iter(groups))}." in error
        assert message in error
        assert not list((tmp_path / "out").glob("*_calibrated_model.onnx"))
    for arguments in (
        "--fast-perf -m net.bpux --march nash-e",
        "-c net.yaml -m net.bpux",
        "-m net.bpux --march nash-e",
    ):
        code, _, error = hb(f"hb_compile -m net.bpux {arguments}")
        assert code == 2
        assert "hb_analyzer analyze -m net.bpux" in error


def test_an_optimized_model_is_not_cut_again(hb: Commands, tmp_path: Path) -> None:
    cut = {"model_parameters": {"output_nodes": "Flatten_11", "remove_node_name": "Flatten_11"}}
    path = write_project(tmp_path, residual(), SHAPE, cut)
    assert hb(f"hb_compile -c {path}")[0] == 0
    first = (tmp_path / "out" / "net.bpux").read_bytes()
    for stage in ("original_float", "optimized_float"):
        shutil.copy(tmp_path / "out" / f"net_{stage}_model.onnx", tmp_path / "staged.onnx")
        code, _, error = hb(f"hb_compile -c {path} -m staged.onnx")
        assert code == 0, error
        assert (tmp_path / "out" / "net.bpux").read_bytes() == first


@pytest.mark.parametrize(
    ("skip", "last"), [("export", "calibrated"), ("convert", "ptq"), ("compile", "quantized")]
)  # fmt: skip
def test_skip_stops_before_a_stage(skip: str, last: str, hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})
    code, _, error = hb(f"hb_compile -c {path} --skip {skip}")
    assert code == 0, error
    written = {p.name for p in (tmp_path / "out").iterdir()} - {"hb_compile.log"}
    assert written == {f"net_{stage}_model.onnx" for stage in _STAGES[: _STAGES.index(last) + 1]}


def test_fast_perf_needs_a_model_alone(hb: Commands, tmp_path: Path) -> None:
    onnx.save(unet(), tmp_path / "net.onnx")
    code, out, error = hb("hb_compile --fast-perf -m net.onnx --march nash-e")
    assert code == 0, error
    assert "FPS (estimate)" in out.splitlines()[-3]
    assert (tmp_path / "model_output" / "net.bpux").is_file()
    code, out, _ = hb("hb_compile --fast-perf -m net.onnx --march nash-p --core-num 1")
    assert code == 0
    assert len(list(tmp_path.glob("model_output_*/net.bpux"))) == 1


def test_fast_perf_guesses_dynamic_extents(hb: Commands, tmp_path: Path) -> None:
    net = Net(5)
    y = net.op("Relu", net.op("MatMul", "x", net.normal(16, 8)), out="y")
    onnx.save(net.model(y, shape=("batch", "length", 16)), tmp_path / "net.onnx")
    code, _, error = hb("hb_compile --fast-perf -m net.onnx --march nash-e")
    assert code == 0, error
    assert "input x has dynamic dimensions: taken as 1x128x16; -i x 1x... sets them" in error
    code, _, error = hb("hb_compile --fast-perf -m net.onnx --march nash-e -i x 1x7x16")
    assert code == 0, error
    assert "dynamic" not in error
    code, _, error = hb("hb_compile --fast-perf -m net.onnx --march nash-e -i z 1x7x16")
    assert code == 1
    assert "--input-shape: the model has no such input; got z. Write x" in error


def test_fast_perf_guesses_what_the_model_takes(hb: Commands, tmp_path: Path) -> None:
    """Lines of text of height 48; a scalar beside them; a state whose batch has the name of the first axis."""
    net = Net(6)
    rows = net.op("Reshape", net.op("Relu", net.conv("x", 3, 4)), net.constant(np.array([1, 4 * 48, -1])))
    y = net.op("Add", net.op("ReduceMean", rows, axes=[2]), net.op("Mul", "state", "gain"), out="y")
    shapes: dict[str, Any] = {"state": (1, "batch"), "gain": ()}
    model = net.model(y, shape=("batch", 3, "height", "width"), **shapes)
    onnx.save(model, tmp_path / "net.onnx")
    code, _, error = hb("hb_compile --fast-perf -m net.onnx --march nash-e")
    assert code == 0, error
    assert "input x has dynamic dimensions: taken as 1x3x48x320;" in error
    assert "input state has dynamic dimensions: taken as 1x1;" in error


def test_an_error_that_nobody_expected_is_one_line(
    hb: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero\nmore")

    monkeypatch.setattr(pipeline, "compile", broken)
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert error.splitlines()[-1] == (
        "hb_compile: error: *** ERROR-OCCUR-DURING compile *** an error that nobody expected; "
        "got ZeroDivisionError: by zero. The log file has where it happened: please report it."
    )
    assert "in broken" in (tmp_path / "out" / "hb_compile.log").read_text()


def test_check_says_where_nodes_run(hb: Commands, tmp_path: Path) -> None:
    onnx.save(residual(), tmp_path / "net.onnx")
    code, out, error = hb("hb_compile -m net.onnx --march nash-e -i x 1x3x32x32")
    assert code == 0, error
    assert any(line.split()[:3] == ["Conv_0", "BPU", "Conv"] for line in out.splitlines())
    assert {p.name for p in (tmp_path / ".hb_compile").iterdir()} == {
        *("net_check.html", "net_check.json", "hb_compile.log"),
    }


_WRONG = {
    "": "give -c FILE to build, or -m MODEL --march MARCH to check",
    "-m net.onnx": "-m needs --march, for example --march nash-e",
    "-c net.yaml --fast-perf": "--fast-perf is not for -c: leave out -c",
    "-c net.yaml --core-num 2": "the YAML file has compiler_parameters.core_num",
    "-c net.yaml --march nash-e": "the YAML file has model_parameters.march",
    "-c net.yaml -i x 1x3": "the YAML file has input_parameters.input_shape",
    "-m net.onnx --march nash-e --proto net.prototxt": "models are read as ONNX",
    "-m net.onnx --march nash-e -i x 1xa": "'1xa' is not of the form 1x3x224x224",
    "-m net.onnx --march nash-e --skip convert": "--skip is for -c and --fast-perf",
    "-c net.yaml --skip link": "'link' is not one of 'export', 'convert', 'compile'",
}


@pytest.mark.parametrize("arguments", _WRONG)
def test_wrong_command_lines(arguments: str, hb: Commands) -> None:
    code, _, error = hb(f"hb_compile {arguments}")
    assert code == 2
    assert _WRONG[arguments] in error


_FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "load": ({"model_parameters": {"onnx_model": "none.onnx"}}, "model_parameters.onnx_model: the file must exist"),
    "input": ({"input_parameters": {"input_name": "y"}}, "input_parameters.input_name: the model has no such input"),
    "node": (
        {"calibration_parameters": {"run_on_cpu": "Conv_1"}},
        "calibration_parameters.run_on_cpu: the simplified model has no such node; got Conv_1. Did you mean Conv_",
    ),
    "operator": (
        {"calibration_parameters": {"quant_config": {"op_config": {"Convolution": {"qtype": "int16"}}}}},
        "op_config: the model has no such operator; got Convolution. Did you mean Conv?",
    ),
    "samples": ({"calibration_parameters": {"cal_data_dir": "none"}}, "none: the sample file or folder must"),
    "pickles": ({"calibration_parameters": {"cal_data_dir": "net.onnx"}}, "calibration_parameters.cal_data_dir, "),
    "march": ({"model_parameters": {"march": "mine.toml"}}, "mine.toml: the profile must be readable"),
    "quantised": ({"model_parameters": {"remove_node_name": "Conv_3"}}, "only nodes at an input or output"),
}  # fmt: skip


@pytest.mark.parametrize("name", _FAILURES)
def test_failures_name_their_stage(name: str, hb: Commands, tmp_path: Path) -> None:
    groups, message = _FAILURES[name]
    path = write_project(tmp_path, residual(), SHAPE, groups)
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert "*** ERROR-OCCUR-DURING " in error
    assert message in error
    assert not (tmp_path / "out" / "net.bpux").exists()
    assert error.count(message) == 1
    assert message in (tmp_path / "out" / "hb_compile.log").read_text()


def test_samples_of_another_shape_are_named(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), (32, 32, 3), {})
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert "a sample of input x has the shape 1x3x32x32, or 3x32x32; got 32x32x3" in error


def test_a_quantised_model_needs_load(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})
    assert hb(f"hb_compile -c {path} --skip convert")[0] == 0
    quantised = {"model_parameters": {"onnx_model": "out/net_ptq_model.onnx"}}
    path = write_project(tmp_path, residual(), SHAPE, quantised)
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert "write load as calibration_type" in error.lower()
    load = {"calibration_parameters": {"calibration_type": "load", "cal_data_dir": None}}
    path = write_project(tmp_path, residual(), SHAPE, {**quantised, **load})
    assert hb(f"hb_compile -c {path}")[0] == 0
    # places by hand count there too
    load["calibration_parameters"]["run_on_cpu"] = "Conv_3"
    path = write_project(tmp_path, residual(), SHAPE, {**quantised, **load})
    code, out, error = hb(f"hb_compile -c {path}")
    assert code == 0, error
    assert any(line.split()[:2] == ["Conv_3", "CPU"] for line in out.splitlines())


def test_a_folder_that_cannot_be_written(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {"model_parameters": {"working_dir": "net.onnx/out"}})
    code, _, error = hb(f"hb_compile -c {path}")
    assert code == 1
    assert "the output folder must be writable" in error
    assert "Choose another working_dir" in error


def test_the_accuracy_is_saved_and_has_a_code_of_its_own(hb: Commands, tmp_path: Path) -> None:
    path = write_project(tmp_path, residual(), SHAPE, {})
    reports = [tmp_path / "accuracy.json", tmp_path / "accuracy.html"]
    code, out, error = hb(f"hb_compile -c {path} --report {reports[0]} --report {reports[1]} --fail-under 0.99999")
    assert code == 3 and "is below --fail-under 0.99999" in error
    data = json.loads(reports[0].read_text())
    assert data["sensitivities"] and f"cosine {data['cosine']:.5f}" in out and "<svg" in reports[1].read_text()
    assert (tmp_path / "out" / "net.bpux").is_file()  # the work is done all the same
    staged = tmp_path / "out" / "net_ptq_model.onnx"
    code, _, error = hb(f"hb_compile -c {path} -m {staged} --fail-under 0.5")
    assert code == 1 and "openbpu accuracy" in error
    code, _, error = hb(f"hb_compile -m {staged} --march nash-e --fail-under 0.5")
    assert code == 2 and "are for -c" in error
