"""Instructions cut so that none keeps its unit longer than a caller allows: what cannot be interrupted stays short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from openbpu.ir.profile import TargetProfile
from openbpu.schedule.flow import CPU
from openbpu.schedule.program import Instruction, task_of
from openbpu.target.cycles import unit_cycles

_WHOLE = frozenset({"LDW", "MATMULD"}) | CPU  # no part of them is an instruction


def limited(code: Sequence[Instruction], profile: TargetProfile, microseconds: int) -> list[Instruction]:
    """The same program with long boxes cut by rows, then by columns; what cannot be cut stays as it is."""
    most = microseconds * 1e-6 * profile.clock_hz
    return [piece for i in code for piece in _pieces(i, profile, most)]


def _pieces(i: Instruction, profile: TargetProfile, most: float) -> Iterator[Instruction]:
    if i.op in _WHOLE or _cycles(i, profile) <= most:
        yield i
        return
    _, h, w, c = i.out.extents
    y, rows, x, columns, first, channels = i.box or (0, h, 0, w, 0, c)
    count, cycles = 1, math.inf
    while cycles > most and count < rows * columns:
        count = max(count + 1, math.ceil(count * min(cycles / most, 2)))
        down = min(rows, count)
        across = min(columns, -(-count // down))
        largest = (y, -(-rows // down), x, -(-columns // across), first, channels)
        cycles = _cycles(replace(i, box=largest), profile)
    for top, height in _parts(y, rows, down):
        for left, width in _parts(x, columns, across):
            yield replace(i, box=(top, height, left, width, first, channels))


def _parts(first: int, extent: int, count: int) -> Iterator[tuple[int, int]]:
    size = -(-extent // count)
    for start in range(first, first + extent, size):
        yield start, min(size, first + extent - start)


def _cycles(i: Instruction, profile: TargetProfile) -> float:
    """What the estimate gives it, with the share of its operands that the box has of the result."""
    task = task_of(i)
    share = math.prod(task.box) / math.prod(i.out.extents)
    moved = {True: 0.0, False: 0.0}  # through the DDR port, or in the SRAM
    for operand in (i.out, *i.reads):
        external = operand.place.memory.root.region != "sram"
        moved[external] += math.prod(operand.extents) * operand.value.item_size * share
    port = moved[True] / profile.ddr_bytes_per_cycle
    if task.queue in ("LD", "ST"):
        return profile.instruction_cycles + profile.ddr_latency_cycles + port
    unit = max(unit_cycles(task, profile), moved[False] / profile.sram_bytes_per_cycle, port)
    return profile.instruction_cycles + unit + profile.ddr_latency_cycles * (port > 0)
