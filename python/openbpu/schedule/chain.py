"""What a cascade would move and hold, grown backwards from its last node: all its beginnings cost little more than one.

The rows of a node follow from those of later nodes alone, and what a buffer moves from the nodes that touch it. So a
node in front leaves all that is known of the others, and only its own buffers are looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from openbpu.schedule.flow import Access, Node, Root


@dataclass(eq=False)
class Stage:
    """The rows of a buffer that a cascade holds in SRAM: `rows` of them, bytes [low, high) of each pixel."""

    root: Root
    low: int
    high: int
    rows: int = 0
    load: tuple[int, int] | None = None  # bytes of each pixel that come from DDR, row by row
    store: int = 0  # bytes of each pixel that go to DDR

    def bytes_of(self, rows: int) -> int:
        """SRAM for so many rows."""
        g = self.root.geometry
        assert g is not None
        return -(-g.n * min(rows, g.h) * g.w * (self.high - self.low) // 64) * 64

    @property
    def bytes(self) -> int:
        return self.bytes_of(self.rows)

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


@dataclass(frozen=True)
class Use:
    """A node that touches a buffer: through the operand `name`, or with its result if that is empty."""

    position: int  # of the node in the chain, 0 for the last
    node: Node
    access: Access
    name: str

    def meets(self, other: Access) -> bool:
        """Whether both touch the same bytes of pixels."""
        return self.access.low < other.high and other.low < self.access.high


class Chain:
    """Nodes from the last to the first. Buffers of `resident` lie in SRAM unless their whole life is in the chain."""

    def __init__(self, last: int, resident: Collection[Root]) -> None:
        self.last, self.resident = last, resident
        self.nodes: list[Node] = []
        self.uses: dict[Root, list[Use]] = {}  # in the order of the nodes
        self.stages: dict[Root, Stage] = {}
        self.moved: list[int | None] = [0]  # by length: bytes from and to DDR; None: rows would be missing
        self.weights: list[tuple[int, int]] = [(0, 0)]  # by length: bytes of weights, and what they take in SRAM
        self._lacking: set[Root] = set()
        self._moved: dict[Root, int] = {}
        self._walks: dict[int, Walk] = {}

    def add(self, node: Node) -> list[Root]:
        """Puts a node in front; returns the buffers with stages whose uses it changes."""
        position = len(self.nodes)
        self.nodes.append(node)
        found = [Use(position, node, access, name) for name, access in node.reads.items()]
        if node.write is not None:
            found.append(Use(position, node, node.write, ""))
        for use in reversed(found):
            self.uses.setdefault(use.access.root, []).insert(0, use)
        changed = [r for r in dict.fromkeys(use.access.root for use in found) if not self.is_resident(r, node.index)]
        for root in changed:
            stage = self.stages[root] = _stage(root, self.uses[root], self.last)
            (self._lacking.discard if _writes_cover_reads(stage, self.uses[root]) else self._lacking.add)(root)
            self._moved[root] = stage.loaded_bytes + stage.stored_bytes
        self.moved.append(None if self._lacking else sum(self._moved.values()))
        plain, padded = self.weights[-1]
        self.weights.append((plain + node.weight_bytes, padded + -(-node.weight_bytes // 64) * 64))
        return changed

    def bytes(self, length: int, stripes: int) -> int | None:
        """SRAM for the last `length` nodes in so many stripes; None if a row is written that is still to be read."""
        walk = self.walk(stripes)
        for node in self.nodes[len(walk.columns) : length]:
            walk.add(node)
        return walk.bytes[length]

    def walk(self, stripes: int) -> Walk:
        if stripes not in self._walks:
            self._walks[stripes] = Walk(self, stripes)
        return self._walks[stripes]

    def is_resident(self, root: Root, first: int) -> bool:
        """Whether a chain from node `first` on finds all of a buffer in SRAM, instead of holding rows of it."""
        return root in self.resident and not (root.first >= first and root.last <= self.last)


class Walk:
    """A chain in so many stripes: rows that each node has made after each of them, rows of buffers that live."""

    def __init__(self, chain: Chain, stripes: int) -> None:
        self.chain, self.stripes = chain, stripes
        self.columns: list[list[int]] = []  # by position, then stripe: rows made
        self.bytes: list[int | None] = [0]  # by length
        self.rows: dict[Root, int] = {}
        self._sizes: dict[Root, int] = {}
        self._spoilt = False

    def add(self, node: Node) -> None:
        """The next node of the chain."""
        length = len(self.columns) + 1
        made = self._column(node)
        self.columns.append(made)
        self._spoilt = self._spoilt or self._spoils(node, made)
        touched = {a.root for a in (*node.reads.values(), node.write) if a is not None}
        for root in touched:
            if self.chain.is_resident(root, node.index):
                continue
            uses = [u for u in self.chain.uses[root] if u.position < length]
            self.rows[root] = self._living(uses)
            low, high = min(u.access.low for u in uses), max(u.access.high for u in uses)
            self._sizes[root] = Stage(root, low, high).bytes_of(self.rows[root])
        weights = self.chain.weights[length][1]
        self.bytes.append(None if self._spoilt else weights + sum(self._sizes.values()))

    def _column(self, node: Node) -> list[int]:
        """Rows of a node by demand of the later ones; those that nothing asks for go on evenly."""
        rows, write = node.rows, node.write
        made: list[int] | None = None
        if write is not None:
            for use in self.chain.uses[write.root]:
                if use.position >= len(self.columns) or not use.name or not use.meets(write):
                    continue
                ends = use.node.ends(use.name)
                asked = [ends[row] for row in self.columns[use.position]]
                made = asked if made is None else [max(a, b) for a, b in zip(made, asked, strict=True)]
        if made is None:
            return [-(-rows * stripe // self.stripes) for stripe in range(1, self.stripes + 1)]
        if write is None or write.root.external or any(r > self.chain.last for r in write.root.reads):
            made[-1] = rows
        return made

    def _spoils(self, node: Node, made: Sequence[int]) -> bool:
        """Whether a later node writes over rows that this one reads in later stripes."""
        for name, access in node.reads.items():
            for use in self.chain.uses[access.root]:
                if use.name or use.position >= len(self.columns) - 1 or not use.meets(access):
                    continue
                tops = node.tops(name)
                written = self.columns[use.position]
                if any(row < node.rows and tops[row] < end for row, end in zip(made, written, strict=True)):
                    return True
        return False

    def _living(self, uses: Sequence[Use]) -> int:
        """The most rows of a buffer that live during a stripe: from the first still to be used to the last touched."""
        low, high = [_NEVER] * self.stripes, [0] * self.stripes
        for use in uses:
            made, rows = self.columns[use.position], use.node.rows
            tops, ends = use.node.tops(use.name), use.node.ends(use.name)
            before = 0
            for stripe, row in enumerate(made):
                if before < rows and tops[before] < low[stripe]:
                    low[stripe] = tops[before]
                if ends[row] > high[stripe]:
                    high[stripe] = ends[row]
                before = row
        return max(0, *(end - first for first, end in zip(low, high, strict=True)))


_NEVER = 1 << 30


def _stage(root: Root, uses: Sequence[Use], last: int) -> Stage:
    """What a chain holds and moves of a buffer."""
    written = _union([use.access for use in uses if not use.name])
    stage = Stage(root, min(use.access.low for use in uses), max(use.access.high for use in uses))
    if root.external or any(r > last for r in root.reads):
        stage.store = sum(end - start for start, end in written)
    stage.load = _to_load(stage, uses, written)
    return stage


def _union(accesses: Sequence[Access]) -> list[tuple[int, int]]:
    """Bytes of a pixel that accesses cover, in order."""
    covered: list[tuple[int, int]] = []
    for low, high in sorted((a.low, a.high) for a in accesses):
        if covered and low <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], high))
        else:
            covered.append((low, high))
    return covered


def _to_load(stage: Stage, uses: Sequence[Use], written: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """What must come from DDR: all of a buffer that is read before it is written, else what is not written here."""
    if uses[0].name:  # the first node that touches it reads it
        return stage.low, stage.high
    if not any(use.name for use in uses) or len(written) != 1 or written[0] == (stage.low, stage.high):
        return None
    low, high = written[0]
    return (stage.low, low) if high == stage.high else (high, stage.high)


def _writes_cover_reads(stage: Stage, uses: Sequence[Use]) -> bool:
    """What is read comes from DDR or has been written here before."""
    if all(use.name for use in uses):
        return True
    if stage.load == (stage.low, stage.high):  # changed in place: what is loaded must be what is changed
        return all((use.access.low, use.access.high) == stage.load for use in uses)
    for use in uses:
        if use.name:
            ready = [u.access for u in uses if not u.name and u.node.index < use.node.index]
            covered = _union(ready) if stage.load is None else _joined(_union(ready), stage.load)
            if not any(low <= use.access.low and use.access.high <= high for low, high in covered):
                return False
    return True


def _joined(covered: Sequence[tuple[int, int]], more: tuple[int, int]) -> list[tuple[int, int]]:
    """Ranges with one more."""
    result: list[tuple[int, int]] = []
    for low, high in sorted([*covered, more]):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return result
