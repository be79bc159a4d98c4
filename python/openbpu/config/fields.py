"""Types and declarations of keys: how a text becomes names, numbers or shapes, and what every key does here."""

from __future__ import annotations

import contextlib
import contextvars
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from openbpu.config.mistakes import wrong

_base: contextvars.ContextVar[Path] = contextvars.ContextVar("base", default=Path())


@contextlib.contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Relative paths that are validated inside are relative to this folder."""
    token = _base.set(folder)
    try:
        yield
    finally:
        _base.reset(token)


def key(
    default: Any,
    meaning: str,
    *,
    remedy: str = "",
    recorded: str = "",
    deprecated: str = "",
    values: str = "",
    also: str = "",
    **rules: Any,
) -> Any:
    """A key of the file: default (... if required) and meaning.

    `values` are those that its type does not tell. `recorded` says why it has no effect on a virtual BPU, `deprecated`
    what replaces it, `also` the JSON type of a shorter form that it takes. `rules` are pydantic's.
    """
    extra = {"remedy": remedy, "recorded": recorded, "deprecated_for": deprecated, "values": values, "also": also}
    return Field(default, description=meaning, json_schema_extra={k: v for k, v in extra.items() if v}, **rules)


class Group(BaseModel):
    """A group of keys. An empty value counts as no value, as in `input_name:` or `input_name: ''`."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_empty_values(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: v for k, v in values.items() if v is not None and not (isinstance(v, str) and not v.strip())}

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and kind in (int, float, int | None, float | None):
            raise wrong("a number", "write a number, or remove the key")
        return value


def resolved(value: Any) -> Path:
    """A path, relative to the folder of the configuration."""
    if not isinstance(value, str | Path):
        raise wrong("a path", "put the path in quotes")
    if "\0" in str(value):
        raise wrong("a path without NUL characters", "write the path again")
    with contextlib.suppress(RuntimeError):  # no home folder
        return _base.get() / Path(value).expanduser()
    return _base.get() / value


def _items(value: Any) -> list[str]:
    """The items of a text with ';' between them, or of a list."""
    if isinstance(value, list | tuple):
        if bad := next((v for v in value if not isinstance(v, str | int | float)), None):
            raise wrong(f"a list of texts; one item is {bad!r}", "separate the items with ';'")
        return [str(v).strip() for v in value]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise wrong("a text with ';' between the items", "separate the items with ';', or write a list")
    return [part.strip() for part in str(value).split(";")]


def _names(value: Any) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if item)


def _per_input(value: Any) -> tuple[str, ...]:
    items = _items(value)
    while items and not items[-1]:  # a ';' at the end
        items.pop()
    return tuple(items)


def _with_gaps(value: Any) -> tuple[str, ...]:
    return tuple(_items(value))


def _shape(text: str) -> tuple[int, ...]:
    parts = re.split(r"[xX*,]", text.replace(" ", ""))
    if not all(p.isdecimal() and 0 < int(p) < 1 << 31 for p in parts):
        raise wrong(
            f"a shape is whole numbers greater than 0 with x between them; '{text}' is not", "write 1x3x224x224"
        )
    if len(parts) > 10:
        raise wrong(f"a shape has at most 10 dimensions, '{text}' has {len(parts)}", "write 1x3x224x224")
    return tuple(map(int, parts))


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(v, int) for v in value):
        value = [list(value)]
    if isinstance(value, list | tuple):
        value = ["x".join(map(str, v)) if isinstance(v, list | tuple) else v for v in value]
    return tuple(_shape(item) if item else () for item in _items(value))  # empty: as the model has it


def _numbers(value: Any) -> tuple[tuple[float, ...], ...]:
    if isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value):
        value = " ".join(map(str, value))
    return tuple(_channels(item) for item in _items(value))


_LARGEST = float(np.finfo(np.float32).max)


def _channels(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in re.split(r"[\s,]+", text.strip()) if part)
    except ValueError:
        found = (math.nan,)
    if not all(abs(value) <= _LARGEST for value in found):
        raise wrong(
            f"numbers that float32 holds, with spaces between them, one per channel; '{text}' is not",
            "write 123.68 116.78 103.94, and ';' between inputs",
        )
    return found


_TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array"}]}
_NUMBERS = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "array"}]}

FilePath = Annotated[Path, BeforeValidator(resolved), WithJsonSchema({"type": "string"})]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), WithJsonSchema(_TEXT_OR_LIST)]
Shapes = Annotated[tuple[tuple[int, ...], ...], BeforeValidator(_shapes), WithJsonSchema(_TEXT_OR_LIST)]
Numbers = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_numbers), WithJsonSchema(_NUMBERS)]
split_per_input = BeforeValidator(_per_input)
split_with_gaps = BeforeValidator(_with_gaps)
split_names = BeforeValidator(_names)
text_or_list = WithJsonSchema(_TEXT_OR_LIST)
