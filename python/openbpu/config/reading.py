"""YAML and JSON text to plain data; the text is hostile until it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from openbpu.errors import ConfigError

LARGEST = 1 << 20  # bytes of a file
_MOST_VALUES = 20_000
_DEEPEST = 32


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2, so that `ON: BPU` and `prefix: no` are what they look like."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise ConfigError(
                        "a key stands once in its group",
                        where=f"line {line}, {key.value}",
                        seen=f"it again, first on line {seen[key.value]}",
                        remedy="keep one of them",
                    )
                seen[key.value] = line
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys multiply: a few lines of them fill any memory."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise ConfigError(
                    "merge keys are not taken", where=f"line {key.start_mark.line + 1}, <<", remedy="write the keys out"
                )


_BOOLEAN = re.compile("^(true|True|TRUE|false|False|FALSE)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOLEAN, list("tTfF"))


def read_text(path: Path, what: str) -> str:
    """The text of a file. Raises ConfigError if it can't be read, is too large, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"the {what} must be readable", where=str(path), seen=error.strerror) from error
    if len(data) > LARGEST:
        raise ConfigError(
            f"a {what} has at most {LARGEST:,} bytes", where=str(path), seen="more", remedy="is it this file?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"a {what} is UTF-8 text", where=str(path), seen=f"byte {error.start}: {data[error.start]:#04x}",
            remedy="save it as UTF-8",
        ) from error  # fmt: skip


def parse_yaml(text: str, source: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The groups of a YAML text, and the line of each key by its path ("compiler_parameters.jobs").

    Raises ConfigError for what is no YAML, has tags, keys twice, too many values (aliases counted as often as they
    are used), or is nested too deeply.
    """
    try:
        _check_events(text)
        loaded = yaml.load(text, _Loader)
        lines = _lines(yaml.compose(text, _Loader))
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
        raise ConfigError("must be YAML", where=where, seen=problem, remedy=_yaml_remedy(problem)) from error
    except ConfigError as error:
        raise ConfigError(error.rule, where=f"{source}, {error.where}", seen=error.seen, remedy=error.remedy) from error
    except (ValueError, TypeError, OverflowError) as error:  # PyYAML lets some through: 0x, unhashable keys
        raise ConfigError("must be YAML", where=source, seen=error) from error
    if not isinstance(loaded, dict):
        raise ConfigError(
            "a configuration is made of groups of keys",
            where=source,
            seen=type(loaded).__name__ if loaded else "nothing",
            remedy="start from `hb_config_generator --simple-yaml`",
        )
    return _plain(loaded, source), lines


def parse_json(text: str, source: str) -> Any:
    """The data of a JSON text. Raises ConfigError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := next((n for n in names if names.count(n) > 1), ""):
            raise ConfigError("a key stands once in its group", where=f"{source}, {twice}", remedy="keep one of them")
        return dict(pairs)

    try:
        return _plain(json.loads(text, object_pairs_hook=once), source)
    except RecursionError:
        raise _too_deep(source) from None
    except json.JSONDecodeError as error:
        raise ConfigError("must be JSON", where=f"{source}, line {error.lineno}", seen=error.msg) from error


def _yaml_remedy(problem: str) -> str:
    if "\\t" in problem or "tab" in problem:
        return "indent with spaces, not with tabs"
    if "tag" in problem:
        return "remove the tag"
    return "check indentation, colons and quotes there"


def _check_events(text: str) -> None:
    """Depth and number of values before anything recurses over them."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise _too_deep("file")
        if count > _MOST_VALUES:
            raise _too_many("file")


def _plain(value: Any, source: str) -> Any:
    """A copy of strings, numbers, lists and dicts with string keys, counted while it is made."""
    left = _MOST_VALUES

    def copy(item: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _too_many(source)
        if depth > _DEEPEST:
            raise _too_deep(source)
        if isinstance(item, dict):
            return {str(k): copy(v, depth + 1) for k, v in item.items()}
        if isinstance(item, list | tuple | set):
            return [copy(v, depth + 1) for v in item]
        return item

    return copy(value, 0)


def _too_many(where: str) -> ConfigError:
    return ConfigError(
        f"a configuration has at most {_MOST_VALUES:,} values",
        where=where,
        seen="more",
        remedy="aliases count as often as they are used: write the values out",
    )


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"values are nested at most {_DEEPEST} deep", where=where, remedy="write it flatter")


def _lines(node: yaml.Node | None, prefix: str = "", depth: int = 0) -> dict[str, int]:
    found: dict[str, int] = {}
    if not isinstance(node, yaml.MappingNode) or depth > 4:
        return found
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            found[path] = key.start_mark.line + 1
            found.update(_lines(value, path, depth + 1))
    return found
