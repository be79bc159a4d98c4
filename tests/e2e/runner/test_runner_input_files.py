"""Input files of bpux-run: one error line for a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.runner.calls import small

_FLOATS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "dtype,name,data,words",
    [
        ("float32", "a.npy", np.zeros((2, 3)), ["<f4", "<f8", "astype('float32')"]),
        ("float32", "a.npy", np.zeros((3, 2), np.float32), ["2x3", "3x2"]),
        ("float32", "a.npy", np.asfortranarray(_FLOATS), ["C order"]),
        ("int16", "a.npy", np.zeros((2, 3), ">i2"), ["<i2", ">i2"]),
        ("float32", "a.npy", np.zeros(2, [("x", "<f4")]), ["plain element type"]),
        ("float32", "a.npy", b"", ["magic"]),
        ("float32", "a.npy", b"\x93NUMPY\x01\x00\xff\xff" + bytes(50), ["beyond the file"]),
        ("float32", "a.npy", b"\x93NUMPY\x09\x00" + bytes(100), ["version"]),
        ("float32", "a.npy", b"\x93NUMPY\x01\x00\x10\x00" + b" " * 16 + bytes(24), ["element type"]),
        ("float32", "a.bin", bytes(23), ["24 bytes", "holds 23"]),
        ("float32", "a.bin", bytes(25), ["more than the 24 bytes"]),
        ("float32", "a.bin", b"", ["holds 0"]),
        ("float32", "a.txt", b"1 2 3 4 5", ["6 numbers", "holds 5"]),
        ("float32", "a.txt", b"1 2 3 4 5 6 7", ["6 numbers", "holds 7"]),
        ("float32", "a.txt", b"1 2 3 4 5 six", ["number 5", "six"]),
        ("int8", "a.txt", b"1 2 3 4 5 128", ["number 5", "int8", "128"]),
        ("int8", "a.txt", b"1 2 3 4 5 1.5", ["number 5", "1.5"]),
        ("uint8", "a.txt", b"1 2 3 4 5 -1", ["number 5", "-1"]),
        ("bool", "a.bin", bytes([0, 1, 0, 1, 2, 0]), ["0 or 1", "2"]),
    ],
)
def test_bad_input_files(runner: Path, tmp_path: Path, dtype: str, name: str, data: Any, words: list[str]) -> None:
    run = small(tmp_path, runner, dtype, np.zeros(0))
    if isinstance(data, bytes):
        (tmp_path / name).write_bytes(data)
    else:
        np.save(tmp_path / name, data)
    message = run.error("infer", "--model_file=copy.bpux", f"--input_file={name}", "--enable_dump")
    for word in ["input a", name, *words]:
        assert word in message, message


def test_versions_of_npy(runner: Path, tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    run = small(tmp_path, runner, "float32", x)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, x, version)
        run.ok("infer", "--model_file=copy.bpux", "--input_file=a.npy", "--enable_dump")
        assert (tmp_path / "model_infer_output_0_y.bin").read_bytes() == x.tobytes()
