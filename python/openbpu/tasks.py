"""Work on an executor that a user hands in: results in order, few at a time, and its failures said as such."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from openbpu.errors import ExecutorError, OpenBpuError

_AHEAD = 32  # tasks under way
_PATIENCE = 2.0  # seconds that a pool whose worker died has to end


def spread(executor: Executor, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """`function(*call)` of every call, in their order; as many are under way as a small cluster can use.

    Raises what the function raises on purpose (OpenBpuError), and ExecutorError for anything else: a worker that died,
    an executor that was shut down, a task that cannot travel.
    """
    waiting: list[Any] = []
    try:
        for call in calls:
            waiting.append(_guarded(executor, lambda call=call: executor.submit(function, *call)))  # type: ignore[misc]
            if len(waiting) > _AHEAD:
                yield _guarded(executor, waiting.pop(0).result)
        while waiting:
            yield _guarded(executor, waiting.pop(0).result)
    finally:
        for task in waiting:
            task.cancel()


def _guarded(executor: Executor, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (OpenBpuError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a cancelled task of asyncio is no Exception
        _let_end(executor)
        raise ExecutorError(
            "the executor must run what it is given",
            where=f"executor {type(executor).__name__}",
            seen=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}",
            remedy="run without an executor to see whether the task or the executor fails; workers may lack memory",
        ) from error


def _let_end(executor: Executor) -> None:
    """Frees a process pool that waits for its own thread, which writes to the pipe of workers that died.

    So does the `with` of the pool then, for ever, until Python 3.11.4 (CPython issue 94777).
    """
    manager, queue = getattr(executor, "_executor_manager_thread", None), getattr(executor, "_call_queue", None)
    if getattr(executor, "_broken", False) and manager is not None and queue is not None:
        manager.join(_PATIENCE)
        if manager.is_alive():
            queue._reader.close()
