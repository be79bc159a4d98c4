"""Photographs that pip brings, and the ImageNet preprocessing of the EfficientNet-Lite family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from openbpu.errors import OpenBpuError
from openbpu.preprocess import recipe

if TYPE_CHECKING:
    from PIL.Image import Image

_NAMES = ("chelsea", "coffee", "rocket", "motorcycle_left", "astronaut", "camera")
_FILES = {"rocket": "rocket.jpg"}


def photographs() -> dict[str, Image]:
    """The photographs of scikit-image by name, as RGB Pillow images.

    Raises OpenBpuError with the pip command if Pillow or scikit-image is missing.
    """
    image_module, folder = _dependencies()
    return {name: image_module.open(folder / _FILES.get(name, f"{name}.png")).convert("RGB") for name in _NAMES}


def imagenet_input(image: Image, size: int = 224) -> np.ndarray:
    """float32 [1, 3, size, size], RGB, (x - 127) / 128, from the centre square of side n / (n + 32), bicubic.

    This is the published evaluation preprocessing of EfficientNet-Lite.
    """
    return recipe("efficientnet_lite0", (size, size)).apply(image)


def crops(count: int, seed: int = 0) -> list[np.ndarray]:
    """`count` random crops of the photographs as network inputs: calibration data for a demonstration."""
    random = np.random.default_rng(seed)
    images = list(photographs().values())
    inputs = []
    for index in range(count):
        image = images[index % len(images)]
        side = int(min(image.size) * random.uniform(0.5, 1.0))
        left, top = (int(random.integers(0, extent - side + 1)) for extent in image.size)
        crop = image.crop((left, top, left + side, top + side))
        sample = imagenet_input(crop)
        inputs.append(np.ascontiguousarray(sample[..., ::-1]) if random.random() < 0.5 else sample)
    return inputs


def _dependencies() -> tuple[Any, Any]:
    try:
        import skimage
        from PIL import Image
    except ImportError as error:
        raise OpenBpuError(
            "the photographs need Pillow and scikit-image", seen=error, remedy="run: pip install 'openbpu[demo]'"
        ) from error
    from pathlib import Path

    return Image, Path(skimage.__file__).parent / "data"
