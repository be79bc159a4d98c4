"""The Python examples of docs/preprocessing.md run from top to bottom, in a folder with the files that they name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import needs
from unit.float_networks import residual

PAGE = Path(__file__).parents[2] / "docs" / "preprocessing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = needs.module("PIL.Image")
    assert len(BLOCKS) >= 5
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for index in range(4):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (8, 10, 3)), 6, 0), 6, 1)
        image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photographs" / f"{index}.png")
    model = residual()
    for dim, extent in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 16, 16), strict=True):
        dim.dim_value = extent
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"np": np}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    assert isinstance(names["result"], dict) and names["x"].shape == (1, 3, 16, 16)  # type: ignore[attr-defined]
