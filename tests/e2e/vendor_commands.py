"""Runs commands in this process as a shell would, and makes what they need: models, samples, YAML files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from openbpu.cli import options
from openbpu.cli.running import run


class Commands:
    """`openbpu` and the hb_* commands: (exit code, stdout, stderr)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = monkeypatch, capfd

    def __call__(self, line: str) -> tuple[int, str, str]:
        name, *arguments = line.split()
        self._patch.setattr(sys, "argv", [name, *arguments])
        self._patch.setenv("COLUMNS", "200")
        for console in (options.console, options.errors):  # whatever was said when this process made them
            self._patch.setattr(console, "_width", None)
        command = (
            importlib.import_module("openbpu.cli.main").command
            if name == "openbpu"
            else importlib.import_module(f"openbpu.cli.vendor.{name.removeprefix('hb_')}").command
        )
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(command, name)
        out, error = self._capture.readouterr()
        return int(ended.value.code or 0), out, error


def write_samples(folder: Path, shape: tuple[int, ...], count: int = 3, low: float = 0, high: float = 255) -> None:
    """Seeded samples of one input, pixels by default."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        np.save(folder / f"{index}.npy", random.uniform(low, high, shape).astype(np.float32))


def write_photographs(folder: Path, labels: Path, count: int = 3) -> None:
    """Seeded pictures of noise on slopes, and lines with their names and classes."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    for index in range(count):
        slope = np.linspace(0, 200, 64 * 48 * 3).reshape(48, 64, 3) + random.uniform(0, 55, (48, 64, 3))
        Image.fromarray(slope.astype(np.uint8)).save(folder / f"{index}.png")
    labels.write_text("".join(f"{index}.png {index}\n" for index in range(count)))


def write_project(folder: Path, model: onnx.ModelProto, shape: tuple[int, ...], groups: Mapping[str, Any]) -> Path:
    """A model, samples of its one input, and the YAML file of a build; `groups` changes its keys (None removes one)."""
    onnx.save(model, folder / "net.onnx")
    write_samples(folder / "samples", shape)
    config: dict[str, dict[str, Any]] = {
        "model_parameters": {
            "onnx_model": "net.onnx",
            "march": "nash-e",
            "working_dir": "out",
            "output_model_file_prefix": "net",
        },
        "input_parameters": {"input_type_rt": "featuremap", "input_type_train": "featuremap"},
        "calibration_parameters": {"cal_data_dir": "samples", "calibration_type": "max", "optimization": "run_fast"},
    }
    for group, keys in groups.items():
        target = config.setdefault(group, {})
        target.update(keys)
        config[group] = {key: value for key, value in target.items() if value is not None}
    (folder / "net.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder / "net.yaml"
