"""The log file of a build: everything, beside what the build wrote, never where the caller happens to stand."""

from __future__ import annotations

import logging
import logging.handlers
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openbpu.errors import OpenBpuError
from openbpu.workflow.stages import log

_BYTES, _FILES = 1 << 20, 10  # then the oldest goes


@contextmanager
def logged(folder: Path, name: str, say: Callable[[int, str], None]) -> Iterator[Path]:
    """What is logged inside goes to the rotating file `name` in `folder`; say(level, message) gets it too.

    Warnings are logged as such. Raises OpenBpuError if the folder cannot be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    except OSError as error:
        raise OpenBpuError(
            "the output folder must be writable",
            where=str(folder),
            seen=error.strerror,
            remedy="choose another working_dir",
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    speaker = _Speaker(say)
    level, propagate, show = log.level, log.propagate, warnings.showwarning
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handlers: tuple[logging.Handler, ...] = (handler, speaker)
    for each in handlers:
        log.addHandler(each)
    warnings.showwarning = lambda message, *rest, **more: log.warning("%s", message)
    try:
        yield path
    finally:
        warnings.showwarning = show
        log.setLevel(level)
        log.propagate = propagate
        for each in handlers:
            log.removeHandler(each)
            each.close()


class _Speaker(logging.Handler):
    def __init__(self, say: Callable[[int, str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.levelno, record.getMessage())
