"""Executables: reading, writing, identity, and the one clear error for files that are none."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import pytest
import runtime_programs as programs

from openbpu.errors import ConfigError, ExecutableError, OpenBpuError
from openbpu.runtime import Executable, Session
from schedules.sections import resealed

DATA = programs.convolution()


def test_bytes_file_and_object_are_one(tmp_path: Path) -> None:
    executable = Executable.from_bytes(DATA)
    executable.save(tmp_path / "net.bpux")
    loaded = Executable.load(tmp_path / "net.bpux")
    assert loaded == executable and hash(loaded) == hash(executable)
    assert loaded.to_bytes() == DATA and loaded.size == len(DATA)
    assert loaded != Executable(programs.convolution(1)) and loaded != "net.bpux"
    assert pickle.loads(pickle.dumps(loaded)) == loaded
    for model in (tmp_path / "net.bpux", str(tmp_path / "net.bpux"), DATA, bytearray(DATA), loaded):
        assert Session(model).executable == loaded


def test_a_path_is_not_bytes() -> None:
    with pytest.raises(ConfigError, match=r"Executable\.load"):
        Executable("net.bpux")  # type: ignore[arg-type]


def test_what_it_tells() -> None:
    executable = Executable(DATA)
    assert executable.entries == ["net"]
    assert executable.meta == programs.META
    assert [(p.name, p.direction, p.shape) for p in executable.ports()] == [
        ("image", "input", (1, 3, 20, 24)),
        ("features", "output", (1, 20, 24, 32)),
    ]
    summary = executable.summary()
    assert summary["file_bytes"] == len(DATA)
    assert summary["entries"][0]["macs"] == 20 * 24 * 32 * 27
    assert "CONV2D" in executable.disassemble() and executable.disassemble("net") == executable.disassemble()
    assert "net" in repr(executable)
    for call in (executable.ports, executable.disassemble):
        with pytest.raises(ExecutableError, match=r"holds net.*other"):
            call("other")


def test_saving_replaces_whole_files_only(tmp_path: Path) -> None:
    target = tmp_path / "net.bpux"
    target.write_bytes(b"old")
    Executable(DATA).save(target)
    assert target.read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["net.bpux"], "no temporary file stays"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OpenBpuError, match="folder"):
        Executable(DATA).save(tmp_path / "folder")
    with pytest.raises(OpenBpuError, match=r"net\.bpux"):
        Executable(DATA).save(target / "below.bpux")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "net.bpux"]


@pytest.mark.parametrize(
    "content,words",
    [
        (None, ["No such file"]),
        (b"", ["empty"]),
        (DATA[:40], ["64 bytes"]),
        (DATA[:-1], ["size"]),
        (DATA + b"\0", ["size"]),
        (b"\x89PNG" + DATA[4:], ["magic"]),
        (DATA[:-100] + bytes(99) + b"\1", ["checksum"]),
    ],
    ids=["missing", "empty", "header cut", "end cut", "too long", "magic", "damaged"],
)
def test_files_that_are_no_executables(tmp_path: Path, content: bytes | None, words: list[str]) -> None:
    path = tmp_path / "net.bpux"
    if content is not None:
        path.write_bytes(content)
    for read in (Executable.load, Session):
        with pytest.raises(ExecutableError) as caught:
            read(path)
        for word in (str(path), *words):
            assert word in str(caught.value), str(caught.value)


def test_a_folder_and_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ExecutableError, match="directory"):
        Executable.load(tmp_path)
    path = tmp_path / "net.bpux"
    path.write_bytes(DATA)
    path.chmod(0)
    if not os.access(path, os.R_OK):
        with pytest.raises(ExecutableError, match="Permission"):
            Executable.load(path)


def test_a_later_version_is_refused_with_a_remedy() -> None:
    later = bytearray(DATA)
    struct.pack_into("<H", later, 8, 99)
    with pytest.raises(ExecutableError, match="99") as caught:
        Executable(bytes(later))
    assert "version" in caught.value.remedy


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_have_64_bits(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"seed: .*2\^64.*{seed}"):
        Session(DATA, exact_machine=True, seed=seed)


def test_names_in_meta_can_always_be_printed() -> None:
    data = programs.convolution()
    changed = data.replace(b'"quantize"', rb'"q\ud8009"').replace(b'"features"', rb'"\ud83dab"')
    assert len(changed) == len(data) and changed != data
    layers = Executable(bytes(resealed(bytearray(changed)))).meta["layers"]
    assert layers["1"]["name"] == "q?9" and layers["2"]["name"] == "?ab"


def test_a_file_without_meta() -> None:
    assert Executable(programs.copies(("a", "y", "int8"))).meta == {}
