"""Attributes of CPU operators as the words of their record."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from openbpu.errors import ExecutableError
from openbpu.target.records import CPU_KERNELS


def attribute_words(name: str, attributes: Mapping[str, Any]) -> bytes:
    """The attribute words of an operator of the table, defaults filled in.

    Raises ExecutableError for an attribute that the operator lacks, that is missing, or that has another form.
    """
    specs = CPU_KERNELS[name]["attributes"]
    unknown = set(attributes) - {spec["name"] for spec in specs}
    if unknown:
        raise ExecutableError("must be attributes of the operator", where=f"cpucall {name}", seen=sorted(unknown))
    words = b""
    for spec in specs:
        where = f"cpucall {name}, attribute {spec['name']}"
        if spec["name"] in attributes:
            value = attributes[spec["name"]]
        elif spec["required"]:
            raise ExecutableError("must be given", where=where)
        else:
            value = _default(spec)
        words += _value(spec, value, where)
    return words


def _default(spec: Mapping[str, Any]) -> Any:
    text, kind = spec["default"], spec["kind"]
    if kind in "lnw":
        return [float(item) if kind == "n" else int(item) for item in text.split(",") if item]
    return text if kind == "e" else float(text) if kind == "f" else int(text)


def _value(spec: Mapping[str, Any], value: Any, where: str) -> bytes:
    kind = spec["kind"]
    if kind in "lnw":
        item = {"l": "i", "n": "f", "w": "e"}[kind]
        return struct.pack("<Q", len(value)) + b"".join(_word(spec, item, v, where) for v in value)
    return _word(spec, kind, value, where)


def _word(spec: Mapping[str, Any], kind: str, value: Any, where: str) -> bytes:
    if kind == "e":
        text = value.decode() if isinstance(value, bytes) else value
        words = spec["words"].split("|")
        if text not in words:
            raise ExecutableError(f"must be one of {', '.join(words)}", where=where, seen=value)
        return struct.pack("<q", words.index(text))
    try:
        if kind == "i":
            return struct.pack("<q", int(value))
        if math.isfinite(value):
            return struct.pack("<d", value)
    except (TypeError, ValueError, struct.error):
        pass
    raise ExecutableError("must be a finite number", where=where, seen=value)
