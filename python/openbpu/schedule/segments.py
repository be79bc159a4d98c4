"""Segments: how an instruction, or a cascade of them, fits into the SRAM, and what it moves from and to DDR."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from openbpu.errors import UnsupportedError
from openbpu.schedule.cascade import Cascade, build
from openbpu.schedule.flow import Node, Root
from openbpu.schedule.program import Operand

LANES = 16  # output channels of a line of weights
_SLICED = frozenset({"CONV2D", "MATMUL", "TCONV2D"})


@dataclass(eq=False)
class Segment:
    """Consecutive nodes. With `slices`, one node in slices of its output channels [(first, count)].

    `rows_outer`: each stripe goes through all slices, so that weights come again in each stripe; else each slice goes
    through all stripes, so that rows come again in each slice. A segment without a cascade works on whole buffers, in
    SRAM those that are resident, in DDR the others.
    """

    nodes: Sequence[Node]
    cascade: Cascade | None
    bytes: int  # of SRAM beside resident buffers
    traffic: int  # bytes from and to DDR
    slices: list[tuple[int, int]] = field(default_factory=list)
    rows_outer: bool = False

    @cached_property
    def roots(self) -> set[Root]:
        """Buffers that it touches."""
        return {a.root for n in self.nodes for a in (*n.reads.values(), n.write) if a is not None}


def accessed(nodes: Sequence[Node]) -> set[Root]:
    return {a.root for n in nodes for a in (*n.reads.values(), n.write) if a is not None}


def stripe_counts(rows: int) -> list[int]:
    """Numbers of stripes worth trying: by halves, then by rows."""
    heights = {rows}
    height = rows
    while height > 1:
        height = -(-height // 2)
        heights.add(height)
    return sorted({-(-rows // height) for height in heights})


def single_segment(
    node: Node, resident: Collection[Root], room: int, split: Callable[[int], Cascade | None] | None = None
) -> Segment:
    """One node in the split that moves the fewest bytes. Raises UnsupportedError if nothing fits.

    `split` gives the node in so many stripes.
    """
    split = split or (lambda stripes: build([node], stripes, accessed([node]) & set(resident)))
    options: list[Segment] = []
    if node.by_rows:
        for stripes in stripe_counts(node.rows):
            cascade = split(stripes)
            if cascade is None:
                break
            options += _with_weights(node, cascade, room)
            if options and stripes > 1 and options[-1].cascade is cascade:
                break
    if not options:
        options += _direct(node, resident, room)
    if not options:
        raise _too_large(node, room)
    return min(options, key=lambda s: (s.traffic, s.cascade.stripes if s.cascade else 0, len(s.slices)))


def _with_weights(node: Node, cascade: Cascade, room: int) -> list[Segment]:
    """The ways to bring the weights to a node in stripes."""
    rows = cascade.bytes - cascade.weights
    if cascade.bytes <= room:
        return [Segment([node], cascade, cascade.bytes, cascade.traffic + node.weight_bytes)]
    slices = slices_of(node, room - rows)
    if not slices:
        return []
    used = rows + slice_bytes(node, slices[0])
    loaded = sum(s.loaded_bytes for s in cascade.stages.values())
    again = Segment([node], cascade, used, cascade.traffic + loaded * (len(slices) - 1) + node.weight_bytes, slices)
    if cascade.stripes == 1:
        again.traffic = cascade.traffic + node.weight_bytes
        return [again]
    stored = Segment([node], cascade, used, cascade.traffic + cascade.stripes * node.weight_bytes, slices, True)
    return [min(again, stored, key=lambda s: s.traffic)]


def _direct(node: Node, resident: Collection[Root], room: int) -> list[Segment]:
    """Whole operands where they are; those in DDR are read through again for each slice of weights."""
    slices = slices_of(node, room) if node.weight_bytes else []
    if room < 0 or (node.weight_bytes and not slices):
        return []
    reads = sum(_bytes(a.operand) for a in node.reads.values() if a.root not in resident)
    writes = 0 if node.write is None or node.write.root in resident else _bytes(node.write.operand)
    traffic = reads * max(1, len(slices)) + writes + node.weight_bytes
    used = slice_bytes(node, slices[0]) if slices else 0
    return [Segment([node], None, used, traffic, slices if len(slices) > 1 else [])]


def _bytes(operand: Operand) -> int:
    return prod(operand.extents) * operand.value.item_size


def slice_bytes(node: Node, part: tuple[int, int]) -> int:
    """Weights of output channels (first, count)."""
    blocks = -(-node.instruction.out.extents[3] // LANES)
    return node.weight_bytes // blocks * -(-part[1] // LANES)


def slices_of(node: Node, room: int) -> list[tuple[int, int]]:
    """The fewest slices of output channels whose weights fit, two at a time if possible; none if no line fits."""
    channels = node.instruction.out.extents[3]
    if node.weight_bytes <= room and (node.instruction.op not in _SLICED or node.weight_bytes * 2 <= room):
        return [(0, channels)]
    blocks = -(-channels // LANES)
    line = node.weight_bytes // blocks
    grouped = node.instruction.aux is not None and node.instruction.aux.get("groups", 1) != 1
    if node.instruction.op not in _SLICED or grouped:
        return [(0, channels)] if node.weight_bytes <= room else []
    fit = max(room // 2 // line, min(1, room // line))
    if fit <= 0:
        return []
    count = -(-blocks // fit)
    size = -(-blocks // count) * LANES
    return [(first, min(size, channels - first)) for first in range(0, channels, size)]


def _too_large(node: Node, room: int) -> UnsupportedError:
    i = node.instruction
    sliced = i.op in _SLICED
    line = slice_bytes(node, (0, LANES)) if sliced else node.weight_bytes
    return UnsupportedError(
        f"the weights{' of 16 output channels' if sliced else ''} must fit into the SRAM",
        where=f"layer '{i.name}'",
        seen=f"{line} bytes, with {room} bytes of SRAM",
        remedy="compile for a profile with more SRAM, or with optimize_level O0; split the layer, or name its node in "
        "run_on_cpu",
    )
