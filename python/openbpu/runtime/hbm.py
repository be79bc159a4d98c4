"""HB_HBMRuntime: board scripts run with one changed import, `from openbpu.hbm_runtime import HB_HBMRuntime`.

Names and signatures are those of the board's module; behaviour is that of Session, which computes everything here.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np

from openbpu import __version__
from openbpu.errors import ConfigError, SampleError, did_you_mean
from openbpu.runtime.executable import Executable, Port
from openbpu.runtime.hbm_values import (
    SCHEDULING,
    QuantParams,
    SchedParam,
    data_type,
    hbDNNDataType,
    hbDNNQuantiType,
    quant_params,
    shape,
    strides,
)
from openbpu.runtime.session import Session

__all__ = ["HB_HBMRuntime", "QuantParams", "SchedParam", "hbDNNDataType", "hbDNNQuantiType"]

T = TypeVar("T")
Path = str | os.PathLike[str]


class _Attribute(Generic[T]):
    """A read-only attribute, made anew at each look: what a script does to the value changes nothing here."""

    def __init__(self, make: Callable[[HB_HBMRuntime], T]) -> None:
        self._make = make

    def __get__(self, runtime: HB_HBMRuntime, owner: type[HB_HBMRuntime]) -> T:
        return self._make(runtime)


def _by_model(fact: Callable[[Session], T]) -> _Attribute[Mapping[str, T]]:
    return _Attribute(lambda runtime: MappingProxyType({name: fact(s) for name, s in runtime._sessions.items()}))


def _by_input(fact: Callable[[Port], T]) -> _Attribute[Mapping[str, Mapping[str, T]]]:
    return _by_model(lambda session: MappingProxyType({port.name: fact(port) for port in session.inputs}))


def _by_output(fact: Callable[[Port], T]) -> _Attribute[Mapping[str, Mapping[str, T]]]:
    return _by_model(lambda session: MappingProxyType({port.name: fact(port) for port in session.outputs}))


class HB_HBMRuntime:
    """One or several executables, ready to run.

    `model_files` is a path or a list of paths of .bpux files, each with one or more models; `model_file` is another
    name for it. The attributes are read-only dicts by model name, those of inputs and outputs dicts by tensor name in
    them. Raises ExecutableError for a bad file, ConfigError if two models have the same name.
    """

    version: str = __version__
    model_names = _Attribute(lambda runtime: list(runtime._sessions))
    model_count = _Attribute(lambda runtime: len(runtime._sessions))
    model_descs = _by_model(lambda session: json.dumps(session.executable.metadata(session.entry)))
    hbm_descs = model_descs
    compile_bpu_core_num = _by_model(lambda _: 1)
    input_counts = _by_model(lambda session: len(session.inputs))
    input_names = _by_model(lambda session: [port.name for port in session.inputs])
    input_descs = _by_input(lambda _: "")
    input_shapes = _by_input(shape)
    input_dtypes = _by_input(data_type)
    input_quants = _by_input(quant_params)
    input_strides = _by_input(strides)
    output_counts = _by_model(lambda session: len(session.outputs))
    output_names = _by_model(lambda session: [port.name for port in session.outputs])
    output_descs = _by_output(lambda _: "")
    output_shapes = _by_output(lambda port: list(port.shape))
    output_dtypes = _by_output(data_type)
    output_quants = _by_output(quant_params)
    output_strides = _by_output(strides)
    sched_params = _Attribute(
        lambda runtime: MappingProxyType(
            {name: replace(params, bpu_cores=list(params.bpu_cores)) for name, params in runtime._sched.items()}
        )
    )

    _sessions: dict[str, Session]
    _sched: dict[str, SchedParam]

    def __init__(self, model_files: Path | Sequence[Path] = (), *, model_file: Path | None = None) -> None:
        given = model_files if model_file is None else model_file
        files = [given] if isinstance(given, str | os.PathLike) else list(given)
        if not files:
            raise ConfigError("at least one file", where="model_files", seen="an empty list")
        self._sessions = {}
        for file in files:
            executable = Executable.load(file)
            for name in executable.entries:
                if name in self._sessions:
                    raise ConfigError("models need different names", where=str(file), seen=f"{name} twice")
                self._sessions[name] = Session(executable, entry=name, threads=0)
        self._sched = {name: SchedParam() for name in self._sessions}

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"{name} is read-only")
        super().__setattr__(name, value)

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
        inputs: np.ndarray | Mapping[str, Any] | None = None,
        model_name: str | None = None,
        priority: int | Mapping[str, int] | None = None,
        bpu_cores: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        custom_id: int | Mapping[str, int] | None = None,
        device_id: int | Mapping[str, int] | None = None,
        *,
        input_tensor: np.ndarray | None = None,
        input_tensors: Mapping[str, Any] | None = None,
        multi_input_tensors: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Computes the outputs, {model: {output: array}}; the arrays own their memory.

        `inputs`, or the board's name for each form: an array (one model with one input), {input: array} (one model) or
        {model: {input: array}}, which runs all those models at the same time, each on a thread of its own. `model_name`
        chooses the model where the first two forms leave a choice, and the only one to run of the third. The other
        arguments override set_scheduling_params for this call. Arrays that are not contiguous are copied; other Python
        threads run meanwhile. Raises SampleError, which is a ValueError, ConfigError, and ExecutableError if a program
        stops itself.
        """
        named = {
            "inputs": inputs,
            "input_tensor": input_tensor,
            "input_tensors": input_tensors,
            "multi_input_tensors": multi_input_tensors,
        }
        forms = {name: value for name, value in named.items() if value is not None}
        if len(forms) != 1:
            raise SampleError(f"one of {', '.join(named)} must be given", where="inputs", seen=list(forms) or "none")
        jobs = self._jobs(next(iter(forms.values())), model_name)
        given = {"priority": priority, "bpu_cores": bpu_cores, "custom_id": custom_id, "device_id": device_id}
        params = {name: self._scheduling(name, given) for name in jobs}
        return _together({name: partial(self._sessions[name].run, jobs[name], params[name].schedule) for name in jobs})

    def _jobs(
        self, inputs: np.ndarray | Mapping[str, Any], model_name: str | None
    ) -> dict[str, np.ndarray | Mapping[str, Any]]:
        """The inputs of each model that is to run."""
        by_model = isinstance(inputs, Mapping) and bool(inputs) and all(isinstance(v, Mapping) for v in inputs.values())
        if model_name is not None:
            self._session(model_name)
        if by_model:
            for name in inputs:
                self._session(name)
            if model_name is None:
                return dict(inputs)
            if model_name not in inputs:
                raise SampleError("there must be inputs of the model", where=model_name, seen=list(inputs))
            return {model_name: inputs[model_name]}
        if model_name is None and len(self._sessions) > 1:
            raise SampleError(
                "with several models, inputs are {model: {input: array}} or model_name is given",
                seen=type(inputs).__name__,
                remedy=f"the models are {', '.join(self._sessions)}",
            )
        return {next(iter(self._sessions)) if model_name is None else model_name: inputs}

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            hint = did_you_mean(name, self._sessions, f"the models are {', '.join(self._sessions)}")
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
                member, check = SCHEDULING[key]
                params = replace(params, **{member: check(key, value)})
        return params


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
