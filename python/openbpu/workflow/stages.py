"""The stages of a build by name: where a failure happened, and where a build stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from openbpu.errors import OpenBpuError

log = logging.getLogger("openbpu")

# In order. A build that skips one stops before it.
STAGES = ("load", "optimize", "calibrate", "export", "convert", "compile", "save", "statistics")
SKIPPABLE = ("export", "convert", "compile")


class StageError(OpenBpuError):
    """What failed in a stage; `stage` is its name."""

    def __init__(self, stage: str, error: OpenBpuError) -> None:
        super().__init__(error.rule, where=error.where, seen=error.seen, remedy=error.remedy)
        self.stage, self.cause = stage, error

    def __str__(self) -> str:
        return f"*** ERROR-OCCUR-DURING {self.stage} *** {self.cause}"


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What fails inside is a StageError of this stage, and an error in the log."""
    log.info("%s: begins", name)
    try:
        yield
    except StageError:
        raise
    except KeyboardInterrupt:
        log.error("%s: interrupted", name)
        raise
    except OpenBpuError as error:
        log.error("%s: %s", name, error)
        raise StageError(name, error) from error
    except Exception as error:
        log.error("%s: %r", name, error, exc_info=True)
        first = next(iter(str(error).strip().splitlines()), "")
        unexpected = OpenBpuError(
            "an error that nobody expected",
            seen=f"{type(error).__name__}: {first[:200]}",
            remedy="the log file has where it happened: please report it",
        )
        raise StageError(name, unexpected) from error
    log.info("%s: done", name)
