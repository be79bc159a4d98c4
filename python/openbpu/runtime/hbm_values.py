"""What HB_HBMRuntime says of tensors and schedules, by the names of the board's module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from openbpu.errors import ConfigError
from openbpu.runtime.executable import STRIDES, Port
from openbpu.runtime.session import CORES, MAX_PRIORITY, Schedule


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
    MAX = 14


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
    """How a model's runs are scheduled: as openbpu.runtime.Schedule says; bpu_cores [-1] is any, deviceId is 0."""

    priority: int = 0
    customId: int = 0
    bpu_cores: list[int] = field(default_factory=lambda: [_ANY_CORE])
    deviceId: int = 0

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.priority, self.customId, tuple(core for core in self.bpu_cores if core != _ANY_CORE))


_ANY_CORE = -1


def data_type(port: Port) -> hbDNNDataType:
    return _DTYPES[port.dtype]


def quant_params(port: Port) -> QuantParams:
    quantised = port.scale != 0
    return QuantParams(
        np.array([port.scale] if quantised else [], np.float32),
        np.array([port.zero_point] if quantised else [], np.int32),
        hbDNNQuantiType.SCALE if quantised else hbDNNQuantiType.NONE,
        0,
    )


def strides(port: Port) -> list[int]:
    """Bytes from element to element along each dimension; -1 where the rows of a camera's frame may have gaps."""
    sizes = [np.dtype(port.dtype).itemsize]
    for extent in port.shape[:0:-1]:
        sizes.append(sizes[-1] * extent)
    if port.flags & STRIDES:
        rows = port.sides[0]
        sizes = [*sizes[: len(port.shape) - rows - 1], *[-1] * (rows + 1)]
    return sizes[::-1] if port.shape else []


def shape(port: Port) -> list[int]:
    """The extents; -1 for those of a frame of any size."""
    return [-1 if port.any_size and axis in port.sides else extent for axis, extent in enumerate(port.shape)]


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    def check(key: str, value: Any) -> int:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"a whole number from {low} to {high}", where=key, seen=value)
        return int(value)

    return check


def _cores(key: str, value: Any) -> list[int]:
    cores = [value] if isinstance(value, int | np.integer) else value
    if not isinstance(cores, Sequence | np.ndarray) or isinstance(cores, str):
        raise ConfigError("a list of core indices", where=key, seen=value)
    if len(cores) == 0 or list(cores) == [_ANY_CORE]:
        return [_ANY_CORE]
    checked = [_integer(0, CORES - 1)(key, core) for core in cores]
    if len(set(checked)) != len(checked):
        raise ConfigError("each core once", where=key, seen=value)
    return checked


SCHEDULING: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "priority": ("priority", _integer(0, MAX_PRIORITY)),
    "bpu_cores": ("bpu_cores", _cores),
    "custom_id": ("customId", _integer(-(2**63), 2**63 - 1)),
    "device_id": ("deviceId", _integer(0, 0)),
}
"""By the name of an argument: the member of SchedParam, and what checks and converts a value."""
