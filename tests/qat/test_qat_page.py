"""The examples of docs/qat.md run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from openbpu import qat
from qat import nets

PAGE = Path(__file__).parents[2] / "docs" / "qat.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    x = torch.randn(8, 1, 16, 16)
    names: dict[str, Any] = {
        "net": nets.settled(nets.Residual(), [x]), "example": x, "samples": [x], "loader": [(x, torch.arange(8))],
        "loss": F.cross_entropy, "nn": nn,
    }  # fmt: skip
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 3 and names["left"] == [] and (tmp_path / "net.qdq.onnx").is_file()
    assert capsys.readouterr().out.rstrip().endswith("\nequal")
    assert qat.state_of(names["model"]) is qat.State.TRAINING
