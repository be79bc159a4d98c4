"""Segments to instructions: copies between DDR and SRAM, weights, and the boxes of each stripe and slice."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import Value
from openbpu.schedule.chain import Stage
from openbpu.schedule.flow import CPU, Access, Flow, Node, Root, window
from openbpu.schedule.memory import Memory, Place
from openbpu.schedule.partition import Partition
from openbpu.schedule.program import MAX_EXTENT, Call, Instruction, Operand
from openbpu.schedule.segments import Segment, slice_bytes

_MOVES = {("ddr", "sram"): "LOAD", ("in", "sram"): "LOAD", ("const", "sram"): "LOAD"}
_MOVES |= {("sram", "ddr"): "STORE", ("sram", "out"): "STORE"}
_FIELDS = ("in0", "in1", "in2")
Box = tuple[int, int, int, int, int, int]


class Striper:
    """Writes a partition out as instructions, in program order; memories get addresses later."""

    def __init__(self, flow: Flow, partition: Partition) -> None:
        self.partition = partition
        self.roots = flow.roots
        self.homes: dict[Root, Memory] = {}
        self.resident: dict[Root, Memory] = {}
        address = 0
        for root in flow.roots.values():
            size = -(-max(root.size, prod(covering(root.memory.size))) // 64) * 64
            self.homes[root] = Memory("home", size, address=address)
            address += size
            if root in partition.resident:
                self.resident[root] = Memory("sram", root.memory.size)

    def code(self) -> list[Instruction]:
        """All instructions; waits are inserted when addresses are known."""
        return [i for segment in self.partition.segments for i in self._segment(segment)]

    # ---- segments

    def _segment(self, segment: Segment) -> Iterator[Instruction]:
        if segment.nodes[0].instruction.op in CPU:
            yield self._on_cpu(segment.nodes[0].instruction)
        elif segment.cascade is None:
            yield from self._whole(segment)
        else:
            yield from _Cascaded(self, segment).instructions()

    def _on_cpu(self, i: Instruction) -> Instruction:
        if i.call is None:
            assert i.in0 is not None
            return replace(i, out=self.at_rest(i.out), in0=self.at_rest(i.in0))
        inputs = tuple(self.at_rest(o) if isinstance(o, Operand) else o for o in i.call.inputs)
        outputs = tuple(None if o is None else self.at_rest(o) for o in i.call.outputs)
        call = Call(i.call.kernel, inputs, outputs, i.call.attributes)
        return replace(i, out=call.writes[0], call=call)

    def _whole(self, segment: Segment) -> Iterator[Instruction]:
        node = segment.nodes[0]
        i = node.instruction
        operands = {name: self.at_rest(getattr(i, name)) for name in _FIELDS if getattr(i, name) is not None}
        _, h, w, c = i.out.extents
        for first, count in segment.slices or [(0, c)]:
            weights = None
            if node.weight_bytes:
                weights = yield from self.brought(node, (first, count))
            yield instruction(i, self.at_rest(i.out), operands, (0, h, 0, w, first, count), weights)

    # ---- operands

    def at_rest(self, operand: Operand) -> Operand:
        """An operand in the buffer that holds all of it, in SRAM or DDR."""
        root = self.roots.get(operand.place.memory.root)
        if root is None:
            return operand
        place = replace(operand.place, memory=self.resident.get(root, operand.place.memory.root))
        return replace(operand, place=place, home=replace(operand.place, memory=self.homes[root]))

    def staged(self, operand: Operand, stage: Stage, memory: Memory) -> Operand:
        """An operand in the rows that a cascade holds."""
        g = stage.root.geometry
        assert g is not None
        pixel, item = stage.high - stage.low, operand.value.item_size
        strides = (stage.rows * g.w * pixel, g.w * pixel, pixel, item)
        place = Place(memory, operand.place.offset - stage.low, strides)
        home = replace(operand.place, memory=self.homes[stage.root])
        return replace(operand, place=place, roll=stage.rows if stage.rows < g.h else 0, home=home)

    def brought(self, node: Node, part: tuple[int, int]) -> Generator[Instruction, None, Operand]:
        """LDW for some output channels; returns the bytes in SRAM."""
        size, i = slice_bytes(node, part), node.instruction
        if part == (0, i.out.extents[3]):
            size = node.weight_bytes
        unit = 64 if size % 64 == 0 else 16
        rows = next(r for r in range(1, size + 1) if size // unit % r == 0 and size // unit // r <= MAX_EXTENT)
        shape = (1, rows, size // unit // rows, unit)
        strides = (size, size // rows, unit, 1)
        value = Value("weights", shape, "uint8", None, shape)
        out = Operand(value, Place(Memory("sram", size), 0, strides), shape)
        first = slice_bytes(node, (0, part[0])) if part[0] else 0
        yield Instruction("LDW", i.layer, out, weight=i.weight, fields={"C": first}, name=i.name)
        return out


class PaddingError(UnsupportedError):
    """This division has a stripe of padding alone; another may have none."""


class _Cascaded:
    """A segment stripe by stripe."""

    def __init__(self, striper: Striper, segment: Segment) -> None:
        assert segment.cascade is not None
        self.striper, self.segment, self.cascade = striper, segment, segment.cascade
        self.memories = {root: Memory("sram", stage.bytes) for root, stage in self.cascade.stages.items()}
        self.weights: dict[Node, Operand] = {}

    def instructions(self) -> Iterator[Instruction]:
        segment = self.segment
        if not segment.slices:
            for node in segment.nodes:
                if node.weight_bytes:
                    channels = node.instruction.out.extents[3]
                    self.weights[node] = yield from self.striper.brought(node, (0, channels))
            yield from self._stripes([None])
        elif segment.rows_outer or self.cascade.stripes == 1:
            yield from self._stripes(segment.slices)
        else:
            for part in segment.slices:
                yield from self._bring(part)
                yield from self._stripes([part], bring=False)

    def _bring(self, part: tuple[int, int]) -> Iterator[Instruction]:
        node = self.segment.nodes[0]
        self.weights[node] = yield from self.striper.brought(node, part)

    def _stripes(self, parts: Sequence[tuple[int, int] | None], bring: bool = True) -> Iterator[Instruction]:
        loaded = dict.fromkeys((r for r, s in self.cascade.stages.items() if s.load is not None), 0)
        for steps, targets in zip(self.cascade.steps, self.cascade.targets, strict=True):
            for root, end in targets.items():
                yield from self._load(root, loaded[root], end)
                loaded[root] = end
            for part in parts:
                if part is not None and bring:
                    yield from self._bring(part)
                for position, first, end in steps:
                    yield from self._compute(self.segment.nodes[position], first, end, part)

    def _load(self, root: Root, first: int, end: int) -> Iterator[Instruction]:
        """Rows of all channels that the cascade reads of a buffer in DDR."""
        stage = self.cascade.stages[root]
        access, layer, name = next(
            (a, n.instruction.layer, n.instruction.name)
            for n in self.segment.nodes
            for a in n.reads.values()
            if a.root is root
        )
        operand = access.operand
        item = operand.value.item_size
        n, h, w, _ = operand.extents
        assert stage.load is not None
        place = replace(operand.place, offset=stage.load[0])
        whole = replace(operand, place=place, extents=(n, h, w, (stage.load[1] - stage.load[0]) // item))
        source, target = self.striper.at_rest(whole), self._placed(whole, root)
        for y, rows in _pieces(first, end, target.roll):
            box = (y, rows, 0, w, 0, whole.extents[3])
            yield Instruction("LOAD", layer, target, source, box=box, name=name)

    def _compute(self, node: Node, first: int, end: int, part: tuple[int, int] | None) -> Iterator[Instruction]:
        i = node.instruction
        operands = {name: getattr(i, name) for name in _FIELDS if getattr(i, name) is not None}
        for name, operand in operands.items():
            access = node.reads.get(name)
            operands[name] = operand if access is None else self._placed(operand, access.root)
        out = i.out if node.write is None else self._placed(i.out, node.write.root)
        _, _, w, c = i.out.extents
        channel, count = part if part is not None else (0, c)
        for y, rows in _pieces(first, end, out.roll):
            _check_rows(i, operands, y, rows)
            box = (y, rows, 0, w, channel, count)
            yield instruction(i, out, operands, box, self.weights.get(node))
            if self._is_stored(node):
                yield Instruction("STORE", i.layer, self.striper.at_rest(i.out), out, box=box, name=i.name)

    def _placed(self, operand: Operand, root: Root) -> Operand:
        stage = self.cascade.stages.get(root)
        if stage is None:
            return self.striper.at_rest(operand)
        return self.striper.staged(operand, stage, self.memories[root])

    def _is_stored(self, node: Node) -> bool:
        """Whether its result leaves the SRAM: nothing in the cascade writes the same channels again."""
        write = node.write
        if write is None or write.root not in self.cascade.stages or not self.cascade.stages[write.root].store:
            return False
        later = (n.write for n in self.segment.nodes if n.index > node.index and n.write is not None)
        return not any(_same(other, write) for other in later)


def _check_rows(i: Instruction, operands: Mapping[str, Operand], first: int, count: int) -> None:
    """Rows of a result that see padding alone are no stripe of their own: nothing would order them by their operand."""
    for name, operand in operands.items():
        low, end = window(i, name, first, first + count) if operand.roll else (0, 1)
        if low == end:
            raise PaddingError(
                "a stripe that reads a rolling buffer must need a row of it",
                where=f"node '{i.name}'",
                seen=f"rows {first} to {first + count - 1}, which see padding alone",
                remedy="compile with optimize_level O0",
            )


def _same(a: Access, b: Access) -> bool:
    return a.root is b.root and (a.low, a.high) == (b.low, b.high)


def _pieces(first: int, end: int, roll: int) -> Iterator[tuple[int, int]]:
    """Rows [first, end) as (first, count), cut where a rolling buffer starts again."""
    while first < end:
        stop = min(end, (first // roll + 1) * roll) if roll else end
        yield first, stop - first
        first = stop


def instruction(
    i: Instruction, out: Operand, operands: dict[str, Operand], box: Box, weights: Operand | None
) -> Instruction:
    """`i` on these operands; moves across the border of the SRAM are LOAD or STORE."""
    op = i.op
    if op == "COPY":
        regions = (operands["in0"].place.memory.root.region, out.place.memory.root.region)
        op = _MOVES.get(regions, op)
    fields = dict(operands)
    if weights is not None:
        fields["in1"] = weights
    return replace(i, op=op, out=out, box=box, **fields)  # type: ignore[arg-type]


def covering(size: int) -> tuple[int, int]:
    """Extents of a surface that covers so many bytes: (rows, bytes of a row)."""
    return (1, size) if size <= MAX_EXTENT else (-(-size // MAX_EXTENT), MAX_EXTENT)
