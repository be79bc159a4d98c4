"""From a photograph to the input of a network: one frozen recipe, recorded with the model as versioned JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openbpu.errors import ConfigError, SampleError
from openbpu.preprocess import colour as conversions
from openbpu.preprocess.camera import InputSpec, numbers_of
from openbpu.preprocess.geometry import CenterCrop, CenterResize, Letterbox, Resize, Step, pillow, step_of

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
KEY = "openbpu.preprocess"  # of a QDQ model's metadata_props
COLOURS = ("rgb", "bgr", "yuv444", "gray")
Picture = "Image | np.ndarray[Any, Any] | str | os.PathLike[str]"


@dataclass(frozen=True)
class Recipe:
    """Geometry, colour, layout and normalisation: float32 input = (pixel - mean) * scale, pixels 0..255.

    `geometry` are steps of openbpu.preprocess.geometry; `colour` is rgb, bgr, yuv444 (BT.601, full range) or gray;
    `layout` NCHW or NHWC; `mean` and `scale` one number, or one per channel in the order of `colour`. Raises
    ConfigError naming the field.
    """

    geometry: tuple[Step, ...] = ()
    colour: str = "rgb"
    layout: str = "NCHW"
    mean: tuple[float, ...] | float = 0.0
    scale: tuple[float, ...] | float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        for key, allowed in (("colour", COLOURS), ("layout", ("NCHW", "NHWC"))):
            if getattr(self, key) not in allowed:
                rule = f"must be one of {', '.join(allowed)}"
                raise ConfigError(rule, where=f"preprocess.{key}", seen=repr(getattr(self, key)))
        object.__setattr__(self, "geometry", tuple(self.geometry))
        for step in self.geometry:
            if not isinstance(step, Step):
                raise ConfigError("geometry is made of steps", where="preprocess.geometry", seen=type(step).__name__)
        for key in ("mean", "scale"):
            object.__setattr__(self, key, numbers_of(f"preprocess.{key}", getattr(self, key), self.channels))
        if not all(self.scales):
            raise ConfigError("must not be 0", where="preprocess.scale", seen=self.scale)

    # ---- what follows from the fields

    @property
    def channels(self) -> int:
        return 1 if self.colour == "gray" else 3

    @property
    def means(self) -> tuple[float, ...]:
        """`mean` per channel."""
        assert isinstance(self.mean, tuple)
        return self.mean

    @property
    def scales(self) -> tuple[float, ...]:
        """`scale` per channel."""
        assert isinstance(self.scale, tuple)
        return self.scale

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that the geometry ends with; None if they depend on the image."""
        last = self.geometry[-1] if self.geometry else None
        if isinstance(last, Resize | CenterCrop | Letterbox):
            return last.height, last.width
        return (last.size, last.size) if isinstance(last, CenterResize) else None

    @property
    def bounds(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The least and greatest value of each channel that a pixel can give."""
        ends = [(np.array(p) - self.means) * self.scales for p in (0.0, 255.0)]
        return np.minimum(*ends), np.maximum(*ends)

    # ---- application

    def apply(self, image: Image | np.ndarray[Any, Any] | str | os.PathLike[str]) -> np.ndarray[Any, Any]:
        """The input of the network, float32 [1, c, h, w] or [1, h, w, c].

        `image` is a path, a Pillow image, or uint8 RGB [h, w, 3] or grey [h, w]. Raises SampleError for what is none.
        """
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image | np.ndarray[Any, Any] | str | os.PathLike[str]) -> np.ndarray[Any, Any]:
        """The image after geometry and colour conversion: uint8 [h, w, channels]."""
        picture = opened(image).convert("RGB")
        for step in self.geometry:
            picture = step(picture)
        rgb = np.asarray(picture)
        if self.colour == "gray":
            return conversions.grey(rgb)
        if self.colour == "yuv444":
            return conversions.rgb_to_yuv444(rgb)
        return rgb if self.colour == "rgb" else conversions.swapped(rgb)

    def normalise(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """uint8 [h, w, c], or a batch of them, as the input of the network."""
        mean, scale = (np.array(values, np.float32) for values in (self.means, self.scales))
        batch = pixels if pixels.ndim == 4 else pixels[None]
        values = (batch.astype(np.float32) - mean) * scale
        return np.ascontiguousarray(conversions.to_chw(values) if self.layout == "NCHW" else values)

    def batch(self, images: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Several images of equal size as one input."""
        return np.concatenate([self.apply(image) for image in images])

    def frame(
        self, name: str, image: Image | np.ndarray[Any, Any] | str | os.PathLike[str], spec: InputSpec
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that a program compiled with `spec` takes for its input `name`, from a photograph."""
        picture = opened(image).convert("RGB")
        for step in self.geometry:
            picture = step(picture)
        return spec.frame(name, np.asarray(picture))

    def input_spec(self, type_rt: str, **options: Any) -> InputSpec:
        """How this input arrives as `type_rt`, trained and normalised as the recipe says."""
        if not min(self.scales) > 0:
            raise ConfigError("a camera input needs scales above 0", where="preprocess.scale", seen=self.scale)
        normalisation: dict[str, Any] = {"mean": self.mean, "scale": self.scale}
        return InputSpec(type_rt, self.colour, layout_train=self.layout, **{**normalisation, **options})

    # ---- record

    def to_dict(self) -> dict[str, Any]:
        geometry = [step.to_dict() for step in self.geometry]
        plain = {key: getattr(self, key) for key in ("colour", "layout", "name")}
        return {"version": VERSION, "geometry": geometry, **plain, "mean": list(self.means), "scale": list(self.scales)}

    def to_json(self) -> str:
        """Equal recipes give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` described. Raises ConfigError for another version or an unknown field."""
        where = "preprocess"
        if not isinstance(values, Mapping):
            raise ConfigError("must be an object", where=where, seen=type(values).__name__)
        if values.get("version") != VERSION:
            remedy = "use the release of openbpu that wrote it, or a later one"
            raise ConfigError(f"version must be {VERSION}", where=where, seen=values.get("version"), remedy=remedy)
        known = {"version", "geometry", "colour", "layout", "mean", "scale", "name"}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"fields are {', '.join(sorted(known))}", where=where, seen=", ".join(unknown))
        rest = {key: values[key] for key in ("colour", "layout", "mean", "scale", "name") if key in values}
        return Recipe(tuple(step_of(step) for step in values.get("geometry", ())), **rest)

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe that `to_json` wrote. Raises ConfigError."""
        return Recipe.from_dict(_parsed(text))

    def __str__(self) -> str:
        steps = ", ".join(f"{step.kind} {_extent(step)}" for step in self.geometry) or "no resizing"
        return f"{steps}; {self.colour} {self.layout}; (x - {_short(self.means)}) * {_short(self.scales)}"


def record(recipes: Mapping[str, Recipe]) -> str:
    """JSON of the recipes of a model, by input name."""
    inputs = {name: recipe.to_dict() for name, recipe in sorted(recipes.items())}
    return json.dumps({"version": VERSION, "inputs": inputs}, sort_keys=True)


def recorded(text: str | Mapping[str, Any]) -> dict[str, Recipe]:
    """What `record` wrote. Raises ConfigError if it is damaged or of another version."""
    values = _parsed(text) if isinstance(text, str) else text
    if (
        not isinstance(values, Mapping)
        or values.get("version") != VERSION
        or not isinstance(values.get("inputs"), dict)
    ):
        raise ConfigError(f"must be a record of version {VERSION}", where=KEY, seen=str(values)[:60])
    return {str(name): Recipe.from_dict(recipe) for name, recipe in values["inputs"].items()}


def recorded_in(model: Any) -> dict[str, Recipe]:
    """The recipes that an ONNX model records, by input name. Raises ConfigError if the record is damaged."""
    text = next((p.value for p in model.metadata_props if p.key == KEY), "")
    return recorded(text) if text else {}


def opened(image: Image | np.ndarray[Any, Any] | str | os.PathLike[str]) -> Image:
    """A Pillow image of a path, an array uint8 [h, w, 3] or [h, w], or a Pillow image. Raises SampleError."""
    module = pillow()
    if isinstance(image, module.Image):
        return image  # type: ignore[no-any-return]
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))):
            seen = f"{image.dtype} {image.shape}"
            raise SampleError("an image is uint8 [h, w, 3] in RGB, or [h, w]", where="image", seen=seen)
        plain = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        return module.fromarray(np.ascontiguousarray(plain))  # type: ignore[no-any-return]
    if not isinstance(image, str | os.PathLike):
        raise SampleError("must be a path, a Pillow image or an array", where="image", seen=type(image).__name__)
    try:
        with module.open(image) as file:
            file.load()
            return file  # type: ignore[no-any-return]
    except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
        raise SampleError("must be a readable image", where=os.fspath(image), seen=error) from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError("must be JSON", where="preprocess", seen=error) from error


def _extent(step: Step) -> str:
    values = step.to_dict()
    return str(values["size"]) if "size" in values else f"{values['height']}x{values['width']}"


def _short(values: Sequence[float]) -> str:
    plain = [f"{value:.5g}" for value in (values[:1] if len(set(values)) == 1 else values)]
    return plain[0] if len(plain) == 1 else f"[{', '.join(plain)}]"
