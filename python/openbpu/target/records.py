"""The records and numbers of csrc/isa/*.def as numpy types and dictionaries; nothing is declared twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openbpu import _native
from openbpu.errors import ExecutableError

NO_ID = 0xFFFF
NO_AUX = 0xFFFFFFFF
REGIONS = {"const": 0, "ddr": 1, "sram": 2, "in": 3, "out": 4, "home": 5}
DTYPES = {"int8": 1, "uint8": 2, "int16": 3, "int32": 4, "float32": 5, "int64": 6, "bool": 7}
# Ports and operands of CPUCALL have these types too; "bfloat16", which numpy lacks, is for operands only.
DTYPES |= {"uint16": 8, "uint32": 9, "uint64": 10, "float16": 11, "float64": 12, "bfloat16": 13}


def _dtype(record: dict[str, Any]) -> np.dtype[Any]:
    fields = record["fields"]
    return np.dtype(
        {
            "names": [f["name"] for f in fields],
            "formats": [f["format"] if f["count"] == 1 else (f["format"], (f["count"],)) for f in fields],
            "offsets": [f["offset"] for f in fields],
            "itemsize": record["size"],
        }
    )


RECORDS: dict[str, np.dtype[Any]] = {name: _dtype(record) for name, record in _native.records().items()}
INSTRUCTIONS: dict[str, dict[str, Any]] = {info["name"]: info for info in _native.instructions()}
FORMATS: dict[str, int] = {info["name"]: info["number"] for info in _native.formats()}
FLAGS: dict[str, int] = {info["name"]: info["mask"] for info in _native.flags()}
CPU_KERNELS: dict[str, dict[str, Any]] = {info["name"]: info for info in _native.cpu_kernels()}
VERSIONS: dict[str, int] = _native.versions()


_LIMITS = {code: (int(np.iinfo(code).min), int(np.iinfo(code).max)) for code in "bBhHiIlLqQ"}


def fitting(values: Any, dtype: Any, where: str) -> np.ndarray:
    """Values as an array of that type. Raises ExecutableError if one is not in its range, instead of wrapping."""
    array = np.asarray(values)
    target = np.dtype(dtype)
    if target.kind in "iu" and array.size:
        limits = np.iinfo(target)
        if array.dtype.kind not in "iub" or int(array.min()) < limits.min or int(array.max()) > limits.max:
            seen = f"{array.dtype} {array.min()} .. {array.max()}" if array.ndim else array
            raise ExecutableError(f"must be an integer of {limits.min} to {limits.max}", where=where, seen=seen)
    return array.astype(target)


def record(name: str, fields: Mapping[str, Any]) -> np.ndarray:
    """A record of the file; fields that are not named are zero, short sequences are padded with zeros.

    Raises ExecutableError for a field that the record lacks and a value that its field cannot hold.
    """
    dtype = RECORDS[name]
    result = np.zeros((), dtype)
    for field, value in fields.items():
        if dtype.fields is None or field not in dtype.fields:
            raise ExecutableError("must be a field of the record", where=name, seen=field)
        kind = dtype.fields[field][0]
        if type(value) is int and kind.char in _LIMITS:  # nearly all of them: without arrays
            least, most = _LIMITS[kind.char]
            if least <= value <= most:
                result[field] = value
                continue
        where = f"{name}.{field}"
        if isinstance(value, Sequence):
            result[field][: len(value)] = fitting(value, kind.base, where)
        else:
            result[field] = fitting(value, kind, where)
    return result
