"""Recipes: geometry, colour, normalisation, their record, and what is said of samples that do not fit."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openbpu
from openbpu.errors import ConfigError, ModelWarning, SampleError, SampleWarning
from openbpu.preprocess import (
    FAMILIES,
    CenterCrop,
    CenterResize,
    ImageFolder,
    InputSpec,
    Letterbox,
    Recipe,
    Resize,
    ShortSide,
    recipe,
)
from openbpu.preprocess import colour as conversions
from openbpu.preprocess.watch import look
from openbpu.runtime import Session
from unit.float_networks import residual

Image = pytest.importorskip("PIL.Image")
QUICK: dict[str, Any] = {"refinement": (), "calibration": "max"}


def photograph(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """uint8 RGB: smooth, redder than blue, with black and white in it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)).resize((width, height), 3)
    pixels = np.asarray(coarse).astype(np.int64) + np.array([25, 5, -25])
    pixels[0], pixels[1] = 0, 255
    return np.clip(pixels, 0, 255).astype(np.uint8)


# ---- geometry


def test_resize_and_short_side() -> None:
    image = Image.fromarray(photograph())
    assert Resize(10, 20)(image).size == (20, 10)
    assert ShortSide(20)(image).size == (30, 20)
    assert np.array_equal(np.asarray(Resize(40, 60, "linear")(image)), photograph())


def test_linear_is_that_of_opencv() -> None:
    """Half-pixel centres, no widening of the filter: the mean of the middle two of each four pixels."""
    row = np.array([[0, 10, 20, 250, 40, 50, 60, 70]], np.uint8)
    shrunk = Resize(1, 2, "linear")(Image.fromarray(row))
    assert np.asarray(shrunk).tolist() == [[15, 55]]


def test_crops() -> None:
    image = Image.fromarray(photograph())
    assert np.array_equal(np.asarray(CenterCrop(20, 30)(image)), photograph()[10:30, 15:45])
    assert CenterCrop(50, 60)(image).size == (60, 50)
    assert CenterResize(16, 8)(image).size == (16, 16)


@pytest.mark.parametrize("centred", [True, False])
def test_letterbox(centred: bool) -> None:
    step = Letterbox(100, 90, fill=7, centred=centred)
    boxed = np.asarray(step(Image.fromarray(photograph())))
    left, top, width, height = step.placed(60, 40)
    assert (width, height) == (90, 60) and (left, top) == ((0, 20) if centred else (0, 0))
    outside = np.ones((100, 90), bool)
    outside[top : top + height, left : left + width] = False
    assert (boxed[outside] == 7).all() and boxed[~outside].std() > 10


# ---- colour


def test_conversions_invert() -> None:
    rgb = photograph()
    for space in ("regular", "bt601_video"):
        back = conversions.yuv444_to_rgb(conversions.rgb_to_yuv444(rgb, space), space)
        assert np.abs(back.astype(int) - rgb).max() <= 2
    grey = np.full((4, 6, 3), 90, np.uint8)
    assert np.array_equal(conversions.nv12_to_rgb(*conversions.rgb_to_nv12(grey)), grey)
    assert conversions.rgb_to_yuv444(np.array([[[255, 0, 0]]], np.uint8)).tolist() == [[[76, 85, 255]]]
    with pytest.raises(SampleError, match="even height and width; got 3x4"):
        conversions.rgb_to_nv12(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str) -> None:
    made = recipe(family, (32, 32))
    x = made.apply(photograph())
    low, high = made.bounds
    assert x.shape == (1, 3, 32, 32) and x.dtype == np.float32
    assert (x.min((0, 2, 3)) >= low - 1e-4).all() and (x.max((0, 2, 3)) <= high + 1e-4).all()
    assert Recipe.from_json(made.to_json()) == made and made.name == family
    if "bgr" in made.colour:
        other = Recipe(made.geometry, "rgb", "NHWC", made.means[::-1], made.scales[::-1])
        assert np.allclose(other.apply(photograph())[..., ::-1].transpose(0, 3, 1, 2), x)


def test_families_are_those_of_the_workflow() -> None:
    assert len(FAMILIES) == 23
    with pytest.raises(ConfigError, match="Did you mean resnet50"):
        recipe("resnet-50")


