"""HB_HBMRuntime: board scripts run with one changed import, `from openbpu.hbm_runtime import HB_HBMRuntime`.

Names and signatures are those of the board's module; behaviour is that of Session, which computes everything here.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from openbpu import __version__
from openbpu.errors import ConfigError, SampleError
from openbpu.runtime.executable import Executable, Port
from openbpu.runtime.session import CORES, MAX_PRIORITY, Schedule, Session

__all__ = ["HB_HBMRuntime", "QuantParams", "SchedParam", "hbDNNDataType", "hbDNNQuantiType"]

T = TypeVar("T")


class hbDNNDataType(IntEnum):
    """Element types, numbered as in hb_dnn.h."""

    S4 = 0
    U4 = 1
    S8 = 2
    U8 = 3
    F16 = 4
    S16 = 5
    U16 = 6
    F32 = 7
    S32 = 8
    U32 = 9
    F64 = 10
    S64 = 11
    U64 = 12
    BOOL8 = 13


class hbDNNQuantiType(IntEnum):
    """Whether a tensor is quantised."""

    NONE = 0
    SCALE = 1


_DTYPES = {
    "int8": hbDNNDataType.S8,
    "uint8": hbDNNDataType.U8,
    "float16": hbDNNDataType.F16,
    "int16": hbDNNDataType.S16,
    "uint16": hbDNNDataType.U16,
    "float32": hbDNNDataType.F32,
    "int32": hbDNNDataType.S32,
    "uint32": hbDNNDataType.U32,
    "float64": hbDNNDataType.F64,
    "int64": hbDNNDataType.S64,
    "uint64": hbDNNDataType.U64,
    "bool": hbDNNDataType.BOOL8,
}


@dataclass(frozen=True)
class QuantParams:
    """real = scale * (stored - zero_point); empty arrays and NONE for a tensor that is not quantised."""

    scale: np.ndarray
    zero_point: np.ndarray
    quant_type: hbDNNQuantiType
    axis: int


@dataclass(frozen=True)
class SchedParam:
    """How a model's runs are scheduled: as openbpu.runtime.Schedule says; device_id is 0."""

    priority: int = 0
    bpu_cores: tuple[int, ...] = ()
    custom_id: int = 0
    device_id: int = 0

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.priority, self.custom_id, self.bpu_cores)


