"""The zoo: checkpoints without torch, labels, EfficientNet-Lite0."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from openbpu.errors import ModelError
from openbpu.zoo import imagenet_labels
from openbpu.zoo.checkpoint import read_state_dict


class _Name:
    """Pickles as a global of another module, so that tests can write checkpoints without torch."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.module, self.name, self.arguments = module, name, arguments


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Writer(pickle._Pickler):  # the Python form: its save hooks can write globals of modules that are not there
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_name(self, value: _Name) -> None:
        self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
        self.save(value.arguments)
        self.write(b"R")

    def _save_storage(self, value: _Storage) -> None:
        self.write(b"(")
        self.save("storage")
        self.write(b"c" + f"torch\n{value.kind}\n".encode())
        for item in (value.key, "cpu", value.count, None):
            self.save(item)
        self.write(b"tQ")

    dispatch[_Name] = _save_name
    dispatch[_Storage] = _save_storage


def _tensor(key: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, count: int = 6) -> _Name:
    storage = _Storage("FloatStorage", key, count)
    return _Name("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, OrderedDict())


def _dump(path: Path, value: object) -> None:
    with path.open("ab") as file:
        _Writer(file, 2).dump(value)


def _legacy(path: Path, state: dict[str, object]) -> Path:
    for value in (0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(state), ["7"]):
        _dump(path, value)
    with path.open("ab") as file:
        file.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes())
    return path


def test_legacy_checkpoint_with_strides_and_offset(tmp_path: Path) -> None:
    path = _legacy(tmp_path / "c.pth", {"t": _tensor("7", (3, 2), (1, 3)), "last": _tensor("7", (2,), (1,), offset=4)})
    state = read_state_dict(path)
    np.testing.assert_array_equal(state["t"], np.arange(6, dtype=np.float32).reshape(2, 3).T)
    np.testing.assert_array_equal(state["last"], [4, 5])


def test_zip_checkpoint(tmp_path: Path) -> None:
    index = tmp_path / "data.pkl"
    _dump(index, OrderedDict(t=_tensor("7", (2, 3), (3, 1))))
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("archive/data.pkl", index.read_bytes())
        archive.writestr("archive/data/7", np.arange(6, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_state_dict(tmp_path / "c.pth")["t"], np.arange(6).reshape(2, 3))


def test_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    path = _legacy(tmp_path / "c.pth", {"t": _Name("os", "system", "true")})
    with pytest.raises(ModelError, match=r"os\.system has no place"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "shape,strides,offset", [((7,), (1,), 0), ((2,), (1,), 5), ((2, 2), (9, 1), 0), ((2,), (-1,), 1)]
)
def test_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    path = _legacy(tmp_path / "c.pth", {"t": _tensor("7", shape, strides, offset)})
    with pytest.raises(ModelError, match="beyond its storage"):
        read_state_dict(path)


def test_bad_files_are_model_errors(tmp_path: Path) -> None:
    good = _legacy(tmp_path / "good.pth", {"t": _tensor("7", (6,), (1,))}).read_bytes()
    for length in range(0, len(good), 7):
        (tmp_path / "cut.pth").write_bytes(good[:length])
        with pytest.raises(ModelError):
            read_state_dict(tmp_path / "cut.pth")
    with pytest.raises(ModelError, match="missing"):
        read_state_dict(tmp_path / "missing.pth")


def test_labels() -> None:
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert (labels[0], labels[281], labels[999]) == ("tench", "tabby", "toilet tissue")
