"""Errors that openbpu raises: each says what, which rule, the value seen, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class OpenBpuError(Exception):
    """Base of every error that openbpu raises on purpose.

    `where` names the node, key, section, port or file; `rule` what had to hold; `seen` the value that broke it;
    `remedy` what to do. All are strings and may be empty; `str()` joins those that are set.
    """

    def __init__(self, rule: str, *, where: str = "", seen: object = "", remedy: str = "") -> None:
        self.rule, self.where, self.seen, self.remedy = rule, where, str(seen), remedy
        super().__init__(rule)

    def __str__(self) -> str:
        text = f"{self.where}: {self.rule}" if self.where else self.rule
        if self.seen:
            text += f"; got {self.seen}"
        if self.remedy:
            text += f". {self.remedy[0].upper()}{self.remedy[1:]}"
        return text if text.endswith((".", "!", "?")) else text + "."


class ModelError(OpenBpuError):
    """A float or QDQ model cannot be read, or is not what the stage needs."""


class UnsupportedError(OpenBpuError):
    """A node is valid ONNX but has no place on the BPU."""


class SampleError(OpenBpuError, ValueError):
    """Calibration or input data have the wrong name, shape, type or values."""


class ExecutableError(OpenBpuError):
    """A .bpux file is damaged, of another version, or breaks a rule of the instruction set."""


class ConfigError(OpenBpuError):
    """An option or configuration key is unknown, out of range or in conflict with another."""


class MetricError(OpenBpuError):
    """A metric function failed, or gave something else than a finite number."""


class ExecutorError(OpenBpuError):
    """An executor that a user handed in could not run a task."""


class ModelWarning(UserWarning):
    """A model is compiled, but not exactly as it stands: which node, what was changed and why."""


class SampleWarning(UserWarning):
    """Samples are used, but do not look like what was declared: which input, the numbers seen and those expected."""


def nearest(word: object, known: Iterable[str]) -> str:
    """The known word that is most like this one, whatever its case; "" if none is."""
    import difflib  # by those alone who mistyped

    by_lower = {k.lower(): k for k in known if k}
    lower = str(word).lower()
    found = difflib.get_close_matches(lower, by_lower, 1, 0.6)
    found = found or [k for k in by_lower if len(lower) > 3 and k.startswith(lower)]
    found = found or [k for k in by_lower if len(k) > 3 and lower.startswith(k)]
    return by_lower[found[0]] if found else ""


def did_you_mean(word: object, known: Iterable[str], otherwise: str) -> str:
    """The remedy for a word that is none of the known ones: the nearest, or `otherwise`."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else otherwise
