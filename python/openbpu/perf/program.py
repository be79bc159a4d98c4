"""An executable as the cost model sees it: instructions with the bytes that each moves, exactly."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from openbpu.runtime import Executable
from openbpu.target.cycles import Box
from openbpu.target.records import CPU_KERNELS, DTYPES, INSTRUCTIONS, NO_AUX, NO_ID, RECORDS, REGIONS

TABLE_BYTES = 1 << 16  # of tables that the units hold: each is fetched once until others push it out
Part = tuple[float, float]  # of a constant: where it begins, how much of it
_WHOLE = (0.0, 1.0)
_OPS = {info["opcode"]: info for info in INSTRUCTIONS.values()}
_KERNELS = {info["id"]: name for name, info in CPU_KERNELS.items()}
_REGION_NAMES = {number: name for name, number in REGIONS.items()}
_ITEM_SIZES = {number: 2 if name == "bfloat16" else np.dtype(name).itemsize for name, number in DTYPES.items()}
_WINDOWS = frozenset({"CONV2D", "DWCONV2D", "GCONV2D", "MAXPOOL", "AVGPOOL"})
_LOOK_UPS = frozenset({"Gather", "GatherElements", "GatherND"})
_ALL_CHANNELS = frozenset({"CONV2D", "GCONV2D", "TCONV2D", "MATMUL", "REDUCE", "ARGMAX"})
_SAME_BOX = frozenset({"LOAD", "STORE", "COPY", "QUANTIZE", "DEQUANTIZE", "RESCALE", "LUT8", "LUT16", "SOFTMAX"})
_SAME_BOX |= {"LAYERNORM", "RMSNORM"}


@dataclass(frozen=True)
class Transfer:
    """Bytes of one operand: `runs` pieces of `run` adjacent bytes from address `base` on, within `span` bytes."""

    region: str
    base: int
    runs: int
    run: int
    span: int
    writes: bool = False

    @property
    def bytes(self) -> int:
        return self.runs * self.run

    @property
    def external(self) -> bool:
        """Whether it goes through the DDR port; constants lie in DDR until LDW has fetched them."""
        return self.region != "sram"

    def burst_bytes(self, burst: int) -> int:
        """What the port moves for it: every piece begins and ends at a multiple of the burst."""
        lead = self.base % burst
        whole = -(-(lead + self.span) // burst) * burst
        return min(self.runs * -(-(lead + self.run) // burst) * burst, whole)


@dataclass(frozen=True)
class Instruction:
    """One instruction that does work; `box` are the extents that it computes, `depth` the input channels."""

    index: int
    op: str
    queue: str
    layer: int
    waits: tuple[int, int, int, int]  # LD, ST, MAC, VEC
    macs: int
    box: Box
    depth: int
    wide: bool  # a 16-bit form
    aux: Mapping[str, int]
    transfers: tuple[Transfer, ...]
    kernel: str = ""  # of CPUCALL
    elements: int = 0  # CPUCALL: of its largest operand

    @property
    def read_bytes(self) -> int:
        """Read through the DDR port."""
        return sum(t.bytes for t in self.transfers if t.external and not t.writes)

    @property
    def needed_bytes(self) -> int:
        """Constants and ports: what passes through DDR on any schedule."""
        return sum(t.bytes for t in self.transfers if t.region in ("const", "in", "out"))

    @property
    def write_bytes(self) -> int:
        """Written through the DDR port."""
        return sum(t.bytes for t in self.transfers if t.external and t.writes)


@dataclass(frozen=True)
class Layer:
    """A layer of the source map: its name, operator and ONNX nodes."""

    id: int
    name: str
    op: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """The entry of an executable: instructions in program order, layers, sizes."""

    name: str
    march: str
    instructions: tuple[Instruction, ...]
    layers: Mapping[int, Layer]
    macs: int
    ddr_bytes: int
    sram_bytes: int
    input_bytes: int
    output_bytes: int
    constant_bytes: int  # each constant that is used, once
    meta: Mapping[str, Any] = field(repr=False)

    @property
    def ideal_bytes(self) -> int:
        """DDR traffic that no schedule avoids: every constant, input and output once."""
        return self.constant_bytes + self.input_bytes + self.output_bytes


def read(executable: Executable, entry: str = "") -> Program:
    """The program of an entry (default: the first). Raises ExecutableError for an unknown entry."""
    name = entry or executable.entries[0]
    tables = executable.tables(entry)
    (head,) = np.frombuffer(tables["entry"], RECORDS["Entry"])
    reader = _Reader(tables)
    instructions = tuple(reader.instructions())
    ports = executable.ports(entry)
    sizes = {
        direction: sum(math.prod(p.shape) * np.dtype(p.dtype).itemsize for p in ports if p.direction == direction)
        for direction in ("input", "output")
    }
    meta = executable.metadata(entry)
    return Program(
        name,
        str(meta.get("march", "")),
        instructions,
        _layers(meta, instructions),
        int(head["macs"]),
        int(head["ddr_bytes"]),
        int(head["sram_bytes"]),
        sizes["input"],
        sizes["output"],
        reader.constant_bytes,
        meta,
    )


def _layers(meta: Mapping[str, Any], instructions: tuple[Instruction, ...]) -> dict[int, Layer]:
    """Layers in the order of their ids; META may lack some, or be damaged."""
    recorded = meta.get("layers")
    recorded = recorded if isinstance(recorded, dict) else {}
    layers: dict[int, Layer] = {}
    for instruction in instructions:
        if instruction.layer not in layers:
            known = recorded.get(str(instruction.layer))
            known = known if isinstance(known, dict) else {}
            nodes = known.get("nodes")
            nodes = tuple(str(node) for node in nodes) if isinstance(nodes, list) else ()
            name = str(known.get("name") or f"layer {instruction.layer}")
            layers[instruction.layer] = Layer(instruction.layer, name, str(known.get("op") or instruction.op), nodes)
    return dict(sorted(layers.items()))


class _Reader:
    """Walks the code in program order and keeps which tables the units hold."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.code = np.frombuffer(tables["code"], RECORDS["Instruction"])
        self.surfaces = np.frombuffer(tables["surfaces"], RECORDS["Surface"])
        self.consts = np.frombuffer(tables["consts"], RECORDS["Const"])
        self.aux, self.macs = tables["aux"], tables["macs"]
        self._tables: OrderedDict[int, int] = OrderedDict()  # constant id -> size, least recently used first
        self._constants: set[tuple[int, int]] = set()  # pieces of CONST that are used

    @property
    def constant_bytes(self) -> int:
        """Bytes of CONST that the program uses, each counted once."""
        end = total = 0
        for start, stop in sorted(self._constants):
            total += max(0, stop - max(start, end))
            end = max(end, stop)
        return total

    def instructions(self) -> Iterator[Instruction]:
        for index, word in enumerate(self.code):
            info = _OPS[int(word["op"])]
            if info["queue"] == "CTRL":
                continue
            found = self._call(index, word) if info["name"] == "CPUCALL" else self._instruction(index, word, info)
            self._constants |= {(t.base, t.base + t.span) for t in found.transfers if t.region == "const"}
            yield found

    def _instruction(self, index: int, word: np.void, info: Mapping[str, Any]) -> Instruction:
        op, operands = str(info["name"]), info["operands"]
        out = self.surfaces[word["out"]]
        in0 = self.surfaces[word["in0"]] if "A" in operands else None
        aux: dict[str, int] = {}
        if info["aux"] and word["aux"] != NO_AUX:
            dtype = RECORDS[info["aux"]]
            (record,) = np.frombuffer(self.aux, dtype, 1, int(word["aux"]))
            aux = {name: int(record[name]) for name in dtype.names or () if not name.startswith("reserved")}
        box = (int(out["n"]), int(word["box_h"]), int(word["box_w"]), int(word["box_n"]))
        start = (0, int(word["box_y"]), int(word["box_x"]), int(word["box_c"]))
        transfers = [self._surface(out, start, box, writes=True)]
        for letter, name in (("A", "in0"), ("B", "in1"), ("M", "in2")):
            if letter in operands:
                surface = self.surfaces[word[name]]
                transfers.append(self._surface(surface, *_input_box(op, name, surface, out, start, box, aux)))
        wide = any(s is not None and s["dtype"] == DTYPES["int16"] for s in (in0, out))
        if op == "LDW":
            transfers.append(self._loaded(word, transfers[0]))
        else:
            blocks = max(-(-int(out["c"]) // 16), 1)
            part = (start[3] // 16 / blocks, -(-box[3] // 16) / blocks)
            transfers += self._constants_of(word, operands, part)
        if info["aux"] == "ResizeAux":
            transfers += [t for key in ("rows", "columns") for t in self._table(aux[key], _WHOLE)]
        return Instruction(
            index, op, str(info["queue"]), int(word["layer"]), _waits(word), int(self.macs[index]), box,
            0 if in0 is None else int(in0["c"]), wide, aux, tuple(transfers),
        )  # fmt: skip

    def _loaded(self, word: np.void, target: Transfer) -> Transfer:
        """What LDW reads: a constant, or its bytes from C on."""
        first = int(self.consts[int(word["weight"])]["offset"]) + int(word["C"])
        return Transfer("const", first, 1, target.bytes, target.bytes)

    def _constants_of(self, word: np.void, operands: str, part: Part) -> list[Transfer]:
        """Weights and table of an instruction that computes this part of the output channels."""
        found = []
        if "W" in operands and word["in1"] != NO_ID:  # where LDW brought the weights of the box
            loaded = self.surfaces[word["in1"]]
            found.append(self._surface(loaded, (0, 0, 0, 0), _extents(loaded)))
        elif word["weight"] != NO_ID:
            found.append(self._constant(int(word["weight"]), part))
        return found if word["table"] == NO_ID else [*found, *self._table(int(word["table"]), part)]

    def _table(self, const: int, part: Part) -> list[Transfer]:
        """A table that an instruction uses; none if its unit still holds it from an earlier instruction."""
        size = int(self.consts[const]["size"])
        if const in self._tables:
            self._tables.move_to_end(const)
            return []
        if size > TABLE_BYTES:
            return [self._constant(const, part)]
        self._tables[const] = size
        while sum(self._tables.values()) > TABLE_BYTES:
            self._tables.popitem(last=False)
        return [self._constant(const, _WHOLE)]

    def _constant(self, const: int, part: Part) -> Transfer:
        item = self.consts[const]
        first, size = (math.ceil(int(item["size"]) * share) for share in part)
        return Transfer("const", int(item["offset"]) + first, 1, size, size)

    def _surface(self, surface: np.void, start: Box, box: Box, writes: bool = False) -> Transfer:
        """The bytes of a box of a surface; rows that are repeated (stride 0) count once."""
        strides = [int(surface[f"stride_{axis}"]) for axis in "nhwc"]
        size = _ITEM_SIZES[int(surface["dtype"])]
        roll = int(surface["roll_h"])
        first = [start[0], start[1] % roll if roll else start[1], start[2], start[3]]
        base = int(surface["base"]) + sum(s * b for s, b in zip(strides, first, strict=True))
        axes = sorted((stride, extent) for stride, extent in zip(strides, box, strict=True) if stride and extent > 1)
        run, runs = size, 1
        for stride, extent in axes:
            if stride == run and runs == 1:
                run *= extent
            else:
                runs *= extent
        span = size + sum(stride * (extent - 1) for stride, extent in axes)
        if roll:
            base, span = int(surface["base"]), max(run, min(span, roll * strides[1]))
        return Transfer(_REGION_NAMES[int(surface["region"])], base, runs, run, span, writes)

    def _call(self, index: int, word: np.void) -> Instruction:
        (head,) = np.frombuffer(self.aux, RECORDS["CpuCallAux"], 1, int(word["aux"]))
        count = int(head["inputs"]) + int(head["outputs"])
        offset = int(word["aux"]) + RECORDS["CpuCallAux"].itemsize
        tensors = np.frombuffer(self.aux, RECORDS["CpuTensor"], count, offset)
        transfers, largest = [], 0
        for position, tensor in enumerate(tensors):
            if tensor["dtype"] == 0:
                continue
            elements = math.prod(int(e) for e in tensor["shape"][: tensor["rank"]])
            size = elements * _ITEM_SIZES[int(tensor["dtype"])]
            largest = max(largest, elements)
            region, writes = _REGION_NAMES[int(tensor["region"])], position >= head["inputs"]
            transfers.append(Transfer(region, int(tensor["base"]), 1, size, size, writes))
        kernel = _KERNELS[int(head["kernel"])]
        if kernel in _LOOK_UPS:  # of the table, as much as there are results
            table, result = transfers[0], transfers[-1]
            transfers[0] = replace(table, run=min(table.run, result.run))
        return Instruction(
            index, "CPUCALL", "CPU", int(word["layer"]), _waits(word), int(self.macs[index]), (1, 1, 1, largest), 0,
            False, {}, tuple(transfers), kernel, largest,
        )  # fmt: skip


def _extents(surface: np.void) -> Box:
    return int(surface["n"]), int(surface["h"]), int(surface["w"]), int(surface["c"])


def _waits(word: np.void) -> tuple[int, int, int, int]:
    ld, st, mac, vec = (int(k) for k in word["wait"])
    return ld, st, mac, vec


def _input_box(
    op: str, name: str, surface: np.void, out: np.void, start: Box, box: Box, aux: Mapping[str, int]
) -> tuple[Box, Box]:
    """First element and extents of what the box of an instruction needs of an operand."""
    whole = _extents(surface)
    first, extents = list(start), list(box)
    if name != "in0":  # broadcasts, indices, coordinates, right-hand matrices
        if op == "MATMULD":
            return (0, 0, 0, 0), whole
        for axis, letter in enumerate("nhwc"):
            full = int(out[letter])
            if op == "CSC" and axis in (1, 2):  # chroma of half size
                first[axis], extents[axis] = _in_proportion(first[axis], extents[axis], whole[axis], full)
            elif whole[axis] != full:
                first[axis], extents[axis] = 0, whole[axis]
        return _four(first), _four(extents)
    if op in _WINDOWS or op == "TCONV2D":
        reach = _transposed_rows if op == "TCONV2D" else _window_rows
        for axis, letter, pad in ((1, "h", "pad_top"), (2, "w", "pad_left")):
            kernel, stride, dilation = (aux[f"{key}_{letter}"] for key in ("kernel", "stride", "dilation"))
            first[axis], extents[axis] = reach(
                first[axis], extents[axis], whole[axis], kernel, stride, dilation, aux[pad]
            )
    elif op == "MATMULD":
        first[3], extents[3] = 0, whole[3]
    elif op not in _SAME_BOX and op not in _ALL_CHANNELS:
        for axis, letter in enumerate("nhwc"):  # resizes and their like: in proportion
            first[axis], extents[axis] = _in_proportion(first[axis], extents[axis], whole[axis], int(out[letter]))
    if op in _ALL_CHANNELS:
        first[3], extents[3] = 0, whole[3]
    return _four(first), _four([min(e, w) for e, w in zip(extents, whole, strict=True)])


def _in_proportion(y: int, rows: int, height: int, full: int) -> tuple[int, int]:
    """First row and number of rows of `height` under `rows` of `full` from `y` on."""
    first = y * height // full
    return first, -(-(y + rows) * height // full) - first


def _window_rows(y: int, rows: int, height: int, kernel: int, stride: int, dilation: int, pad: int) -> tuple[int, int]:
    """First input row and number of rows under `rows` output rows from `y` on."""
    top = max(y * stride - pad, 0)
    bottom = min((y + rows - 1) * stride - pad + (kernel - 1) * dilation, height - 1)
    return min(top, height - 1), max(bottom - top + 1, 0)


def _transposed_rows(
    y: int, rows: int, height: int, kernel: int, stride: int, dilation: int, pad: int
) -> tuple[int, int]:
    """The same for a transposed convolution."""
    top = max(-(-(y + pad - (kernel - 1) * dilation) // stride), 0)
    bottom = min((y + rows - 1 + pad) // stride, height - 1)
    return min(top, height - 1), max(bottom - top + 1, 0)


def _four(values: list[int]) -> Box:
    n, h, w, c = values
    return n, h, w, c
