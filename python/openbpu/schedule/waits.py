"""Waits between queues: each byte hazard is covered, and nothing is waited for twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openbpu.schedule.program import Instruction, Operand

QUEUES = ("LD", "ST", "MAC", "VEC")  # order of Instruction.wait


def insert(instructions: Sequence[Instruction], queue_of: Mapping[str, str]) -> None:
    """Sets `wait` of every instruction; addresses must be known.

    A queue works in order, and an instruction of the CPU queue is a barrier: neither needs a wait. `known` holds, per
    queue, how many instructions of each queue have retired when its last one starts; implied waits are left out.
    """
    history: dict[str, list[_Access]] = {queue: [] for queue in QUEUES}
    known: dict[str, list[int]] = {queue: [0] * len(QUEUES) for queue in QUEUES}
    started: dict[str, list[list[int]]] = {queue: [] for queue in QUEUES}
    for instruction in instructions:
        queue = queue_of[instruction.op]
        access = _Access(instruction)
        if queue not in history:
            for counts in known.values():
                counts[:] = [len(history[q]) for q in QUEUES]
            continue
        state = known[queue]
        wait = [0] * len(QUEUES)
        for slot, other in enumerate(QUEUES):
            if other == queue:
                continue
            needed = _last_conflict(access, history[other], state[slot])
            if needed:
                wait[slot] = needed
                implied = started[other][needed - 1]
                state[:] = [max(a, b) for a, b in zip(state, implied, strict=True)]
                state[slot] = max(state[slot], needed)
        own = QUEUES.index(queue)
        state[own] = len(history[queue])
        instruction.wait = (wait[0], wait[1], wait[2], wait[3])
        history[queue].append(access)
        started[queue].append(list(state))


class _Access:
    """Bytes of the arena that an instruction reads and writes."""

    def __init__(self, instruction: Instruction) -> None:
        self.reads = [operand.span for operand in instruction.reads if _in_arena(operand)]
        self.writes = [instruction.out.span] if _in_arena(instruction.out) else []

    def conflicts(self, earlier: _Access) -> bool:
        return (
            _overlap(self.reads, earlier.writes)
            or _overlap(self.writes, earlier.reads)
            or _overlap(self.writes, earlier.writes)
        )


def _in_arena(operand: Operand) -> bool:
    return operand.place.memory.region == "ddr"


def _overlap(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> bool:
    return any(p < s and r < q for p, q in a for r, s in b)


def _last_conflict(access: _Access, history: Sequence[_Access], retired: int) -> int:
    """Number, from 1, of the last instruction in `history` that conflicts and may not have retired; 0 for none."""
    for index in range(len(history) - 1, retired - 1, -1):
        if access.conflicts(history[index]):
            return index + 1
    return 0
