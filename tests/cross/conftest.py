from __future__ import annotations

from pathlib import Path

import pytest

from cross.emulator import Emulator, build_runner


@pytest.fixture(scope="session")
def runner() -> Path:
    return build_runner()


@pytest.fixture
def emulator(runner: Path, tmp_path: Path) -> Emulator:
    return Emulator(runner, tmp_path)
