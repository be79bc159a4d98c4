"""Several executables as one: records are appended, and the numbers by which they name one another move along."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError
from openbpu.target.records import INSTRUCTIONS, NO_AUX, NO_ID, RECORDS, REGIONS

_MOST_IDS = NO_ID  # of surfaces and of constants
_SECTION, _PAGE = 32, 4096  # docs/container.md
_KINDS = {1: "entries", 2: "ports", 3: "surfaces", 4: "consts", 5: "code", 6: "aux", 7: "constants", 8: "strings"}
_KINDS[9] = "meta"
_TYPES = {"entries": "Entry", "ports": "Port", "surfaces": "Surface", "consts": "Const", "code": "Instruction"}
_BY_OPCODE = {info["opcode"]: info for info in INSTRUCTIONS.values()}
_IDS = [(name, "surfaces") for name in ("in0", "in1", "out")] + [(name, "consts") for name in ("weight", "table")]
Parts = dict[str, Any]


def join(files: Sequence[tuple[str, bytes]]) -> bytes:
    """One file with the models of several verified ones, each under the name beside it.

    A file of several models keeps their names. Files with equal constants share them. Raises ConfigError for a name
    that stands twice, ExecutableError if the whole exceeds a limit of the format.
    """
    linked: Parts = {key: bytearray() for key in _KINDS.values()}
    blocks: dict[bytes, int] = {}  # constants of a file -> where they begin
    metas: dict[str, Any] = {}
    for name, data in files:
        parts = _parts(data)
        names = _names(parts)
        if len(names) == 1:
            names = [name]
        if twice := sorted({n for n in names if n in metas}):
            raise ConfigError(
                "models of a file have different names",
                where="link",
                seen=", ".join(twice),
                remedy="give the files names: first=a.bpux second=b.bpux",
            )
        metas |= dict(zip(names, _metas(parts), strict=True))
        _append(linked, parts, names, blocks)
    linked["meta"] = json.dumps({"entries": metas}, sort_keys=True, separators=(",", ":"))
    for key, kind in _TYPES.items():
        linked[key] = np.frombuffer(bytes(linked[key]), RECORDS[kind])
    written = {key: bytes(value) if isinstance(value, bytearray) else value for key, value in linked.items()}
    return _native.write(written)


def _parts(data: bytes) -> Parts:
    """The sections of a verified file: records as numpy arrays that may be written."""
    (count,), (size,) = struct.unpack_from("<I", data, 24), struct.unpack_from("<I", data, 40)
    parts: Parts = {}
    for k in range(count):
        kind, _, offset, length, _, _ = struct.unpack_from("<IIQQII", data, size + k * _SECTION)
        if kind in _KINDS:
            parts[_KINDS[kind]] = bytearray(data[offset : offset + length])
    parts.setdefault("meta", bytearray())
    for key, record in _TYPES.items():
        parts[key] = np.frombuffer(bytes(parts[key]), RECORDS[record]).copy()
    return parts


def sections(data: bytes) -> dict[str, bytes]:
    """The sections of a verified file by name."""
    return {name: bytes(section) for name, section in _parts(data).items()}


def _names(parts: Parts) -> list[str]:
    strings = bytes(parts["strings"])
    return [strings[at : strings.index(b"\0", at)].decode() for at in parts["entries"]["name"].tolist()]


def _metas(parts: Parts) -> list[Any]:
    """What the compiler recorded of each model."""
    try:
        meta = json.loads(bytes(parts["meta"]) or b"{}")
    except ValueError:
        meta = {}
    if isinstance(meta, dict) and isinstance(meta.get("entries"), dict):
        return [meta["entries"].get(name, {}) for name in _names(parts)]
    return [meta if k == 0 else {} for k in range(len(parts["entries"]))]


def _append(linked: Parts, parts: Parts, names: list[str], blocks: dict[bytes, int]) -> None:
    """Adds the parts of one file; `parts` is changed on the way."""
    counts = {key: len(linked[key]) // RECORDS[kind].itemsize for key, kind in _TYPES.items()}
    for key in ("surfaces", "consts"):  # ids of 16 bits
        if (count := counts[key] + len(parts[key])) >= _MOST_IDS:
            raise ExecutableError(f"fewer than {_MOST_IDS} {key}", where="link", seen=count, remedy="link fewer models")
    constants = bytes(parts["constants"])
    if constants not in blocks:
        linked["constants"] += bytes(-len(linked["constants"]) % _PAGE)
        blocks[constants] = len(linked["constants"])
        linked["constants"] += constants
    moved = blocks[constants]
    strings, aux = len(linked["strings"]), len(linked["aux"])
    for entry in range(len(parts["entries"])):
        _move_entry(parts, entry, counts, moved)
    parts["entries"]["first_instruction"] += counts["code"]
    parts["entries"]["first_port"] += counts["ports"]
    parts["ports"]["name"] += strings
    surfaces = parts["surfaces"]
    surfaces["base"] += np.where(surfaces["region"] == REGIONS["const"], moved, 0).astype(np.uint64)
    surfaces["home"] += np.where(surfaces["home"] > 0, counts["surfaces"], 0).astype(np.uint32)
    parts["consts"]["offset"] += np.uint64(moved)
    code = parts["code"]
    code["aux"] += np.where(code["aux"] != NO_AUX, aux, 0).astype(np.uint32)
    linked["strings"] += parts["strings"]
    for index, name in enumerate(names):
        parts["entries"]["name"][index] = len(linked["strings"])
        linked["strings"] += name.encode() + b"\0"
    for key in ("entries", "ports", "surfaces", "consts", "code"):
        linked[key] += parts[key].tobytes()
    linked["aux"] += parts["aux"]


def _move_entry(parts: Parts, entry: int, counts: dict[str, int], moved: int) -> None:
    """Moves the ids that instructions and their records hold."""
    first = int(parts["entries"]["first_instruction"][entry])
    code = parts["code"][first : first + int(parts["entries"]["instructions"][entry])]
    for field, key in _IDS:
        code[field] += np.where(code[field] != NO_ID, counts[key], 0).astype(np.uint16)
    selects = code["op"] == INSTRUCTIONS["SELECT"]["opcode"]
    code["in2"] += np.where(selects, counts["surfaces"], 0).astype(np.uint16)
    done: set[int] = parts.setdefault("done", set())  # records that instructions share move once
    for word in code:
        at, info = int(word["aux"]), _BY_OPCODE[int(word["op"])]
        if at == NO_AUX or at in done:
            continue
        done.add(at)
        if info["aux"] == "ResizeAux":
            _move_tables(parts["aux"], at, counts["consts"])
        elif info["aux"] == "CpuCallAux":
            _move_tensors(parts["aux"], at, counts["surfaces"], moved)


def _view(aux: bytearray, at: int, name: str, count: int = 1) -> np.ndarray:
    return np.frombuffer(memoryview(aux), RECORDS[name], count, at)


def _move_tables(aux: bytearray, at: int, consts: int) -> None:
    record = _view(aux, at, "ResizeAux")
    record["rows"] += consts
    record["columns"] += consts


def _move_tensors(aux: bytearray, at: int, surfaces: int, moved: int) -> None:
    head = _view(aux, at, "CpuCallAux")[0]
    tensors = _view(aux, at + RECORDS["CpuCallAux"].itemsize, "CpuTensor", int(head["inputs"]) + int(head["outputs"]))
    present = tensors["dtype"] != 0
    tensors["base"] += np.where(present & (tensors["region"] == REGIONS["const"]), moved, 0).astype(np.uint64)
    tensors["home"] += np.where(tensors["home"] > 0, surfaces, 0).astype(np.uint32)
