"""Instructions before they have addresses: operands as places, tables as constants of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbpu.ir.graph import Value
from openbpu.schedule.memory import Extents, Memory, Place
from openbpu.target import ProgramBuilder, Ref
from openbpu.target.cycles import Task
from openbpu.target.records import INSTRUCTIONS

MAX_EXTENT = 65535
QUEUES: dict[str, str] = {name: info["queue"] for name, info in INSTRUCTIONS.items()}
_NO_AUX: Mapping[str, int] = {}


@dataclass(frozen=True)
class Operand:
    """A tensor operand: the value that it belongs to, its place and its extents (those of the value, or a part)."""

    value: Value
    place: Place
    extents: Extents
    roll: int = 0  # rows of the rolling buffer that it lies in; 0 if it does not
    home: Place | None = None  # the same elements of the logical tensor

    @property
    def span(self) -> tuple[int, int]:
        """First byte and one past the last byte in the region."""
        start = self.place.memory.root.address + self.place.offset
        reach = sum((e - 1) * s for e, s in zip(self.extents, self.place.strides, strict=True))
        return start, start + reach + self.value.item_size

    def surface(self, builder: ProgramBuilder) -> Ref:
        """Its record in the file."""
        memory = self.place.memory
        home = 0 if self.home is None else self._record(builder, self.home).id + 1
        port = memory.index if memory.region in ("in", "out") else 0
        return self._record(builder, self.place, port=port, roll_h=self.roll, home=home)

    def _record(self, builder: ProgramBuilder, place: Place, **fields: int) -> Ref:
        quant = self.value.quant
        return builder.surface(
            place.memory.root.region,
            self.extents,
            self.value.dtype,
            base=place.memory.root.address + place.offset,
            strides=place.strides,
            scale=0.0 if quant is None else quant.s,
            zero_point=0 if quant is None else quant.z + (128 if self.value.dtype == "uint8" else 0),
            **fields,
        )


@dataclass(frozen=True)
class Call:
    """A CPU operator: operands and results by their ONNX position, None for those that are absent."""

    kernel: str
    inputs: tuple[Operand | np.ndarray | None, ...]  # arrays are constants
    outputs: tuple[Operand | None, ...]
    attributes: Mapping[str, Any]

    @property
    def reads(self) -> list[Operand]:
        return [operand for operand in self.inputs if isinstance(operand, Operand)]

    @property
    def writes(self) -> list[Operand]:
        return [operand for operand in self.outputs if operand is not None]


@dataclass(eq=False)
class Instruction:
    """One instruction word in the making; `layer` is 1 for the first layer."""

    op: str
    layer: int
    out: Operand
    in0: Operand | None = None
    in1: Operand | None = None
    in2: Operand | None = None
    weight: int | None = None
    table: int | None = None
    aux: Mapping[str, int] | None = None
    flags: tuple[str, ...] = ()
    fields: Mapping[str, int] = field(default_factory=dict)
    wait: tuple[int, int, int, int] = (0, 0, 0, 0)
    call: Call | None = None
    row_taps: np.ndarray | None = None  # of a resize: source rows of each output row
    name: str = ""  # of the layer
    box: tuple[int, int, int, int, int, int] | None = None  # y, h, x, w, c, n of the result; None: all of it

    @property
    def reads(self) -> list[Operand]:
        if self.call is not None:
            return self.call.reads
        return [operand for operand in (self.in0, self.in1, self.in2) if operand is not None]

    @property
    def writes(self) -> list[Operand]:
        return [self.out] if self.call is None else self.call.writes

    def memories(self, region: str) -> list[Memory]:
        """Buffers of an arena, "ddr" or "sram", that it touches."""
        touched = (operand.place.memory.root for operand in (*self.reads, *self.writes))
        return [memory for memory in touched if memory.region == region]


def task_of(i: Instruction) -> Task:
    """The instruction as the estimate of its time needs it."""
    n, h, w, c = i.out.extents
    _, rows, _, columns, _, channels = i.box or (0, h, 0, w, 0, c)
    wide = any(o is not None and o.value.dtype == "int16" for o in (i.in0, i.out))
    depth = 0 if i.in0 is None else i.in0.extents[3]
    size = n * rows * columns * channels * i.out.value.item_size
    return Task(i.op, QUEUES[i.op], (n, rows, columns, channels), depth, wide, i.aux or _NO_AUX, i.wait, size)
