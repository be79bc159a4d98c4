"""A configuration for a model about which nothing is said: for a number of its speed alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from openbpu import frontend
from openbpu.config import Config, ConfigMistakes, Mistake
from openbpu.config.mistakes import choose
from openbpu.workflow.inputs import dimensions, typed_shapes
from openbpu.workflow.samples import MadeUp
from openbpu.workflow.stages import log

# What a dynamic height, width and any other dynamic extent is taken for: the first that the model is consistent with.
_GUESSES = ((224, 224, 128), (48, 320, 64), (640, 640, 512), (32, 128, 16), (64, 256, 1))


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
    fixed = _fitting(model, shapes)
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
            "input_shape": [_text(shape) for shape in fixed.values()],
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
    fixed = _fitting(model, {})
    kinds = [_kind(model, name, shape) for name, shape in fixed.items()]
    return {
        "onnx_model": model_path,
        "march": march,
        "output_model_file_prefix": model_path.stem,
        "input_name": list(found),
        "input_shape": [_text(shape) for shape in fixed.values()],
        **{key: [kind[key] for kind in kinds] for key in _KEYS},
        **({"calibration_type": "load"} if frontend.is_quantised(model) else {}),
    }


_KEYS = ("input_type_rt", "input_type_train", "input_layout_train")


def _fitting(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of all inputs: given ones, those of the model, and guesses, logged, that the model is consistent with."""
    guesses = [_fixed(model, shapes, guess) for guess in _GUESSES]
    dynamic = [n for n, dims in dimensions(model).items() if n not in shapes and None in dims[1:]]
    if not dynamic or frontend.is_quantised(model):
        return guesses[0]
    fixed = next((guess for guess in guesses if _runs(model, guess)), guesses[0])
    for name in dynamic:
        shape = _text(fixed[name])
        log.warning("input %s has dynamic dimensions: taken as %s; -i %s 1x... sets them", name, shape, name)
    return fixed


def _runs(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the model can be prepared and run in these shapes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        clean = frontend.prepare(copy, {name: shape for name, shape in shapes.items() if shape})
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(clean.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, next(iter(MadeUp(typed_shapes(clean), {}))))
    except Exception as error:  # onnxruntime raises several types of its own
        log.debug("shapes %s: %s", shapes, error)
        return False
    return True


def _fixed(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], guess: tuple[int, int, int]
) -> dict[str, tuple[int, ...]]:
    """Shapes with every dynamic extent guessed; extents of one name are equal, those of a first axis 1."""
    infos = {i.name: i.type.tensor_type.shape.dim for i in model.graph.input}
    batches = {dims[0].dim_param for n, dims in infos.items() if dims and dims[0].dim_param}
    height, width, length = guess
    fixed = {}
    for name, dims in dimensions(model).items():
        sides = _sides(dims, height, width) if len(dims) == 4 else {}
        fixed[name] = shapes.get(name) or tuple(
            d or (1 if axis == 0 or infos[name][axis].dim_param in batches else sides.get(axis, length))
            for axis, d in enumerate(dims)
        )
    return fixed


def _sides(dims: tuple[int | None, ...], height: int, width: int) -> dict[int, int]:
    """Where height and width stand: behind the channels if the last axis is none of 1, 3 or 4."""
    return {1: height, 2: width} if dims[3] in (1, 3, 4) else {2: height, 3: width, 1: 3}


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
