"""InputSpec: legal pairs, what each field demands, ports and reference."""

from __future__ import annotations

import re

import numpy as np
import pytest

from openbpu.errors import ConfigError
from openbpu.preprocess import LEGAL, InputSpec
from openbpu.preprocess.camera import TYPES_RT, TYPES_TRAIN

SHAPE = (1, 3, 8, 6)


def spec_of(rt: str, train: str, **options: object) -> InputSpec:
    return InputSpec(type_rt=rt, type_train=train, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("train", TYPES_TRAIN)
@pytest.mark.parametrize("rt", TYPES_RT)
def test_only_legal_pairs(rt: str, train: str) -> None:
    if rt in LEGAL[train]:
        assert spec_of(rt, train).type_rt == rt
        return
    with pytest.raises(ConfigError, match=f"{train} takes {', '.join(LEGAL[train])}; got {rt}"):
        spec_of(rt, train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type_rt": "nv21"}, "type_rt: must be one of .*'nv21'. Did you mean nv12"),
        ({"type_train": "RGB"}, "type_train: must be one of"),
        ({"layout_train": "CHWN"}, "layout_train: must be one of NCHW, NHWC"),
        ({"space_and_range": "bt709"}, "space_and_range: must be one of"),
        ({"source": "camera"}, "source: must be one of pyramid, ddr, resizer"),
        ({"mean": (1.0, 2.0)}, "mean: one number, or one for each of 3 channels; got .1.0, 2.0."),
        ({"mean": "grey"}, "mean: must be numbers"),
        ({"mean": float("nan")}, "mean: must be finite"),
        ({"scale": 0.0}, "scale: must be above 0"),
        ({"std": (1.0, -1.0, 1.0)}, "std: must be above 0"),
        ({"scale": 1.0, "std": 1.0}, "std: scale and std exclude each other"),
        ({"type_rt": "rgb", "space_and_range": "bt601_video"}, "space_and_range: bt601_video belongs to"),
        ({"type_rt": "rgb", "source": "pyramid"}, "source: pyramid gives nv12 or gray; got pyramid for rgb"),
        ({"layout_rt": "NHWC"}, "layout_rt: nv12 has no layout"),
        ({"source": "resizer", "source_size": (100, 101)}, "source_size: must be two even numbers"),
        ({"type_rt": "featuremap", "type_train": "featuremap", "mean": 1.0}, "mean: a feature map is not normalised"),
    ],
)
def test_a_bad_field_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InputSpec(**{"type_rt": "nv12", "type_train": "rgb", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (spec_of("nv12", "rgb"), (1, 3, 7, 6), "even height and width; got 7x6"),
        (spec_of("nv12", "rgb"), (1, 8, 6, 3), "layout NCHW has 3 channels; .*Set layout_train to NHWC"),
        (spec_of("rgb", "rgb"), (3, 8, 6), "four dimensions"),
        (spec_of("gray", "gray"), (1, 3, 8, 8), "has 1 channels; .*Change type_train"),
    ],
)
def test_the_shape_must_fit(spec: InputSpec, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=f"input 'image': .*{message}"):
        spec.checked("image", shape)


@pytest.mark.parametrize(
    ("spec", "shape", "ports"),
    [
        (spec_of("nv12", "rgb"), SHAPE, "image_y uint8 1x8x6x1, image_uv uint8 1x4x3x2"),
        (spec_of("rgb", "bgr"), SHAPE, "image int8 1x8x6x3"),
        (spec_of("yuv444", "rgb", layout_rt="NCHW"), SHAPE, "image int8 1x3x8x6"),
        (spec_of("bgr", "rgb", layout_train="NHWC"), (1, 8, 6, 3), "image int8 1x8x6x3"),
        (spec_of("gray", "gray"), (1, 1, 8, 6), "image uint8 1x1x8x6"),
        (spec_of("featuremap", "featuremap"), (1, 5), "image float32 1x5"),
        (spec_of("featuremap", "featuremap", layout_rt="NHWC"), (1, 5, 2, 3), "image float32 1x2x3x5"),
        (spec_of("nv12", "rgb"), (2, *SHAPE[1:]), "image_y uint8 2x8x6x1, image_uv uint8 2x4x3x2"),
        (
            spec_of("gray", "gray", separate_batch=True),
            (2, 1, 8, 6),
            "image_0 uint8 1x1x8x6, image_1 uint8 1x1x8x6",
        ),
        (
            spec_of("nv12", "rgb", source="resizer", source_size=(64, 32)),
            SHAPE,
            "image_y uint8 1x64x32x1, image_uv uint8 1x32x16x2, image_roi int32 1x4",
        ),
    ],
)
def test_ports(spec: InputSpec, shape: tuple[int, ...], ports: str) -> None:
    found = [f"{p.name} {p.dtype} {'x'.join(map(str, p.shape))}" for p in spec.ports("image", shape)]
    assert ", ".join(found) == ports


def test_normalisation_and_colour() -> None:
    spec = spec_of("bgr", "rgb", mean=(10.0, 20.0, 30.0), std=2.0)
    pixels = np.array([[[[-128, 0, 127]]]], np.int8)  # B, G, R
    assert spec.reference("image", {"image": pixels})[0, :, 0, 0].tolist() == [122.5, 54.0, -15.0]
    plain = spec_of("nv12", "yuv444")
    y, uv = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1), np.array([[[[7, 9]]]], np.uint8)
    assert plain.reference("x", {"x_y": y, "x_uv": uv})[0, :, 1, 1].tolist() == [3.0, 7.0, 9.0]


@pytest.mark.parametrize(("space", "black", "white"), [("regular", 0, 255), ("bt601_video", 16, 235)])
def test_ranges_of_yuv(space: str, black: int, white: int) -> None:
    spec = spec_of("nv12", "rgb", space_and_range=space)
    for luma, expected in ((black, 0.0), (white, 255.0)):
        y, uv = np.full((1, 2, 2, 1), luma, np.uint8), np.full((1, 1, 1, 2), 128, np.uint8)
        assert np.allclose(spec.reference("x", {"x_y": y, "x_uv": uv}), expected, atol=1e-9)


def test_a_spec_survives_json() -> None:
    import json

    spec = spec_of("nv12", "bgr", mean=(1.0, 2.0, 3.0), scale=0.5, source="resizer")
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(ConfigError, match=re.escape("got tint")):
        InputSpec.from_dict({"tint": 1})
