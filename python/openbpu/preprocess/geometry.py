"""Steps that give an image its size: frozen, composable, each a function from Pillow image to Pillow image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from openbpu.errors import ConfigError, OpenBpuError

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's filters widen when they shrink an image; "linear" does not, as OpenCV's does not.
RESAMPLES = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "linear": 2}
_LARGEST = 65535
Box = tuple[float, float, float, float]


def pillow() -> Any:
    """The module PIL.Image. Raises OpenBpuError with the pip command if Pillow is missing."""
    try:
        from PIL import Image as module
    except ImportError as error:
        raise OpenBpuError(
            "images need Pillow", seen=error, remedy="run: pip install 'openbpu[images]', or give arrays"
        ) from error
    return module


def resized(image: Image, height: int, width: int, resample: str, box: Box | None = None) -> Image:
    """The part `box` (left, top, right, bottom; default: all) of an image at another size."""
    module = pillow()
    if resample == "linear":
        extent = box or (0, 0, *image.size)
        return image.transform((width, height), module.Transform.EXTENT, extent, module.Resampling.BILINEAR)
    return image.resize((width, height), RESAMPLES[resample], box=box)


@dataclass(frozen=True)
class Step(ABC):
    """One step of geometry; `kind` names it in JSON."""

    kind: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, image: Image) -> Image:
        """The image after this step."""

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            where = f"{self.kind}.{field.name}"
            if field.name == "resample":
                if value not in RESAMPLES:
                    raise ConfigError(f"must be one of {', '.join(RESAMPLES)}", where=where, seen=repr(value))
            elif field.name in ("height", "width", "size") and not (
                isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST
            ):
                raise ConfigError(f"must be a whole number from 1 to {_LARGEST}", where=where, seen=value)


@dataclass(frozen=True)
class Resize(Step):
    """The whole image at height x width, whatever its aspect."""

    height: int
    width: int
    resample: str = "bilinear"
    kind: ClassVar[str] = "resize"

    def __call__(self, image: Image) -> Image:
        return resized(image, self.height, self.width, self.resample)


@dataclass(frozen=True)
class ShortSide(Step):
    """The image with its shorter side at `size`, its aspect kept; the longer side rounded down."""

    size: int
    resample: str = "bilinear"
    kind: ClassVar[str] = "short_side"

    def __call__(self, image: Image) -> Image:
        width, height = image.size
        short = min(width, height)
        height, width = (max(1, extent * self.size // short) for extent in (height, width))
        return resized(image, height, width, self.resample)


@dataclass(frozen=True)
class CenterCrop(Step):
    """The middle height x width of the image; what lies outside of a smaller image is black."""

    height: int
    width: int
    kind: ClassVar[str] = "center_crop"

    def __call__(self, image: Image) -> Image:
        left = round((image.size[0] - self.width) / 2)
        top = round((image.size[1] - self.height) / 2)
        return image.crop((left, top, left + self.width, top + self.height))


@dataclass(frozen=True)
class CenterResize(Step):
    """The middle square at size x size; its side is size / (size + margin) of the shorter side."""

    size: int
    margin: int = 32
    resample: str = "bicubic"
    kind: ClassVar[str] = "center_resize"

    def __call__(self, image: Image) -> Image:
        width, height = image.size
        side = max(1, int(self.size / (self.size + self.margin) * min(width, height)))
        left, top = (width - side + 1) // 2, (height - side + 1) // 2
        return resized(image, self.size, self.size, self.resample, (left, top, left + side, top + side))


@dataclass(frozen=True)
class Letterbox(Step):
    """The whole image, its aspect kept, on a canvas of height x width in the grey `fill`: in the middle, or at the top
    left."""

    height: int
    width: int
    fill: int = 114
    resample: str = "linear"
    centred: bool = True
    kind: ClassVar[str] = "letterbox"

    def placed(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of an image of that size on the canvas."""
        ratio = min(self.width / width, self.height / height)
        w, h = max(1, round(width * ratio)), max(1, round(height * ratio))
        left, top = ((self.width - w) // 2, (self.height - h) // 2) if self.centred else (0, 0)
        return left, top, w, h

    def __call__(self, image: Image) -> Image:
        left, top, width, height = self.placed(*image.size)
        fill = (self.fill,) * len(image.getbands())
        canvas: Image = pillow().new(image.mode, (self.width, self.height), fill if len(fill) > 1 else self.fill)
        canvas.paste(resized(image, height, width, self.resample), (left, top))
        return canvas


STEPS: dict[str, type[Step]] = {step.kind: step for step in (Resize, ShortSide, CenterCrop, CenterResize, Letterbox)}


def step_of(values: Mapping[str, Any]) -> Step:
    """The step that `to_dict` described. Raises ConfigError for an unknown kind or field."""
    kind = values.get("kind")
    if kind not in STEPS:
        raise ConfigError(f"a step is one of {', '.join(STEPS)}", where="preprocess.geometry", seen=repr(kind))
    rest = {key: value for key, value in values.items() if key != "kind"}
    known = {field.name for field in fields(STEPS[kind])}
    if unknown := sorted(set(rest) - known):
        raise ConfigError(f"fields are {', '.join(sorted(known))}", where=str(kind), seen=", ".join(unknown))
    try:
        return STEPS[kind](**rest)
    except TypeError as error:
        raise ConfigError("a field is missing", where=f"preprocess.geometry.{kind}", seen=error) from error
