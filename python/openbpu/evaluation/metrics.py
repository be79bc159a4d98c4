"""Metrics: one number, higher is better, of a model's outputs over a set of samples.

A metric of one's own is a function `metric(outputs, references)` of two lists of the same length, in the order of the
samples: `outputs` holds a dict {output: array} per sample, `references` its label, or the outputs of the float model if
there are no labels. What such a function does wrong is said as an error of the metric, with its name and the cause.
"""

from __future__ import annotations

import importlib
import math
import numbers
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from openbpu.errors import ConfigError, MetricError, SampleError

MetricFunction = Callable[[Sequence[Any], Sequence[Any]], float]


@dataclass(frozen=True)
class Metric:
    """A named function of outputs and references; calling it checks that it gives a finite number."""

    name: str
    function: MetricFunction

    def __call__(self, outputs: Sequence[Any], references: Sequence[Any]) -> float:
        where = f"metric {self.name}"
        try:
            value = self.function(outputs, references)
        except (KeyboardInterrupt, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise MetricError(
                "the metric function must not fail",
                where=where,
                seen=f"{type(error).__name__}: {error}",
                remedy="it is called with a list of {output: array} and a list of references; " + place(error),
            ) from error
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, str) or not _is_number(value) or not math.isfinite(number):
            seen = value if _is_number(value) else f"{type(value).__name__} {str(value)[:60]}"
            raise MetricError("the metric function must return a finite number", where=where, seen=seen)
        return number


def resolved(metric: str | Metric | MetricFunction) -> Metric:
    """A metric by its function or "module:function"; modules of the current folder are found too.

    Raises ConfigError if there is no such function.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    return Metric(str(metric), imported(str(metric), "metric"))


def imported(name: str, what: str) -> Callable[..., Any]:
    """The function "module:function"; modules of the current folder are found too.

    `what` it is for stands in errors. Raises ConfigError if there is no such function.
    """
    where = f"{what} {name}"
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError("must be a function, by name as module:function", where=what, seen=name)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError("the function must exist", where=where, seen=error) from error
    except (Exception, SystemExit) as error:
        seen = f"{type(error).__name__}: {error}"
        raise ConfigError("the module must import", where=where, seen=seen) from error
    if not callable(function):
        raise ConfigError("must be a function", where=where, seen=type(function).__name__)
    return cast(Callable[..., Any], function)


def called(loader: str) -> Any:
    """What the function "module:function" returns: samples. Raises ConfigError, and SampleError if it fails."""
    function = imported(loader, "loader")
    try:
        return function()
    except (Exception, SystemExit) as error:
        seen = f"{type(error).__name__}: {error}"
        raise SampleError(
            "the loader must not fail", where=f"loader {loader}", seen=seen, remedy=place(error)
        ) from error


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) or (getattr(value, "shape", None) == () and hasattr(value, "dtype"))


def place(error: BaseException) -> str:
    """The last line of the user's code on the way to an error."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [f for f in frames if "site-packages" not in f[0].parts and not f[0].is_relative_to(Path(os.__file__).parent)]
    if not own:
        return ""
    return f"it failed in {own[-1][0].name}, line {own[-1][1]}"
