"""ProgramBuilder: ports, surfaces, constants and instructions in, verified .bpux bytes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openbpu import _native
from openbpu.errors import ExecutableError
from openbpu.target.records import DTYPES, FLAGS, FORMATS, INSTRUCTIONS, NO_AUX, NO_ID, RECORDS, REGIONS

_MAC_INSTRUCTIONS = {info["opcode"]: info for info in INSTRUCTIONS.values() if info["queue"] == "MAC"}
Extents = tuple[int, int, int, int]  # n, h, w, c


@dataclass(frozen=True)
class Ref:
    """A surface of the program under construction: its id and extents (n, h, w, c)."""

    id: int
    extents: Extents
    region: str


class ProgramBuilder:
    """Builds a file with one entry.

    Surfaces are made first, then instructions that name them; `finish` writes the file and passes it through the
    verifier of the runtime, so that nothing leaves here that the runtime would refuse. Identical surfaces, constants
    and operator records are stored once. The same calls give the same bytes.
    """

    def __init__(self, name: str) -> None:
        self._strings = bytearray()
        self._name = self._string(name)
        self._ports: dict[str, list[np.ndarray]] = {"input": [], "output": []}
        self._surfaces: dict[bytes, int] = {}
        self._regions: list[str] = []
        self._extents: list[Extents] = []
        self._consts: dict[tuple[int, tuple[int, ...], bytes], int] = {}
        self._const_records: list[np.ndarray] = []
        self._constants = bytearray()
        self._aux: dict[bytes, int] = {}
        self._aux_size = 0
        self._geometry: dict[int, np.ndarray] = {}  # operator records by offset
        self._code: list[np.ndarray] = []

    # ---- ports

    def input(
        self, name: str, shape: Sequence[int], dtype: str = "float32", scale: float = 0.0, zero_point: int = 0
    ) -> int:
        """Adds an input port (dense, row major); returns its index for surfaces in region "in"."""
        return self._port("input", name, shape, dtype, scale, zero_point)

    def output(
        self, name: str, shape: Sequence[int], dtype: str = "float32", scale: float = 0.0, zero_point: int = 0
    ) -> int:
        """Adds an output port (dense, row major); returns its index for surfaces in region "out"."""
        return self._port("output", name, shape, dtype, scale, zero_point)

    # ---- data

    def surface(
        self,
        region: str,
        extents: Sequence[int],
        dtype: str = "int8",
        *,
        base: int = 0,
        strides: Sequence[int] | None = None,
        port: int = 0,
        scale: float = 0.0,
        zero_point: int = 0,
    ) -> Ref:
        """A tensor (n, h, w, c) at byte `base` of a region, dense NHWC unless byte `strides` (n, h, w, c) are given."""
        n, h, w, c = extents
        size = np.dtype(dtype).itemsize
        dense = (h * w * c * size, w * c * size, c * size, size)
        record = np.zeros((), RECORDS["Surface"])
        record["region"], record["dtype"], record["port"] = REGIONS[region], DTYPES[dtype], port
        record["base"], record["scale"], record["zero_point"] = base, scale, zero_point
        chosen = dense if strides is None else tuple(strides)
        record["layout"] = 0 if chosen[3] == size else 1
        for axis, extent, stride in zip("nhwc", (n, h, w, c), chosen, strict=True):
            record[axis], record[f"stride_{axis}"] = extent, stride
        key = record.tobytes()
        if key not in self._surfaces:
            self._surfaces[key] = len(self._surfaces)
            self._regions.append(region)
            self._extents.append((n, h, w, c))
        return Ref(self._surfaces[key], (n, h, w, c), region)

    def const(self, format_name: str, packed: tuple[bytes, tuple[int, ...]]) -> int:
        """A constant from packing.py; returns its id."""
        data, dims = packed
        key = (FORMATS[format_name], dims, data)
        if key not in self._consts:
            self._constants += bytes(-len(self._constants) % 64)
            record = np.zeros((), RECORDS["Const"])
            record["offset"], record["size"], record["format"] = len(self._constants), len(data), key[0]
            record["dims"][: len(dims)] = dims
            self._consts[key] = len(self._const_records)
            self._const_records.append(record)
            self._constants += data
        return self._consts[key]

    def const_offset(self, const_id: int) -> int:
        """Byte offset of a constant in region "const": the base of a surface on it."""
        return int(self._const_records[const_id]["offset"])

    # ---- instructions

    def emit(
        self,
        op: str,
        out: Ref | None = None,
        in0: Ref | None = None,
        in1: Ref | None = None,
        *,
        weight: int = NO_ID,
        table: int = NO_ID,
        aux: Mapping[str, int] | None = None,
        box: Sequence[int] | None = None,
        flags: Sequence[str] = (),
        wait: Sequence[int] = (0, 0, 0, 0),
        **fields: int,
    ) -> int:
        """Appends an instruction; returns its index.

        `aux` holds the fields of the operator's record; `box` is (y, h, x, w, c, n), default all of `out`; `fields` are
        further fields of the instruction word (layer, L, sh, lo, hi, ma, mb, C). The flag DDR_OPERAND is set as needed.
        """
        info = INSTRUCTIONS[op]
        word = np.zeros((), RECORDS["Instruction"])
        word["op"], word["wait"], word["weight"], word["table"] = info["opcode"], wait, weight, table
        operands = {"in0": in0, "in1": in1, "out": out}
        for name, operand in operands.items():
            word[name] = NO_ID if operand is None else operand.id
        ddr = any(operand is not None and operand.region in ("ddr", "in", "out") for operand in operands.values())
        word["flags"] = sum(FLAGS[flag] for flag in {*flags, *(("DDR_OPERAND",) if ddr else ())})
        word["aux"] = self._record(info["aux"], aux or {}) if info["aux"] else NO_AUX
        if out is not None:
            _, h, w, c = out.extents
            extent = (0, h, 0, w, 0, c) if box is None else tuple(box)
            for name, value in zip(("box_y", "box_h", "box_x", "box_w", "box_c", "box_n"), extent, strict=True):
                word[name] = value
        for name, value in fields.items():
            word[name] = value
        self._code.append(word)
        return len(self._code) - 1

    def finish(self, ddr_bytes: int, meta: Mapping[str, Any] | None = None, sram_bytes: int = 0) -> bytes:
        """Appends END, writes the file, verifies it and returns its bytes.

        `meta` becomes JSON for tools. Raises ExecutableError if the program breaks a rule of the instruction set.
        """
        self.emit("END")
        entry = np.zeros((), RECORDS["Entry"])
        entry["name"], entry["instructions"], entry["macs"] = self._name, len(self._code), self._macs()
        entry["inputs"], entry["outputs"] = len(self._ports["input"]), len(self._ports["output"])
        entry["ddr_bytes"], entry["sram_bytes"] = ddr_bytes, sram_bytes
        data = _native.write(
            {
                "entries": np.array([entry]),
                "ports": _stack(self._ports["input"] + self._ports["output"], "Port"),
                "surfaces": b"".join(self._surfaces),
                "consts": _stack(self._const_records, "Const"),
                "code": _stack(self._code, "Instruction"),
                "aux": b"".join(self._aux),
                "constants": bytes(self._constants),
                "strings": bytes(self._strings),
                "meta": json.dumps(meta or {}, sort_keys=True, separators=(",", ":")),
            }
        )
        try:
            _native.Program.from_bytes(data)
        except _native.NativeError as error:
            _, where, rule = error.args
            raise ExecutableError(
                rule, where=where, remedy="this is a defect of the compiler: please report it"
            ) from error
        return data

    # ---- pieces

    def _port(self, direction: str, name: str, shape: Sequence[int], dtype: str, scale: float, zero_point: int) -> int:
        record = np.zeros((), RECORDS["Port"])
        record["name"], record["direction"] = self._string(name), int(direction == "output")
        record["dtype"], record["rank"] = DTYPES[dtype], len(shape)
        record["shape"][: len(shape)] = shape
        record["scale"], record["zero_point"] = scale, zero_point
        record["bytes"] = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._ports[direction].append(record)
        return len(self._ports[direction]) - 1

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.replace("\0", "").encode() + b"\0"
        return offset

    def _record(self, name: str, fields: Mapping[str, int]) -> int:
        record = np.zeros((), RECORDS[name])
        for field, value in fields.items():
            record[field] = value
        data = record.tobytes() + bytes(-record.nbytes % 8)
        if data not in self._aux:
            self._aux[data] = self._aux_size
            self._geometry[self._aux_size] = record
            self._aux_size += len(data)
        return self._aux[data]

    def _macs(self) -> int:
        return sum(self._instruction_macs(word) for word in self._code)

    def _instruction_macs(self, word: np.ndarray) -> int:
        info = _MAC_INSTRUCTIONS.get(int(word["op"]))
        if info is None:
            return 0
        n, h, w, ci = self._extents[int(word["in0"])]
        images, _, _, co = self._extents[int(word["out"])]
        outputs = images * int(word["box_h"]) * int(word["box_w"]) * int(word["box_n"])
        if info["aux"] != "ConvAux":
            return outputs * ci
        geometry = self._geometry[int(word["aux"])]
        taps, groups = int(geometry["kernel_h"]) * int(geometry["kernel_w"]), int(geometry["groups"])
        if info["name"] == "TCONV2D":
            return n * h * w * ci * taps * (co // groups)
        return outputs * taps * (ci // groups)


def _stack(records: list[np.ndarray], name: str) -> np.ndarray:
    return np.array(records, RECORDS[name]) if records else np.zeros(0, RECORDS[name])