def test_a_recipe_takes_what_pictures_come_as(tmp_path: Path) -> None:
    made, rgb = Recipe((Resize(8, 8),)), photograph()
    Image.fromarray(rgb).save(tmp_path / "a.png")
    want = made.apply(rgb)
    for picture in (Image.fromarray(rgb), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(made.apply(picture), want)
    assert made.batch([rgb, rgb]).shape == (2, 3, 8, 8)
    assert Recipe(colour="gray", mean=128.0).apply(rgb[..., 0]).shape == (1, 1, 40, 60)
    for bad, message in ((rgb.astype(np.float32), "uint8"), (tmp_path / "b.png", "readable image"), (3, "a path")):
        with pytest.raises(SampleError, match=message):
            made.apply(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version must be 1; got 2"),
        ({"tint": 1}, "fields are .*; got tint"),
        ({"colour": "RGB"}, "preprocess.colour: must be one of"),
        ({"mean": [1, 2]}, "preprocess.mean: one number, or one for each of 3 channels"),
        ({"scale": [1, 0, 1]}, "preprocess.scale: must not be 0"),
        ({"geometry": [{"kind": "warp"}]}, "a step is one of"),
        ({"geometry": [{"kind": "resize", "height": 0, "width": 3}]}, "resize.height: must be a whole number"),
        ({"geometry": [{"kind": "resize", "height": 1}]}, "a field is missing"),
        ({"geometry": [{"kind": "resize", "height": 1, "width": 1, "resample": "best"}]}, "resize.resample"),
    ],
)
def test_damaged_records(change: dict[str, object], message: str) -> None:
    values = json.loads(recipe("resnet50").to_json()) | change
    with pytest.raises(ConfigError, match=message):
        Recipe.from_json(json.dumps(values))


# ---- what samples look like

IMAGENET = recipe("resnet50", (32, 32))


def samples(made: Recipe, count: int = 20) -> list[np.ndarray]:
    return [made.apply(photograph(seed=i)) for i in range(count)]


def said(values: list[np.ndarray], declared: Recipe = IMAGENET) -> str:
    return " | ".join(look(values, {"image": declared}))


def test_good_samples_pass_in_silence() -> None:
    for family in FAMILIES[:6]:
        made = recipe(family, (32, 32))
        assert said(samples(made), made) == ""


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Recipe(IMAGENET.geometry), "pixels 0..255 as they are"),
        (Recipe(IMAGENET.geometry, scale=1 / 255), "pixels / 255"),
        (Recipe(IMAGENET.geometry, mean=127.5, scale=1 / 127.5), "(pixel - 127.5) / 127.5"),
        (Recipe(IMAGENET.geometry, "bgr", mean=IMAGENET.means[::-1], scale=IMAGENET.scales[::-1]), "BGR"),
        (Recipe(IMAGENET.geometry, "bgr", mean=IMAGENET.means, scale=IMAGENET.scales), "are the samples BGR?"),
        (Recipe(IMAGENET.geometry, layout="NHWC"), "is not NCHW"),
    ],
)
def test_mismatches_are_named(made: Recipe, expected: str) -> None:
    assert expected in said(samples(made))


def test_normalised_twice() -> None:
    values = [
        (x - np.array(IMAGENET.means).reshape(3, 1, 1)) * np.array(IMAGENET.scales).reshape(3, 1, 1)
        for x in samples(IMAGENET)
    ]
    text = said([x.astype(np.float32) for x in values])
    assert "normalised twice" in text and "the recipe gives [-2.118 .. 2.249; " in text


def test_order_needs_many_samples() -> None:
    swapped = Recipe(IMAGENET.geometry, "bgr", mean=IMAGENET.means, scale=IMAGENET.scales)
    assert said(samples(swapped, 8)) == ""


# ---- through the pipeline


def folder(path: Path, count: int = 6) -> Path:
    for i in range(count):
        Image.fromarray(photograph(seed=i)).save(path / f"{i}.png")
    return path


def test_the_recipe_travels(tmp_path: Path) -> None:
    """Calibrated on a folder of photographs, recorded in the QDQ model and the executable, used for nv12."""
    qdq = openbpu.quantize(residual(), folder(tmp_path), preprocess=IMAGENET, **QUICK)
    assert json.loads(next(p.value for p in qdq.metadata_props if p.key == "openbpu.preprocess"))["version"] == 1
    floats, camera = openbpu.compile(qdq), openbpu.compile(qdq, inputs={"x": "nv12"})
    assert floats.preprocess == camera.preprocess == {"x": IMAGENET}
    assert floats.cameras == {} and camera.cameras == {"x": IMAGENET.input_spec("nv12")}
    picture = photograph(48, 48, seed=9)
    frame = camera.preprocess["x"].frame("x", picture, camera.cameras["x"])
    one, other = Session(floats).run(IMAGENET.apply(picture))["y"], Session(camera).run(frame)["y"]
    assert np.abs(one - other).max() < 0.25 * np.abs(one).max()
    assert openbpu.quantize(residual(), folder(tmp_path), preprocess=IMAGENET, **QUICK) == qdq


