"""One difference between two files, and tables of named things against one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """`group` (node, constant, port, ...), `name` in it, `what` of it: added, removed, or the property."""

    group: str
    name: str
    what: str
    before: str
    after: str
    difference: str = ""


def compared(group: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    """Changes of things by name: texts, or texts by property."""
    for name in [*first, *(n for n in second if n not in first)]:
        if name not in second:
            yield Change(group, name, "removed", _text(first[name]), "")
        elif name not in first:
            yield Change(group, name, "added", "", _text(second[name]))
        elif first[name] != second[name]:
            a, b = first[name], second[name]
            if not isinstance(a, Mapping):
                yield Change(group, name, "value", str(a), str(b))
                continue
            for key in [*a, *(k for k in b if k not in a)]:
                if a.get(key, "") != b.get(key, ""):
                    yield Change(group, name, key, str(a.get(key, "")), str(b.get(key, "")))


def _text(value: Any) -> str:
    """The first property stands for the thing."""
    return str(next(iter(value.values()), "")) if isinstance(value, Mapping) else str(value)
