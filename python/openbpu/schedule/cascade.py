"""Cascades: instructions that run stripe by stripe, so that only some rows of what lies between them are in SRAM."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from openbpu.schedule.flow import Node, Root

Steps = list[tuple[int, int, int]]  # (position of the node, first row, end), in order


@dataclass(eq=False)
class Stage:
    """The rows of a buffer that a cascade holds in SRAM: `rows` of them, bytes [low, high) of each pixel."""

    root: Root
    low: int
    high: int
    rows: int = 0
    loaded: bool = False  # from DDR, row by row
    stored: bool = False  # to DDR

    @property
    def bytes(self) -> int:
        g = self.root.geometry
        assert g is not None
        return -(-g.n * self.rows * g.w * (self.high - self.low) // 64) * 64

    @property
    def whole_bytes(self) -> int:
        """Of all rows: what is moved from or to DDR."""
        g = self.root.geometry
        assert g is not None
        return g.n * g.h * g.w * (self.high - self.low)


@dataclass(eq=False)
class Cascade:
    """Nodes in `stripes` stripes. Buffers that have no stage lie in SRAM as a whole."""

    nodes: Sequence[Node]
    stripes: int
    stages: dict[Root, Stage] = field(default_factory=dict)
    steps: list[Steps] = field(default_factory=list)  # one list per stripe
    targets: list[dict[Root, int]] = field(default_factory=list)  # rows of loaded buffers, after each stripe

    @property
    def weights(self) -> int:
        return sum(-(-node.weight_bytes // 64) * 64 for node in self.nodes)

    @property
    def bytes(self) -> int:
        """SRAM that it needs, weights included."""
        return self.weights + sum(stage.bytes for stage in self.stages.values())

    @property
    def traffic(self) -> int:
        """Bytes of buffers from and to DDR."""
        return sum(s.whole_bytes * (s.loaded + s.stored) for s in self.stages.values())


def build(nodes: Sequence[Node], stripes: int, resident: Collection[Root]) -> Cascade | None:
    """The cascade in so many stripes; None if rows would be needed after they have been overwritten."""
    cascade = Cascade(nodes, stripes, _stages(nodes, resident))
    if not _writes_cover_reads(nodes, cascade.stages):
        return None
    return cascade if _follow(cascade) else None


def _stages(nodes: Sequence[Node], resident: Collection[Root]) -> dict[Root, Stage]:
    first, last = nodes[0].index, nodes[-1].index
    stages: dict[Root, Stage] = {}
    for node in nodes:
        for access in (*node.reads.values(), *((node.write,) if node.write else ())):
            if access.root in resident:
                continue
            stage = stages.setdefault(access.root, Stage(access.root, access.low, access.high))
            stage.low, stage.high = min(stage.low, access.low), max(stage.high, access.high)
    for root, stage in stages.items():
        inside = [w for w in root.writes if first <= w <= last]
        stage.loaded = any(
            access.root is root and not any(w < node.index for w in inside)
            for node in nodes
            for access in node.reads.values()
        )
        stage.stored = bool(inside) and (root.external or any(r > last for r in root.reads))
    return stages


def _writes_cover_reads(nodes: Sequence[Node], stages: Mapping[Root, Stage]) -> bool:
    """A buffer is read from DDR, or written here before it is read; channels that are read have been written."""
    for root, stage in stages.items():
        writes = [(n.index, n.write) for n in nodes if n.write is not None and n.write.root is root]
        if not writes:
            continue
        if stage.loaded:  # and changed in place: what is loaded must be what is changed
            accesses = [a for n in nodes for a in (*n.reads.values(), n.write) if a is not None and a.root is root]
            if any((a.low, a.high) != (stage.low, stage.high) for a in accesses):
                return False
            continue
        for node in nodes:
            for access in node.reads.values():
                if access.root is not root:
                    continue
                covered = sorted((w.low, w.high) for index, w in writes if index < node.index)
                reach = access.low
                for low, high in covered:
                    if low <= reach:
                        reach = max(reach, high)
                if reach < access.high:
                    return False
    return True


def _overlaps(a: Node, b: Node, name: str) -> bool:
    """Whether `b` reads through operand `name` what `a` writes."""
    read, write = b.reads[name], a.write
    return write is not None and write.root is read.root and write.low < read.high and read.low < write.high


def _follow(cascade: Cascade) -> bool:
    """Finds the rows of each step by demand from the last nodes up, and how many rows of each stage live at once."""
    nodes = cascade.nodes
    readers: list[list[tuple[int, str]]] = [[] for _ in nodes]
    for b, later in enumerate(nodes):
        for name in later.reads:
            for a in range(b):
                if _overlaps(nodes[a], later, name):
                    readers[a].append((b, name))
    kept = [n.write is None or n.write.root not in cascade.stages or cascade.stages[n.write.root].stored for n in nodes]
    done = [0] * len(nodes)
    loaded = {root: 0 for root, stage in cascade.stages.items() if stage.loaded}
    for stripe in range(1, cascade.stripes + 1):
        need = [0] * len(nodes)
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            if not readers[k]:
                need[k] = -(-node.rows * stripe // cascade.stripes)
            elif kept[k] and stripe == cascade.stripes:
                need[k] = node.rows
            for b, name in readers[k]:
                if need[b] > done[b]:
                    need[k] = max(need[k], nodes[b].window(name, done[b], need[b])[1])
            need[k] = max(need[k], done[k])
        steps = [(k, done[k], need[k]) for k in range(len(nodes)) if need[k] > done[k]]
        for k, _, end in steps:
            for name, access in nodes[k].reads.items():
                if access.root in loaded:
                    rows = nodes[k].window(name, done[k], end)[1]
                    loaded[access.root] = max(loaded[access.root], rows)
        if not _measure(cascade, steps, done, loaded):
            return False
        for k, _, end in steps:
            done[k] = end
        cascade.steps.append(steps)
        cascade.targets.append(dict(loaded))
    for stage in cascade.stages.values():
        assert stage.root.geometry is not None
        stage.rows = min(stage.rows, stage.root.geometry.h)
    return True


def _measure(cascade: Cascade, steps: Steps, done: Sequence[int], loaded: Mapping[Root, int]) -> bool:
    """Widens stages to the rows that live during a stripe; False if a row is written while it is still to be read."""
    nodes, stages = cascade.nodes, cascade.stages
    after = list(done)
    for k, _, end in steps:
        after[k] = end
    low: dict[Root, int] = {}
    high: dict[Root, int] = dict(loaded)
    for k, node in enumerate(nodes):
        for name, access in node.reads.items():
            if done[k] < node.rows and access.root in stages:
                first = node.window(name, done[k], done[k] + 1)[0]
                low[access.root] = min(low.get(access.root, first), first)
        if node.write is not None:
            root = node.write.root
            low[root] = min(low.get(root, done[k]), done[k]) if done[k] < node.rows else low.get(root, done[k])
            high[root] = max(high.get(root, 0), after[k])
            if any(_spoils(nodes[e], e, node, after[k], after) for e in range(k)):
                return False
    for root, stage in stages.items():
        stage.rows = max(stage.rows, high.get(root, 0) - low.get(root, 0))
    return True


def _spoils(earlier: Node, position: int, writer: Node, end: int, after: Sequence[int]) -> bool:
    """Whether `writer`, which has got to row `end`, has written over rows that `earlier` reads in later stripes."""
    assert writer.write is not None
    if after[position] >= earlier.rows:
        return False
    return any(
        access.root is writer.write.root
        and access.low < writer.write.high
        and writer.write.low < access.high
        and earlier.window(name, after[position], after[position] + 1)[0] < end
        for name, access in earlier.reads.items()
    )
