"""Changes in the bytes of a program: where sections lie, and files that are whole again."""

from __future__ import annotations

import numpy as np

from openbpu.target.records import RECORDS

CODE = 5


def without_waits(data: bytes) -> bytes:
    """The program with no wait at all, so that only the order of its instructions holds it together."""
    changed = bytearray(data)
    start, count = section(changed, CODE)
    words = np.frombuffer(changed, RECORDS["Instruction"], count, start).copy()
    words["wait"] = 0
    changed[start : start + words.nbytes] = words.tobytes()
    return bytes(resealed(changed))


def section(data: bytearray, kind: int) -> tuple[int, int]:
    """Offset and number of 64-byte records of a section."""
    count = int.from_bytes(data[24:28], "little")
    for k in range(count):
        at = 64 + 32 * k
        if int.from_bytes(data[at : at + 4], "little") == kind:
            return int.from_bytes(data[at + 8 : at + 16], "little"), int.from_bytes(
                data[at + 16 : at + 24], "little"
            ) // 64
    raise AssertionError(kind)


def resealed(data: bytearray) -> bytearray:
    """The file with its checksums made anew."""
    count = int.from_bytes(data[24:28], "little")
    for k in range(count):
        at = 64 + 32 * k
        start, size = (int.from_bytes(data[at + o : at + o + 8], "little") for o in (8, 16))
        data[at + 28 : at + 32] = _crc32c(data[start : start + size]).to_bytes(4, "little")
    data[28:32] = bytes(4)
    data[28:32] = _crc32c(data[: 64 + 32 * count]).to_bytes(4, "little")
    return data


_TABLE = [0] * 256
for _n in range(256):
    _c = _n
    for _ in range(8):
        _c = _c >> 1 ^ (0x82F63B78 if _c & 1 else 0)
    _TABLE[_n] = _c


def _crc32c(data: bytes | bytearray) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
