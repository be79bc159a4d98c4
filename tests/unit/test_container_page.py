"""docs/container.md read as a description: its tables must fit the bytes of the golden file."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from golden import v1
from openbpu import _native

_PAGE = (Path(__file__).parents[2] / "docs" / "container.md").read_text()
_FILE = v1.FILE.read_bytes()
_TYPES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}


def _table(title: str, number: int = 0) -> list[list[str]]:
    """Rows of a table below a heading."""
    section = _PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.M)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[number].splitlines()[2:]]


def _record(title: str, at: int) -> dict[str, tuple[int, ...]]:
    """Fields of a record at an offset of the golden file, in the order of the page and without gaps."""
    fields, end = {}, 0
    for offset, kind, name, _ in _table(title):
        code, count = re.fullmatch(r"(u\d+)(?:\[(\d+)\])?", kind).groups()  # type: ignore[union-attr]
        assert int(offset) == end, f"{title}: {name}"
        layout = f"<{count or 1}{_TYPES[code]}"
        fields[name.strip("`")] = struct.unpack_from(layout, _FILE, at + end)
        end += struct.calcsize(layout)
    return fields


def test_header() -> None:
    header = _record("Header", 0)
    assert bytes(header["magic"]) == b"VBPU\r\n\x1a\n"
    versions = _native.versions()
    assert header["major"][0] == versions["container_major"] and header["minor"][0] <= versions["container_minor"]
    assert header["isa_version"][0] == versions["isa"] and header["numerics_version"][0] == versions["numerics"]
    assert header["file_size"][0] == len(_FILE)
    assert header["header_size"][0] == 64 and header["sections"][0] == len(_table("Section table", 1))
    for name in ("flags", "profile_hash", "min_minor"):
        assert header[name][0] == 0, name
    assert not any(header["reserved"])


def test_sections() -> None:
    end = 64 + 32 * len(_table("Section table", 1))
    sizes = {name: record["size"] for name, record in _native.records().items()}
    for index, (kind, name, align, record, contents) in enumerate(_table("Section table", 1)):
        seen = _record("Section table", 64 + 32 * index)
        assert seen["kind"][0] == int(kind), name
        assert seen["align_log2"][0] == int(align), name
        assert seen["flags"][0] == int("OPTIONAL" in contents), name
        offset, size = seen["offset"][0], seen["size"][0]
        assert offset >= end and offset % 2 ** int(align) == 0, name
        assert not any(_FILE[end:offset]), name
        assert size % sizes.get(record, 8 if record == "8 bytes" else 1) == 0, name
        assert _crc32c(_FILE[offset : offset + size]) == seen["crc"][0], name
        end = offset + size
    assert end == len(_FILE)


def test_header_checksum() -> None:
    covered = bytearray(_FILE[: 64 + 32 * len(_table("Section table", 1))])
    covered[28:32] = bytes(4)
    assert _crc32c(bytes(covered)) == _record("Header", 0)["header_crc"][0]


def _crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_checksum_of_this_test() -> None:
    assert _crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("name", ["Entry", "Port", "Surface", "Const", "Instruction"])
def test_records_of_sections_exist(name: str) -> None:
    assert name in _native.records() and name in [row[3] for row in _table("Section table", 1)]
