"""The libraries as they are installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ("openbpu_shared", "openbpu_static", "openbpu_hbucp", "openbpu_libdnn", "openbpu_dnn_static")


def run(*command: str | Path, **options: object) -> str:
    """Standard output of a command that must succeed."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, f"{' '.join(words)}\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}"
    return str(result.stdout)


@pytest.fixture(scope="session")
def prefix(cpp_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the libraries are installed."""
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--build", cpp_build, "--parallel", "2", "--target", *LIBRARIES)
    run("cmake", "--install", cpp_build, "--prefix", folder, "--component", "openbpu")
    return folder
