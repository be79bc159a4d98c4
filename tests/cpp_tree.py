"""The C++ tree built for the tests: once, though several processes of pytest (-n) may want it at the same time."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import needs

ROOT = Path(__file__).parents[1]
LIBRARIES = ("openbpu_shared", "openbpu_static", "openbpu_hbucp", "openbpu_libdnn", "openbpu_dnn_static")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Other processes that name the same file wait meanwhile; one that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, **options: object) -> str:
    """Standard output of a command that must succeed."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, f"{' '.join(words)}\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}"
    return str(result.stdout)


def configured(factory: pytest.TempPathFactory) -> Path:
    """A build folder without Python, with the GoogleTest suite if GoogleTest is there; one for all processes."""
    session = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent  # a worker's own folder is below that of the session
    folder = session / "cpp" / "build"
    with alone(_lock(folder)):
        if not (folder / "configured").exists():
            _configure(folder)
            (folder / "configured").touch()
    return folder


def _configure(folder: Path) -> None:
    wanted = shlex.split(os.environ.get("CMAKE_ARGS", ""))  # as for the wheel
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DOPENBPU_PYTHON=OFF", *wanted]
    probe = subprocess.run([*command, "-DOPENBPU_TESTS=ON"], capture_output=True, text=True, check=False)
    if probe.returncode != 0 and "GTest" in probe.stderr and not needs.ALL:
        probe = subprocess.run([*command, "-DOPENBPU_TESTS=OFF"], capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr


def build(folder: Path, *targets: str) -> None:
    """Builds the targets, or everything."""
    chosen = ("--target", *targets) if targets else ()
    with alone(_lock(folder)):
        run("cmake", "--build", folder, "--parallel", "2", *chosen)


def install(folder: Path, prefix: Path) -> None:
    """The libraries and their headers, below the prefix."""
    build(folder, *LIBRARIES)
    with alone(_lock(folder)):
        run("cmake", "--install", folder, "--prefix", prefix, "--component", "openbpu")


def _lock(folder: Path) -> Path:
    return folder / "lock"