def test_samples_may_be_pictures_or_arrays(tmp_path: Path) -> None:
    paths = sorted(folder(tmp_path).iterdir())
    want = openbpu.quantize(residual(), tmp_path, preprocess=IMAGENET, **QUICK)
    for given in (
        paths,
        [photograph(seed=i) for i in range(6)],
        (IMAGENET.apply(p) for p in paths),
        ImageFolder(tmp_path, IMAGENET),
    ):
        assert openbpu.quantize(residual(), given, preprocess=IMAGENET, **QUICK) == want
    assert len(ImageFolder(tmp_path, IMAGENET, limit=2)) == 2


def test_calibration_says_what_does_not_fit() -> None:
    raw = [x.astype(np.float32) for x in samples(Recipe(IMAGENET.geometry))]
    with pytest.warns(SampleWarning, match="input 'x': the samples lie in .*5 .. 255.*they look like pixels 0..255"):
        openbpu.quantize(residual(), raw, preprocess=IMAGENET, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openbpu.quantize(residual(), samples(IMAGENET), preprocess="resnet50", **QUICK)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (InputSpec("nv12", "bgr", mean=1.0), "input 'x': type_train is bgr, but the model was calibrated with rgb"),
        (InputSpec("nv12", "rgb"), "mean and scale give .* 255. .*, but the model was calibrated with .-2.118"),
    ],
)
def test_a_spec_that_contradicts_the_recipe(spec: InputSpec, message: str) -> None:
    qdq = openbpu.quantize(residual(), samples(IMAGENET, 2), preprocess=IMAGENET, **QUICK)
    with pytest.warns(ModelWarning, match=message):
        openbpu.compile(qdq, inputs={"x": spec})


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ({"y": IMAGENET}, "no such input; got y"),
        ({"x": 3}, "must be a Recipe"),
        (recipe("resnet50"), "the model takes 32x32; got 224x224"),
        (Recipe(colour="gray"), "gray in NCHW has 1 channels"),
        ("resnet", "no such model family"),
    ],
)
def test_a_recipe_that_does_not_fit_the_model(preprocess: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        openbpu.quantize(residual(), [], preprocess=preprocess)  # type: ignore[arg-type]


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    for path, recipe_, message in (
        (tmp_path, IMAGENET, "a folder must hold images"),
        (tmp_path / "none", IMAGENET, "a folder must hold images"),
        (tmp_path, None, "a folder of images needs"),
    ):
        with pytest.raises(SampleError, match=message):
            openbpu.quantize(residual(), path, preprocess=recipe_)  # type: ignore[arg-type]
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(SampleError, match="must be a readable image"):
        openbpu.quantize(residual(), tmp_path, preprocess=IMAGENET, **QUICK)


def test_a_type_needs_a_recipe() -> None:
    qdq = openbpu.quantize(residual(), samples(IMAGENET, 2), **QUICK)
    with pytest.raises(ConfigError, match="input 'x': a run-time type alone needs a recorded recipe; got nv12"):
        openbpu.compile(qdq, inputs={"x": "nv12"})


def test_the_command_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from openbpu.cli.main import command

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, arguments)
        return f"{result.exit_code} {result.output}"

    photos = tmp_path / "photos"
    photos.mkdir()
    model, qdq, out = tmp_path / "net.onnx", str(tmp_path / "net.qdq.onnx"), str(tmp_path / "net.bpux")
    model.write_bytes(residual().SerializeToString())
    (tmp_path / "recipe.json").write_text(IMAGENET.to_json())
    recipe_file = str(tmp_path / "recipe.json")
    assert run("quantize", str(model), "--samples", str(folder(photos)), "--preprocess", recipe_file).startswith("0 ")
    assert run("compile", qdq, "-o", out, "--input", "x=nv12").startswith("0 ")
    assert openbpu.load(out).cameras["x"] == IMAGENET.input_spec("nv12")
    given = "x=bgr,train=rgb,mean=123.675:116.28:103.53,std=58.395:57.12:57.375"
    assert run("compile", qdq, "-o", out, "--input", given).startswith("0 ")
    assert openbpu.load(out).cameras["x"].mean == (123.675, 116.28, 103.53)
    for bad, message in (
        ("x", "NAME=nv12"),
        ("x=nv12,tint=3", "no such key as 'tint'"),
        ("x=rgb,mean=a", "takes numbers"),
    ):
        assert message in run("compile", qdq, "--input", bad)
