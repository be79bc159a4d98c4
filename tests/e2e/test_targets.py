"""A target on the command line: reached with few nodes lifted, or exit code 3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def _quantize(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", "quantize", "net.onnx"]
    command += ["--samples", "calibration", "-o", "lifted.onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300, check=False)


def test_a_target_that_int8_has(workspace: Path) -> None:
    result = _quantize(workspace, "--evaluation", "calibration", "--target-cosine", 0.9)
    assert result.returncode == 0, result.stderr
    assert "reaches 0.9: 0 nodes lifted" in result.stdout.replace("\n", " ")


def test_a_target_out_of_reach_has_a_code_of_its_own(workspace: Path) -> None:
    report = workspace / "search.json"
    result = _quantize(workspace, "--target-sqnr", 120, "--search-report", report)
    assert result.returncode == 3 and "was not reached" in result.stderr
    data = json.loads(report.read_text())
    assert not data["reached"] and len(data["trials"]) == 2
    assert (workspace / "lifted.onnx").is_file()  # the best there is, and said to be short of it


def test_a_metric_of_ones_own(workspace: Path) -> None:
    (workspace / "my_metric.py").write_text(
        "import numpy as np\n\ndef agreement(outputs, references):\n"
        "    same = [o['logits'].argmax() == r['logits'].argmax() for o, r in zip(outputs, references)]\n"
        "    return np.mean(same)\n\ndef broken(outputs, references):\n    return outputs['logits']\n"
    )
    result = _quantize(workspace, "--metric", "my_metric:agreement", "--target", 0.5)
    assert result.returncode == 0, result.stderr
    assert "my_metric:agreement" in result.stdout
    result = _quantize(workspace, "--metric", "my_metric:broken", "--target", 0.5)
    assert result.returncode == 1 and "TypeError" in result.stderr and "my_metric.py, line 8" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--metric", "a:b"),
        ("--target", "0.5"),
        ("--target-cosine", "0.9", "--target-sqnr", "20"),
        ("--evaluation", "calibration"),
    ],
)
def test_half_a_target_is_a_wrong_command_line(workspace: Path, arguments: tuple[str, ...]) -> None:
    assert _quantize(workspace, *arguments).returncode == 2
