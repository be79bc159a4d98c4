"""Labelled samples: folders of one class each, or a folder with a table of labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.errors import SampleError

_ARRAYS = (".npy",)
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


class LabelledFolder:
    """(sample, label) for each file of a folder in name order, re-iterable: arrays from .npy files, paths of images.

    With `labels`, a CSV file whose header names the columns "file" and "label", files lie in the folder itself;
    without, in one folder per class, whose label is its name if that is a number, else its place among the names.
    Raises SampleError for a folder or table that is missing, empty or does not fit the other.
    """

    def __init__(self, path: str | Path, labels: str | Path | None = None) -> None:
        folder = Path(path)
        if not folder.is_dir():
            raise SampleError("the folder of samples must exist", where=str(folder))
        self.files = _by_table(folder, Path(labels)) if labels is not None else _by_folder(folder)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        for path, label in self.files:
            yield (_array(path) if path.suffix.lower() in _ARRAYS else path), label


def _by_folder(folder: Path) -> list[tuple[Path, int]]:
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise SampleError(
            "must hold one folder per class, or come with a table of labels",
            where=str(folder),
            seen="no folders",
            remedy="give --labels labels.csv with the columns file and label",
        )
    numeric = all(entry.name.isdecimal() for entry in classes)
    found = [
        (path, int(entry.name) if numeric else place) for place, entry in enumerate(classes) for path in _files(entry)
    ]
    if not found:
        raise SampleError("the folders of the classes must hold .npy files or images", where=str(folder), seen="none")
    return found


def _by_table(folder: Path, table: Path) -> list[tuple[Path, int]]:
    labels = _table(table)
    files = _files(folder)
    if not files:
        raise SampleError("must hold .npy files or images", where=str(folder), seen="none")
    missing = [path.name for path in files if path.name not in labels]
    if missing:
        seen = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise SampleError("every sample needs a label", where=str(table), seen=f"none for {seen}")
    return [(path, labels[path.name]) for path in files]


def _table(path: Path) -> dict[str, int]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SampleError("the table of labels must be a CSV file", where=str(path), seen=error) from error
    if not rows or not {"file", "label"} <= rows[0].keys():
        seen = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise SampleError("the table needs a header with file and label, and rows", where=str(path), seen=seen)
    labels = {}
    for number, row in enumerate(rows, 2):
        text = (row["label"] or "").strip()
        if not text.lstrip("-").isdecimal():
            raise SampleError(
                "a label is the number of a class", where=f"{path}, line {number}", seen=text or "nothing"
            )
        labels[str(row["file"])] = int(text)
    return labels


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _ARRAYS + _IMAGES)


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise SampleError("must be a .npy file without pickled objects", where=str(path), seen=error) from error
