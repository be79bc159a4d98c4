"""Arenas: lifetimes of buffers, reuse in place, and a best-fit plan, improved by seeded hill-climbing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from random import Random

from openbpu.schedule.memory import Memory
from openbpu.schedule.program import Instruction, Operand

ALIGNMENT = 64
_IN_PLACE = frozenset({"ADD", "SUB", "MUL", "MAX", "MIN", "RESCALE", "LUT8", "LUT16"})
Lifetimes = dict[Memory, tuple[int, int]]
Addresses = dict[Memory, int]
_SEED = 20
_CLIMBS = 400  # orders tried
_LEADS = (64, 32, 16, 8, 4, 2)  # instructions that DMA may run ahead
_MANY = 1000  # buffers; with more, fewer orders


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes; `lower_bound` is the largest sum of buffers alive at one time, `tight` what they can do with."""

    bytes: int
    lower_bound: int
    tight: int = 0

    @property
    def over_percent(self) -> float:
        """How much the plan exceeds the lower bound."""
        return round(100 * ((self.tight or self.bytes) / self.lower_bound - 1), 2) if self.lower_bound else 0.0


def lifetimes(code: Sequence[Instruction], region: str = "ddr") -> Lifetimes:
    """First and last instruction that touch each buffer of a region."""
    lives: Lifetimes = {}
    for index, instruction in enumerate(code):
        for memory in instruction.memories(region):
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


def plan(lives: Lifetimes, enough: int = 0) -> Plan:
    """Gives each buffer an address so that buffers alive at the same time do not overlap.

    `lives` holds the first and the last instruction that touch a buffer. Largest first, each buffer takes the
    tightest gap between those placed before that live at the same time. If that takes more than the lower bound, and
    more than `enough`, orders are searched by seeded hill-climbing: a buffer at the top goes before one below it.
    """
    rivals = _rivals(lives)
    bound = max(_lower_bound(lives), enough)
    order = sorted(lives, key=lambda m: (-_size(m), lives[m]))
    best, addresses = _placed(order, rivals)
    for start in (order, sorted(lives, key=lambda m: lives[m][0] - lives[m][1])):
        found, found_addresses = _climbed(start, rivals, bound)
        if found < best:
            best, addresses = found, found_addresses
        if best <= bound:
            break
    for memory, address in addresses.items():
        memory.address = address
    check(lives)
    return Plan(best, _lower_bound(lives))


def place_early(code: Sequence[Instruction], lives: Lifetimes, limit: int) -> int:
    """Moves buffers in SRAM so that DMA can run ahead: what is loaded gets bytes that are free some time before.

    Addresses change only if all of it stays within `limit` bytes; returns the size of the arena, 0 if nothing changed.
    """
    loaded = {i.out.place.memory.root for i in code if i.op in ("LOAD", "LDW")} & lives.keys()
    order = sorted(lives, key=lambda m: (-_size(m), lives[m]))
    for lead in _LEADS:
        early = {m: (max(0, first - lead) if m in loaded else first, last) for m, (first, last) in lives.items()}
        size, addresses = _placed(order, _rivals(early))
        if size <= limit:
            for memory, address in addresses.items():
                memory.address = address
            check(early)
            return size
    return 0


def _climbed(start: Sequence[Memory], rivals: Mapping[Memory, Sequence[Memory]], bound: int) -> tuple[int, Addresses]:
    """The best order found from `start` on: its size and addresses."""
    order = list(start)
    best, addresses = _placed(order, rivals)
    random = Random(_SEED)
    for _ in range(_CLIMBS if len(order) < _MANY else _CLIMBS // 8):
        if best <= bound:
            break
        top = random.choice([m for m in order if addresses[m] + _size(m) == best])
        lower = [m for m in rivals[top] if addresses[m] < addresses[top]]
        if not lower:
            break
        swapped = list(order)
        swapped.remove(top)
        swapped.insert(swapped.index(random.choice(lower)), top)
        found, found_addresses = _placed(swapped, rivals)
        if found <= best:
            best, addresses, order = found, found_addresses, swapped
    return best, addresses


def _placed(order: Sequence[Memory], rivals: Mapping[Memory, Sequence[Memory]]) -> tuple[int, Addresses]:
    """Each buffer in turn into the tightest gap; the size of the arena and the addresses."""
    addresses: Addresses = {}
    end = 0
    for memory in order:
        size = _size(memory)
        taken = sorted((addresses[r], _size(r)) for r in rivals[memory] if r in addresses)
        addresses[memory] = address = _best_gap(taken, size)
        end = max(end, address + size)
    return end, addresses


def _rivals(lives: Lifetimes) -> dict[Memory, list[Memory]]:
    """For each buffer those that live at a time of its life."""
    rivals: dict[Memory, list[Memory]] = {memory: [] for memory in lives}
    alive: list[Memory] = []
    for memory in sorted(lives, key=lambda m: lives[m]):
        alive = [m for m in alive if lives[m][1] >= lives[memory][0]]
        for other in alive:
            rivals[other].append(memory)
            rivals[memory].append(other)
        alive.append(memory)
    return rivals


def _size(memory: Memory) -> int:
    return -(-memory.size // ALIGNMENT) * ALIGNMENT


def _best_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Start of the smallest gap between sorted (address, size) that holds `size` bytes; else behind them all."""
    best, best_gap, end = -1, 0, 0
    for address, length in taken:
        gap = address - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, address + length)
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
