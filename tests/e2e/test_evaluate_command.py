"""openbpu evaluate as docs/evaluation.md shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import openbpu


def _run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300, check=False)


@pytest.fixture
def folder(workspace: Path) -> Path:
    """The workspace with a QDQ model, an executable, and labels that the float model knows."""
    calibration = sorted((workspace / "calibration").glob("*.npy"))
    qdq = openbpu.quantize(workspace / "net.onnx", [np.load(p) for p in calibration], refinement=())
    (workspace / "net.qdq.onnx").write_bytes(qdq.SerializeToString())
    openbpu.compile(qdq).save(workspace / "net.bpux")
    session = ort.InferenceSession(workspace / "net.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [f"{p.name},{int(session.run(None, {name: np.load(p)})[0].argmax())}" for p in calibration]
    (workspace / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return workspace


def test_three_models_over_a_folder(folder: Path) -> None:
    models = ("net.onnx", "net.qdq.onnx", "net.bpux")
    samples = ("--samples", "calibration", "--labels", "labels.csv")
    result = _run(folder, *models, *samples, "-o", "result.json", "--jobs", 2)
    assert result.returncode == 0, result.stderr
    assert "net.bpux" in result.stdout and "Wilson" in result.stdout
    data = json.loads((folder / "result.json").read_text())
    assert data["rows"][0]["value"] == 1 and data["rows"][2]["agreement"] > 0.5
    result = _run(folder, *models, *samples, "--fail-under", 1.5, "--json")
    assert result.returncode == 3 and "below --fail-under" in result.stderr
    assert json.loads(result.stdout) | {"rows": 0} == data | {"rows": 0}


def test_a_loader_and_a_metric_of_ones_own(folder: Path) -> None:
    (folder / "my_data.py").write_text(
        "import numpy as np\nfrom pathlib import Path\n\n\ndef test_set():\n"
        "    for path in sorted(Path('calibration').glob('*.npy')):\n        yield np.load(path), np.zeros(3)\n\n\n"
        "def mean_error(outputs, references):\n    return -float(np.mean([o['logits'].mean() for o in outputs]))\n\n\n"
        "def broken():\n    raise OSError('no disk')\n"
    )
    loader = ("--loader", "my_data:test_set", "--metric", "my_data:mean_error")
    result = _run(folder, "net.onnx", "net.bpux", *loader)
    assert result.returncode == 0, result.stderr
    assert "bootstrap" in result.stdout
    for arguments, text in (
        (("--loader", "my_data:broken"), "no disk"),
        (("--loader", "my_data:nothing"), "function must exist"),
        (("--loader", "my_data:test_set"), "whole number"),
        (("--samples", "none"), "must exist"),
        (("--samples", "calibration"), "one folder per class"),
    ):
        result = _run(folder, "net.onnx", *arguments)
        assert result.returncode == 1 and text in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--samples", "a", "--loader", "b:c"), ("--loader", "a:b", "--labels", "c")])
def test_samples_or_a_loader(workspace: Path, arguments: tuple[str, ...]) -> None:
    assert _run(workspace, "net.onnx", *arguments).returncode == 2
