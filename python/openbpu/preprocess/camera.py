"""Inputs of a camera system: what arrives at run time, what the network was trained on, and the map between both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from openbpu.errors import ConfigError, did_you_mean
from openbpu.preprocess.colour import (
    from_yuv,
    grey,
    plain_yuv,
    rgb_to_nv12,
    rgb_to_yuv444,
    swapped,
    to_chw,
    upsampled,
)

Numbers = tuple[float, ...]

TYPES_RT = ("nv12", "yuv444", "yuv444_128", "rgb", "bgr", "gray", "featuremap")
TYPES_TRAIN = ("rgb", "bgr", "yuv444", "gray", "featuremap")
LAYOUTS = ("NCHW", "NHWC")
SPACES = ("regular", "bt601_video")
SOURCES = ("pyramid", "ddr", "resizer")
_COLOUR = ("rgb", "bgr", "nv12", "yuv444", "yuv444_128")
LEGAL: Mapping[str, tuple[str, ...]] = {  # what may arrive for a network trained on the key
    "rgb": _COLOUR,
    "bgr": _COLOUR,
    "yuv444": ("yuv444", "yuv444_128", "nv12"),
    "gray": ("gray",),
    "featuremap": ("featuremap",),
}
_PLANES = ("nv12", "gray")  # types that a pyramid or a resizer makes
_LAYOUT_RT = {"gray": "NCHW", "featuremap": "NCHW", "nv12": ""}  # the others: NHWC


@dataclass(frozen=True)
class PortSpec:
    """An input of the compiled program."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """How an image input arrives at run time; the conversion becomes part of the compiled program.

    `type_rt` is what arrives: nv12, yuv444 (or yuv444_128, the same), rgb, bgr, gray, featuremap; `type_train` what the
    network was trained on: rgb, bgr, yuv444, gray, featuremap. The network sees (pixel - mean) * scale, or
    (pixel - mean) / std, of pixels 0..255; mean, scale and std are numbers per channel in the order of `type_train`, or
    one for all. `space_and_range` "regular" is BT.601 of full range, "bt601_video" that of 16..235.

    `layout_train` is the layout of the model's input, `layout_rt` that of rgb, bgr, yuv444, gray or featuremap at run
    time; "" is NHWC for colour, NCHW for gray, and the model's own for featuremap. `source` "pyramid" takes nv12 or
    gray with row strides given at run time, "ddr" dense tensors, "resizer" nv12 or gray of any size up to `source_size`
    (rows, columns) with a region of interest; "" is pyramid for nv12 and gray, else ddr. `separate_batch` gives each
    image of a batch inputs of its own.

    Raises ConfigError naming the field.
    """

    type_rt: str = "featuremap"
    type_train: str = "featuremap"
    layout_train: str = "NCHW"
    layout_rt: str = ""
    space_and_range: str = "regular"
    mean: Numbers | float | None = None
    scale: Numbers | float | None = None
    std: Numbers | float | None = None
    source: str = ""
    source_size: tuple[int, int] = (2160, 3840)
    separate_batch: bool = False

    def __post_init__(self) -> None:
        _choice("type_rt", self.type_rt, TYPES_RT)
        _choice("type_train", self.type_train, TYPES_TRAIN)
        _choice("layout_train", self.layout_train, LAYOUTS)
        _choice("layout_rt", self.layout_rt, ("", *LAYOUTS))
        _choice("space_and_range", self.space_and_range, SPACES)
        _choice("source", self.source, ("", *SOURCES))
        if self.type_rt not in LEGAL[self.type_train]:
            raise ConfigError(
                f"a network trained on {self.type_train} takes {', '.join(LEGAL[self.type_train])}",
                where="type_rt",
                seen=self.type_rt,
                remedy="change type_rt or type_train",
            )
        for key in ("mean", "scale", "std"):
            object.__setattr__(self, key, numbers_of(key, getattr(self, key), self.channels))
        self._check_normalisation()
        self._check_range()
        self._check_source()

    def _check_normalisation(self) -> None:
        if self.scale is not None and self.std is not None:
            raise ConfigError("scale and std exclude each other", where="std", seen=self.std, remedy="give one of both")
        for key in ("scale", "std"):
            values = getattr(self, key)
            if values is not None and not all(value > 0 for value in values):
                raise ConfigError("must be above 0", where=key, seen=values)
        if self.type_rt == "featuremap":
            for key in ("mean", "scale", "std"):
                if getattr(self, key) is not None:
                    raise ConfigError(
                        "a feature map is not normalised", where=key, seen=getattr(self, key), remedy="leave it out"
                    )

    def _check_range(self) -> None:
        if self.space_and_range == "bt601_video" and (self.type_rt != "nv12" or self.type_train not in ("rgb", "bgr")):
            raise ConfigError(
                "bt601_video belongs to type_rt nv12 with type_train rgb or bgr",
                where="space_and_range",
                seen=f"{self.type_rt} for {self.type_train}",
                remedy="use regular",
            )
        if self.type_rt == "nv12" and self.layout_rt:
            raise ConfigError("nv12 has no layout", where="layout_rt", seen=self.layout_rt, remedy="leave it out")

    def _check_source(self) -> None:
        if self.source in ("pyramid", "resizer") and self.type_rt not in _PLANES:
            raise ConfigError(
                f"{self.source} gives {' or '.join(_PLANES)}",
                where="source",
                seen=f"{self.source} for {self.type_rt}",
                remedy="use ddr, or change type_rt",
            )
        if self.source in ("pyramid", "resizer") and self.layout_rt == "NHWC":
            raise ConfigError(f"{self.source} gives planes", where="layout_rt", seen="NHWC", remedy="leave it out")
        size = self.source_size
        if len(size) != 2 or not all(_whole(extent, 2, 65534) and extent % 2 == 0 for extent in size):
            raise ConfigError("must be two even numbers from 2 to 65534", where="source_size", seen=size)

    # ---- what follows from the fields

    @property
    def channels(self) -> int:
        """Channels of the network's input; 0 for a feature map: any."""
        return {"gray": 1, "featuremap": 0}.get(self.type_train, 3)

    @property
    def input_source(self) -> str:
        """`source`, or what it defaults to."""
        return self.source or ("pyramid" if self.type_rt in _PLANES else "ddr")

    @property
    def runtime_layout(self) -> str:
        """`layout_rt`, or what it defaults to: "NCHW", "NHWC", for nv12 ""."""
        if self.type_rt == "featuremap" and not self.layout_rt:
            return self.layout_train
        return self.layout_rt or _LAYOUT_RT.get(self.type_rt, "NHWC")

    @property
    def identity(self) -> bool:
        """Whether the program takes the input as the model has it."""
        return self.type_rt == "featuremap" and self.runtime_layout == self.layout_train and not self.separate_batch

    def checked(self, name: str, shape: Sequence[int]) -> None:
        """Raises ConfigError if the model's input `name` of this shape cannot be such an image."""
        if self.identity:
            return
        where = f"input '{name}'"
        if len(shape) != 4:
            raise ConfigError("an image input has four dimensions", where=where, seen=f"shape {tuple(shape)}")
        _, height, width, channels = self._extents(shape)
        if self.channels and channels != self.channels:
            other = "NHWC" if self.layout_train == "NCHW" else "NCHW"
            raise ConfigError(
                f"{self.type_train} in layout {self.layout_train} has {self.channels} channels",
                where=where,
                seen=f"shape {tuple(shape)}",
                remedy=f"set layout_train to {other}" if self.channels in (shape[1], shape[3]) else "change type_train",
            )
        if self.type_rt == "nv12" and (height % 2 or width % 2):
            raise ConfigError("nv12 needs even height and width", where=where, seen=f"{height}x{width}")

    def ports(self, name: str, shape: Sequence[int]) -> tuple[PortSpec, ...]:
        """The program's inputs in place of the model's input `name` of this shape, in order.

        nv12: `name_y` uint8 [n, h, w, 1] and `name_uv` uint8 [n, h/2, w/2, 2]; rgb, bgr, yuv444: int8, pixel - 128;
        gray: uint8; featuremap: float32. Of a resizer the sizes are the largest, and `name_roi` int32 [n, 4] follows:
        left, top, right, bottom of each image, the last pixels included. With `separate_batch` one set per image,
        `name_0` and so on.
        """
        self.checked(name, shape)
        if self.identity:
            return (PortSpec(name, "float32", tuple(shape)),)
        n, height, width, channels = self._extents(shape)
        if self.separate_batch:
            return tuple(p for i in range(n) for p in self._ports(f"{name}_{i}", 1, height, width, channels))
        return self._ports(name, n, height, width, channels)

    def _ports(self, name: str, n: int, height: int, width: int, channels: int) -> tuple[PortSpec, ...]:
        roi: tuple[PortSpec, ...] = ()
        if self.input_source == "resizer":
            height, width = self.source_size
            roi = (PortSpec(f"{name}_roi", "int32", (n, 4)),)
        if self.type_rt == "nv12":
            luma = PortSpec(f"{name}_y", "uint8", (n, height, width, 1))
            return luma, PortSpec(f"{name}_uv", "uint8", (n, height // 2, width // 2, 2)), *roi
        dtype = {"gray": "uint8", "featuremap": "float32"}.get(self.type_rt, "int8")
        planes = self.runtime_layout == "NCHW"
        extents = (n, channels, height, width) if planes else (n, height, width, channels)
        return (PortSpec(name, dtype, extents), *roi)

    def _extents(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """n, h, w, c of the model's input."""
        a, b, c, d = shape
        return (a, c, d, b) if self.layout_train == "NCHW" else (a, b, c, d)

    def colour(self) -> tuple[np.ndarray, np.ndarray]:
        """matrix [c, 3] and offset [c]: pixel of `type_train` = matrix @ pixel of `type_rt` + offset, all 0..255.

        nv12 counts as yuv444. Of gray and feature maps there is none: matrix [1, 1].
        """
        if self.channels != 3:
            return np.eye(1), np.zeros(1)
        matrix, offset = np.eye(3), np.zeros(3)
        if self.type_train != "yuv444" and self.type_rt not in ("rgb", "bgr"):
            matrix, offset = from_yuv(self.space_and_range)
            if self.type_train == "bgr":
                matrix, offset = matrix[::-1], offset[::-1]
        elif self.type_train != self.type_rt and self.type_rt in ("rgb", "bgr"):
            matrix = matrix[::-1]
        return matrix, offset

    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """gain and shift per channel: network input = gain * pixel + shift."""
        count = self.channels or 1
        mean = np.array(self.mean if self.mean is not None else (0.0,) * count, np.float64)
        if self.std is not None:
            gain = 1.0 / np.array(self.std, np.float64)
        else:
            gain = np.array(self.scale if self.scale is not None else (1.0,) * count, np.float64)
        return gain, 0.0 - mean * gain  # no -0.0

    def reference(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The network's input, float64 in `layout_train`, that the program computes from its ports up to rounding.

        Of a resizer, `arrays` are the planes as resized. Chroma is repeated for the pixels that share it; pixels beyond
        0..255 after colour conversion saturate.
        """
        if self.separate_batch:
            images, i = [], 0
            while any(key == f"{name}_{i}" or key.startswith(f"{name}_{i}_") for key in arrays):
                images.append(self._reference(f"{name}_{i}", arrays))
                i += 1
            return np.concatenate(images)
        return self._reference(name, arrays)

    def _reference(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        pixels = self._unsigned(name, arrays)  # n, h, w, c
        if self.type_rt != "featuremap":
            matrix, offset = self.colour()
            gain, shift = self.normalisation()
            pixels = np.clip(pixels @ matrix.T + offset, 0.0, 255.0) * gain + shift
        return pixels.transpose(0, 3, 1, 2) if self.layout_train == "NCHW" else pixels

    def _unsigned(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.type_rt == "nv12":
            return plain_yuv(arrays[f"{name}_y"], upsampled(arrays[f"{name}_uv"]))
        pixels = np.asarray(arrays[name], np.float64) + (128.0 if arrays[name].dtype == np.int8 else 0.0)
        return pixels.transpose(0, 2, 3, 1) if self.runtime_layout == "NCHW" else pixels

    def frame(self, name: str, rgb: np.ndarray) -> dict[str, np.ndarray]:
        """What a camera of this kind would deliver for uint8 RGB [h, w, 3] or [n, h, w, 3], by port name.

        Of a resizer without the region of interest. Raises ConfigError for a feature map.
        """
        if self.type_rt == "featuremap":
            raise ConfigError("a feature map is no picture", where="type_rt", seen="featuremap")
        batch = rgb if rgb.ndim == 4 else rgb[None]
        if self.separate_batch:
            frames = [self._frame(f"{name}_{i}", batch[i : i + 1]) for i in range(len(batch))]
            return {port: array for frame in frames for port, array in frame.items()}
        return self._frame(name, batch)

    def _frame(self, name: str, rgb: np.ndarray) -> dict[str, np.ndarray]:
        if self.type_rt == "nv12":
            luma, chroma = rgb_to_nv12(rgb, self.space_and_range)
            return {f"{name}_y": luma[..., None], f"{name}_uv": chroma}
        if self.type_rt == "gray":
            pixels = grey(rgb)
        elif self.type_rt in ("yuv444", "yuv444_128"):
            pixels = rgb_to_yuv444(rgb, self.space_and_range)
        else:
            pixels = rgb if self.type_rt == "rgb" else swapped(rgb)
        if self.type_rt != "gray":
            pixels = (pixels ^ 128).view(np.int8)
        return {name: np.ascontiguousarray(to_chw(pixels) if self.runtime_layout == "NCHW" else pixels)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as META of an executable records them."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> InputSpec:
        """The spec that `to_dict` described. Raises ConfigError for unknown fields."""
        known = {field.name for field in fields(InputSpec)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"fields are {', '.join(sorted(known))}", where="InputSpec", seen=", ".join(unknown))
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return InputSpec(**plain)


def _choice(key: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        names = ", ".join(name for name in allowed if name)
        raise ConfigError(
            f"must be one of {names}", where=key, seen=repr(value), remedy=did_you_mean(value, allowed, "")
        )


def numbers_of(key: str, value: Any, channels: int) -> Numbers | None:
    """One number per channel; one alone stands for all, None stays None. Raises ConfigError naming `key`."""
    if value is None:
        return None
    items = value if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else (value,)
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError) as error:
        raise ConfigError("must be numbers", where=key, seen=value) from error
    if not np.isfinite(numbers).all():
        raise ConfigError("must be finite", where=key, seen=numbers)
    if len(numbers) == 1 and channels > 1:
        numbers *= channels
    if channels and len(numbers) != channels:
        raise ConfigError(f"one number, or one for each of {channels} channels", where=key, seen=numbers)
    return numbers


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
