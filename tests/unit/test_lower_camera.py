"""Image inputs in the compiled program, against a float reference: error at most 1/2 + 192.5 * 2^-sh steps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import openbpu
from openbpu import _native
from openbpu.errors import ConfigError
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
