"""What tests of several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cpp_tree
import needs


@pytest.fixture(scope="session")
def cpp_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder of the C++ tree without Python; tests build in it the targets that they need (cpp_tree).

    OPENBPU_BUILD names a folder that is configured already.
    """
    if existing := os.environ.get("OPENBPU_BUILD"):
        return Path(existing).resolve()
    needs.tools("cmake")
    return cpp_tree.configured(tmp_path_factory)


@pytest.fixture(scope="session")
def runner(cpp_build: Path) -> Path:
    """The folder with bpux-run and hrt_model_exec."""
    cpp_tree.build(cpp_build, "bpux-run")
    return cpp_build / "bin"


@pytest.fixture(scope="session")
def prefix(cpp_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the libraries are installed."""
    folder = tmp_path_factory.mktemp("prefix")
    cpp_tree.install(cpp_build, folder)
    return folder
