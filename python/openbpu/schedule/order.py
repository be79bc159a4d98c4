"""Another order of the operators, in which fewer bytes live at one time: branches one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from openbpu.ir.graph import Graph, Value
from openbpu.schedule.placement import VIEWS

_WIDTH = 16  # orders that are followed side by side
_WORTH = 0.95  # of the bytes at the worst time, that another order may have at most


def frugal(graph: Graph) -> Graph | None:
    """The same graph in an order with a lower peak; None if none is found that is worth it.

    A beam of orders grows operator by operator; of those with the same operators done, only the best goes on.
    """
    lives = _Lives(graph)
    start = _Order((), 0, lives.ready(0, range(len(graph.ops))), 0, 0)
    beam = [start]
    for _ in graph.ops:
        grown: dict[int, _Order] = {}
        for order in beam:
            for k in lives.next_of(order):
                longer = lives.extended(order, k)
                known = grown.get(longer.done)
                if known is None or longer.rank < known.rank:
                    grown[longer.done] = longer
        beam = sorted(grown.values(), key=lambda o: o.rank)[:_WIDTH]
    as_it_is = start
    for k in range(len(graph.ops)):
        as_it_is = lives.extended(as_it_is, k)
    if beam[0].peak > _WORTH * as_it_is.peak:
        return None
    return replace(graph, ops=[graph.ops[k] for k in beam[0].taken])


@dataclass(frozen=True)
class _Order:
    """Operators that are done, in order and as bits; those that may be next; bytes that live, now and at most."""

    taken: tuple[int, ...]
    done: int
    ready: tuple[int, ...]
    live: int
    peak: int

    @property
    def rank(self) -> tuple[int, int, tuple[int, ...]]:
        return self.peak, self.live, self.taken


class _Lives:
    """Which operators need which, and how many bytes live. Views share the bytes of what they show."""

    def __init__(self, graph: Graph) -> None:
        self.ops = graph.ops
        self.ports = {*graph.inputs, *graph.outputs}
        producer = {value: k for k, op in enumerate(graph.ops) for value in op.outputs}
        self.needs = [_bits(producer[v] for v in op.inputs if v in producer) for op in graph.ops]
        self.followers: list[list[int]] = [[] for _ in graph.ops]
        for k, op in enumerate(graph.ops):
            for made_by in sorted({producer[v] for v in op.inputs if v in producer}):
                self.followers[made_by].append(k)
        self._roots: dict[Value, tuple[Value, ...]] = {}
        for op in graph.ops:
            shown = tuple(dict.fromkeys(root for v in op.inputs for root in self._of(v)))
            for value in op.outputs:
                self._roots[value] = shown if op.kind in VIEWS else (value,)
        self.readers: dict[Value, int] = {}
        for k, op in enumerate(graph.ops):
            for root in {root for v in op.inputs for root in self._of(v)}:
                self.readers[root] = self.readers.get(root, 0) | 1 << k

    def ready(self, done: int, some: Sequence[int]) -> tuple[int, ...]:
        """Those of some operators whose operands are there."""
        return tuple(k for k in some if not self.needs[k] & ~done)

    def next_of(self, order: _Order) -> tuple[int, ...]:
        """Operators to try next: a view costs nothing, so it comes at once."""
        views = [k for k in order.ready if self.ops[k].kind in VIEWS]
        return (views[0],) if views else order.ready

    def extended(self, order: _Order, k: int) -> _Order:
        """An order with one more operator."""
        done = order.done | 1 << k
        live = order.live + self.made[k]
        peak = max(order.peak, live)
        for root in self.reads[k]:
            if not self.readers[root] & ~done:
                live -= self.sizes.get(root, 0)
        waiting = [other for other in order.ready if other != k]
        ready = tuple(sorted([*waiting, *self.ready(done, self.followers[k])]))
        return _Order((*order.taken, k), done, ready, live, peak)

    @cached_property
    def sizes(self) -> dict[Value, int]:
        """Bytes of buffers in the arena: not of ports."""
        made = (v for op in self.ops if op.kind not in VIEWS for v in op.outputs if v not in self.ports)
        return {v: prod(v.shape) * v.item_size for v in made}

    @cached_property
    def made(self) -> list[int]:
        """Bytes of the results of each operator."""
        return [sum(self.sizes.get(v, 0) for v in op.outputs if op.kind not in VIEWS) for op in self.ops]

    @cached_property
    def reads(self) -> list[tuple[Value, ...]]:
        """Buffers that each operator reads."""
        return [tuple(dict.fromkeys(root for v in op.inputs for root in self._of(v))) for op in self.ops]

    def _of(self, value: Value) -> tuple[Value, ...]:
        return self._roots.get(value, (value,))


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in set(numbers))
