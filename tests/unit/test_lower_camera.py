"""Image inputs in the compiled program, against a float reference: error at most 1/2 + 192.5 * 2^-sh steps."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import openbpu
from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError, ModelWarning, SampleError
from openbpu.ir.quant import QuantParams
from openbpu.lower import camera as lowering
from openbpu.preprocess import InputSpec
from openbpu.runtime import Executable, Session
from oracle import camera as oracle

HEIGHT, WIDTH = 20, 68  # rows of one or more vectors and a rest
SCALE = 0.02
BOUND = 0.5 + 192.5 / 2**13  # of the least shift among these
FLOAT = np.float32(SCALE)


def network(shape: tuple[int, ...], quantised: bool = True, dtype: str = "uint8", extra: str = "") -> onnx.ModelProto:
    """image -> [extra] -> QuantizeLinear -> DequantizeLinear -> out, or without the pair."""
    zero = 0 if dtype == "int16" else 110
    scale = SCALE / 256 if dtype == "int16" else SCALE
    constants = [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.array(zero, dtype), "z")]
    nodes, last = [], "image"
    if extra:
        constants.append(numpy_helper.from_array(np.array([[[2.0]], [[3.0]], [[0.5]]], np.float32), "k"))
        nodes.append(helper.make_node(extra, ["image", "k"], ["image2"], name="extra"))
        last = "image2"
    if quantised:
        nodes.append(helper.make_node("QuantizeLinear", [last, "s", "z"], ["q"], name="q"))
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["out"], name="dq"))
    else:
        nodes.append(helper.make_node("Sin", [last], ["out"], name="sin"))
    image, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out"))
    graph = helper.make_graph(nodes, "image", [image], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def pixels(spec: InputSpec, shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Random bytes for all ports, among them the extremes."""
    rng = np.random.default_rng(seed)
    made = {}
    for port in spec.ports("image", shape):
        array = rng.integers(0, 256, port.shape)
        array = np.where(rng.integers(4, size=port.shape) == 0, rng.choice([0, 255], port.shape), array)
        made[port.name] = array.astype(np.uint8) if port.dtype == "uint8" else (array - 128).astype(np.int8)
    return made


def shape_of(spec: InputSpec, n: int = 2) -> tuple[int, ...]:
    c = spec.channels
    return (n, c, HEIGHT, WIDTH) if spec.layout_train == "NCHW" else (n, HEIGHT, WIDTH, c)


def steps_off(executable: Executable, spec: InputSpec, isa: str = "auto") -> float:
    """Largest distance from the reference in steps of the output."""
    arrays = pixels(spec, shape_of(spec))
    want = np.clip(spec.reference("image", arrays), -110 * FLOAT, 145 * FLOAT)
    return float(np.abs(Session(executable, isa=isa).run(arrays)["out"] - want).max() / FLOAT)


SPECS = [
    ("nv12", "rgb", {}),
    ("nv12", "bgr", {"space_and_range": "bt601_video"}),
    ("nv12", "yuv444", {}),
    ("rgb", "rgb", {}),
    ("rgb", "bgr", {"layout_rt": "NCHW"}),
    ("bgr", "rgb", {}),
    ("yuv444", "rgb", {}),
    ("yuv444_128", "bgr", {}),
    ("yuv444", "yuv444", {"layout_rt": "NCHW"}),
    ("gray", "gray", {}),
]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("rt", "train", "options"), SPECS, ids=[f"{a}-{b}" for a, b, _ in SPECS])
def test_conversion(rt: str, train: str, options: dict[str, str], layout: str) -> None:
    mean, std = (120.0, 116.0, 103.0), (58.0, 57.0, 55.0)
    count = 1 if train == "gray" else 3
    spec = InputSpec(rt, train, layout_train=layout, mean=mean[:count], std=std[:count], **options)  # type: ignore[arg-type]
    executable = openbpu.compile(network(shape_of(spec)), inputs={"image": spec})
    found = [(p.name, p.dtype, p.shape) for p in executable.ports() if p.direction == "input"]
    assert found == [(p.name, p.dtype, p.shape) for p in spec.ports("image", shape_of(spec))]
    for isa in _native.available_isas():
        assert steps_off(executable, spec, isa) <= BOUND
    assert executable.meta["inputs"]["image"]["type_rt"] == rt


