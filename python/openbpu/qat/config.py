"""What `prepare` is told: settings for the whole model, and templates that override them for parts of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from openbpu.errors import ConfigError
from openbpu.qat.grids import ACTIVATION_TYPES, WEIGHT_TYPES
from openbpu.qat.normalising import LAYERS
from openbpu.qat.observers import Fixed, Observer, observer
from openbpu.qat.quantisers import RANGES
from openbpu.qat.weighted import NORM_MODES, WEIGHT_SCALES

_PRODUCTS = {kind.__name__: name for kind, name in LAYERS.items()}  # class -> the function that it calls
_PARTS = ("input", "output", "weight", "threshold", "observer", "ranges", "symmetric", "weight_scale")
Setting = str | Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """How one operator is quantised. `input` None: as its producer gives it; `threshold` fixes the range of the result:
    a number t for -t .. t (scale t/128, or t/32768), or a pair (low, high)."""

    output: str = "int8"
    input: str | None = None
    weight: str = "int8"
    threshold: float | tuple[float, float] | None = None
    observer: str = "auto"
    ranges: str = "moving"
    symmetric: bool = False
    weight_scale: str = "max"

    def new_observer(self) -> Observer:
        """An observer of the kind that is set, or the fixed range. Raises ConfigError."""
        if self.threshold is None:
            return observer(self.observer)
        try:
            pair = self.threshold if isinstance(self.threshold, tuple | list) else (0, self.threshold)
            low, high = (float(edge) for edge in pair)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(
                "a threshold is a positive number, or a pair (low, high)", where="threshold", seen=self.threshold
            )
        if pair is self.threshold:
            return Fixed(low, high)
        levels = 32768 if self.output == "int16" else 128  # of which the highest is levels - 1
        return Fixed(-high, high * (levels - 1) / levels)


@dataclass(frozen=True)
class ModuleName:
    """Settings by path of module: {"encoder.layer1": "int16", "head": {"weight": "int4", "threshold": 6.0}}.

    A path stands for the module and everything inside; the longest one that fits wins. A plain type is that of the
    result, or "float" for the whole operator.
    """

    settings: Mapping[str, Setting]

    def find(self, path: str, kind: str) -> Setting | None:
        """The setting for an operator of module `path`, of class or function `kind`."""
        fitting = [p for p in self.settings if path == p or path.startswith(f"{p}.") or not p]
        return self.settings[max(fitting, key=len)] if fitting else None


@dataclass(frozen=True)
class ModuleType:
    """Settings by class or name of function: {nn.Linear: {"weight": "int4"}, "softmax": "int16"}."""

    settings: Mapping[type[nn.Module] | str, Setting]

    def find(self, path: str, kind: str) -> Setting | None:
        """The setting for an operator of module `path`, of class or function `kind`."""
        for key, value in self.settings.items():
            if not isinstance(key, str | type):
                raise ConfigError("ModuleType names classes or functions", where="config.templates", seen=key)
            name = key if isinstance(key, str) else key.__name__
            if kind in (name, _PRODUCTS.get(name)):
                return value
        return None


@dataclass(frozen=True)
class Sensitivity:
    """Lifts the operators that lose most: the first `top` (a number, or a share below 1) of a sensitivity table.

    `table` is what `openbpu.qat.sensitivity` gives: rows with `name` in order of loss. `dtype` is the type they get.
    """

    table: Sequence[Any]
    top: float = 0.1
    dtype: str = "int16"
    part: str = "output"

    def __post_init__(self) -> None:
        _one_of(self.part, ("output", "weight"), "Sensitivity.part")
        _one_of(self.dtype, ACTIVATION_TYPES if self.part == "output" else WEIGHT_TYPES, "Sensitivity.dtype")
        if not self.top >= 0:
            raise ConfigError("a number of operators, or a share below 1", where="Sensitivity.top", seen=self.top)

    def find(self, path: str, kind: str) -> Setting | None:
        """The setting for an operator of module `path`, of class or function `kind`."""
        count = int(self.top) if self.top >= 1 else round(self.top * len(self.table))
        chosen = {row.name for row in self.table[:count]}
        return {self.part: self.dtype} if path in chosen else None


Template = ModuleName | ModuleType | Sensitivity


@dataclass(frozen=True)
class Config:
    """The settings of a model.

    `activations` and `weights`: int8, int16 (activations only), int2 .. int8 (weights only), float. `observer`: auto,
    minmax, moving, percentile, mse, kl. `ranges`, what becomes of activation ranges in training: moving, fixed, learned
    (LSQ). `weight_scale`: max, mse, learned. `batch_norm`: train, freeze, fold. `templates` override; later ones win.
    `leaves`: module classes that are not looked into and stay float. `shared`: "one" if a module that is called
    several times has one range for its results, "separate" if each call has its own.
    """

    activations: str = "int8"
    weights: str = "int8"
    observer: str = "auto"
    ranges: str = "moving"
    symmetric: bool = False
    weight_scale: str = "max"
    batch_norm: str = "train"
    templates: Sequence[Template] = ()
    leaves: Sequence[type[nn.Module]] = field(default=())
    shared: str = "one"

    def __post_init__(self) -> None:
        self._check(self.defaults(), "config")
        for key, value, allowed in (("batch_norm", self.batch_norm, NORM_MODES), ("shared", self.shared, _SHARED)):
            _one_of(value, allowed, f"config.{key}")
        for key, listed in (("templates", self.templates), ("leaves", self.leaves)):
            if not isinstance(listed, tuple | list):
                raise ConfigError("a list", where=f"config.{key}", seen=type(listed).__name__)
        for template in self.templates:
            if not isinstance(template, Template):
                raise ConfigError("a template of openbpu.qat", where="config.templates", seen=type(template).__name__)

    def settings(self, path: str, kind: str) -> Settings:
        """The settings of an operator of module `path`, of class or function `kind`. Raises ConfigError."""
        found = self.defaults()
        for template in self.templates:
            given = template.find(path, kind)
            if given is not None:
                found = replace(found, **_parts(given))
        self._check(found, f"templates for '{path}'")
        return found

    def check_paths(self, known: Collection[str]) -> None:
        """Raises ConfigError if a path of ModuleName is none of the `known` modules and operators, nor above one."""
        above = {path.rsplit(".", n)[0] for path in known for n in range(path.count(".") + 1)}
        for template in self.templates:
            for path in template.settings if isinstance(template, ModuleName) else ():
                if path and path not in above:
                    close = difflib.get_close_matches(path, above, 3)
                    raise ConfigError(
                        "ModuleName names modules and operators of the model", where="config.templates", seen=path,
                        remedy=f"did you mean {' or '.join(close)}" if close else "see the table of preparation(model)",
                    )  # fmt: skip

    def defaults(self) -> Settings:
        """The settings of an operator that no template names."""
        return Settings(
            output=self.activations,
            weight=self.weights,
            observer=self.observer,
            ranges=self.ranges,
            symmetric=self.symmetric,
            weight_scale=self.weight_scale,
        )

    @staticmethod
    def _check(settings: Settings, where: str) -> None:
        _one_of(settings.output, ACTIVATION_TYPES, where)
        _one_of(settings.input or settings.output, ACTIVATION_TYPES, where)
        _one_of(settings.weight, WEIGHT_TYPES, where)
        _one_of(settings.ranges, RANGES, where)
        _one_of(settings.weight_scale, WEIGHT_SCALES, where)
        settings.new_observer()


_SHARED = ("one", "separate")


def _parts(given: Setting) -> dict[str, Any]:
    if isinstance(given, str):
        return {"output": given, **({"weight": "float"} if given == "float" else {})}
    if not isinstance(given, Mapping):
        raise ConfigError("a setting is a type or a mapping", where="config.templates", seen=given)
    for key in given:
        if key not in _PARTS:
            raise ConfigError(f"a template sets some of {', '.join(_PARTS)}", where="config.templates", seen=key)
    return dict(given)


def _one_of(value: str, allowed: Sequence[str], where: str) -> None:
    if value not in allowed:
        raise ConfigError(f"one of {', '.join(allowed)}", where=where, seen=value)
