"""Sample files on disk and atomic output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openbpu.errors import OpenBpuError, SampleError
from openbpu.files import write_file
from openbpu.samples import SampleFiles


def test_folder_is_read_in_name_order_and_again(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        np.save(tmp_path / f"{index}.npy", np.full(3, index))
    samples = SampleFiles([str(tmp_path)])
    assert len(samples) == 3
    for _ in range(2):
        assert [int(np.asarray(s)[0]) for s in samples] == [0, 1, 2]


def test_named_folders_are_paired(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            np.save(tmp_path / name / f"{index}.npy", np.array([index]))
    samples = list(SampleFiles([f"x={tmp_path / 'a'}", f"y={tmp_path / 'b'}"]))
    assert [sorted(s) for s in samples] == [["x", "y"], ["x", "y"]]
    assert int(samples[1]["y"][0]) == 1


def test_npz_gives_inputs_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.zeros(1), y=np.ones(2))
    (sample,) = SampleFiles([str(tmp_path / "s.npz")])
    assert {name: array.shape for name, array in sample.items()} == {"x": (1,), "y": (2,)}


def test_bad_sources_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npy").write_bytes(b"not an array")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for source in ("missing", "empty", "bad.npy", "objects.npy"):
        with pytest.raises(SampleError, match=source):
            list(SampleFiles([str(tmp_path / source)]))


def test_unequal_folders_and_half_named_sources_are_refused(tmp_path: Path) -> None:
    for name, count in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        for index in range(count):
            np.save(tmp_path / name / f"{index}.npy", np.zeros(1))
    with pytest.raises(SampleError, match="same number"):
        SampleFiles([f"x={tmp_path / 'a'}", f"y={tmp_path / 'b'}"])
    with pytest.raises(SampleError, match="a name, or none"):
        SampleFiles([f"x={tmp_path / 'a'}", str(tmp_path / "b")])


def test_write_file_replaces_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.bin"
    write_file(target, b"one")
    write_file(target, b"two")
    assert target.read_bytes() == b"two"
    assert [p.name for p in target.parent.iterdir()] == ["file.bin"]
    with pytest.raises(OpenBpuError, match="new"):
        write_file(tmp_path / "new", b"a folder")
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(OpenBpuError, match="plain"):
        write_file(tmp_path / "plain" / "below", b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "plain"]
