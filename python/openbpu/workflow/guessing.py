"""A configuration for a model about which nothing is said: for a number of its speed alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from openbpu import frontend
from openbpu.config import Config, ConfigMistakes, Mistake
from openbpu.config.mistakes import choose
from openbpu.workflow.inputs import dimensions
from openbpu.workflow.stages import log

_SIDE, _LENGTH = 224, 128  # what a dynamic height or width, and any other dynamic extent, is taken for


def guessed(
    model_path: Path,
    march: str,
    shapes: Mapping[str, tuple[int, ...]],
    working_dir: Path,
    core_num: int = 1,
) -> Config:
    """A configuration that builds the model quickly, on made-up data: inputs of images arrive as nv12.

    Dynamic extents that `shapes` does not fix are guessed, and logged. Raises what loading raises, and ConfigMistakes
    for a shape of no input.
    """
    model = frontend.load(model_path)
    found = dimensions(model)
    if unknown := [name for name in shapes if name not in found]:
        raise ConfigMistakes(
            [Mistake("--input-shape", "the model has no such input", unknown[0], choose(unknown[0], found))]
        )
    fixed = {name: shapes.get(name) or _fixed(name, dims) for name, dims in found.items()}
    kinds = {name: _kind(model, name, shape) for name, shape in fixed.items()}
    return Config(
        model_parameters={
            "onnx_model": model_path.resolve(),
            "march": march,
            "working_dir": working_dir.resolve(),
            "output_model_file_prefix": model_path.stem[:100],
            "remove_node_type": "Quantize;Dequantize",
        },
        input_parameters={
            "input_name": list(found),
            "input_shape": [list(shape) for shape in fixed.values()] if all(fixed.values()) else "",
            **{key: [kind[key] for kind in kinds.values()] for key in _KEYS},
        },
        calibration_parameters={
            "calibration_type": "load" if frontend.is_quantised(model) else "skip",
            "optimization": "run_fast",
        },
        compiler_parameters={"core_num": core_num},
    )


def template_values(model_path: Path | None, march: str) -> dict[str, Any]:
    """What a template says about a model: its file, inputs, shapes; without one, an example of a camera."""
    if model_path is None:
        camera = ("nv12", "rgb", "NCHW", "1x3x224x224")
        return {"onnx_model": "model.onnx", "march": march, **dict(zip((*_KEYS, "input_shape"), camera, strict=True))}
    model = frontend.load(model_path)
    found = dimensions(model)
    fixed = {name: _fixed(name, dims) for name, dims in found.items()}
    kinds = [_kind(model, name, shape) for name, shape in fixed.items()]
    return {
        "onnx_model": model_path,
        "march": march,
        "output_model_file_prefix": model_path.stem,
        "input_name": list(found),
        "input_shape": [_text(shape) for shape in fixed.values()] if all(fixed.values()) else "",
        **{key: [kind[key] for kind in kinds] for key in _KEYS},
        **({"calibration_type": "load"} if frontend.is_quantised(model) else {}),
    }


_KEYS = ("input_type_rt", "input_type_train", "input_layout_train")


def _fixed(name: str, dims: tuple[int | None, ...]) -> tuple[int, ...]:
    image = len(dims) == 4
    guess = tuple(d or (1 if axis == 0 else _SIDE if image else _LENGTH) for axis, d in enumerate(dims))
    if any(d is None for d in dims[1:]):
        log.warning("input %s has dynamic dimensions: taken as %s; -i %s 1x... sets them", name, _text(guess), name)
    return guess


def _kind(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """nv12 for what looks like an image of even size in a layout that is plain to see."""
    info = next(i for i in model.graph.input if i.name == name)
    feature = dict(zip(_KEYS, ("featuremap", "featuremap", "NCHW"), strict=True))
    if len(shape) != 4 or info.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or frontend.is_quantised(model):
        return feature
    for layout in ("NCHW", "NHWC"):
        size = dict(zip(layout, shape, strict=True))
        if size["C"] == 3 and size["H"] > 4 and not (size["H"] % 2 or size["W"] % 2):
            return dict(zip(_KEYS, ("nv12", "bgr", layout), strict=True))
    return feature


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
