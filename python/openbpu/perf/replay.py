"""The instruction stream replayed over queues and one DDR port: when each instruction runs.

Queues work in order, waits hold instructions back, the port serves one at a time. Which of two waiting instructions
the port serves first is fixed beforehand, in orders that depend on the program alone, and the best of them counts: with
the orders fixed every time is a longest path, so that a faster machine is never estimated slower. (A port that served
whoever comes first could be: two transfers swap, and the long chain waits.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openbpu.ir.profile import PROFILES, TargetProfile
from openbpu.perf.cost import Cost, cost
from openbpu.perf.program import Instruction

QUEUES = ("LD", "ST", "MAC", "VEC", "CPU")
# The machines that settle orders of the port: fixed, at some rates in bytes per cycle.
_REFERENCE = PROFILES["nash-e"]
_REFERENCE_RATES = (8, 32, 128)


@dataclass(frozen=True)
class Slot:
    """When an instruction runs, in cycles: all of it, its computing, its use of the DDR port."""

    start: int
    end: int
    compute: tuple[int, int]
    port: tuple[int, int]  # empty: it stays on the chip


@dataclass(frozen=True)
class Timeline:
    """One slot and one cost per instruction; `makespan` is in cycles."""

    slots: tuple[Slot, ...]
    costs: tuple[Cost, ...]
    makespan: int


def replay(
    instructions: Sequence[Instruction], profile: TargetProfile, orders: Sequence[Sequence[int]] | None = None
) -> Timeline:
    """The timeline of a program on a machine; `orders` are those of `port_orders`, for many machines in a row."""
    costs = tuple(cost(i, profile) for i in instructions)
    best: list[Slot] = []
    for order in port_orders(instructions) if orders is None else orders:
        slots = _run(instructions, costs, order)
        if not best or _makespan(slots) < _makespan(best):
            best = slots
    return Timeline(tuple(best), costs, _makespan(best))


def _makespan(slots: Sequence[Slot]) -> int:
    return max((slot.end for slot in slots), default=0)


def port_orders(instructions: Sequence[Instruction]) -> list[list[int]]:
    """Orders of the port: that of the program, and those in which machines of some fixed rates would be served."""
    program = [k for k, i in enumerate(instructions) if any(t.external for t in i.transfers) and i.queue != "CPU"]
    orders = [program]
    for rate in _REFERENCE_RATES:
        ddr = rate * _REFERENCE.clock_hz / _REFERENCE.ddr_efficiency
        machine = replace(_REFERENCE, ddr_bytes_per_second=ddr)
        slots = _run(instructions, [cost(i, machine) for i in instructions], None)
        served = sorted(program, key=lambda k: (slots[k].port, k))
        if served not in orders:
            orders.append(served)
    return orders


def _run(instructions: Sequence[Instruction], costs: Sequence[Cost], order: Sequence[int] | None) -> list[Slot]:
    """Slots with the port served in `order`; None: first come, first served."""
    state = _State(instructions)
    rank = None if order is None else {k: position for position, k in enumerate(order)}
    slots: dict[int, Slot] = {}
    while (chosen := state.next(costs, rank)) is not None:
        ready, k = chosen
        slots[k] = slot = _slot(ready, costs[k], state.port_free)
        state.place(instructions[k], costs[k], slot)
    return [slots[k] for k in range(len(instructions))]


class _State:
    """What is placed so far: per queue when it is free again and when each of its instructions retires."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = instructions
        self.lists: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.ahead = []  # how many instructions of each queue stand in front of each
        for k, i in enumerate(instructions):
            self.ahead.append([len(self.lists[queue]) for queue in QUEUES])
            self.lists[i.queue].append(k)
        self.free = dict.fromkeys(QUEUES, 0)
        self.ends: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.port_free = self.served = 0

    def next(self, costs: Sequence[Cost], rank: dict[int, int] | None) -> tuple[int, int] | None:
        """The instruction that starts next, and when; of those that use the port only the one whose turn it is."""
        best = None
        for queue in QUEUES:
            done = len(self.ends[queue])
            if done == len(self.lists[queue]):
                continue
            k = self.lists[queue][done]
            if rank is not None and costs[k].port and rank[k] != self.served:
                continue
            ready = self._ready(k)
            if ready is not None and (best is None or (ready, k) < best):
                best = ready, k
        return best

    def place(self, instruction: Instruction, price: Cost, slot: Slot) -> None:
        queue = instruction.queue
        self.ends[queue].append(slot.end)
        # A DMA engine takes its next order while the port still works on the last one.
        self.free[queue] = slot.start + price.issue if queue in ("LD", "ST") else slot.end
        if price.port:
            self.port_free = slot.port[1]
            self.served += 1

    def _ready(self, k: int) -> int | None:
        """When queue, waits and barriers let an instruction start; None: what it waits for has no time yet."""
        i = self.instructions[k]
        ready = self.free[i.queue]
        needed = self.ahead[k] if i.queue == "CPU" else (*i.waits, self.ahead[k][4])
        for queue, count in zip(QUEUES, needed, strict=True):
            if count:
                if len(self.ends[queue]) < count:
                    return None
                ready = max(ready, self.ends[queue][count - 1])
        return ready


def _slot(start: int, price: Cost, port_free: int) -> Slot:
    begin = start + price.issue
    compute = (begin, begin + price.compute)
    if not price.port:
        return Slot(start, compute[1], compute, (begin, begin))
    first = max(begin + price.latency, port_free)
    return Slot(start, max(compute[1], first + price.port), compute, (first, first + price.port))
