"""openbpu: an open int8 toolchain for a documented virtual BPU.

Names are loaded on first use (PEP 562), so that `import openbpu.runtime` needs numpy and the native module alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbpu.pipeline import (
        accuracy,
        build,
        check,
        compile,
        diff,
        estimate,
        evaluate,
        link,
        load,
        quantize,
        remove_boundary_nodes,
        search,
        verify,
    )
    from openbpu.runtime import Executable, Session

__version__ = "0.1.0"

_HOMES = {
    "accuracy": "openbpu.pipeline",
    "quantize": "openbpu.pipeline",
    "compile": "openbpu.pipeline",
    "build": "openbpu.pipeline",
    "check": "openbpu.pipeline",
    "estimate": "openbpu.pipeline",
    "remove_boundary_nodes": "openbpu.pipeline",
    "search": "openbpu.pipeline",
    "evaluate": "openbpu.evaluation.whole",
    "link": "openbpu.pipeline",
    "diff": "openbpu.artefacts.differences",
    "verify": "openbpu.artefacts.verify",
    "load": "openbpu.pipeline",
    "Executable": "openbpu.runtime",
    "Session": "openbpu.runtime",
    "OpenBpuError": "openbpu.errors",
}

__all__ = [
    "Executable",
    "OpenBpuError",
    "Session",
    "__version__",
    "accuracy",
    "build",
    "check",
    "compile",
    "diff",
    "estimate",
    "evaluate",
    "link",
    "load",
    "quantize",
    "remove_boundary_nodes",
    "search",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'openbpu' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
