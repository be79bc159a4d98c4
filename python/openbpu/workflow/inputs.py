"""Inputs of a model under a configuration: shapes, batch, and how images arrive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from openbpu.config import Config, ConfigMistakes, Mistake, against_model
from openbpu.config.groups import EVERY, RENAMED
from openbpu.preprocess import InputSpec

Numbers = tuple[tuple[float, ...], ...]
_GROUP = "input_parameters"


def dimensions(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """The extents of every input; None for dynamic ones."""
    constants = {t.name for t in model.graph.initializer}
    return {
        i.name: tuple(d.dim_value if d.dim_value > 0 else None for d in i.type.tensor_type.shape.dim)
        for i in model.graph.input
        if i.name not in constants
    }


def typed_shapes(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and numpy type of every input of a model with static shapes."""
    types = {i.name: helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
    return {n: (tuple(int(d or 1) for d in dims), np.dtype(types[n])) for n, dims in dimensions(model).items()}


def input_shapes(config: Config, model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that fix dynamic dimensions; with input_batch, the model's batch becomes dynamic for that.

    Changes `model`. Raises ConfigMistakes for what does not fit the model.
    """
    found = dimensions(model)
    if mistakes := against_model(config, found):
        raise ConfigMistakes(mistakes)
    group = config.input_parameters
    shapes = {name: s for name, s in zip(group.input_name or found, group.input_shape, strict=False) if s}
    if group.input_batch is None:
        return shapes
    if fixed := [n for n, dims in found.items() if dims and dims[0] not in (None, 1, group.input_batch)]:
        raise ConfigMistakes(
            [
                Mistake(
                    f"{_GROUP}.input_batch",
                    f"the batch of input {fixed[0]} is {found[fixed[0]][0]} in the model",
                    str(group.input_batch),
                    "leave input_batch out, or export the model with batch 1 or a dynamic batch",
                )
            ]
        )
    for info in model.graph.input:
        if found.get(info.name):
            info.type.tensor_type.shape.dim[0].Clear()
            rest = shapes.get(info.name, tuple(int(d or 1) for d in found[info.name]))[1:]
            shapes[info.name] = (group.input_batch, *rest)
    return shapes


def specs(config: Config, model: onnx.ModelProto) -> dict[str, InputSpec]:
    """How each input arrives. Raises ConfigMistakes."""
    group = config.input_parameters
    names = group.input_name or tuple(dimensions(model))
    return {name: _spec(config, place, name) for place, name in enumerate(names[: len(group.input_type_rt)])}


def _spec(config: Config, place: int, name: str) -> InputSpec:
    group, sources = config.input_parameters, config.compiler_parameters.input_source

    def at(values: tuple[str, ...], default: str) -> str:
        return (values[place] if place < len(values) else "") or default

    def numbers(values: Numbers) -> tuple[float, ...] | None:
        return (values[place] or None) if place < len(values) else None

    runtime = group.input_type_rt[place]
    plain, space = RENAMED.get(runtime, (runtime, at(group.input_space_and_range, "regular")))
    return InputSpec(
        type_rt=plain,
        type_train=group.input_type_train[place],
        layout_train=at(group.input_layout_train, "NCHW"),
        space_and_range=space,
        source=sources.get(name, sources.get(EVERY, "")),
        separate_batch=group.separate_batch or name in group.separate_name,
        mean=numbers(group.mean_value),
        scale=numbers(group.scale_value),
        std=numbers(group.std_value),
    )


def arriving(found: Mapping[str, InputSpec]) -> dict[str, InputSpec]:
    """Those inputs that do not arrive as the model has them."""
    return {name: spec for name, spec in found.items() if not spec.identity}
