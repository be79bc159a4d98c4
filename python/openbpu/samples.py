"""Reads calibration samples and network inputs from .npy and .npz files and folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from openbpu.errors import SampleError

_SUFFIXES = (".npy", ".npz")


class SampleFiles:
    """Samples on disk, re-iterable and read one at a time.

    `sources` are paths, each a .npy file (one array), a .npz file (arrays by input name) or a folder of such files in
    name order; or "input=path" to give each input of a model with several its own folder, paired in name order.
    Iteration yields arrays or dicts {input: array}. Raises SampleError if a path is missing, a folder holds no sample,
    or the folders of several inputs differ in length.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        named = [source.partition("=") for source in sources]
        self._files: dict[str, list[Path]] = {}
        if sources and all(equals for _, equals, _ in named):
            self._files = {name: _list(Path(path)) for name, _, path in named}
        elif not any(
            equals and not Path(source).exists() for source, (_, equals, _) in zip(sources, named, strict=True)
        ):
            self._files = {"": [file for source in sources for file in _list(Path(source))]}
        else:
            raise SampleError(
                "give all sample sources a name, or none", seen=", ".join(sources), remedy="use INPUT=PATH for each"
            )
        counts = {name: len(files) for name, files in self._files.items()}
        if len(set(counts.values())) > 1:
            raise SampleError("each input needs the same number of samples", seen=counts)

    def __len__(self) -> int:
        return len(next(iter(self._files.values()), []))

    def __iter__(self) -> Iterator[np.ndarray | Mapping[str, np.ndarray]]:
        if "" in self._files:
            yield from (_read(path) for path in self._files[""])
            return
        for paths in zip(*self._files.values(), strict=True):
            yield {name: _array(path) for name, path in zip(self._files, paths, strict=True)}


def _list(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        remedy = "name an existing file or folder"
        raise SampleError("the sample file or folder must exist", where=str(path), remedy=remedy)
    files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
    if not files:
        remedy = "save the samples with numpy.save"
        raise SampleError(f"the folder must hold {' or '.join(_SUFFIXES)} files", where=str(path), remedy=remedy)
    return files


def _read(path: Path) -> np.ndarray | Mapping[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        seen = str(error).partition(" If you trust")[0].rstrip(".")  # NumPy goes on to recommend what is unsafe
        remedy = "save an array of numbers with numpy.save"
        raise SampleError(
            "must be a .npy or .npz file without pickled objects", where=str(path), seen=seen, remedy=remedy
        ) from error


def _array(path: Path) -> np.ndarray:
    loaded = _read(path)
    if not isinstance(loaded, np.ndarray):
        raise SampleError("an input's own folder holds one array per file (.npy)", where=str(path), seen=sorted(loaded))
    return loaded
