"""openbpu evaluate as docs/evaluation.md shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import openbpu
from e2e.vendor_commands import Commands


@pytest.fixture(autouse=True)
def folder(hb: Commands, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace with a QDQ model, an executable, and labels that the float model knows."""
    monkeypatch.chdir(workspace)
    calibration = sorted((workspace / "calibration").glob("*.npy"))
    qdq = openbpu.quantize(workspace / "net.onnx", [np.load(p) for p in calibration], refinement=(), calibration="max")
    (workspace / "net.qdq.onnx").write_bytes(qdq.SerializeToString())
    openbpu.compile(qdq).save(workspace / "net.bpux")
    session = ort.InferenceSession(workspace / "net.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [f"{p.name},{int(session.run(None, {name: np.load(p)})[0].argmax())}" for p in calibration]
    (workspace / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return workspace


def test_three_models_over_a_folder(hb: Commands, folder: Path) -> None:
    line = "openbpu evaluate net.onnx net.qdq.onnx net.bpux --samples calibration --labels labels.csv"
    code, out, error = hb(f"{line} -o result.json --jobs 2")
    assert code == 0, error
    assert "net.bpux" in out and "Wilson" in out
    data = json.loads((folder / "result.json").read_text())
    assert data["rows"][0]["value"] == 1 and data["rows"][2]["agreement"] > 0.5
    code, out, error = hb(f"{line} --fail-under 1.5 --json")
    assert code == 3 and "below --fail-under" in error
    assert json.loads(out) | {"rows": 0} == data | {"rows": 0}


def test_a_loader_and_a_metric_of_ones_own(hb: Commands, folder: Path) -> None:
    (folder / "own_data_of_evaluate.py").write_text(
        "import numpy as np\nfrom pathlib import Path\n\n\ndef test_set():\n"
        "    for path in sorted(Path('calibration').glob('*.npy')):\n        yield np.load(path), np.zeros(3)\n\n\n"
        "def mean_error(outputs, references):\n    return -float(np.mean([o['logits'].mean() for o in outputs]))\n\n\n"
        "def broken():\n    raise OSError('no disk')\n"
    )
    own = "own_data_of_evaluate"
    line = f"openbpu evaluate net.onnx net.bpux --loader {own}:test_set --metric {own}:mean_error"
    code, out, error = hb(line)
    assert code == 0, error
    assert "bootstrap" in out
    for arguments, text in (
        (f"--loader {own}:broken", "no disk"),
        (f"--loader {own}:nothing", "function must exist"),
        (f"--loader {own}:test_set", "whole number"),
        ("--samples none", "must exist"),
        ("--samples calibration", "one folder per class"),
    ):
        code, _, error = hb(f"openbpu evaluate net.onnx {arguments}")
        assert code == 1 and text in error and "Traceback" not in error


@pytest.mark.parametrize("arguments", ["", "--samples a --loader b:c", "--loader a:b --labels c"])
def test_samples_or_a_loader(hb: Commands, arguments: str) -> None:
    assert hb(f"openbpu evaluate net.onnx {arguments}")[0] == 2


@pytest.mark.parametrize(
    "line",
    [
        "evaluate net.onnx net.bpux --samples calibration --labels labels.csv -o labels.csv/result.json",
        "accuracy net.onnx net.qdq.onnx --samples calibration --report labels.csv/accuracy.html",
        "analyze runall net.onnx net.qdq.onnx --samples calibration -s labels.csv/result",
        "quantize net.onnx --samples calibration --target-cosine 0.9 --search-report labels.csv/search.json",
        "build net.onnx --samples calibration --report labels.csv/accuracy.html",
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(hb: Commands, folder: Path, line: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    code, out, error = hb(f"openbpu {line}")
    assert code == 1 and "labels.csv" in error and "must be writable" in error and "Traceback" not in error
    assert not out and {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("", "header with file and label"),
        ("name,class\n00.npy,1\n", "header with file and label"),
        ("file,label\n00.npy,1\n", "every sample needs a label"),
        ("file,label\n00.npy,cat\n", "number of a class"),
    ],
)
def test_labels_that_are_missing_or_wrong(hb: Commands, folder: Path, table: str, text: str) -> None:
    (folder / "bad.csv").write_text(table)
    for name in ("bad.csv", "nowhere.csv"):
        code, _, error = hb(f"openbpu evaluate net.onnx --samples calibration --labels {name}")
        assert code == 1 and "Traceback" not in error
        assert (text if name == "bad.csv" else "nowhere.csv: the table of labels must be a CSV file") in error