def test_saturation_is_that_of_rgb() -> None:
    """Colours that no RGB image has end at 0 or 255, before the normalisation, as the reference has it."""
    spec = InputSpec("nv12", "rgb", mean=127.0, scale=1 / 64)
    executable = openbpu.compile(network((1, 3, 2, 2)), inputs={"image": spec})
    y, uv = np.full((1, 2, 2, 1), 255, np.uint8), np.full((1, 1, 1, 2), 255, np.uint8)
    out = Session(executable).run({"image_y": y, "image_uv": uv})["out"]
    assert np.abs(out[0, :, 0, 0] - (np.array([255, 255 - 135.46 + 0.5, 255]) - 127) / 64).max() < 2 / 64


@pytest.mark.parametrize("extra", ["", "Mul"])
def test_16_bits(extra: str) -> None:
    spec = InputSpec("nv12", "rgb", mean=120.0, std=58.0)
    executable = openbpu.compile(network(shape_of(spec), dtype="int16", extra=extra), inputs={"image": spec})
    arrays = pixels(spec, shape_of(spec))
    want = spec.reference("image", arrays) * (np.array([2, 3, 0.5]).reshape(3, 1, 1) if extra else 1)
    off = np.abs(Session(executable).run(arrays)["out"] - np.clip(want, -2.56, 2.56)).max()
    assert off / (SCALE / 256) < 0.5 + 192.5 / 2**6
    assert all(decision["op"] != "Mul" for decision in executable.meta["split"]["reasons"])


@pytest.mark.parametrize(("rt", "train"), [("nv12", "rgb"), ("bgr", "rgb"), ("gray", "gray")])
def test_readers_in_float(rt: str, train: str) -> None:
    """A network that is not quantised gets the pixels through int16: 1/100 of a level off."""
    spec = InputSpec(rt, train, mean=120.0, std=58.0)
    executable = openbpu.compile(network(shape_of(spec), quantised=False), inputs={"image": spec})
    arrays = pixels(spec, shape_of(spec))
    off = np.abs(Session(executable).run(arrays)["out"] - np.sin(spec.reference("image", arrays))).max()
    assert off < 0.02 / 58


def test_normalisation_inside_the_model_joins_the_conversion() -> None:
    spec = InputSpec("nv12", "rgb", scale=1 / 256)
    executable = openbpu.compile(network(shape_of(spec), extra="Mul"), inputs={"image": spec})
    assert [step.op for step in Session(executable).explain().steps] == ["CSC", "DEQUANTIZE"]


@pytest.mark.parametrize(
    ("options", "range_"),
    [
        ({}, "from 0 to 255"),
        ({"mean": 120.0, "std": 58.0 * 58.0}, "from -0.03567 to 0.04013"),
        ({"mean": 1200.0, "std": 58.0}, "from -20.69 to -16.29"),
    ],
)
def test_a_normalisation_that_is_far_from_the_calibration_is_said(options: dict[str, float], range_: str) -> None:
    spec = InputSpec("nv12", "rgb", **options)  # type: ignore[arg-type]
    with pytest.warns(ModelWarning, match=f"mean and scale give values {range_}, but the model .* -2.2 to 2.9: are"):
        openbpu.compile(network((1, 3, 4, 6)), inputs={"image": spec})


def test_a_normalisation_like_the_calibration_passes_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openbpu.compile(network((1, 3, 4, 6)), inputs={"image": InputSpec("nv12", "rgb", mean=120.0, std=70.0)})


def test_separate_images() -> None:
    spec = InputSpec("nv12", "rgb", mean=120.0, std=58.0, separate_batch=True)
    executable = openbpu.compile(network(shape_of(spec)), inputs={"image": spec})
    assert [p.name for p in executable.ports()][:4] == ["image_0_y", "image_0_uv", "image_1_y", "image_1_uv"]
    assert steps_off(executable, spec) <= BOUND


def test_a_feature_map_in_another_layout() -> None:
    spec = InputSpec(layout_rt="NHWC")
    executable = openbpu.compile(network((1, 3, 4, 6)), inputs={"image": spec})
    x = np.random.default_rng(0).uniform(-2, 2, (1, 4, 6, 3)).astype(np.float32)
    out = Session(executable).run(x)["out"]
    assert np.abs(out - x.transpose(0, 3, 1, 2)).max() <= 0.501 * SCALE


