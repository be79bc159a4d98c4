"""The whole configuration: read from YAML or made in Python, validated, with what is deprecated or has no effect."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from openbpu.config.checks import contradictions
from openbpu.config.fields import Group, key, relative_to
from openbpu.config.groups import (
    OLDER_MARCHES,
    CalibrationParameters,
    CompilerParameters,
    CustomOp,
    InputParameters,
    ModelParameters,
)
from openbpu.config.mistakes import ConfigMistakes, Mistake, explained
from openbpu.config.reading import parse_yaml, read_text
from openbpu.errors import ConfigError, did_you_mean


class ConfigWarning(UserWarning):
    """A key is deprecated: which, and what replaces it."""


class Config(Group):
    """A configuration of five groups, as hb_compile reads it; groups are objects or plain dicts.

    Every mistake is found at once: ConfigMistakes. What is deprecated warns once per key (ConfigWarning).
    """

    model_parameters: ModelParameters = key(..., "the model", remedy="add the group with onnx_model and march")
    input_parameters: InputParameters = key(
        ..., "its inputs", remedy="add the group with input_type_rt and input_type_train"
    )
    calibration_parameters: CalibrationParameters = key(CalibrationParameters(), "ranges and types")
    compiler_parameters: CompilerParameters = key(CompilerParameters(), "scheduling")
    custom_op: CustomOp = key(CustomOp(), "operators of the user's own")

    def __init__(self, **groups: Any) -> None:
        try:
            super().__init__(**{name: {} if value is None else value for name, value in groups.items()})
        except ValidationError as error:
            raise ConfigMistakes(explained(error, type(self))) from error
        misspelt = self.calibration_parameters.misspelt().items()
        found = [
            Mistake(f"calibration_parameters.{k}", "unknown key", "", f"did you mean {near}?") for k, near in misspelt
        ]
        if found := [*found, *contradictions(self)]:
            raise ConfigMistakes(found)
        for notice in self.deprecated:
            warnings.warn(notice, ConfigWarning, stacklevel=2)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Config:
        """The configuration in a YAML file; relative paths in it are relative to its folder.

        Raises ConfigError for a file that cannot be read, ConfigMistakes for what is wrong in it.
        """
        file = Path(path)
        return cls.from_text(read_text(file, "configuration"), str(file), file.parent)

    @classmethod
    def from_text(cls, text: str, source: str = "configuration", folder: str | os.PathLike[str] = "") -> Config:
        """The configuration in a YAML text; relative paths in it are relative to `folder`."""
        groups, lines = parse_yaml(text, source)
        if unknown := [_unknown_group(name) for name in groups if name not in cls.model_fields]:
            raise ConfigMistakes(unknown, source, lines)
        try:
            with relative_to(Path(folder)):
                return cls(**groups)
        except ConfigMistakes as error:
            raise ConfigMistakes(error.mistakes, source, lines) from error

    @property
    def deprecated(self) -> list[str]:
        """One sentence per deprecated key or value that is set."""
        found = [_deprecated(path, str(extra["deprecated_for"])) for path, extra in _set(self, "deprecated_for")]
        if self.model_parameters.march in OLDER_MARCHES:
            older = self.model_parameters.march
            found.append(
                f"model_parameters.march {older} is of an older generation; compiled for {OLDER_MARCHES[older]}"
            )
        if self.calibration_parameters.calibration_type == "mix":
            found.append("calibration_parameters.calibration_type mix is deprecated; instead: default")
        return found

    @property
    def recorded(self) -> dict[str, str]:
        """Keys that are set and have no effect, on a virtual BPU or beside another key, each with the reason."""
        found = {path: str(extra["recorded"]) for path, extra in _set(self, "recorded")}
        compiler, calibration = self.compiler_parameters, self.calibration_parameters
        if compiler.balance_factor is not None and compiler.compile_mode != "balance":
            found["compiler_parameters.balance_factor"] = "it counts with compile_mode balance"
        if calibration.cal_data_dir and calibration.calibration_type in ("skip", "load"):
            why = f"calibration_type {calibration.calibration_type} reads no samples"
            found["calibration_parameters.cal_data_dir"] = why
        unknown = calibration.unknown
        return found | {f"calibration_parameters.{name}": "this key is not known here" for name in unknown}

    def recordable(self) -> dict[str, dict[str, Any]]:
        """What is set, group by group, for the description inside the program: file names without their folders."""
        return {
            name: {k: _without_folder(v) for k, v in group.items()}
            for name, group in self.model_dump(mode="python", by_alias=True, exclude_unset=True).items()
        }


def _deprecated(path: str, instead: str) -> str:
    nothing, _, why = instead.partition("nothing: ")
    return (
        f"{path} is deprecated, and needs no successor: {why}"
        if why and not nothing
        else (f"{path} is deprecated; instead: {instead}")
    )


def _unknown_group(name: str) -> Mistake:
    known = list(Config.model_fields)
    for group, field in Config.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel) and name in model.model_fields:
            return Mistake(name, "a key stands inside its group", "", f"move it below {group}:, indented")
    return Mistake(name, "unknown group", "", did_you_mean(name, known, f"the groups are {', '.join(known)}"))


def _set(group: BaseModel, mark: str, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Paths and declarations of the keys with a mark that are set, nested groups included."""
    for name in sorted(
        group.model_fields_set & type(group).model_fields.keys(), key=list(type(group).model_fields).index
    ):
        field, value = type(group).model_fields[name], getattr(group, name)
        at = f"{path}.{field.alias or name}" if path else field.alias or name
        extra = field.json_schema_extra
        if isinstance(extra, dict) and mark in extra:
            yield at, extra
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for part, item in inner:
            if isinstance(item, BaseModel):
                yield from _set(item, mark, f"{at}.{part}" if part else at)


def _without_folder(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {k: _without_folder(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folder(v) for v in value]
    return value


def load(config: str | os.PathLike[str] | Config) -> Config:
    """A configuration as it is, or from the YAML file at this path."""
    if isinstance(config, Config):
        return config
    if not isinstance(config, str | os.PathLike):
        raise ConfigError("a configuration is a Config or the path of a YAML file", seen=type(config).__name__)
    return Config.from_yaml(config)
