"""Bad input ends in one clear error of ours: damaged files, wrong samples, models that have no place on the BPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import openbpu
from openbpu.errors import ExecutableError, ModelError, OpenBpuError, SampleError, UnsupportedError


@pytest.fixture(scope="module")
def executable(float_model: onnx.ModelProto, samples: list[np.ndarray]) -> openbpu.Executable:
    return openbpu.build(float_model, samples)


# ---- executables


def test_truncated_executables_are_refused(tmp_path: Path, executable: openbpu.Executable) -> None:
    data = executable.to_bytes()
    path = tmp_path / "cut.bpux"
    for length in [*range(0, 256), *range(256, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ExecutableError, match=r"cut\.bpux"):
            openbpu.load(path)


def test_trailing_bytes_are_refused(tmp_path: Path, executable: openbpu.Executable) -> None:
    path = tmp_path / "long.bpux"
    path.write_bytes(executable.to_bytes() + b"\0")
    with pytest.raises(ExecutableError, match=r"long\.bpux"):
        openbpu.load(path)


@pytest.mark.parametrize("name", ["missing.bpux", "folder.bpux", "photo.bpux"])
def test_files_that_are_no_executables(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.bpux").mkdir()
    (tmp_path / "photo.bpux").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    with pytest.raises(ExecutableError, match=name):
        openbpu.Session(tmp_path / name)


@pytest.mark.parametrize(
    "inputs,message",
    [
        ({}, "image"),
        ({"imag": np.zeros((1, 3, 32, 32), np.float32)}, "image"),
        ({"image": np.zeros((1, 3, 32, 32), np.float32), "more": np.zeros(1)}, "more"),
        ({"image": np.zeros((3, 32, 32), np.float32)}, "shape"),
        ({"image": np.zeros((1, 3, 32, 32), np.int8)}, "int8"),
        ({"image": np.zeros((1, 3, 32, 32), np.complex64)}, "complex64"),
        ({"image": [["text"]]}, "image"),
    ],
)
def test_wrong_run_inputs(executable: openbpu.Executable, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(OpenBpuError, match=message):
        openbpu.Session(executable).run(inputs)


@pytest.mark.parametrize("options,message", [({"isa": "sse9"}, "sse9"), ({"threads": -1}, "-1"), ({"entry": "x"}, "x")])
def test_wrong_session_options(executable: openbpu.Executable, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OpenBpuError, match=message):
        openbpu.Session(executable, **options)


# ---- models


def _damaged(model: onnx.ModelProto) -> Iterator[bytes]:
    data = model.SerializeToString()
    random = np.random.default_rng(3)
    yield b""
    yield from (data[:length] for length in random.integers(1, len(data), 25))
    for _ in range(75):
        bad = bytearray(data)
        for index in random.integers(0, len(bad), 3):
            bad[index] ^= int(random.integers(1, 256))
        yield bytes(bad)


def test_damaged_models_never_crash(float_model: onnx.ModelProto, samples: list[np.ndarray]) -> None:
    """Damage in weights may go unseen; everything else is a ModelError or another error of ours."""
    refused = 0
    for data in _damaged(float_model):
        try:
            openbpu.build(data, samples[:2], calibration="max")
        except OpenBpuError as error:
            refused += 1
            assert str(error)
    assert refused >= 26, "at least the empty and the truncated ones"


def test_damaged_quantised_models_never_crash(float_model: onnx.ModelProto, samples: list[np.ndarray]) -> None:
    qdq = openbpu.quantize(float_model, samples[:2], calibration="max")
    refused = 0
    for data in _damaged(qdq):
        try:
            openbpu.compile(data)
        except OpenBpuError:
            refused += 1
    assert refused >= 26


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 64, b"PK\x03\x04", b"\x08\x08"], ids=["empty", "zeros", "zip", "no graph"]
)
def test_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(ModelError):
        openbpu.compile(data)


def test_missing_external_data_names_the_file(tmp_path: Path, float_model: onnx.ModelProto) -> None:
    model = onnx.ModelProto.FromString(float_model.SerializeToString())
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.weights", size_threshold=0)
    (tmp_path / "net.weights").unlink()
    with pytest.raises(ModelError, match=r"net\.weights"):
        openbpu.quantize(tmp_path / "net.onnx", [np.zeros((1, 3, 32, 32), np.float32)])


def _single(op: str, shape: list[Any], *constants: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], name="the_node", **attributes)],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_unsupported_operator_names_node_and_remedy() -> None:
    x = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
    with pytest.raises(UnsupportedError, match="the_node") as caught:
        openbpu.build(_single("RandomUniformLike", [2, 2]), [x.reshape(4, 2)[:2]])
    assert "RandomUniformLike" in str(caught.value)
    assert caught.value.remedy


def test_dynamic_dimension_names_the_option() -> None:
    with pytest.raises(ModelError, match="width") as caught:
        openbpu.quantize(_single("Relu", ["n", 3, "height", "width"]), [np.zeros((1, 3, 8, 8), np.float32)])
    assert "input_shapes" in str(caught.value)


# ---- samples

_GOOD = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)


def _with(value: float) -> np.ndarray:
    bad = _GOOD.copy()
    bad[0, 0, 0, 0] = value
    return bad


@pytest.mark.parametrize(
    "bad,message",
    [
        (lambda: [], "sample"),
        (lambda: iter(()), "sample"),
        (lambda: [_GOOD[0]], "shape"),
        (lambda: [_GOOD, _GOOD[..., :-1]], "shape"),
        (lambda: [{"wrong": _GOOD}], "wrong"),
        (lambda: [{"image": _GOOD, "more": _GOOD}], "more"),
        (lambda: [_with(np.nan)], "NaN|finite"),
        (lambda: [_with(np.inf)], "inf|finite"),
        (lambda: [_GOOD.astype(np.complex64)], "complex64"),
        (lambda: ["text"], "image|array"),
        (lambda: 5, "samples|iterable"),
    ],
    ids=["none", "empty iterator", "rank", "second shape", "name", "extra", "nan", "inf", "dtype", "text", "number"],
)
def test_bad_samples(float_model: onnx.ModelProto, bad: Callable[[], Any], message: str) -> None:
    with pytest.raises(SampleError, match=message):
        openbpu.quantize(float_model, bad())


def test_an_exception_of_the_sample_source_passes_through(float_model: onnx.ModelProto) -> None:
    def source() -> Iterator[np.ndarray]:
        yield _GOOD
        raise RuntimeError("the camera fell off")

    with pytest.raises(RuntimeError, match="camera"):
        openbpu.quantize(float_model, source())


@pytest.mark.parametrize("options,message", [({"calibration": "guess"}, "guess"), ({"march": "nash-z"}, "nash-z")])
def test_wrong_options_are_said_before_the_work(
    float_model: onnx.ModelProto, options: dict[str, Any], message: str
) -> None:
    def untouched() -> Iterator[np.ndarray]:
        raise AssertionError("samples were read before the options were checked")
        yield

    with pytest.raises(OpenBpuError, match=message):
        openbpu.build(float_model, untouched(), **options)
