"""Runs one model of an executable."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError, OpenBpuError, SampleError, did_you_mean
from openbpu.runtime.executable import REGION, Executable, Port

if TYPE_CHECKING:
    from openbpu.runtime.profile import Explanation, Profile, Step

MAX_PRIORITY = 255
CORES = 4
_ANY_CORE = 1 << 7
_REAL = ("float16", "float32", "float64")  # types that a float32 port takes


@dataclass(frozen=True)
class Schedule:
    """How a run goes together with all others of the process that have a schedule, on its few cores.

    `priority` 0 to 255: up to 253, runs wait for a core, higher ones first; 254 stops lower ones between two
    instructions, 255 those below 255. Among equals the smaller `custom_id` goes first, then who came first. `cores` are
    indices from 0 to 3, none for any: a run uses the processors of as many cores as its session has threads.
    `timeout` in seconds from the call, 0 for none. Raises ConfigError for values out of range.
    """

    priority: int = 0
    custom_id: int = 0
    cores: tuple[int, ...] = ()
    timeout: float = 0.0

    def __post_init__(self) -> None:
        for key, value, low, high in (
            ("priority", self.priority, 0, MAX_PRIORITY),
            ("custom_id", self.custom_id, -(2**63), 2**63 - 1),
            *(("cores", core, 0, CORES - 1) for core in self.cores),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"must be a whole number from {low} to {high}", where=key, seen=value)
        if len(set(self.cores)) != len(self.cores):
            raise ConfigError("each core once", where="cores", seen=self.cores)
        if not 0 <= self.timeout <= 1e9:
            raise ConfigError("must be a number of seconds from 0 to 1e9", where="timeout", seen=self.timeout)

    @property
    def mask(self) -> int:
        """The cores as bits, as the scheduler takes them."""
        return sum(1 << core for core in self.cores) or _ANY_CORE


class Session:
    """An engine with its memory, ready to run.

    `model` is a path, the bytes of a file, or an Executable (share one between sessions: a session runs one call at a
    time, and calls from several threads wait for one another). `isa` is "auto" or a name of
    `openbpu._native.available_isas()`; `threads` 0 means all processors of the process. The same bits come out for
    every isa and thread count. `exact_machine`, for tests, runs the program as it is written, with queues in an order
    that `seed` draws, and checks every byte (docs/scheduling.md). Raises ExecutableError for a bad file, ConfigError
    for a bad option.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | bytearray | memoryview | Executable,
        *,
        isa: str = "auto",
        threads: int = 1,
        entry: str = "",
        exact_machine: bool = False,
        seed: int = 0,
    ) -> None:
        self.executable = _executable(model)
        self.entry = entry or self.executable.entries[0]
        try:
            self._engine = _native.Engine(
                self.executable.native, entry=entry, isa=isa, threads=threads, exact_machine=exact_machine, seed=seed
            )
        except _native.NativeError as error:
            raise _session_error(error) from None
        except TypeError as error:
            if isinstance(seed, int) and not 0 <= seed < 2**64:
                raise ConfigError("a seed is at least 0 and below 2^64", where="seed", seen=seed) from None
            raise ConfigError("isa and entry are strings, threads and seed ints", seen=error) from error
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
        return sum(step["macs"] for step in self._infos())

    def run(self, inputs: Mapping[str, Any] | np.ndarray, schedule: Schedule | None = None) -> dict[str, np.ndarray]:
        """Computes all outputs by name; the arrays own their memory.

        `inputs` maps each input name to an array of the port's shape; a single array will do for a model with one
        input. float16 and float64 arrays are converted for a float32 port, other types must match. Values are not
        scanned: what lies beyond the port's range saturates, NaN becomes the zero point. Other threads may run Python
        meanwhile. With a `schedule` the run is a task that shares the process's cores with others; without, it starts
        at once. Raises SampleError; ExecutableError if the program stops itself (TRAP) or the time is over.
        """
        method = self._engine.run if schedule is None else partial(self._run_task, schedule)
        results = self._call(method, self._arrays(inputs))
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
            times.append([step["nanoseconds"] for step in self._infos()])
        medians = np.median(np.array(times, np.float64), axis=0)
        steps = tuple(replace(s, nanoseconds=float(t)) for s, t in zip(self._steps(), medians, strict=True))
        return Profile(self.isa, self.threads, steps, runs, self.threads * _native.peak_gmacs(self.isa))

    def _run_task(self, schedule: Schedule, arrays: list[np.ndarray]) -> list[np.ndarray]:
        milliseconds = math.ceil(schedule.timeout * 1e3)
        return self._engine.run_task(arrays, schedule.priority, schedule.custom_id, schedule.mask, milliseconds)

    @staticmethod
    def _call(method: Callable[[list[np.ndarray]], list[np.ndarray]], arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            return method(arrays)
        except _native.NativeError as error:
            raise _session_error(error) from None

    def _infos(self) -> list[dict[str, Any]]:
        try:
            return self._engine.steps()
        except _native.NativeError as error:
            raise _session_error(error) from None

    def _steps(self) -> tuple[Step, ...]:
        from openbpu.runtime.profile import Step

        layers = self.executable.metadata(self.entry).get("layers", {})
        steps = []
        for step in self._infos():
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
                hint = did_you_mean(name, known, f"the inputs are {self._names()}")
                raise SampleError("the model has no such input", where="inputs", seen=name, remedy=hint)
        missing = [port.name for port in self.inputs if port.name not in inputs]
        if missing:
            raise SampleError("every input needs an array", where="inputs", seen=f"none for {', '.join(missing)}")
        arrays = [_array(port, inputs[port.name]) for port in self.inputs]
        if any(port.flags & REGION for port in self.inputs):
            _check_regions(self.inputs, inputs)
        return arrays

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


def _check_regions(ports: tuple[Port, ...], inputs: Mapping[str, Any]) -> None:
    """Regions of interest lie in the images of the ports before them, whose sizes agree."""
    images: list[tuple[Port, tuple[int, ...]]] = []
    for port in ports:
        if port.any_size:
            images.append((port, np.shape(inputs[port.name])))
        if not port.flags & REGION or not images:
            continue
        (first, size), *rest = images
        height, width = (size[axis] for axis in first.sides)
        for other, shape in rest:
            if tuple(shape[1:3]) != (height // 2, width // 2) or height % 2 or width % 2:
                where = f"input {other.name}"
                raise SampleError(f"must be half of the {height}x{width} of {first.name}", where=where, seen=shape)
        for left, top, right, bottom in np.asarray(inputs[port.name]).tolist():
            if not (0 <= left <= right < width and 0 <= top <= bottom < height):
                seen = f"{left}, {top}, {right}, {bottom}"
                rule = f"left, top, right, bottom must lie in the image of {height} rows and {width} columns"
                raise SampleError(rule, where=f"input {port.name}", seen=seen)
        images = []


def _in_the_corner(port: Port, array: np.ndarray) -> np.ndarray:
    """An image smaller than its port, in the upper left of zeros; others as they are."""
    if not port.any_size or array.shape == port.shape or array.ndim != 4:
        return array
    for axis, (have, most) in enumerate(zip(array.shape, port.shape, strict=True)):
        if not (1 <= have <= most if axis in port.sides else have == most):
            return array
    whole = np.zeros(port.shape, array.dtype)
    whole[tuple(slice(extent) for extent in array.shape)] = array
    return whole


def _array(port: Port, value: Any) -> np.ndarray:
    where = f"input {port.name}"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise SampleError("must be an array", where=where, seen=error) from error
    array = _in_the_corner(port, array)
    if array.shape != port.shape:
        wanted = port.extents if port.any_size else str(port.shape)
        raise SampleError(f"must have shape {wanted}", where=where, seen=f"shape {array.shape}")
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