class HB_HBMRuntime:
    """One or several executables, ready to run.

    `model_files` is a path or a list of paths of .bpux files, each with one or more models. The attributes are
    read-only dicts by model name, those of inputs and outputs dicts by tensor name in them. Raises ExecutableError for
    a bad file, ConfigError if two models have the same name.
    """

    def __init__(self, model_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        files = [model_files] if isinstance(model_files, str | os.PathLike) else list(model_files)
        if not files:
            raise ConfigError("at least one file", where="model_files", seen="an empty list")
        self._sessions: dict[str, Session] = {}
        descriptions: dict[str, str] = {}
        for file in files:
            executable = Executable.load(file)
            for name in executable.entries:
                if name in self._sessions:
                    raise ConfigError("models need different names", where=str(file), seen=f"{name} twice")
                self._sessions[name] = Session(executable, entry=name, threads=0)
                descriptions[name] = executable.native.meta
        self._sched = dict.fromkeys(self._sessions, SchedParam())

        self.version: str = __version__
        self.model_names: list[str] = list(self._sessions)
        self.model_count: int = len(self._sessions)
        self.model_descs = MappingProxyType(descriptions)
        self.hbm_descs = MappingProxyType(descriptions)
        self.compile_bpu_core_num = self._by_model(lambda _: 1)
        self.input_counts = self._by_model(lambda s: len(s.inputs))
        self.input_names = self._by_model(lambda s: [p.name for p in s.inputs])
        self.input_descs = self._by_input(lambda _: "")
        self.input_shapes = self._by_input(lambda p: p.shape)
        self.input_dtypes = self._by_input(lambda p: _DTYPES[p.dtype])
        self.input_quants = self._by_input(_quant_params)
        self.input_strides = self._by_input(_strides)
        self.output_counts = self._by_model(lambda s: len(s.outputs))
        self.output_names = self._by_model(lambda s: [p.name for p in s.outputs])
        self.output_descs = self._by_output(lambda _: "")
        self.output_shapes = self._by_output(lambda p: p.shape)
        self.output_dtypes = self._by_output(lambda p: _DTYPES[p.dtype])
        self.output_quants = self._by_output(_quant_params)
        self.output_strides = self._by_output(_strides)

    @property
    def sched_params(self) -> Mapping[str, SchedParam]:
        """What set_scheduling_params has set."""
        return MappingProxyType(self._sched)

    def set_scheduling_params(
        self,
        priority: Mapping[str, int] | None = None,
        bpu_cores: Mapping[str, Sequence[int]] | None = None,
        custom_id: Mapping[str, int] | None = None,
        device_id: Mapping[str, int] | None = None,
    ) -> None:
        """Sets how later runs are scheduled, each argument by model name; what is not named stays as it was.

        Raises ConfigError for an unknown model or a value out of range; nothing is changed then.
        """
        given = {"priority": priority, "bpu_cores": bpu_cores, "custom_id": custom_id, "device_id": device_id}
        self._sched = {name: self._scheduling(name, given) for name in self._sessions}

    def run(
        self,
        inputs: np.ndarray | Mapping[str, Any],
        model_name: str | None = None,
        priority: int | Mapping[str, int] | None = None,
        bpu_cores: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        custom_id: int | Mapping[str, int] | None = None,
        device_id: int | Mapping[str, int] | None = None,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Computes the outputs, {model: {output: array}}; the arrays own their memory.

        `inputs` is an array (one model with one input), {input: array} (one model) or {model: {input: array}}, which
        runs all those models at the same time, each on a thread of its own. `model_name` chooses the model where the
        first two forms leave a choice. The other arguments override set_scheduling_params for this call. Arrays that
        are not contiguous are copied; other Python threads run meanwhile. Raises SampleError, ConfigError, and
        ExecutableError if a program stops itself.
        """
        jobs = self._jobs(inputs, model_name)
        given = {"priority": priority, "bpu_cores": bpu_cores, "custom_id": custom_id, "device_id": device_id}
        params = {name: self._scheduling(name, given) for name in jobs}
        return _together({name: partial(self._sessions[name].run, jobs[name], params[name].schedule) for name in jobs})

    def _jobs(
        self, inputs: np.ndarray | Mapping[str, Any], model_name: str | None
    ) -> dict[str, np.ndarray | Mapping[str, Any]]:
        """The inputs of each model that is to run."""
        by_model = isinstance(inputs, Mapping) and bool(inputs) and all(isinstance(v, Mapping) for v in inputs.values())
        if by_model:
            if model_name is not None and list(inputs) != [model_name]:
                raise SampleError(
                    "inputs by model and model_name must agree", where=f"model_name {model_name}", seen=list(inputs)
                )
            for name in inputs:
                self._session(name)
            return dict(inputs)
        if model_name is None and len(self._sessions) > 1:
            raise SampleError(
                "with several models, inputs are {model: {input: array}} or model_name is given",
                seen=type(inputs).__name__,
                remedy=f"the models are {', '.join(self._sessions)}",
            )
        name = self.model_names[0] if model_name is None else model_name
        self._session(name)
        return {name: inputs}

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            near = difflib.get_close_matches(str(name), self._sessions, 1)
            hint = f"did you mean {near[0]}?" if near else f"the models are {', '.join(self._sessions)}"
            raise ConfigError("there is no such model", where="model name", seen=name, remedy=hint)
        return self._sessions[name]

    def _scheduling(self, name: str, given: Mapping[str, Any]) -> SchedParam:
        """The parameters of a model with those values that are given, checked."""
        params = self._sched[name]
        for key, value in given.items():
            if isinstance(value, Mapping):
                for other in value:
                    self._session(other)
                value = value.get(name)
            if value is not None:
                params = replace(params, **{key: _CHECKS[key](key, value)})
        return params

    def _by_model(self, fact: Callable[[Session], T]) -> Mapping[str, T]:
        return MappingProxyType({name: fact(session) for name, session in self._sessions.items()})

    def _by_input(self, fact: Callable[[Port], T]) -> Mapping[str, Mapping[str, T]]:
        return self._by_model(lambda session: MappingProxyType({p.name: fact(p) for p in session.inputs}))

    def _by_output(self, fact: Callable[[Port], T]) -> Mapping[str, Mapping[str, T]]:
        return self._by_model(lambda session: MappingProxyType({p.name: fact(p) for p in session.outputs}))


def _together(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Results by name; each call on a thread of its own, the first on the caller's; raises the first's error."""
    results: dict[str, T] = {}
    errors: dict[str, BaseException] = {}

    def call(name: str) -> None:
        try:
            results[name] = calls[name]()
        except BaseException as error:  # raised again in the calling thread
            errors[name] = error

    first, *others = calls
    threads = [threading.Thread(target=call, args=(name,), name=f"openbpu {name}") for name in others]
    for thread in threads:
        thread.start()
    call(first)
    for thread in threads:
        thread.join()
    for name in calls:
        if name in errors:
            raise errors[name]
    return {name: results[name] for name in calls}


def _quant_params(port: Port) -> QuantParams:
    quantised = port.scale != 0
    return QuantParams(
        np.array([port.scale] if quantised else [], np.float32),
        np.array([port.zero_point] if quantised else [], np.int32),
        hbDNNQuantiType.SCALE if quantised else hbDNNQuantiType.NONE,
        0,
    )


def _strides(port: Port) -> tuple[int, ...]:
    """Bytes from element to element along each dimension: ports are dense."""
    sizes = [np.dtype(port.dtype).itemsize]
    for extent in port.shape[:0:-1]:
        sizes.append(sizes[-1] * extent)
    return tuple(reversed(sizes)) if port.shape else ()


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    def check(key: str, value: Any) -> int:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"a whole number from {low} to {high}", where=key, seen=value)
        return int(value)

    return check


def _cores(key: str, value: Any) -> tuple[int, ...]:
    cores = [value] if isinstance(value, int | np.integer) else value
    if not isinstance(cores, Sequence | np.ndarray) or isinstance(cores, str):
        raise ConfigError("a list of core indices", where=key, seen=value)
    checked = tuple(_integer(0, CORES - 1)(key, core) for core in cores)
    if len(set(checked)) != len(checked):
        raise ConfigError("each core once", where=key, seen=value)
    return checked


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "priority": _integer(0, MAX_PRIORITY),
    "bpu_cores": _cores,
    "custom_id": _integer(-(2**63), 2**63 - 1),
    "device_id": _integer(0, 0),
}
