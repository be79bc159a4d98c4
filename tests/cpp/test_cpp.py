"""Builds the C++ library and its GoogleTest suite without Python, and runs it."""

from __future__ import annotations

from pathlib import Path

import cpp_tree
import needs


def test_cpp_suite(cpp_build: Path) -> None:
    if "OPENBPU_TESTS:BOOL=ON" not in (cpp_build / "CMakeCache.txt").read_text():
        needs.missing("GoogleTest is not installed (Debian: libgtest-dev)")
    cpp_tree.build(cpp_build)
    summary = cpp_tree.run("ctest", "--test-dir", cpp_build, "--output-on-failure", "--parallel", "2")
    assert "100% tests passed" in summary
