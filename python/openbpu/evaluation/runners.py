"""Float models, QDQ models and executables behind one call, feed in, outputs out; they travel to other processes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort

from openbpu.errors import ModelError
from openbpu.runtime import Executable, Session
from openbpu.tasks import spread

Feed = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
FLOAT, QDQ, EXECUTABLE = "float", "QDQ", "executable"
_CHUNK = 8  # samples of one task


@dataclass(frozen=True)
class Runnable:
    """A model as bytes: kind FLOAT or QDQ (ONNX, in ONNX Runtime) or EXECUTABLE (.bpux, in the engine)."""

    kind: str
    data: bytes
    entry: str = ""  # of an executable with several models

    def run(self, feeds: Iterable[Feed], executor: Executor | None = None) -> Iterator[tuple[Outputs, float]]:
        """Outputs by name, and seconds, of each feed in order; with an executor in tasks of several samples.

        Few tasks are under way at a time, so memory does not grow. Raises what the model raises, and ExecutorError.
        """
        if executor is None:
            call = _loaded(self)
            yield from (_timed(call, feed) for feed in feeds)
            return
        iterator = iter(feeds)
        chunks = iter(lambda: list(itertools.islice(iterator, _CHUNK)), [])
        for results in spread(executor, run_chunk, ((self, chunk) for chunk in chunks)):
            yield from results


def run_chunk(model: Runnable, feeds: Sequence[Feed]) -> list[tuple[Outputs, float]]:
    """A task of another process."""
    call = _loaded(model)
    return [_timed(call, feed) for feed in feeds]


def _timed(call: Any, feed: Feed) -> tuple[Outputs, float]:
    start = time.perf_counter()
    result = call(feed)
    return result, time.perf_counter() - start


@lru_cache(maxsize=4)
def _loaded(model: Runnable) -> Any:
    if model.kind == EXECUTABLE:
        session = Session(Executable.from_bytes(model.data), entry=model.entry)
        names = [port.name for port in session.inputs]
        return lambda feed: session.run({name: feed[name] for name in names if name in feed})
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if model.kind == QDQ:  # fusions of ONNX Runtime round differently
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnx_session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several types of its own
        reason = str(error).splitlines()[0]
        raise ModelError("ONNX Runtime must be able to run the model", where=model.kind, seen=reason) from error
    outputs = [o.name for o in onnx_session.get_outputs()]
    return lambda feed: dict(zip(outputs, onnx_session.run(outputs, dict(feed)), strict=True))
