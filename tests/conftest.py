"""What tests of several folders share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import needs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def cpp_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder of the C++ tree without Python; tests build in it the targets that they need.

    With the GoogleTest suite if GoogleTest is there. OPENBPU_BUILD names a folder that is configured already.
    """
    if existing := os.environ.get("OPENBPU_BUILD"):
        return Path(existing).resolve()
    needs.tools("cmake")
    folder = tmp_path_factory.mktemp("cpp") / "build"
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DOPENBPU_PYTHON=OFF"]
    probe = subprocess.run([*configure, "-DOPENBPU_TESTS=ON"], capture_output=True, text=True, check=False)
    if probe.returncode != 0 and "GTest" in probe.stderr and not needs.ALL:
        probe = subprocess.run([*configure, "-DOPENBPU_TESTS=OFF"], capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
    return folder


@pytest.fixture(scope="session")
def runner(cpp_build: Path) -> Path:
    """The folder with bpux-run and hrt_model_exec."""
    command = ["cmake", "--build", str(cpp_build), "--parallel", "2", "--target", "bpux-run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-6000:]
    return cpp_build / "bin"
