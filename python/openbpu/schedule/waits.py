"""Waits between queues: each byte hazard is covered, and nothing is waited for twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from openbpu.schedule.flow import window
from openbpu.schedule.program import Instruction, Operand

QUEUES = ("LD", "ST", "MAC", "VEC")  # order of Instruction.wait
_BUCKET = 1 << 14
_REGION = 1 << 48
_BASES = {"ddr": 0, "sram": 1}
_Entry = tuple[int, int, int, bool]  # number in the queue, first byte, end, whether it writes


def insert(instructions: Sequence[Instruction], queue_of: Mapping[str, str]) -> None:
    """Sets `wait` of every instruction; addresses must be known.

    A queue works in order, and an instruction of the CPU queue is a barrier: neither needs a wait. `known` holds, per
    queue, how many instructions of each queue have retired when its last one starts; implied waits are left out.
    """
    histories = {queue: _History() for queue in QUEUES}
    known: dict[str, list[int]] = {queue: [0] * len(QUEUES) for queue in QUEUES}
    started: dict[str, list[list[int]]] = {queue: [] for queue in QUEUES}
    for instruction in instructions:
        queue = queue_of[instruction.op]
        if queue not in histories:
            for counts in known.values():
                counts[:] = [len(started[q]) for q in QUEUES]
            continue
        ranges = _ranges(instruction)
        state = known[queue]
        wait = [0] * len(QUEUES)
        for slot, other in enumerate(QUEUES):
            if other == queue:
                continue
            needed = histories[other].last_conflict(ranges, state[slot])
            if needed:
                wait[slot] = needed
                implied = started[other][needed - 1]
                state[:] = [max(a, b) for a, b in zip(state, implied, strict=True)]
                state[slot] = max(state[slot], needed)
        own = QUEUES.index(queue)
        state[own] = len(started[queue])
        for slot in range(len(QUEUES)):  # a later wait may have implied an earlier one
            others = (started[QUEUES[s]][wait[s] - 1][slot] for s in range(len(QUEUES)) if s != slot and wait[s])
            if wait[slot] and max(others, default=0) >= wait[slot]:
                wait[slot] = 0
        instruction.wait = (wait[0], wait[1], wait[2], wait[3])
        started[queue].append(list(state))
        histories[queue].add(len(started[queue]), ranges)


class _History:
    """What the instructions of a queue touched, by parts of the address space."""

    def __init__(self) -> None:
        self.buckets: dict[int, list[_Entry]] = defaultdict(list)

    def add(self, number: int, ranges: Sequence[tuple[int, int, bool]]) -> None:
        for first, end, write in ranges:
            for bucket in range(first // _BUCKET, (end - 1) // _BUCKET + 1):
                self.buckets[bucket].append((number, first, end, write))

    def last_conflict(self, ranges: Sequence[tuple[int, int, bool]], retired: int) -> int:
        """Number, from 1, of the last instruction that conflicts and may not have retired; 0 for none."""
        last = retired
        for first, end, write in ranges:
            for bucket in range(first // _BUCKET, (end - 1) // _BUCKET + 1):
                for number, start, stop, wrote in reversed(self.buckets.get(bucket, ())):
                    if number <= last:
                        break
                    if (write or wrote) and first < stop and start < end:
                        last = number
                        break
        return last if last > retired else 0


def _ranges(instruction: Instruction) -> list[tuple[int, int, bool]]:
    """Bytes of arenas and outputs that an instruction touches: (first, end, whether it writes)."""
    found: list[tuple[int, int, bool]] = []
    box = instruction.box
    for name in ("out", "in0", "in1", "in2"):
        operand = getattr(instruction, name)
        if operand is None or operand.place.memory.root.region in ("in", "const"):
            continue
        rows = (0, operand.extents[1])
        if box is not None:
            first, end = box[0], box[0] + box[1]
            if name == "out":
                rows = (first, end)
            elif not (name == "in1" and instruction.weight is not None):
                rows = window(instruction, name, first, end)
        found += [(*span, name == "out") for span in _spans(operand, *rows)]
    return found


def _spans(operand: Operand, first: int, end: int) -> list[tuple[int, int]]:
    """First byte and end of rows [first, end), as one range, or two where a rolling buffer starts again."""
    memory = operand.place.memory.root
    base = (_BASES.get(memory.region, 2 + memory.index)) * _REGION + memory.address + operand.place.offset
    n, _, w, c = operand.extents
    sn, sh, sw, sc = operand.place.strides
    row = (w - 1) * sw + (c - 1) * sc + operand.value.item_size

    def span(low: int, high: int) -> tuple[int, int]:
        return base + low * sh, base + (n - 1) * sn + (high - 1) * sh + row

    if first >= end:
        return []
    if not operand.roll:
        return [span(first, end)]
    if n > 1:
        return [span(0, operand.roll)]
    low, count = first % operand.roll, end - first
    if low + count <= operand.roll:
        return [span(low, low + count)]
    return [span(low, operand.roll), span(0, low + count - operand.roll)]
