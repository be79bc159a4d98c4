"""Recipes and the inputs of a model: which belongs to which, and whether they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from openbpu.errors import ConfigError, SampleError, did_you_mean
from openbpu.preprocess.camera import InputSpec
from openbpu.preprocess.families import recipe as family_recipe
from openbpu.preprocess.images import ImageFolder, Prepared, holds_images
from openbpu.preprocess.recipe import Recipe
from openbpu.preprocess.watch import Watched

Shapes = Mapping[str, tuple[int, ...]]


def recipes_of(preprocess: Recipe | str | Mapping[str, Recipe | str] | None, shapes: Shapes) -> dict[str, Recipe]:
    """The recipe of each input: one recipe is for the only input of four dimensions; a text names a model family.

    Raises ConfigError for an input that the model lacks, or whose shape the recipe does not give.
    """
    if preprocess is None:
        return {}
    if not isinstance(preprocess, Mapping):
        images = [name for name, shape in shapes.items() if len(shape) == 4]
        if len(images) != 1:
            seen = f"inputs {', '.join(shapes)}"
            raise ConfigError("one recipe needs one image input", where="preprocess", seen=seen, remedy="use a dict")
        preprocess = {images[0]: preprocess}
    found = {}
    for name, given in preprocess.items():
        if name not in shapes:
            hint = did_you_mean(name, shapes, f"the inputs are {', '.join(shapes)}")
            raise ConfigError("the model has no such input", where="preprocess", seen=name, remedy=hint)
        found[name] = _fitting(name, given, shapes[name])
    return found


def _fitting(name: str, given: Recipe | str, shape: tuple[int, ...]) -> Recipe:
    where = f"preprocess of input '{name}'"
    if len(shape) != 4:
        raise ConfigError("an image input has four dimensions", where=where, seen=f"shape {shape}")
    if isinstance(given, str):
        axes = (2, 3) if shape[1] in (1, 3) else (1, 2)
        given = family_recipe(given, (shape[axes[0]], shape[axes[1]]))
    if not isinstance(given, Recipe):
        raise ConfigError("must be a Recipe or the name of a family", where=where, seen=type(given).__name__)
    _, c, h, w = shape if given.layout == "NCHW" else (shape[0], shape[3], shape[1], shape[2])
    if c != given.channels:
        seen = f"shape {shape}"
        raise ConfigError(f"{given.colour} in {given.layout} has {given.channels} channels", where=where, seen=seen)
    if given.size is not None and given.size != (h, w):
        raise ConfigError(
            f"the model takes {h}x{w}", where=where, seen=f"{given.size[0]}x{given.size[1]} of the recipe"
        )
    return given


def stream(samples: Any, recipes: Mapping[str, Recipe]) -> Any:
    """Samples as the model takes them: photographs go through their recipe, and what passes is compared with it.

    `samples` may be a folder of photographs. Raises SampleError for a folder that cannot be read so.
    """
    if isinstance(samples, str | os.PathLike):
        if not recipes or not holds_images(samples):
            rule = "a folder must hold images" if recipes else "a folder of images needs `preprocess`"
            raise SampleError(rule, where=os.fspath(samples), remedy="give a Recipe and a folder of photographs")
        if len(recipes) != 1:
            raise SampleError("a folder serves one input", where=os.fspath(samples), remedy="give dicts of arrays")
        samples = ImageFolder(samples, next(iter(recipes.values())))
    if not recipes or isinstance(samples, np.ndarray | bytes | Mapping) or not isinstance(samples, Iterable):
        return samples
    return Watched(Prepared(samples, recipes), recipes)


def specs_of(
    inputs: Mapping[str, InputSpec | str] | None, recipes: Mapping[str, Recipe]
) -> tuple[dict[str, InputSpec], list[str]]:
    """The spec of each input, and what of them contradicts the recipes; a text is a run-time type for the recipe.

    Raises ConfigError for a text without a recipe.
    """
    specs, differences = {}, []
    for name, given in (inputs or {}).items():
        recipe = recipes.get(name)
        if isinstance(given, str):
            if recipe is None and given != "featuremap":
                raise ConfigError(
                    "a run-time type alone needs a recorded recipe",
                    where=f"input '{name}'",
                    seen=given,
                    remedy="quantise with preprocess=..., or give an InputSpec with mean and scale",
                )
            given = recipe.input_spec(given) if recipe is not None and given != "featuremap" else InputSpec(given)
        elif not isinstance(given, InputSpec):
            raise ConfigError("must be an InputSpec or a type", where=f"input '{name}'", seen=type(given).__name__)
        specs[name] = given
        if recipe is not None:
            differences += [f"input '{name}': {text}" for text in _differences(given, recipe)]
    return specs, differences


def _differences(spec: InputSpec, recipe: Recipe) -> list[str]:
    if spec.type_rt == "featuremap":
        return []
    said = []
    for key, ours, theirs in (
        ("type_train", spec.type_train, recipe.colour),
        ("layout_train", spec.layout_train, recipe.layout),
    ):
        if ours != theirs:
            said.append(f"{key} is {ours}, but the model was calibrated with {theirs}")
    if not said:
        gain, shift = spec.normalisation()
        low, high = recipe.bounds
        ends = np.sort([shift, 255 * gain + shift], axis=0)
        if np.abs(ends - [low, high]).max() > (high - low).max() / 255:
            text = f"{np.array2string(ends[0], precision=3)} .. {np.array2string(ends[1], precision=3)}"
            own = f"{np.array2string(low, precision=3)} .. {np.array2string(high, precision=3)}"
            said.append(f"mean and scale give {text}, but the model was calibrated with {own}")
    return said
