"""Runs calls of ONNX Runtime and of numpy on all processors.

Threads that share one small operator wait for one another more than they work: sessions of one thread, several runs at
a time, are quicker, and each run computes what it would compute alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

RunAll = Callable[[Iterable[Callable[[], Any]]], list[Any]]


def in_turn(functions: Iterable[Callable[[], Any]]) -> list[Any]:
    """The results of functions called one after the other."""
    return [function() for function in functions]


@contextmanager
def side_by_side() -> Iterator[RunAll]:
    """What calls functions at the same time and returns their results in order; the first that raises ends it.

    Products of matrices have half of the processors meanwhile: mostly two of them are made at a time.
    """
    processors = _processors()
    pool = ThreadPoolExecutor(processors)

    def run_all(functions: Iterable[Callable[[], Any]]) -> list[Any]:
        return [running.result() for running in [pool.submit(function) for function in functions]]

    try:
        with threadpool_limits(max(1, processors // 2), "blas"):
            yield run_all
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
