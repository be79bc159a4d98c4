"""What can be wrong in a configuration, said so that one reading suffices: key, rule, value, remedy."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from openbpu.errors import ConfigError, nearest

_MEANT, _REQUIRED = "did you mean ", "this key is required"
_LONGEST = 80  # characters of a value that a message shows


@dataclass(frozen=True)
class Mistake:
    """One wrong key: its path ("compiler_parameters.jobs"), the rule it breaks, the value seen and what to do."""

    key: str
    rule: str
    seen: str = ""
    remedy: str = ""


class ConfigMistakes(ConfigError):
    """All mistakes of a configuration at once; `mistakes` has them one by one."""

    def __init__(self, mistakes: Sequence[Mistake], source: str = "", lines: Mapping[str, int] | None = None) -> None:
        first = mistakes[0]
        self.mistakes = tuple(mistakes)
        self._source, self._lines = source, dict(lines or {})
        super().__init__(first.rule, where=first.key, seen=first.seen, remedy=first.remedy)

    def __str__(self) -> str:
        texts = [str(ConfigError(m.rule, where=self._where(m), seen=m.seen, remedy=m.remedy)) for m in self.mistakes]
        if len(texts) == 1:
            return texts[0] if not self._source else f"{self._source}: {texts[0]}"
        return "\n".join([f"{self._source or 'configuration'}: {len(texts)} mistakes", *(f"  - {t}" for t in texts)])

    def _where(self, mistake: Mistake) -> str:
        """The key, and its line if it stands in a file; a missing key is at its group."""
        path = mistake.key
        while path and path not in self._lines:
            path = path.rpartition(".")[0]
        return f"line {self._lines[path]}, {mistake.key}" if path else mistake.key


def wrong(rule: str, remedy: str = "", seen: bool = True) -> PydanticCustomError:
    """The error that a validator raises: the rule, what to do, and whether the message shall show the value."""
    return PydanticCustomError("openbpu", "{rule}", {"rule": rule, "remedy": remedy, "seen": seen})


def choose(word: str, known: Iterable[str]) -> str:
    """The remedy for a word that is none of the known ones."""
    known = [k for k in known if k]
    if len(known) == 1:
        return f"write {known[0]}"
    parts = [part for part in re.split(r"[\s,|/]+", word) if part]
    if len(parts) > 1 and set(parts) <= set(known):
        return f"write {';'.join(parts)}"
    near = nearest(word, known)
    return f"did you mean {near}? Allowed: {', '.join(known)}" if near else f"use one of {', '.join(known)}"


def shown(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def explained(error: ValidationError, root: type[BaseModel]) -> list[Mistake]:
    """pydantic's errors in our words."""
    found: dict[str, Mistake] = {}
    for detail in error.errors(include_url=False):
        mistake = _mistake(detail, root)
        found.setdefault(mistake.key, mistake)
    meant = {
        m.key.rpartition(".")[0] + "." + m.remedy[len(_MEANT) : -1]
        for m in found.values()
        if m.remedy.startswith(_MEANT)
    }
    return [m for m in found.values() if not (m.rule == _REQUIRED and m.key in meant)]


def _mistake(detail: ErrorDetails, root: type[BaseModel]) -> Mistake:
    path = tuple(part for part in detail["loc"] if not _is_tag(part))
    steps = [str(part) for part in path]
    named = [step for step in steps if not step.isdecimal()]  # without places in lists
    key = ".".join(step for step in named if step != "inputs_by_number")
    kind, seen, context = detail["type"], detail["input"], detail.get("ctx", {})
    holder, name = _at(root, named[:-1]), named[-1] if named else ""
    if kind == "extra_forbidden":
        return Mistake(key, "unknown key", "", _unknown(name, holder, root))
    if kind == "missing":
        return Mistake(key, _REQUIRED, "", _remedy(holder, name))
    if kind == "openbpu":
        said = f"'{seen}'" in context["rule"] or not context["seen"]
        return Mistake(key, context["rule"], "" if said else shown(seen), context["remedy"])
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return Mistake(key, "not an allowed value", shown(seen), choose(str(seen), allowed))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Mistake(key, "a group of keys", shown(seen), "write 'key: value' lines below it, indented")
    rule, remedy = _RULES.get(kind.split("_")[0], (_plainly(detail["msg"]), ""))
    if bounds := _bounds(holder, name):
        rule, remedy = f"a number {bounds}", f"choose a value {bounds}"
    return Mistake(key, rule, shown(seen), _remedy(holder, name) or remedy)


def _plainly(message: str) -> str:
    """pydantic's words in ours."""
    text = message.lower().removeprefix("input should be ")
    return text.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


_RULES = {
    "bool": ("true or false", "write true or false"),
    "int": ("a whole number", "write a number without fraction and unit"),
    "float": ("a number", "write a number without unit"),
    "finite": ("a finite number", "write a number"),
    "string": ("a text", "put the value in quotes"),
    "tuple": ("a list, or a text with ';' between the items", "separate the items with ';'"),
}


def _is_tag(part: object) -> bool:
    """pydantic adds the names of validators and union members to a location."""
    return isinstance(part, str) and ("[" in part or "(" in part or part in ("str", "bool", "int", "float", "tuple"))


def _at(model: type[BaseModel], steps: Sequence[str]) -> type[BaseModel] | None:
    """The model class that a path leads to, through groups, aliases and dictionaries of groups."""
    at: type[BaseModel] | None = model
    through_names = False
    for step in steps:
        if at is None or through_names:
            through_names = False
            continue
        field = field_of(at, step)
        if field is None:
            return None
        at, through_names = _inner(field.annotation)
    return at


def field_of(model: type[BaseModel], key: str) -> Any:
    """The field that a key of the file sets: by its alias or its name."""
    return next((f for name, f in model.model_fields.items() if (f.alias or name) == key), None)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a group as the file writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model inside an annotation, and whether a dictionary with free names is around it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        found = (_inner(argument) for argument in arguments)
        return next((f for f in found if f[0] is not None), (None, False))
    if origin is dict:
        return _inner(arguments[1])[0], True
    return None, False


def _unknown(name: str, holder: type[BaseModel] | None, root: type[BaseModel]) -> str:
    known = keys_of(holder or root)
    for group, field in root.model_fields.items():
        model, _ = _inner(field.annotation)
        if model is not None and model is not holder and name in keys_of(model):
            return f"move it to {group}, where it belongs"
    if near := nearest(name, known):
        return f"{_MEANT}{near}?"
    return f"remove it; the keys here are {', '.join(known)}"


def _remedy(holder: type[BaseModel] | None, name: str) -> str:
    field = field_of(holder, name) if holder else None
    extra = field.json_schema_extra if field is not None else None
    return str(extra.get("remedy", "")) if isinstance(extra, dict) else ""


def _bounds(holder: type[BaseModel] | None, name: str) -> str:
    """The range of a number, in words."""
    field = field_of(holder, name) if holder else None
    limits = {type(m).__name__: m for m in field.metadata} if field is not None else {}
    low = next((getattr(limits[k], k.lower()) for k in ("Ge", "Gt") if k in limits), None)
    high = next((getattr(limits[k], k.lower()) for k in ("Le", "Lt") if k in limits), None)
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}" if not isinstance(low, int) else f"from {low} to {high}"
    if low is not None:
        return f"greater than {low}" if "Gt" in limits else f"of at least {low}"
    return ""