REGIONS = [(0, 0, 37, 29), (2, 4, 33, 27), (10, 10, 11, 11)]


def resized(planes: dict[str, np.ndarray], roi: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What the oracle makes of the regions of the planes, uint8."""
    made, regions = {}, roi.reshape(-1, 1, 1, 4)
    for name, plane in planes.items():
        shift = int(name.endswith("_uv"))
        x = (plane ^ 128).view(np.int8)
        made[name] = oracle.roi_resize(x, regions, (size[0] >> shift, size[1] >> shift), shift).view(np.uint8) ^ 128
    return made


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_of_a_frame_of_any_size(region: tuple[int, ...]) -> None:
    """nv12 of 30x38 through a resizer of up to 64x128: as the oracle resizes both planes, then as ever."""
    spec = InputSpec("nv12", "rgb", mean=120.0, std=58.0, source="resizer", source_size=(64, 128))
    executable = openbpu.compile(network((1, 3, HEIGHT, WIDTH)), inputs={"image": spec})
    assert [(p.name, p.shape, p.any_size) for p in executable.ports() if p.direction == "input"] == [
        ("image_y", (1, 64, 128, 1), True),
        ("image_uv", (1, 32, 64, 2), True),
        ("image_roi", (1, 4), False),
    ]
    rng = np.random.default_rng(1)
    planes = {"image_y": rng.integers(0, 256, (1, 30, 38, 1)).astype(np.uint8)}
    planes["image_uv"] = rng.integers(0, 256, (1, 15, 19, 2)).astype(np.uint8)
    roi = np.array([region], np.int32)
    want = spec.reference("image", resized(planes, roi, (HEIGHT, WIDTH)))
    for isa in ("auto", "scalar"):
        out = Session(executable, isa=isa).run({**planes, "image_roi": roi})["out"]
        assert np.abs(out - np.clip(want, -110 * FLOAT, 145 * FLOAT)).max() <= BOUND * FLOAT


def test_a_region_of_a_grey_frame() -> None:
    spec = InputSpec("gray", "gray", source="resizer", source_size=(64, 128), scale=1 / 64)
    executable = openbpu.compile(network((1, 1, HEIGHT, WIDTH)), inputs={"image": spec})
    frame = np.random.default_rng(1).integers(0, 200, (1, 1, 31, 37)).astype(np.uint8)
    roi = np.array([[1, 2, 36, 30]], np.int32)
    planes = resized({"image": frame.transpose(0, 2, 3, 1)}, roi, (HEIGHT, WIDTH))
    want = planes["image"].transpose(0, 3, 1, 2) / 64.0
    out = Session(executable).run({"image": frame, "image_roi": roi})["out"]
    assert np.abs(out - np.clip(want, -110 * FLOAT, 145 * FLOAT)).max() <= BOUND * FLOAT


def test_what_is_decided_at_run_time_is_minus_one(tmp_path: Path) -> None:
    from openbpu.hbm_runtime import HB_HBMRuntime

    for source, shape, strides in (
        ("pyramid", [1, 32, 64, 2], [-1, -1, 2, 1]),
        ("resizer", [1, -1, -1, 2], [-1, -1, 2, 1]),
        ("ddr", [1, 32, 64, 2], [4096, 128, 2, 1]),
    ):
        spec = InputSpec("nv12", "rgb", source=source, source_size=(64, 128))
        openbpu.compile(network((1, 3, 64, 128)), inputs={"image": spec}).save(tmp_path / "net.bpux")
        runtime = HB_HBMRuntime(str(tmp_path / "net.bpux"))
        assert runtime.input_shapes["image"]["image_uv"] == shape
        assert runtime.input_strides["image"]["image_uv"] == strides


HOSTILE = [
    (-2, 0, 3, 3), (0, 0, 38, 29), (0, 0, 37, 30), (4, 0, 3, 3), (0, 4, 3, 3), (-(2**31), 0, 2**31 - 1, 3),
    (0, -(2**31), 3, 2**31 - 1), (2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1),
]  # fmt: skip


@pytest.mark.parametrize("region", HOSTILE)
def test_regions_outside_of_the_frame_are_refused(region: tuple[int, ...]) -> None:
    spec = InputSpec("nv12", "rgb", source="resizer", source_size=(30, 38))
    executable = openbpu.compile(network((1, 3, HEIGHT, WIDTH)), inputs={"image": spec})
    planes = [np.zeros((1, 30, 38, 1), np.uint8), np.zeros((1, 15, 19, 2), np.uint8), np.array([region], np.int32)]
    with pytest.raises(SampleError, match="input image_roi: left, top, right, bottom must lie in the image of 30 rows"):
        Session(executable).run(dict(zip(("image_y", "image_uv", "image_roi"), planes, strict=True)))
    for isa in _native.available_isas():  # the engine looks for itself
        engine = _native.Engine(executable.native, isa=isa)
        with pytest.raises(_native.NativeError, match="does not lie in its image"):
            engine.run(planes)
        planes_ok = [*planes[:2], np.array([(0, 0, 37, 29)], np.int32)]
        engine.run(planes_ok)


@pytest.mark.parametrize("region", [(1, 0, 36, 29), (0, 1, 37, 28), (0, 0, 36, 29), (0, 0, 37, 28)])
def test_regions_between_pixels_of_chroma_are_refused(region: tuple[int, ...]) -> None:
    spec = InputSpec("nv12", "rgb", source="resizer", source_size=(30, 38))
    executable = openbpu.compile(network((1, 3, HEIGHT, WIDTH)), inputs={"image": spec})
    planes = {"image_y": np.zeros((1, 30, 38, 1), np.uint8), "image_uv": np.zeros((1, 15, 19, 2), np.uint8)}
    with pytest.raises(ExecutableError, match="left and top even, right and bottom odd"):
        Session(executable).run({**planes, "image_roi": np.array([region], np.int32)})


@pytest.mark.parametrize("shape", [(1, 14, 19, 2), (1, 16, 19, 2), (1, 15, 19, 1), (1, 33, 64, 2)])
def test_planes_of_different_sizes_are_refused(shape: tuple[int, ...]) -> None:
    spec = InputSpec("nv12", "rgb", source="resizer", source_size=(64, 128))
    executable = openbpu.compile(network((1, 3, HEIGHT, WIDTH)), inputs={"image": spec})
    planes = {"image_y": np.zeros((1, 30, 38, 1), np.uint8), "image_uv": np.zeros(shape, np.uint8)}
    with pytest.raises(SampleError, match="input image_uv: must"):
        Session(executable).run({**planes, "image_roi": np.array([(0, 0, 37, 29)], np.int32)})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"imag": InputSpec("nv12", "rgb")}, "no such input; got imag. Did you mean image"),
        ({"image": InputSpec("gray", "gray")}, "input 'image': gray in layout NCHW has 1 channels"),
    ],
)
def test_what_does_not_fit_is_said(inputs: dict[str, InputSpec], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        openbpu.compile(network((1, 3, 4, 6)), inputs=inputs)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_derivation_is_that_of_the_oracle(dtype: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        A, o, h = rng.normal(0, 1, (3, 3)), rng.normal(0, 90, 3), rng.normal(0, 2, 3)
        g = rng.choice([-1, 1], 3) * np.exp(rng.uniform(-8, 1, 3))
        sy = float(np.float32(np.exp(rng.uniform(-9, 0))))
        zp = int(rng.integers(-128, 128)) if dtype == "int8" else 0
        try:
            want = oracle.derive(A.tolist(), o.tolist(), g.tolist(), h.tolist(), sy, zp, dtype)
        except oracle.Infeasible:
            with pytest.raises(lowering.requant.Infeasible):
                lowering.derive(A, o, g, h, QuantParams.per_tensor(sy, zp, dtype))
            continue
        consts, sh = lowering.derive(A, o, g, h, QuantParams.per_tensor(sy, zp, dtype))
        assert sh == want.sh
        assert [tuple(row) for row in consts["m"].tolist()] == list(want.m)
        assert [consts[key].tolist() for key in ("b", "lo", "hi")] == [list(want.b), list(want.lo), list(want.hi)]
