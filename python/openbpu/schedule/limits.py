"""Instructions cut so that none keeps its unit longer than a caller allows: what cannot be interrupted stays short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from openbpu.ir.profile import TargetProfile
from openbpu.schedule.flow import CPU
from openbpu.schedule.program import Instruction

_WHOLE = frozenset({"LDW", "MATMULD"}) | CPU  # no part of them is an instruction
_PRODUCTS = frozenset({"CONV2D", "GCONV2D", "TCONV2D", "MATMUL"})


def limited(code: Sequence[Instruction], profile: TargetProfile, microseconds: int) -> list[Instruction]:
    """The same program with long boxes cut by rows, then by columns; what cannot be cut stays as it is."""
    return [piece for i in code for piece in _pieces(i, profile, microseconds)]


def _pieces(i: Instruction, profile: TargetProfile, microseconds: int) -> Iterator[Instruction]:
    count = -(-_seconds(i, profile) * 1e6 // microseconds)
    if i.op in _WHOLE or count <= 1:
        yield i
        return
    _, h, w, c = i.out.extents
    y, rows, x, columns, first, channels = i.box or (0, h, 0, w, 0, c)
    down = min(rows, int(count))
    across = min(columns, -(-int(count) // down))
    for top, height in _parts(y, rows, down):
        for left, width in _parts(x, columns, across):
            yield replace(i, box=(top, height, left, width, first, channels))


def _parts(first: int, extent: int, count: int) -> Iterator[tuple[int, int]]:
    size = -(-extent // count)
    for start in range(first, first + extent, size):
        yield start, min(size, first + extent - start)


def _seconds(i: Instruction, profile: TargetProfile) -> float:
    """About what the unit takes: products at the rate of the array, bytes at that of the port, elements by lanes."""
    n, h, w, c = i.out.extents
    _, rows, _, columns, _, channels = i.box or (0, h, 0, w, 0, c)
    elements = n * rows * columns * channels
    item = i.out.value.item_size
    if i.op in ("LOAD", "STORE", "LDW"):
        return elements * item / (profile.ddr_bytes_per_second * profile.ddr_efficiency)
    if i.in0 is None:
        return elements / (profile.vector_lanes * profile.clock_hz)
    taps = 1 if i.aux is None else i.aux.get("kernel_h", 1) * i.aux.get("kernel_w", 1)
    if i.op in _PRODUCTS:
        groups = 1 if i.aux is None else i.aux.get("groups", 1)
        rate = profile.macs_per_second * profile.mac_efficiency
        return elements * taps * i.in0.extents[3] / groups / rate
    return max(elements * taps, prod(i.in0.extents) * rows / h) / (profile.vector_lanes * profile.clock_hz)
