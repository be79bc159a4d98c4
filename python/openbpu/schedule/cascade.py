"""Cascades: instructions that run stripe by stripe, so that only some rows of what lies between them are in SRAM."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from openbpu.schedule.flow import Access, Node, Root

Steps = list[tuple[int, int, int]]  # (position of the node, first row, end), in order


@dataclass(eq=False)
class Stage:
    """The rows of a buffer that a cascade holds in SRAM: `rows` of them, bytes [low, high) of each pixel."""

    root: Root
    low: int
    high: int
    rows: int = 0
    load: tuple[int, int] | None = None  # bytes of each pixel that come from DDR, row by row
    store: int = 0  # bytes of each pixel that go to DDR

    @property
    def bytes(self) -> int:
        g = self.root.geometry
        assert g is not None
        return -(-g.n * self.rows * g.w * (self.high - self.low) // 64) * 64

    @property
    def loaded_bytes(self) -> int:
        """Read from DDR for all rows."""
        return 0 if self.load is None else self._pixels * (self.load[1] - self.load[0])

    @property
    def stored_bytes(self) -> int:
        """Written to DDR for all rows."""
        return self._pixels * self.store

    @property
    def _pixels(self) -> int:
        g = self.root.geometry
        assert g is not None
        return g.n * g.h * g.w


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
        return sum(s.loaded_bytes + s.stored_bytes for s in self.stages.values())


def build(nodes: Sequence[Node], stripes: int, resident: Collection[Root]) -> Cascade | None:
    """The cascade in so many stripes; None if rows would be needed after they have been overwritten."""
    cascade = Cascade(nodes, stripes, _stages(nodes, resident))
    if not _writes_cover_reads(nodes, cascade.stages):
        return None
    return cascade if _follow(cascade) else None


def _stages(nodes: Sequence[Node], resident: Collection[Root]) -> dict[Root, Stage]:
    last = nodes[-1].index
    stages: dict[Root, Stage] = {}
    for node in nodes:
        for access in (*node.reads.values(), *((node.write,) if node.write else ())):
            if access.root in resident:
                continue
            stage = stages.setdefault(access.root, Stage(access.root, access.low, access.high))
            stage.low, stage.high = min(stage.low, access.low), max(stage.high, access.high)
    for root, stage in stages.items():
        written = _union([n.write for n in nodes if n.write is not None and n.write.root is root])
        if any(r > last for r in root.reads) or root.external:
            stage.store = sum(end - start for start, end in written)
        stage.load = _to_load(nodes, stage, written)
    return stages


def _union(accesses: Sequence[Access]) -> list[tuple[int, int]]:
    """Bytes of a pixel that accesses cover, in order."""
    covered: list[tuple[int, int]] = []
    for low, high in sorted((a.low, a.high) for a in accesses):
        if covered and low <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], high))
        else:
            covered.append((low, high))
    return covered


def _to_load(nodes: Sequence[Node], stage: Stage, written: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """What must come from DDR: all of a buffer that is read before it is written, else what is not written here."""
    first = next((n.index for n in nodes if n.write is not None and n.write.root is stage.root), None)
    if first is None or any(n.index <= first and a.root is stage.root for n in nodes for a in n.reads.values()):
        return stage.low, stage.high
    if not any(a.root is stage.root for n in nodes for a in n.reads.values()):
        return None
    if len(written) != 1 or written[0] == (stage.low, stage.high):
        return None
    low, high = written[0]
    return (stage.low, low) if high == stage.high else (high, stage.high)


def _writes_cover_reads(nodes: Sequence[Node], stages: Mapping[Root, Stage]) -> bool:
    """What is read comes from DDR or has been written here before."""
    for root, stage in stages.items():
        writes = [n for n in nodes if n.write is not None and n.write.root is root]
        if not writes:
            continue
        accesses = [a for n in nodes for a in (*n.reads.values(), n.write) if a is not None and a.root is root]
        whole = stage.load == (stage.low, stage.high)
        if whole and any((a.low, a.high) != stage.load for a in accesses):
            return False  # changed in place: what is loaded must be what is changed
        for node in nodes:
            for access in node.reads.values():
                if access.root is not root or whole:
                    continue
                ready = [n.write for n in writes if n.index < node.index and n.write is not None]
                covered = _union(
                    [*ready, *([replace(access, low=stage.load[0], high=stage.load[1])] if stage.load else [])]
                )
                if not any(low <= access.low and access.high <= high for low, high in covered):
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
    kept = [
        n.write is None or n.write.root not in cascade.stages or cascade.stages[n.write.root].store > 0 for n in nodes
    ]
    done = [0] * len(nodes)
    loaded = {root: 0 for root, stage in cascade.stages.items() if stage.load is not None}
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
                first = node.window(name, done[k], node.rows)[0]
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
        and earlier.window(name, after[position], earlier.rows)[0] < end
        for name, access in earlier.reads.items()
    )
