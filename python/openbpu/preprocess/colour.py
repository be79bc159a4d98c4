"""Conversions between colour spaces and layouts, on numpy arrays of 8-bit pixels.

RGB and YUV images are uint8 [..., h, w, 3]; nv12 is a plane of luma [h, w] and one of interleaved chroma [h/2, w/2, 2].
YUV is BT.601: full range (JPEG) or video range (luma 16..235, chroma 16..240), as ITU-R BT.601 defines both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from openbpu.errors import SampleError

_KR, _KB = 0.299, 0.114  # ITU-R BT.601
_KG = 1.0 - _KR - _KB
Array = np.ndarray[Any, np.dtype[Any]]


def from_yuv(space: str = "regular") -> tuple[Array, Array]:
    """matrix [3, 3] and offset [3]: RGB = matrix @ (Y, U, V) + offset, all 0..255."""
    video = space == "bt601_video"
    luma, chroma, black = (255 / 219, 255 / 224, 16.0) if video else (1.0, 1.0, 0.0)
    red, blue = 2 * (1 - _KR) * chroma, 2 * (1 - _KB) * chroma
    matrix = np.array([[luma, 0.0, red], [luma, -blue * _KB / _KG, -red * _KR / _KG], [luma, blue, 0.0]], np.float64)
    return matrix, -matrix @ np.array([black, 128.0, 128.0])


def rgb_to_yuv444(rgb: Array, space: str = "regular") -> Array:
    """uint8 YUV of an RGB image, rounded to nearest."""
    matrix, offset = from_yuv(space)
    return _rounded((np.asarray(rgb, np.float64) - offset) @ np.linalg.inv(matrix).T)


def yuv444_to_rgb(yuv: Array, space: str = "regular") -> Array:
    """uint8 RGB of a YUV image, rounded to nearest; what lies outside 0..255 saturates."""
    matrix, offset = from_yuv(space)
    return _rounded(np.asarray(yuv, np.float64) @ matrix.T + offset)


def rgb_to_nv12(rgb: Array, space: str = "regular") -> tuple[Array, Array]:
    """Luma uint8 [h, w] and chroma uint8 [h/2, w/2, 2]: each pair the mean of its four pixels, rounded to nearest.

    Raises SampleError for an odd height or width.
    """
    height, width = rgb.shape[-3:-1]
    if height % 2 or width % 2:
        raise SampleError("nv12 needs even height and width", seen=f"{height}x{width}")
    matrix, offset = from_yuv(space)
    yuv = (np.asarray(rgb, np.float64) - offset) @ np.linalg.inv(matrix).T
    chroma = yuv[..., 1:].reshape(*rgb.shape[:-3], height // 2, 2, width // 2, 2, 2).mean((-4, -2))
    return _rounded(yuv[..., 0]), _rounded(chroma)


def nv12_to_yuv444(luma: Array, chroma: Array) -> Array:
    """uint8 YUV [h, w, 3]: chroma is repeated for the four pixels that share it."""
    return np.concatenate([luma[..., None], upsampled(chroma)], -1)


def nv12_to_rgb(luma: Array, chroma: Array, space: str = "regular") -> Array:
    """uint8 RGB [h, w, 3]."""
    return yuv444_to_rgb(nv12_to_yuv444(luma, chroma), space)


def swapped(image: Array) -> Array:
    """RGB as BGR, or the other way round: channels last."""
    return image[..., ::-1]


def grey(rgb: Array) -> Array:
    """uint8 [h, w, 1]: the luma of BT.601, full range."""
    return _rounded(np.asarray(rgb, np.float64) @ np.array([_KR, _KG, _KB]))[..., None]


def to_chw(image: Array) -> Array:
    """[..., h, w, c] as [..., c, h, w]."""
    return np.moveaxis(image, -1, -3)


def to_hwc(image: Array) -> Array:
    """[..., c, h, w] as [..., h, w, c]."""
    return np.moveaxis(image, -3, -1)


def upsampled(chroma: Array) -> Array:
    """[..., h, w, 2] as [..., 2h, 2w, 2], each pixel four times."""
    return chroma.repeat(2, -3).repeat(2, -2)


def plain_yuv(luma: Array, chroma: Array) -> Array:
    """float64 [..., h, w, 3] of luma [..., h, w, 1] and chroma [..., h, w, 2]."""
    return np.concatenate([np.asarray(luma, np.float64), np.asarray(chroma, np.float64)], -1)


def _rounded(values: Array) -> Array:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
