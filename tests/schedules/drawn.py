"""Random legal schedules: any division into cascades, any stripes and slices that fit, any choice of what stays."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from openbpu.schedule.cascade import build
from openbpu.schedule.flow import Flow, Node, Root
from openbpu.schedule.partition import Partition
from openbpu.schedule.segments import LANES, Segment, accessed, single_segment, slice_bytes


def drawn(seed: int) -> Callable[[Flow, int], Partition]:
    """A partitioner that decides by chance."""

    def partitioner(flow: Flow, room: int) -> Partition:
        random = Random(seed)
        resident = _kept(flow, room, random)
        segments: list[Segment] = []
        at = 0
        while at < len(flow.nodes):
            length = random.randint(1, 6)
            nodes = flow.nodes[at : at + length]
            while len(nodes) > 1 and not all(n.by_rows for n in nodes):
                nodes = nodes[:-1]
            segment = _segment(nodes, resident, _room(nodes, resident, room), random)
            segments.append(segment)
            at += len(segment.nodes)
        return Partition(segments, resident)

    return partitioner


def _kept(flow: Flow, room: int, random: Random) -> set[Root]:
    """Some buffers, never more than half of the SRAM at a time."""
    taken = [0] * len(flow.nodes)
    kept: set[Root] = set()
    for root in flow.roots.values():
        times = range(root.first, root.last + 1)
        fits = max(taken[t] for t in times) + root.size <= room // 2
        if root.writes and not root.external and fits and random.random() < 0.4:
            kept.add(root)
            for time in times:
                taken[time] += root.size
    return kept


def _room(nodes: list[Node], resident: Collection[Root], room: int) -> int:
    first, end = nodes[0].index, nodes[-1].index + 1
    return room - sum(r.size for r in resident if r.first < end and r.last >= first)


def _segment(nodes: list[Node], resident: Collection[Root], room: int, random: Random) -> Segment:
    """The longest cascade from the first node on that fits in a random number of stripes; a slice count by chance."""
    while nodes[-1].by_rows:
        rows = nodes[-1].rows
        for stripes in (random.randint(1, rows), rows):
            cascade = build(nodes, stripes, accessed(nodes) & set(resident))
            if cascade is None:
                continue
            if cascade.bytes <= room:
                return _sliced(Segment(nodes, cascade, cascade.bytes, cascade.traffic), random)
        if len(nodes) == 1:
            break
        nodes = nodes[:-1]
    return single_segment(nodes[0], resident, room)


def _sliced(segment: Segment, random: Random) -> Segment:
    node = segment.nodes[0]
    i = node.instruction
    channels = i.out.extents[3]
    plain = i.op in ("CONV2D", "MATMUL") and len(segment.nodes) == 1
    if plain and channels > LANES and random.random() < 0.5:
        size = LANES * random.randint(1, -(-channels // LANES))
        segment.slices = [(first, min(size, channels - first)) for first in range(0, channels, size)]
        segment.rows_outer = random.random() < 0.5
        assert slice_bytes(node, segment.slices[0]) <= node.weight_bytes
    return segment
