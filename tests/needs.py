"""What a test needs from the machine: where it is missing the test is skipped, and fails where all must be there."""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest

ALL = "OPENBPU_REQUIRE_ALL" in os.environ  # set by .ci/run


def missing(reason: str) -> NoReturn:
    """Skips the running test or module; fails it if OPENBPU_REQUIRE_ALL is set."""
    if ALL:
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def tools(*names: str, hint: str = "") -> None:
    """Programs on the search path."""
    absent = [name for name in names if shutil.which(name) is None]
    if absent:
        missing(f"needs {', '.join(absent)}" + (f" ({hint})" if hint else ""))


def module(name: str, hint: str = "") -> ModuleType:
    """A Python package, imported."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        missing(f"needs the package {name}" + (f": {hint}" if hint else ""))
