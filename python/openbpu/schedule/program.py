"""Instructions before they have addresses: operands as places, tables as constants of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbpu.ir.graph import Value
from openbpu.schedule.memory import Extents, Memory, Place
from openbpu.target import ProgramBuilder, Ref

MAX_EXTENT = 65535


@dataclass(frozen=True)
class Operand:
    """A tensor operand: the value that it belongs to, its place and its extents (those of the value, or a part)."""

    value: Value
    place: Place
    extents: Extents

    @property
    def span(self) -> tuple[int, int]:
        """First byte and one past the last byte in the region."""
        start = self.place.memory.root.address + self.place.offset
        reach = sum((e - 1) * s for e, s in zip(self.extents, self.place.strides, strict=True))
        return start, start + reach + self.value.item_size

    def surface(self, builder: ProgramBuilder) -> Ref:
        """Its record in the file."""
        memory, quant = self.place.memory, self.value.quant
        port = memory.index if memory.region in ("in", "out") else 0
        return builder.surface(
            memory.region,
            self.extents,
            self.value.dtype,
            base=memory.root.address + self.place.offset,
            strides=self.place.strides,
            port=port,
            scale=0.0 if quant is None else quant.s,
            zero_point=0 if quant is None else quant.z + (128 if self.value.dtype == "uint8" else 0),
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

    @property
    def reads(self) -> list[Operand]:
        if self.call is not None:
            return self.call.reads
        return [operand for operand in (self.in0, self.in1, self.in2) if operand is not None]

    @property
    def writes(self) -> list[Operand]:
        return [self.out] if self.call is None else self.call.writes

    @property
    def memories(self) -> list[Memory]:
        """Buffers of the arena that it touches."""
        touched = (operand.place.memory.root for operand in (*self.reads, *self.writes))
        return [memory for memory in touched if memory.region == "ddr"]
