"""Inputs from files as users of verify name them: .npy, .npz, raw bytes, photographs, folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.artefacts.stages import Tensor
from openbpu.errors import SampleError
from openbpu.preprocess.images import SUFFIXES

_ARRAYS = (".npy", ".npz")
_RAW = ".bin"
Sample = dict[str, Any]  # arrays by input name; a Path is a photograph


def samples(sources: Sequence[str], choices: Sequence[Sequence[Tensor]]) -> Iterator[Sample]:
    """Samples from "[NAME=]FILE"; `choices` are the sets of inputs that the files may be for, best first;
    photographs are for the last one.

    Files without names belong to the inputs in order; of a model with one input each is a sample of its own. Raw bytes
    take type and shape from the input. Raises SampleError naming the file.
    """
    named: dict[str, list[Path]] = {}
    plain: list[Path] = []
    for source in sources:
        name, equals, path = source.partition("=")
        if equals and not Path(source).exists():
            named.setdefault(name, []).extend(_files(Path(path)))
        else:
            plain += _files(Path(source))
    if named and plain:
        seen = ", ".join(sources)
        raise SampleError("give every input file a name, or none", seen=seen, remedy="use INPUT=FILE for each")
    if named:
        yield from _by_name(named, choices)
        return
    while plain:
        if plain[0].suffix == ".npz":
            yield _opened(plain.pop(0))
            continue
        tensors = _fitting(plain, choices)
        yield {t.name: _read(path, t) for t, path in zip(tensors, plain, strict=False)}
        del plain[: len(tensors)]


def _by_name(named: dict[str, list[Path]], choices: Sequence[Sequence[Tensor]]) -> Iterator[Sample]:
    if len(counts := {len(files) for files in named.values()}) > 1:
        raise SampleError("each input needs the same number of files", seen=sorted(counts))
    tensors = {t.name: t for choice in reversed(choices) for t in choice}
    for files in zip(*named.values(), strict=True):
        yield {n: _read(f, tensors.get(n) or Tensor(n, (), "")) for n, f in zip(named, files, strict=True)}


def _fitting(files: Sequence[Path], choices: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
    """The set of inputs that the next files are for: raw files must have its sizes."""
    pictures = any(file.suffix.lower() in SUFFIXES for file in files)
    for tensors in choices[-1:] if pictures else choices:
        pairs = list(zip(tensors, files, strict=False))
        if len(files) % len(tensors) == 0 and all(_has_size(f, t) for t, f in pairs):
            return tensors
    wanted = " or ".join(", ".join(f"{t.name} ({_size(t) or 'any number of'} bytes)" for t in c) for c in choices)
    seen = ", ".join(f"{f.name} ({f.stat().st_size} bytes)" for f in files)
    raise SampleError(f"one file for each of the inputs {wanted}", where="inputs", seen=seen)


def _has_size(file: Path, tensor: Tensor) -> bool:
    if file.suffix in _ARRAYS:
        kind = _opened(file).get("", np.zeros(0)).dtype.kind
        return not tensor.dtype or (kind == "f") == (np.dtype(tensor.dtype).kind == "f")
    return file.suffix != _RAW or _size(tensor) in (0, file.stat().st_size)


def _size(tensor: Tensor) -> int:
    """Bytes; 0 if an extent is dynamic."""
    return int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype or "u1").itemsize


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in (*_ARRAYS, _RAW, *SUFFIXES):
            rule = f"an input is a file of {', '.join((*_ARRAYS, _RAW, *SUFFIXES))}"
            raise SampleError(rule, where=str(path), seen=path.suffix or "no ending")
        return [path]
    if not path.is_dir():
        raise SampleError("the input file must exist", where=str(path))
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in (*_ARRAYS, _RAW, *SUFFIXES))
    if not found:
        raise SampleError("the folder must hold arrays or photographs", where=str(path), seen="none")
    return found


def _read(path: Path, tensor: Tensor) -> Any:
    if path.suffix.lower() in SUFFIXES:
        return path
    if path.suffix != _RAW:
        return _opened(path).get("")
    if not _has_size(path, tensor):
        rule = f"input {tensor.name} takes {_size(tensor)} bytes of {tensor.dtype}"
        raise SampleError(rule, where=str(path), seen=f"{path.stat().st_size} bytes")
    if not _size(tensor):
        rule = f"raw bytes need an input of a known shape, and {tensor.name} has none"
        raise SampleError(rule, where=str(path), remedy="give a .npy file")
    return np.fromfile(path, tensor.dtype).reshape(tensor.shape)


def _opened(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file; that of a .npy has the name ""."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        raise SampleError("must be a .npy or .npz file without pickled objects", where=str(path), seen=error) from error
