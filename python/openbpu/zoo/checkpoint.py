"""Reads a PyTorch state dict with numpy alone.

A checkpoint is a pickle of `_rebuild_tensor_v2` calls that point into raw storages: either a zip archive (since torch
1.6) or a run of pickles followed by the storages. The unpickler knows only those names: a checkpoint cannot run code.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from openbpu.errors import ModelError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint at `path` by name, as arrays that own their memory.

    Raises ModelError if the file is missing, is no state dict, or names anything but tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            tensors = _read_zip(file) if zipfile.is_zipfile(path) else _read_legacy(file)
    except OSError as error:
        raise ModelError("the checkpoint must be readable", where=str(path), seen=error.strerror) from error
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, struct.error) as error:
        raise ModelError("must be a PyTorch state dict", where=str(path), seen=error) from error
    return {name: np.array(value) for name, value in tensors.items()}


class _LazyTensor:
    """A tensor whose storage comes later in the file."""

    def __init__(self, storage: tuple[Any, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.dtype, self.key = np.dtype(storage[1]), str(storage[2])
        self.offset, self.shape, self.strides = offset, shape, strides

    def resolve(self, raw: bytes) -> np.ndarray:
        size = self.dtype.itemsize
        flat = np.frombuffer(raw, self.dtype)[self.offset :]
        reach = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if any(n < 1 for n in self.shape) or min(self.strides, default=0) < 0 or reach >= max(flat.size, 1):
            raise ValueError(f"a tensor of shape {self.shape} reaches beyond its storage")
        strides = tuple(s * size for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _LazyTensor(storage, offset, shape, strides)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"the name {module}.{name} has no place in a state dict")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _load(file: IO[bytes]) -> Any:
    return _Unpickler(file).load()


def _read_zip(file: IO[bytes]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        index = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        root = index.removesuffix("data.pkl")
        lazy = _load(io.BytesIO(archive.read(index)))
        return {name: t.resolve(archive.read(f"{root}data/{t.key}")) for name, t in lazy.items()}


def _read_legacy(file: IO[bytes]) -> dict[str, np.ndarray]:
    if _load(file) != _LEGACY_MAGIC:
        raise ValueError("unknown magic number")
    _load(file)  # protocol version
    _load(file)  # sizes of the writer's C types
    lazy = _load(file)
    sizes = {t.key: t.dtype.itemsize for t in lazy.values()}
    storages: dict[str, bytes] = {}
    for key in _load(file):
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = file.read(count * sizes[key])
    return {name: t.resolve(storages[t.key]) for name, t in lazy.items()}
