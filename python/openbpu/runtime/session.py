"""Runs one model of an executable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError, OpenBpuError, SampleError
from openbpu.runtime.executable import Executable, Port

if TYPE_CHECKING:
    from openbpu.runtime.profile import Explanation, Profile, Step

_REAL = ("float16", "float32", "float64")  # types that a float32 port takes


class Session:
    """An engine with its memory, ready to run.

    `model` is a path, the bytes of a file, or an Executable (share one between sessions: a session runs one call at a
    time, and calls from several threads wait for one another). `isa` is "auto" or a name of
    `openbpu._native.available_isas()`; `threads` 0 means all processors of the process. The same bits come out for
    every isa and thread count. Raises ExecutableError for a bad file, ConfigError for a bad option.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | bytearray | memoryview | Executable,
        *,
        isa: str = "auto",
        threads: int = 1,
        entry: str = "",
    ) -> None:
        self.executable = _executable(model)
        try:
            self._engine = _native.Engine(self.executable.native, entry=entry, isa=isa, threads=threads)
        except _native.NativeError as error:
            raise _session_error(error) from None
        except TypeError as error:
            raise ConfigError("isa and entry are strings, threads an int", seen=error) from error
        ports = self.executable.ports(entry)
        self.inputs: tuple[Port, ...] = tuple(p for p in ports if p.direction == "input")
        self.outputs: tuple[Port, ...] = tuple(p for p in ports if p.direction == "output")

    @property
    def isa(self) -> str:
        return self._engine.isa

    @property
    def threads(self) -> int:
        return self._engine.threads

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(step["macs"] for step in self._engine.steps())

    def run(self, inputs: Mapping[str, Any] | np.ndarray) -> dict[str, np.ndarray]:
        """Computes all outputs by name; the arrays own their memory.

        `inputs` maps each input name to an array of the port's shape; a single array will do for a model with one
        input. float16 and float64 arrays are converted for a float32 port, other types must match. Values are not
        scanned: what lies beyond the port's range saturates, NaN becomes the zero point. Other threads may run Python
        meanwhile. Raises SampleError, and ExecutableError if the program stops itself (TRAP).
        """
        results = self._call(self._engine.run, self._arrays(inputs))
        return {port.name: array for port, array in zip(self.outputs, results, strict=True)}

    def explain(self) -> Explanation:
        """Which kernel runs each layer, and why."""
        from openbpu.runtime.profile import Explanation

        return Explanation(self.isa, self.threads, self._steps())

    def profile(self, inputs: Mapping[str, Any] | np.ndarray | None = None, runs: int = 20) -> Profile:
        """Median time per layer over `runs` runs, on `inputs` or on zeros, beside the instruction peak measured now."""
        from dataclasses import replace

        from openbpu.runtime.profile import Profile

        if runs < 1:
            raise ConfigError("at least one run", where="runs", seen=runs)
        arrays = self._arrays({p.name: np.zeros(p.shape, p.dtype) for p in self.inputs} if inputs is None else inputs)
        self._call(self._engine.run, arrays)
        times = []
        for _ in range(runs):
            self._call(self._engine.run_profiled, arrays)
            times.append([step["nanoseconds"] for step in self._engine.steps()])
        medians = np.median(np.array(times, np.float64), axis=0)
        steps = tuple(replace(s, nanoseconds=float(t)) for s, t in zip(self._steps(), medians, strict=True))
        return Profile(self.isa, self.threads, steps, runs, self.threads * _native.peak_gmacs(self.isa))

    @staticmethod
    def _call(method: Callable[[list[np.ndarray]], list[np.ndarray]], arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            return method(arrays)
        except _native.NativeError as error:
            raise _session_error(error) from None

    def _steps(self) -> tuple[Step, ...]:
        from openbpu.runtime.profile import Step

        layers = self.executable.meta.get("layers", {})
        steps = []
        for step in self._engine.steps():
            layer = layers.get(str(step["layer"]), {})
            steps.append(
                Step(
                    instruction=step["instruction"],
                    op=step["op"],
                    layer=str(layer.get("name", "")),
                    nodes=tuple(map(str, layer.get("nodes", ()))),
                    row=step["row"],
                    reason=step["reason"],
                    macs=step["macs"],
                    bytes=step["bytes"],
                )
            )
        return tuple(steps)

    def _arrays(self, inputs: Mapping[str, Any] | np.ndarray) -> list[np.ndarray]:
        if not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                raise SampleError(
                    "a model with several inputs needs a dict",
                    seen=type(inputs).__name__,
                    remedy=f"give {self._names()}",
                )
            inputs = {self.inputs[0].name: inputs}
        known = {port.name for port in self.inputs}
        for name in inputs:
            if name not in known:
                import difflib

                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"the inputs are {self._names()}"
                raise SampleError("the model has no such input", where="inputs", seen=name, remedy=hint)
        missing = [port.name for port in self.inputs if port.name not in inputs]
        if missing:
            raise SampleError("every input needs an array", where="inputs", seen=f"none for {', '.join(missing)}")
        return [_array(port, inputs[port.name]) for port in self.inputs]

    def _names(self) -> str:
        return ", ".join(port.name for port in self.inputs)


def _executable(model: str | os.PathLike[str] | bytes | bytearray | memoryview | Executable) -> Executable:
    if isinstance(model, Executable):
        return model
    if isinstance(model, bytes | bytearray | memoryview):
        return Executable.from_bytes(model)
    if isinstance(model, str | os.PathLike):
        return Executable.load(model)
    raise ConfigError("the model is a path, bytes or an Executable", where="model", seen=type(model).__name__)


def _session_error(error: _native.NativeError) -> OpenBpuError:
    code, where, message = error.args
    kind = ConfigError if code in ("BadArgument", "Unsupported") else ExecutableError
    return kind(message, where=where)


def _array(port: Port, value: Any) -> np.ndarray:
    where = f"input {port.name}"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise SampleError("must be an array", where=where, seen=error) from error
    if array.shape != port.shape:
        raise SampleError(f"must have shape {port.shape}", where=where, seen=f"shape {array.shape}")
    if array.dtype != port.dtype and not (port.dtype == "float32" and array.dtype.name in _REAL):
        raise SampleError(
            f"must be of type {port.dtype}",
            where=where,
            seen=array.dtype,
            remedy=_conversion(port, array.dtype),
        )
    return np.require(array, port.dtype, ("C_CONTIGUOUS", "ALIGNED"))


def _conversion(port: Port, given: np.dtype[Any]) -> str:
    """How to turn an array into what the port takes; says so where a plain cast would change the meaning."""
    if {port.dtype, given.name} == {"int8", "uint8"}:
        sign = "-" if given.name == "uint8" else "+"
        return f"a cast would wrap: use (x.astype('int16') {sign} 128).astype('{port.dtype}') if 128 stands for zero"
    if port.scale and given.kind == "f":
        return f"quantise it: clip(round(x / {port.scale:g}) + {port.zero_point}) as {port.dtype}"
    if port.dtype == "float32":
        return "apply the model's preprocessing, or convert with .astype('float32') if the values are right as they are"
    return f"convert with .astype('{port.dtype}')"
