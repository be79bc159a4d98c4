"""Builds the C++ library and its GoogleTest suite without Python, and runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import needs


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}"
    return result.stdout


def test_cpp_suite(cpp_build: Path) -> None:
    if "OPENBPU_TESTS:BOOL=ON" not in (cpp_build / "CMakeCache.txt").read_text():
        needs.missing("GoogleTest is not installed (Debian: libgtest-dev)")
    _run("cmake", "--build", str(cpp_build), "--parallel", "2")
    summary = _run("ctest", "--test-dir", str(cpp_build), "--output-on-failure", "--parallel", "2")
    assert "100% tests passed" in summary
