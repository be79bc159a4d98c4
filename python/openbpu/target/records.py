"""The records and numbers of csrc/isa/*.def as numpy types and dictionaries; nothing is declared twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from openbpu import _native

NO_ID = 0xFFFF
NO_AUX = 0xFFFFFFFF
REGIONS = {"const": 0, "ddr": 1, "sram": 2, "in": 3, "out": 4}
DTYPES = {"int8": 1, "uint8": 2, "int16": 3, "int32": 4, "float32": 5, "int64": 6, "bool": 7}


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
VERSIONS: dict[str, int] = _native.versions()
