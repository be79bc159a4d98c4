"""The configurations of docs/samples/configs, as they stand, on small networks in the places that they name."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import openbpu
from e2e.vendor_commands import write_samples
from openbpu.cli.bench_command import random_inputs
from openbpu.config import Config, ConfigWarning
from openbpu.workflow import build
from unit.float_networks import Net

FOLDER = Path(__file__).parents[2] / "docs" / "samples" / "configs"
CONFIGS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
Shape = tuple[int, ...]


def _named(net: Net, name: str, kind: str, *operands: str, **attributes: object) -> str:
    """A node called `name` whose result is called like it."""
    net.op(kind, *operands, out=name, **attributes)
    net.nodes[-1].name = name
    return name


def _weight(net: Net, *shape: int) -> str:
    return net.normal(*shape, scale=1 / np.sqrt(np.prod(shape[1:])))


def _stem(net: Net, x: str, channels: int = 3, name: str = "stem") -> str:
    return net.op("Relu", _named(net, name, "Conv", x, _weight(net, 8, channels, 4, 4), strides=[4, 4]))


def _classifier(name: str, shape: Shape, *, channels_last: bool = False, softmax: bool = False) -> onnx.ModelProto:
    net = Net(1)
    x = net.op("Transpose", name, perm=[0, 3, 1, 2]) if channels_last else name
    pooled = net.op("Flatten", net.op("GlobalAveragePool", _stem(net, x)))
    logits = _named(net, "head", "Gemm", pooled, net.normal(10, 8), transB=1)
    return _model(net, net.op("Softmax", logits) if softmax else logits, **{name: shape})


def _detector(name: str, shape: Shape) -> onnx.ModelProto:
    net = Net(2)
    fine = _named(net, "neck", "Conv", _stem(net, name), _weight(net, 8, 8, 3, 3), pads=[1, 1, 1, 1])
    coarse = net.op("MaxPool", fine, kernel_shape=[2, 2], strides=[2, 2])
    boxes = _named(net, "boxes", "Conv", fine, _weight(net, 4, 8, 1, 1))
    scores = _named(net, "scores", "Sigmoid", net.op("Conv", coarse, _weight(net, 6, 8, 1, 1)))
    decoded = _named(net, "decoded", "Mul", boxes, net.constant(np.float32(8.0)))
    return _model(net, decoded, scores, **{name: shape})


def _mask(name: str, shape: Shape) -> onnx.ModelProto:
    net = Net(3)
    up = net.op("ConvTranspose", _stem(net, name), _weight(net, 8, 4, 4, 4), strides=[4, 4])
    return _model(net, _named(net, "mask", "Sigmoid", up), **{name: shape})


def _lines(name: str, shape: Shape) -> onnx.ModelProto:
    net = Net(4)
    columns = net.op("ReduceMean", _stem(net, name, channels=1), axes=[2], keepdims=0)
    letters = net.op("MatMul", net.op("Transpose", columns, perm=[0, 2, 1]), net.normal(8, 20))
    return _model(net, net.op("Softmax", letters, axis=-1), **{name: shape})


def _fusion() -> onnx.ModelProto:
    net = Net(5)
    joined = net.op("Concat", _stem(net, "image"), "points", axis=1)
    return _model(net, net.op("Conv", joined, _weight(net, 4, 16, 1, 1)), image=(1, 3, 64, 64), points=(1, 8, 16, 16))


def _attention() -> onnx.ModelProto:
    net = Net(6)
    q, k, v = (net.op("MatMul", "tokens", _weight(net, 32, 32)) for _ in range(3))
    scores = _named(net, "scores", "MatMul", q, net.op("Transpose", k, perm=[0, 2, 1]))
    scaled = net.op("Mul", scores, net.constant(np.float32(32**-0.5)))
    mixed = _named(net, "mixed", "MatMul", net.op("Softmax", scaled, axis=-1), v)
    return _model(net, net.op("Add", "tokens", mixed), tokens=(1, 16, 32))


def _model(net: Net, *outputs: str, **inputs: Shape) -> onnx.ModelProto:
    """`x` is the input that Net adds: it goes if there are others."""
    model = net.model(*outputs, shape=inputs.pop("x", (1,)), **inputs)
    if inputs:
        del model.graph.input[0]
    return model


def _quantised() -> onnx.ModelProto:
    samples = [np.random.default_rng(i).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32) for i in range(2)]
    return openbpu.quantize(_classifier("x", (1, 3, 64, 64)), samples, refinement=())


IMAGE: Shape = (3, 224, 224)
MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[Shape, ...]]] = {
    "mobilenetv1": (lambda: _classifier("data", (1, *IMAGE)), (IMAGE,)),
    "resnet18": (lambda: _classifier("image", (1, *IMAGE)), (IMAGE,)),
    "efficientnet_lite0": (
        lambda: _classifier("input", (1, 224, 224, 3), channels_last=True, softmax=True),
        ((224, 224, 3),),
    ),
    "yolov5s": (lambda: _detector("images", (1, 3, 320, 320)), ((3, 320, 320),)),
    "yolov8n": (lambda: _detector("images", (1, 3, 320, 320)), ((3, 320, 320),)),
    "fcos_batch": (lambda: _detector("image", (1, 3, 128, 128)), ((1, 3, 128, 128),)),
    "ocr_detection": (lambda: _mask("x", (1, 3, 320, 320)), ((3, 320, 320),)),
    "ocr_recognition": (lambda: _lines("line", (1, 1, 48, 160)), ((1, 48, 160),)),
    "unet": (lambda: _mask("input", (1, 3, 128, 128)), ((3, 128, 128),)),
    "image_and_points": (_fusion, ((3, 64, 64), (8, 16, 16))),
    "vit": (_attention, ((16, 32),)),
    "qat_resnet": (_quantised, ()),
    "googlenet_older": (lambda: _classifier("data", (1, *IMAGE)), (IMAGE,)),
}
_PORTS = {
    "mobilenetv1": {"data_y": ("uint8", (1, 224, 224, 1)), "data_uv": ("uint8", (1, 112, 112, 2))},
    "resnet18": {"image": ("int8", (1, 224, 224, 3))},
    "efficientnet_lite0": {"input_y": ("uint8", (1, 224, 224, 1)), "input_uv": ("uint8", (1, 112, 112, 2))},
    "fcos_batch": {
        f"image_{i}_{plane}": ("uint8", shape)
        for i in range(4)
        for plane, shape in (("y", (1, 128, 128, 1)), ("uv", (1, 64, 64, 2)))
    },
    "ocr_recognition": {"line": ("uint8", (1, 1, 48, 160))},
    "unet": {"input": ("int8", (1, 128, 128, 3))},
    "vit": {"tokens": ("float32", (1, 16, 32))},
}


def test_there_are_enough() -> None:
    assert len(CONFIGS) >= 10
    assert set(CONFIGS) == set(MODELS)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_builds_as_it_stands(name: str, tmp_path: Path) -> None:
    for path in FOLDER.glob(f"{name}*"):
        shutil.copy(path, tmp_path)
    make, shapes = MODELS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = Config.from_yaml(tmp_path / f"{name}.yaml")
    deprecated = [w for w in caught if w.category is ConfigWarning]
    assert bool(deprecated) == (name == "googlenet_older")
    path = config.model_parameters.onnx_model
    assert path is not None
    path.parent.mkdir()
    onnx.save(make(), path)
    for folder, shape in zip(config.calibration_parameters.cal_data_dir, shapes, strict=True):
        write_samples(folder, shape)
    result = build(config)
    program = result.folder.file(".bpux")
    assert program.parent.parent == tmp_path
    if result.accuracy is not None:
        assert result.accuracy.cosine > 0.95
    session = openbpu.Session(program)
    ports = {p.name: (p.dtype, tuple(p.shape)) for p in session.inputs}
    assert ports == _PORTS.get(name, ports)
    outputs = session.run(random_inputs(session))
    assert all(np.isfinite(array.astype(np.float64)).all() for array in outputs.values())
    assert openbpu.Executable.load(program).meta["configuration"]["model_parameters"]["march"]


def test_older_keys_warn_and_say_what_replaces_them() -> None:
    with pytest.warns(ConfigWarning) as caught:
        config = Config.from_yaml(FOLDER / "googlenet_older.yaml")
    text = "\n".join(str(w.message) for w in caught)
    for key in ("log_level", "set_node_data_type", "norm_type", "cal_data_type", "preprocess_on", "march", "mix"):
        assert key in text
    assert "instead: node_info, or quant_config" in text
    assert [k for k in config.recorded if k.startswith("custom_op")]
