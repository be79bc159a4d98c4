"""Memory that was freed goes back to the system, where the C library would keep it for the next request."""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any


def give_back() -> None:
    """Returns what is free to the system; does nothing where the C library has no such call.

    Copies of models and sessions of ONNX Runtime are hundreds of megabytes, made and freed again and again. The GNU C
    library keeps the pieces, each too small for what comes next, so that a process grows to twice what it uses.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


def collect() -> None:
    """`give_back` after objects that refer to one another in a circle, as the nodes of a graph do, are freed."""
    gc.collect()
    give_back()


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # no GNU C library
        return None
