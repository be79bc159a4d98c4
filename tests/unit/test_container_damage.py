"""Damaged files end in one ExecutableError that names the file; nothing crashes and nothing is half read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import v1
from openbpu import _native
from openbpu.errors import ExecutableError
from openbpu.runtime import Executable

_DATA = v1.FILE.read_bytes()


def _refused(data: bytes) -> bool:
    try:
        _native.Program.from_bytes(data)
    except _native.NativeError as error:
        code, where, message = error.args
        assert code in ("Corrupt", "Unsupported", "Illegal") and where and message, error.args
        return True
    return False


def test_every_damaged_byte_is_refused() -> None:
    damaged = bytearray(_DATA)
    for at in range(len(_DATA)):
        for flip in (0xFF, 1 << at * 5 % 8):
            damaged[at] ^= flip
            assert _refused(bytes(damaged)), f"byte {at} xor {flip}"
            damaged[at] ^= flip
    assert not _refused(bytes(damaged))


def test_every_truncation_is_refused() -> None:
    for length in range(len(_DATA)):
        assert _refused(_DATA[:length]), length


@settings(max_examples=300, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert _refused(data)
    assert _refused(_DATA[:64] + data)


@settings(max_examples=300, derandomize=True)
@given(st.integers(0, len(_DATA) - 1), st.binary(min_size=1, max_size=64))
def test_overwritten_spans_are_refused(at: int, data: bytes) -> None:
    damaged = (_DATA[:at] + data + _DATA[at + len(data) :])[: len(_DATA)]
    assert damaged == _DATA or _refused(damaged)


@pytest.mark.parametrize("data", [b"", _DATA[:100], _DATA[:-1], _DATA + b"\0", bytes(len(_DATA)), _DATA[1:]])
def test_the_error_names_the_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.bpux"
    path.write_bytes(data)
    with pytest.raises(ExecutableError, match=r"net\.bpux"):
        Executable.load(path)
