"""A folder of models and inputs, and the runner in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import openbpu
from e2e.runner.calls import Runner
from unit import runtime_programs as programs


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, float_model: onnx.ModelProto, samples: list[np.ndarray]) -> Path:
    """net.bpux, the same under another name, small programs, and one image in every form."""
    folder = tmp_path_factory.mktemp("runner")
    qdq = openbpu.quantize(float_model, samples)
    executable = openbpu.compile(qdq)
    executable.save(folder / "net.bpux")
    qdq.graph.name = "second"
    openbpu.compile(qdq).save(folder / "renamed.bpux")
    (folder / "second.bpux").write_bytes(programs.copies(("a", "y", "int8"), ("b", "z", "float32")))
    (folder / "trap.bpux").write_bytes(programs.trap(7))
    (folder / "broken.bpux").write_bytes(executable.to_bytes()[:-1])
    x = samples[3]
    np.save(folder / "x.npy", x)
    (folder / "x.bin").write_bytes(x.tobytes())
    (folder / "x.txt").write_text(" ".join(f"{v:.9g}" for v in x.reshape(-1)))
    padded = np.full((1, 3, 32, 64), np.nan, np.float32)
    padded[..., :32] = x
    (folder / "padded.bin").write_bytes(padded.tobytes())
    return folder


@pytest.fixture
def run(runner: Path, folder: Path) -> Runner:
    return Runner(runner / "bpux-run", folder)
