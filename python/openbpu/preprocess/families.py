"""One recipe per model family, with the values that its authors published; sizes are arguments."""

from __future__ import annotations

from collections.abc import Callable

from openbpu.errors import ConfigError, did_you_mean
from openbpu.preprocess.geometry import CenterCrop, CenterResize, Letterbox, Resize, ShortSide
from openbpu.preprocess.recipe import Recipe

_IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB
_IMAGENET_SCALE = (1 / 58.395, 1 / 57.12, 1 / 57.375)
_Family = Callable[[int, int], Recipe]


def _cropped(colour: str, mean: tuple[float, ...], scale: tuple[float, ...] | float, margin: int = 32) -> _Family:
    """Short side, then the middle: classification."""

    def make(height: int, width: int) -> Recipe:
        short = ShortSide(min(height, width) + margin)
        return Recipe((short, CenterCrop(height, width)), colour, mean=mean, scale=scale)

    return make


def _lite(height: int, width: int) -> Recipe:
    if height != width:
        raise ConfigError("the published preprocessing is square", where="size", seen=f"{height}x{width}")
    return Recipe((CenterResize(height),), mean=127.0, scale=1 / 128)


def _letterboxed(fill: int, colour: str = "rgb") -> _Family:
    return lambda height, width: Recipe((Letterbox(height, width, fill),), colour, scale=1 / 255)


def _stretched(mean: tuple[float, ...] | float, scale: tuple[float, ...] | float, resample: str = "linear") -> _Family:
    return lambda height, width: Recipe((Resize(height, width, resample),), mean=mean, scale=scale)


def _centernet(height: int, width: int) -> Recipe:
    mean = tuple(255 * v for v in (0.408, 0.447, 0.470))  # BGR
    scale = tuple(1 / (255 * v) for v in (0.289, 0.274, 0.278))
    return Recipe((Letterbox(height, width, 0),), "bgr", mean=mean, scale=scale)


_CAFFE = (103.94, 116.78, 123.68)  # BGR
_torch = _cropped("rgb", _IMAGENET_MEAN, _IMAGENET_SCALE)
_street = _stretched(_IMAGENET_MEAN, _IMAGENET_SCALE)
# name -> family, height, width
_FAMILIES: dict[str, tuple[_Family, int, int]] = {
    "mobilenetv1": (_cropped("bgr", _CAFFE, 0.017), 224, 224),
    "mobilenetv2": (_cropped("bgr", _CAFFE, 0.017), 224, 224),
    "resnet18": (_torch, 224, 224),
    "resnet50": (_torch, 224, 224),
    "googlenet": (_cropped("bgr", (104.0, 117.0, 123.0), 1.0), 224, 224),
    **{f"efficientnet_lite{i}": (_lite, size, size) for i, size in enumerate((224, 240, 260, 280, 300))},
    "vargconvnet": (_torch, 224, 224),
    "efficientnasnet_m": (_torch, 300, 300),
    "efficientnasnet_s": (_torch, 280, 280),
    "yolov2_darknet19": (_letterboxed(127), 608, 608),
    "yolov3_darknet53": (_letterboxed(127), 416, 416),
    "yolov3_vargdarknet": (_letterboxed(127), 416, 416),
    "yolov5x": (_letterboxed(114), 640, 640),
    "ssd_mobilenetv1": (_stretched(127.5, 1 / 127.5), 300, 300),
    "centernet_resnet101": (_centernet, 512, 512),
    "deeplabv3plus_efficientnetb0": (_street, 1024, 2048),
    "deeplabv3plus_efficientnetm1": (_street, 1024, 2048),
    "deeplabv3plus_efficientnetm2": (_street, 1024, 2048),
    "fastscnn_efficientnetb0": (_street, 1024, 2048),
}
FAMILIES = tuple(_FAMILIES)


def recipe(family: str, size: tuple[int, int] | None = None) -> Recipe:
    """The recipe of a model family at height, width `size`; by default the published one.

    Raises ConfigError for an unknown family, naming the nearest.
    """
    if family not in _FAMILIES:
        hint = did_you_mean(family, FAMILIES, f"the families are {', '.join(FAMILIES)}")
        raise ConfigError("no such model family", where="recipe", seen=repr(family), remedy=hint)
    make, height, width = _FAMILIES[family]
    made = make(*(size or (height, width)))
    return Recipe(made.geometry, made.colour, made.layout, made.mean, made.scale, family)
