"""The DDR arena: lifetimes of buffers, reuse in place, and a best-fit plan by size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from openbpu.schedule.memory import Memory
from openbpu.schedule.program import Instruction, Operand

ALIGNMENT = 64
_IN_PLACE = frozenset({"ADD", "SUB", "MUL", "MAX", "MIN", "RESCALE", "LUT8", "LUT16"})
Lifetimes = dict[Memory, tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes; `lower_bound` is the largest sum of buffers alive at one time."""

    ddr_bytes: int
    lower_bound: int

    @property
    def over_percent(self) -> float:
        """How much the plan exceeds the lower bound."""
        return round(100 * (self.ddr_bytes / self.lower_bound - 1), 2) if self.lower_bound else 0.0


def lifetimes(code: Sequence[Instruction]) -> Lifetimes:
    """First and last instruction that touch each buffer."""
    lives: Lifetimes = {}
    for index, instruction in enumerate(code):
        for memory in instruction.memories:
            lives[memory] = (lives.get(memory, (index, index))[0], index)
    return lives


def reuse_in_place(code: Sequence[Instruction]) -> None:
    """Lets element-wise results take the buffer of an operand that dies with them."""
    lives = lifetimes(code)
    for index, instruction in enumerate(code):
        target = instruction.out.place.memory
        if instruction.op not in _IN_PLACE or target.region != "ddr" or lives[target][0] != index:
            continue
        for operand in instruction.reads:
            source = operand.place.memory.root
            if lives.get(source, (0, -1))[1] == index and _can_replace(instruction, operand):
                target.host = source
                lives[source] = (lives[source][0], lives.pop(target)[1])
                break


def _can_replace(instruction: Instruction, operand: Operand) -> bool:
    """True if the result may be written over `operand`: both are whole buffers, and nothing else reads them."""
    out = instruction.out
    alike = operand.extents == out.extents and operand.place.strides == out.place.strides
    alike = alike and operand.value.item_size == out.value.item_size
    whole = all(
        prod(o.extents) * o.value.item_size == o.place.memory.root.size and o.place.offset == 0 for o in (operand, out)
    )
    others = [o for o in instruction.reads if o.place != operand.place]
    return alike and whole and all(o.place.memory.root is not operand.place.memory.root for o in others)


def plan(lives: Lifetimes) -> Plan:
    """Gives each buffer an address so that buffers alive at the same time do not overlap.

    `lives` holds the first and the last instruction that touch a buffer. Largest first, each buffer takes the
    tightest gap between those placed before that live at the same time.
    """
    order = sorted(lives, key=lambda m: (-_size(m), lives[m]))
    alive: dict[int, list[Memory]] = defaultdict(list)  # buffers placed so far, by instruction
    for memory in order:
        times = range(lives[memory][0], lives[memory][1] + 1)
        rivals = dict.fromkeys(rival for time in times for rival in alive[time])
        memory.address = _best_gap(sorted(rivals, key=lambda m: m.address), _size(memory))
        for time in times:
            alive[time].append(memory)
    check(lives)
    end = max((m.address + _size(m) for m in order), default=0)
    return Plan(end, _lower_bound(lives))


def _size(memory: Memory) -> int:
    return -(-memory.size // ALIGNMENT) * ALIGNMENT


def _best_gap(rivals: Sequence[Memory], size: int) -> int:
    """Start of the smallest gap between address-sorted rivals that holds `size` bytes; else behind them all."""
    best, best_gap, end = -1, 0, 0
    for rival in rivals:
        gap = rival.address - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, rival.address + _size(rival))
    return end if best < 0 else best


def _lower_bound(lives: Lifetimes) -> int:
    changes: dict[int, int] = {}
    for memory, (first, last) in lives.items():
        changes[first] = changes.get(first, 0) + _size(memory)
        changes[last + 1] = changes.get(last + 1, 0) - _size(memory)
    alive = peak = 0
    for time in sorted(changes):
        alive += changes[time]
        peak = max(peak, alive)
    return peak


def check(lives: Lifetimes) -> None:
    """Raises AssertionError if two buffers share bytes while both are alive, or one is not aligned."""
    starts: dict[int, list[Memory]] = defaultdict(list)
    for memory, (first, _) in lives.items():
        if memory.address % ALIGNMENT:
            raise AssertionError(f"address {memory.address} is not aligned")
        starts[first].append(memory)
    alive: list[Memory] = []
    for time in sorted(starts):
        alive = sorted([m for m in alive if lives[m][1] >= time] + starts[time], key=lambda m: (m.address, m.size))
        for a, b in pairwise(m for m in alive if m.size):
            if a.address + a.size > b.address:
                raise AssertionError(f"buffers at {a.address} and {b.address} overlap")
