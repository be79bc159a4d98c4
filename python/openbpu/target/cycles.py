"""Cycles that an instruction keeps its unit, from what it computes alone: of the cost model what needs no addresses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from openbpu.ir.profile import TargetProfile

Box = tuple[int, int, int, int]  # n, h, w, c

# Passes of the vector unit over its elements; windows take one per tap.
_VECTOR_PASSES = {
    "COPY": 1, "FILL": 1, "ADD": 2, "SUB": 2, "MUL": 2, "MAX": 2, "MIN": 2, "CMP": 2, "SELECT": 3, "DIV": 4,
    "RESCALE": 2, "LUT8": 1, "LUT16": 2, "REDUCE": 1, "ARGMAX": 2, "SOFTMAX": 6, "LAYERNORM": 8, "RMSNORM": 6,
    "RESIZE_NN": 1, "RESIZE_BILIN": 4, "GATHER": 2, "GRIDSAMPLE": 8, "CSC": 4, "ROIRESIZE": 6,
}  # fmt: skip
# Over what lies in front of the reduction instead of what comes out.
_PER_INPUT = frozenset({"REDUCE", "ARGMAX"})


class Work(Protocol):
    """What decides about the cycles: `box` are the extents that are computed, `depth` the input channels."""

    @property
    def op(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def box(self) -> Box: ...
    @property
    def depth(self) -> int: ...
    @property
    def wide(self) -> bool: ...  # a 16-bit form
    @property
    def aux(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, eq=False)
class Task:
    """Work with what it waits for (LD, ST, MAC, VEC) and the bytes of its result."""

    op: str
    queue: str
    box: Box
    depth: int
    wide: bool
    aux: Mapping[str, int]
    waits: tuple[int, int, int, int]
    bytes: int


def unit_cycles(work: Work, profile: TargetProfile) -> int:
    """Cycles of the array or the vector unit when the SRAM holds them up in nothing."""
    if work.queue == "MAC":
        return math.ceil(array_cycles(work, profile) / profile.mac_efficiency)
    return _vector_cycles(work, profile)


def array_cycles(i: Work, p: TargetProfile) -> int:
    """Cycles of the MAC array with its operands ready: whole granules of channels and pixels, taps one by one."""
    n, h, w, channels = i.box
    taps = i.aux.get("kernel_h", 1) * i.aux.get("kernel_w", 1)
    groups = i.aux.get("groups", 1)
    factor = p.int16_factor if i.wide else 1
    pixels = -(-(h * w) // p.mac_pixels) * n
    if i.op == "DWCONV2D":
        return math.ceil(-(-channels // p.mac_columns) * pixels * taps * p.depthwise_penalty * factor)
    if i.op == "TCONV2D":  # each output sees the taps of its phase
        taps = math.prod(-(-i.aux[f"kernel_{a}"] // i.aux[f"stride_{a}"]) for a in "hw")
    if i.op == "MATMUL":
        pixels = -(-(n * h * w) // p.mac_pixels)
    blocks = groups * -(-channels // groups // p.mac_columns)
    fill = blocks * (p.mac_rows + p.mac_columns)
    return math.ceil((pixels * blocks * -(-i.depth // groups // p.mac_rows) * taps + fill) * factor)


def _vector_cycles(i: Work, p: TargetProfile) -> int:
    pooling = i.op in ("MAXPOOL", "AVGPOOL")
    passes = i.aux["kernel_h"] * i.aux["kernel_w"] if pooling else _VECTOR_PASSES[i.op]
    elements = math.prod(i.box) * (i.depth if i.op in _PER_INPUT else 1)
    return math.ceil(-(-elements // p.vector_lanes) * passes * (p.int16_factor if i.wide else 1))
