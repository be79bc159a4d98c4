"""A small float network and its samples, shared by the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from e2e.vendor_commands import Commands


@pytest.fixture(scope="session")
def float_model() -> onnx.ModelProto:
    """Residual network with depthwise convolution, batch normalisation, ReLU6, pooling and a classifier."""
    random = np.random.default_rng(7)
    initialisers: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, array: np.ndarray) -> str:
        initialisers.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def add(kind: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def conv(name: str, x: str, ci: int, co: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        weight = constant(f"{name}.w", random.standard_normal((co, ci // group, kernel, kernel)) / kernel)
        y = add("Conv", name, x, weight, strides=[stride] * 2, pads=[kernel // 2] * 4, group=group)
        norm = [random.uniform(0.5, 1.5, co), random.standard_normal(co) * 0.1]
        norm += [random.standard_normal(co) * 0.1, random.uniform(0.5, 1.5, co)]
        return add("BatchNormalization", f"{name}.bn", y, *(constant(f"{name}.bn{i}", a) for i, a in enumerate(norm)))

    def relu6(name: str, x: str) -> str:
        return add("Clip", name, x, "zero", "six")

    constant("zero", np.array(0.0))
    constant("six", np.array(6.0))
    stem = relu6("stem.act", conv("stem", "image", 3, 16, 3, 2))
    deep = relu6("dw.act", conv("dw", stem, 16, 16, 3, group=16))
    joined = add("Add", "residual", stem, conv("pw", deep, 16, 16, 1))
    pooled = add("MaxPool", "pool", add("Relu", "act", joined), kernel_shape=[2, 2], strides=[2, 2])
    flat = add("Flatten", "flatten", add("GlobalAveragePool", "gap", pooled), axis=1)
    weight, bias = constant("fc.w", random.standard_normal((10, 16))), constant("fc.b", random.standard_normal(10))
    nodes.append(helper.make_node("Gemm", [flat, weight, bias], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="session")
def samples() -> list[np.ndarray]:
    random = np.random.default_rng(8)
    return [random.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(16)]


@pytest.fixture(scope="session")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, float_model: onnx.ModelProto, samples: list[np.ndarray]
) -> Path:
    """A folder with net.onnx and calibration/*.npy."""
    folder = tmp_path_factory.mktemp("workspace")
    onnx.save(float_model, folder / "net.onnx")
    (folder / "calibration").mkdir()
    for index, sample in enumerate(samples):
        np.save(folder / "calibration" / f"{index:02}.npy", sample)
    return folder


@pytest.fixture
def hb(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Commands:
    """Runs command lines in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Commands(monkeypatch, capfd)
