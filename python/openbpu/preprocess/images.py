"""Folders of photographs as samples, and streams in which pictures become network inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.errors import SampleError
from openbpu.preprocess.recipe import Recipe

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


class ImageFolder:
    """The photographs of a folder in name order as inputs of a network, re-iterable and read one at a time.

    Raises SampleError if the folder is missing or holds no image, and on reading for a file that is none.
    """

    def __init__(self, path: str | os.PathLike[str], recipe: Recipe, limit: int = 0) -> None:
        self.recipe = recipe
        files = photographs_of(path)
        self.files: Sequence[Path] = files[:limit] if limit else files

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        return (self.recipe.apply(path) for path in self.files)


def photographs_of(path: str | os.PathLike[str]) -> list[Path]:
    """The image files of a folder in name order. Raises SampleError if it is missing or holds none."""
    folder = Path(path)
    if not folder.is_dir():
        raise SampleError("the folder of images must exist", where=str(folder))
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise SampleError(f"the folder must hold images ({', '.join(SUFFIXES)})", where=str(folder))
    return files


def holds_images(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds photographs and no arrays."""
    folder = Path(path)
    if not folder.is_dir():
        return False
    suffixes = {entry.suffix.lower() for entry in folder.iterdir()}
    return bool(suffixes.intersection(SUFFIXES)) and not suffixes & {".npy", ".npz"}


class Prepared:
    """A stream of samples in which paths, Pillow images and uint8 pictures [h, w], [h, w, 3] become network inputs.

    Arrays of other types and shapes are taken for inputs already and pass. `recipes` by input name; a stream that is
    read once only stays so.
    """

    def __init__(self, samples: Iterable[Any], recipes: Mapping[str, Recipe]) -> None:
        self._samples, self._recipes = samples, recipes
        iterator = iter(samples)
        self._once = iterator if iterator is samples else None

    def __iter__(self) -> Iterator[Any]:
        return self if self._once is not None else self._all(iter(self._samples))

    def __next__(self) -> Any:
        assert self._once is not None
        return self._sample(next(self._once))

    def _all(self, iterator: Iterator[Any]) -> Iterator[Any]:
        return (self._sample(sample) for sample in iterator)

    def _sample(self, sample: Any) -> Any:
        if isinstance(sample, Mapping):
            return {name: self._prepared(name, value) for name, value in sample.items()}
        return self._prepared(next(iter(self._recipes)), sample) if len(self._recipes) == 1 else sample

    def _prepared(self, name: str, value: Any) -> Any:
        recipe = self._recipes.get(name)
        return recipe.apply(value) if recipe is not None and is_picture(value) else value


def is_picture(value: Any) -> bool:
    """Whether it is a photograph: a path, a Pillow image, or an array uint8 [h, w] or [h, w, 3]."""
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3)))
    return isinstance(value, str | os.PathLike) or (hasattr(value, "getbands") and hasattr(value, "convert"))
