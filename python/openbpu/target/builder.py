"""ProgramBuilder: ports, surfaces, constants and instructions in, verified .bpux bytes out."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openbpu import _native
from openbpu.errors import ExecutableError
from openbpu.target.attributes import attribute_words
from openbpu.target.records import (
    CPU_KERNELS,
    DTYPES,
    FLAGS,
    FORMATS,
    INSTRUCTIONS,
    NO_AUX,
    NO_ID,
    RECORDS,
    REGIONS,
    record,
)

Extents = tuple[int, int, int, int]  # n, h, w, c


@dataclass(frozen=True)
class Ref:
    """A surface of the program under construction: its id and extents (n, h, w, c)."""

    id: int
    extents: Extents
    region: str


@dataclass(frozen=True)
class CpuTensor:
    """An operand of `cpucall`: dense row-major of rank 0 to 8, at byte `base` of a region."""

    region: str
    shape: tuple[int, ...]
    dtype: str
    base: int = 0
    port: int = 0
    home: int = 0


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
        self._refs: dict[tuple[Any, ...], Ref] = {}  # by the arguments of `surface`
        self._consts: dict[tuple[int, tuple[int, ...], bytes], int] = {}
        self._const_records: list[np.ndarray] = []
        self._constants = bytearray()
        self._aux: dict[bytes, int] = {}
        self._aux_size = 0
        self._code: list[np.ndarray] = []

    def copy(self) -> ProgramBuilder:
        """A builder that goes on from here on its own."""
        other = copy.copy(self)
        for name, part in vars(self).items():
            if isinstance(part, list | dict | bytearray):
                setattr(other, name, copy.copy(part))
        other._ports = {direction: list(ports) for direction, ports in self._ports.items()}
        return other

    # ---- ports

    def input(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        scale: float = 0.0,
        zero_point: int = 0,
        *,
        flags: int = 0,
    ) -> int:
        """Adds an input port (dense, row major); returns its index for surfaces in region "in"."""
        return self._port("input", name, shape, dtype, scale, zero_point, flags)

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
        roll_h: int = 0,
        home: int = 0,
    ) -> Ref:
        """A tensor (n, h, w, c) at byte `base` of a region, dense NHWC unless byte `strides` (n, h, w, c) are given.

        `roll_h` makes it a rolling buffer of so many rows; `home` is 1 + the id of its logical tensor in region "home".
        """
        n, h, w, c = extents
        given = None if strides is None else tuple(strides)
        arguments = (region, (n, h, w, c), dtype, base, given, port, scale, zero_point, roll_h, home)
        if arguments in self._refs:
            return self._refs[arguments]
        size = np.dtype(dtype).itemsize
        dense = (h * w * c * size, w * c * size, c * size, size)
        chosen = dense if given is None else given
        fields: dict[str, Any] = {"region": REGIONS[region], "dtype": DTYPES[dtype], "layout": int(chosen[3] != size)}
        fields |= {"port": port, "base": base, "scale": scale, "zero_point": zero_point}
        fields |= {"roll_h": roll_h, "home": home}
        for axis, extent, stride in zip("nhwc", (n, h, w, c), chosen, strict=True):
            fields |= {axis: extent, f"stride_{axis}": stride}
        key = record("Surface", fields).tobytes()
        if key not in self._surfaces:
            self._surfaces[key] = len(self._surfaces)
        self._refs[arguments] = Ref(self._surfaces[key], (n, h, w, c), region)
        return self._refs[arguments]

    def const(self, format_name: str, packed: tuple[bytes, tuple[int, ...]]) -> int:
        """A constant from packing.py; returns its id."""
        data, dims = packed
        key = (FORMATS[format_name], dims, data)
        if key not in self._consts:
            self._constants += bytes(-len(self._constants) % 64)
            fields = {"offset": len(self._constants), "size": len(data), "format": key[0], "dims": dims}
            self._consts[key] = len(self._const_records)
            self._const_records.append(record("Const", fields))
            self._constants += data
        return self._consts[key]

    def const_offset(self, const_id: int) -> int:
        """Byte offset of a constant in region "const": the base of a surface on it."""
        return int(self._const_records[const_id]["offset"])

    def const_size(self, const_id: int) -> int:
        """Bytes of a constant."""
        return int(self._const_records[const_id]["size"])

    # ---- instructions

    def emit(
        self,
        op: str,
        out: Ref | None = None,
        in0: Ref | None = None,
        in1: Ref | None = None,
        in2: Ref | None = None,
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
        Raises ExecutableError for a field that does not exist or cannot hold its value.
        """
        info = INSTRUCTIONS[op]
        operands = {"in0": in0, "in1": in1, "out": out}
        word: dict[str, Any] = {"op": info["opcode"], "wait": wait, "weight": weight, "table": table}
        word |= {name: NO_ID if operand is None else operand.id for name, operand in operands.items()}
        word["in2"] = 0 if in2 is None else in2.id
        ddr = any(o is not None and o.region in ("ddr", "in", "out") for o in (*operands.values(), in2))
        word["flags"] = sum(FLAGS[flag] for flag in {*flags, *(("DDR_OPERAND",) if ddr else ())})
        word["aux"] = self._record(info["aux"], aux or {}) if info["aux"] else NO_AUX
        if out is not None:
            _, h, w, c = out.extents
            extent = (0, h, 0, w, 0, c) if box is None else box
            word |= dict(zip(("box_y", "box_h", "box_x", "box_w", "box_c", "box_n"), extent, strict=True))
        self._code.append(record("Instruction", word | fields))
        return len(self._code) - 1

    # ---- operators on the CPU

    def tensor(
        self, region: str, shape: Sequence[int], dtype: str = "float32", *, base: int = 0, port: int = 0, home: int = 0
    ) -> CpuTensor:
        """An operand of `cpucall` in a region; byte `base` is a multiple of the element size.

        `home` is 1 + the id of a surface in region "home" that begins where its logical tensor does.
        """
        return CpuTensor(region, tuple(int(extent) for extent in shape), dtype, base, port, home)

    def const_tensor(self, array: np.ndarray) -> CpuTensor:
        """An operand of `cpucall` in CONST that holds the array; equal arrays are stored once."""
        data = np.ascontiguousarray(array).tobytes()
        const = self.const("RAW", (data, (len(data),)))
        return CpuTensor("const", array.shape, array.dtype.name, self.const_offset(const))

    def cpucall(
        self,
        name: str,
        inputs: Sequence[CpuTensor | None],
        outputs: Sequence[CpuTensor | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        layer: int = 0,
    ) -> int:
        """Appends an operator on the CPU (docs/cpu-operators.md); returns the index of its instruction.

        Absent operands are None. Attributes are those of ONNX, words of enumerations included; those left out have the
        default of the table. Raises ExecutableError for an operator or attribute that the table lacks.
        """
        if name not in CPU_KERNELS:
            raise ExecutableError("must be an operator of the CPU table", where="cpucall", seen=name)
        info = CPU_KERNELS[name]
        words = attribute_words(name, attributes or {})
        head = {"kernel": info["id"], "inputs": len(inputs), "outputs": len(outputs), "words": len(words) // 8}
        operands = b"".join(_operand(tensor) for tensor in (*inputs, *outputs))
        external = any(tensor is not None and tensor.region in ("ddr", "in", "out") for tensor in (*inputs, *outputs))
        word = {"op": INSTRUCTIONS["CPUCALL"]["opcode"], "layer": layer, "aux": 0}
        word["aux"] = self._stored(record("CpuCallAux", head).tobytes() + operands + words)
        word |= dict.fromkeys(("in0", "in1", "out", "weight", "table"), NO_ID)
        word["flags"] = FLAGS["DDR_OPERAND"] if external else 0
        self._code.append(record("Instruction", word))
        return len(self._code) - 1

    def finish(self, ddr_bytes: int, meta: Mapping[str, Any] | None = None, sram_bytes: int = 0) -> bytes:
        """Appends END, writes the file, verifies it and returns its bytes.

        `meta` becomes JSON for tools. Raises ExecutableError if the program breaks a rule of the instruction set.
        """
        self.emit("END")
        entry = {"name": self._name, "instructions": len(self._code), "ddr_bytes": ddr_bytes, "sram_bytes": sram_bytes}
        entry |= {"inputs": len(self._ports["input"]), "outputs": len(self._ports["output"])}
        data = _native.write(
            {
                "entries": record("Entry", entry),
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

    def _port(
        self,
        direction: str,
        name: str,
        shape: Sequence[int],
        dtype: str,
        scale: float,
        zero_point: int,
        flags: int = 0,
    ) -> int:
        if len(shape) > 8:
            raise ExecutableError("a port has at most 8 dimensions", where=f"port {name}", seen=tuple(shape))
        fields: dict[str, Any] = {"name": self._string(name), "direction": int(direction == "output")}
        fields |= {"dtype": DTYPES[dtype], "rank": len(shape), "shape": tuple(shape), "scale": scale}
        fields |= {"flags": flags, "zero_point": zero_point, "bytes": math.prod(shape) * np.dtype(dtype).itemsize}
        self._ports[direction].append(record("Port", fields))
        return len(self._ports[direction]) - 1

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.replace("\0", "").encode() + b"\0"
        return offset

    def _record(self, name: str, fields: Mapping[str, int]) -> int:
        return self._stored(record(name, fields).tobytes())

    def _stored(self, data: bytes) -> int:
        data += bytes(-len(data) % 8)
        if data not in self._aux:
            self._aux[data] = self._aux_size
            self._aux_size += len(data)
        return self._aux[data]


def _operand(tensor: CpuTensor | None) -> bytes:
    if tensor is None:
        return bytes(RECORDS["CpuTensor"].itemsize)
    if len(tensor.shape) > 8:
        raise ExecutableError("a tensor has at most 8 dimensions", where="cpucall", seen=tensor.shape)
    fields: dict[str, Any] = {"region": REGIONS[tensor.region], "dtype": DTYPES[tensor.dtype], "port": tensor.port}
    fields |= {"rank": len(tensor.shape), "base": tensor.base, "shape": tensor.shape, "home": tensor.home}
    return record("CpuTensor", fields).tobytes()


def _stack(records: list[np.ndarray], name: str) -> np.ndarray:
    return np.array(records, RECORDS[name]) if records else np.zeros(0, RECORDS[name])
