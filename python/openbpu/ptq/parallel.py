"""Runs calls of ONNX Runtime on all processors.

Threads that share one small operator wait for one another more than they work: sessions of one thread, several runs at
a time, are quicker, and each run computes what it would compute alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

RunAll = Callable[[Iterable[Callable[[], Any]]], list[Any]]


@contextmanager
def side_by_side() -> Iterator[RunAll]:
    """What calls functions at the same time and returns their results in order; the first that raises ends it."""
    pool = ThreadPoolExecutor(_processors())

    def run_all(functions: Iterable[Callable[[], Any]]) -> list[Any]:
        return [running.result() for running in [pool.submit(function) for function in functions]]

    try:
        yield run_all
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
