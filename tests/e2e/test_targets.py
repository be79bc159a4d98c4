"""A target on the command line: reached with few nodes lifted, or exit code 3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.vendor_commands import Commands

_QUANTIZE = "openbpu quantize net.onnx --samples calibration -o lifted.onnx"


@pytest.fixture(autouse=True)
def folder(hb: Commands, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, in which commands run."""
    monkeypatch.chdir(workspace)
    return workspace


def test_a_target_that_int8_has(hb: Commands) -> None:
    code, out, error = hb(f"{_QUANTIZE} --evaluation calibration --target-cosine 0.9")
    assert code == 0, error
    assert "reaches 0.9: 0 nodes lifted" in out


def test_a_target_out_of_reach_has_a_code_of_its_own(hb: Commands, folder: Path) -> None:
    code, _, error = hb(f"{_QUANTIZE} --target-sqnr 120 --search-report search.json")
    assert code == 3 and "was not reached" in error
    data = json.loads((folder / "search.json").read_text())
    assert not data["reached"] and len(data["trials"]) == 2
    assert (folder / "lifted.onnx").is_file()  # the best there is, and said to be short of it


def test_the_best_within_a_budget(hb: Commands, folder: Path) -> None:
    code, out, error = hb(f"{_QUANTIZE} --max-macs 0.5 --search-report search.json")
    assert code == 0, error
    assert "recovery" in out and "with up to 50 % of the MACs" in out
    data = json.loads((folder / "search.json").read_text())
    chosen = data["trials"][data["chosen"]]
    assert data["reached"] and chosen["int16_macs"] <= 0.5 and len(data["trials"]) == 3


def test_a_metric_of_ones_own(hb: Commands, folder: Path) -> None:
    (folder / "own_metric_of_targets.py").write_text(
        "import numpy as np\n\ndef agreement(outputs, references):\n"
        "    same = [o['logits'].argmax() == r['logits'].argmax() for o, r in zip(outputs, references)]\n"
        "    return np.mean(same)\n\ndef broken(outputs, references):\n    return outputs['logits']\n"
    )
    code, out, error = hb(f"{_QUANTIZE} --metric own_metric_of_targets:agreement --target 0.5")
    assert code == 0, error
    assert "own_metric_of_targets:agreement" in out
    code, _, error = hb(f"{_QUANTIZE} --metric own_metric_of_targets:broken --target 0.5")
    assert code == 1 and "TypeError" in error and "own_metric_of_targets.py, line 8" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    ["--metric a:b", "--target 0.5", "--target-cosine 0.9 --target-sqnr 20", "--evaluation calibration"],
)
def test_half_a_target_is_a_wrong_command_line(hb: Commands, arguments: str) -> None:
    assert hb(f"{_QUANTIZE} {arguments}")[0] == 2
