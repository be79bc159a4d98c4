"""Which instructions form a cascade, and which buffers stay in SRAM: least DDR traffic within the SRAM's size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from openbpu.errors import UnsupportedError
from openbpu.schedule.flow import CPU, Flow, Node, Root
from openbpu.schedule.segments import Segment, accessed, cascade_segment, single_segment

_LONGEST = 24  # nodes of a cascade
_SHARES = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the SRAM, that buffers which stay may take while cascades are chosen
_MISSES = 2  # extensions that may fail before a cascade is given up


@dataclass(eq=False)
class Partition:
    """Segments in order, and the buffers that lie in SRAM from their first to their last use."""

    segments: list[Segment]
    resident: set[Root]

    @property
    def traffic(self) -> int:
        return sum(segment.traffic for segment in self.segments)


def partition(flow: Flow, room: int, level: int = 2) -> Partition:
    """The best of several; level 0 keeps nothing in SRAM beyond a layer, level 1 makes no cascades."""
    maker = _Partitioner(flow, room, cascades=level > 1)
    shares = _SHARES if level > 0 else (0.0,)
    best: Partition | None = None
    failure: UnsupportedError | None = None
    for share in shares:
        try:
            found = maker.with_share(share) if level > 0 else maker.chosen(set())
        except UnsupportedError as error:
            failure = error
            continue
        if best is None or found.traffic < best.traffic:
            best = found
    if best is None:
        assert failure is not None
        raise failure
    return best


class _Partitioner:
    def __init__(self, flow: Flow, room: int, cascades: bool) -> None:
        self.flow, self.room, self.cascades = flow, room, cascades
        self._known: dict[tuple[int, int, frozenset[Root], int], Segment | None] = {}
        self._single: dict[tuple[int, frozenset[Root], int], Segment] = {}

    def with_share(self, share: float) -> Partition:
        """Small buffers first are taken to stay; then cascades are chosen, then what stays once more, now exactly."""
        resident = self._small(share)
        found = self.chosen(resident)
        return self._settled(found)

    def chosen(self, resident: set[Root]) -> Partition:
        """The cheapest division into segments, by dynamic programming over their ends."""
        nodes, count = self.flow.nodes, len(self.flow.nodes)
        best: list[tuple[int, Segment | None, int]] = [(0, None, 0)] * (count + 1)
        for end in range(1, count + 1):
            single = self._fit_single(end - 1, resident)
            best[end] = (best[end - 1][0] + single.traffic, single, end - 1)
            misses = 0
            for first in range(end - 2, max(-1, end - 1 - _LONGEST), -1) if self.cascades else ():
                if not nodes[first].by_rows or not nodes[end - 1].by_rows:
                    break
                segment = self._fit(first, end, resident)
                if segment is None:
                    misses += 1
                    if misses > _MISSES:
                        break
                    continue
                cost = best[first][0] + segment.traffic
                if cost < best[end][0]:
                    best[end] = (cost, segment, first)
        segments: list[Segment] = []
        end = count
        while end:
            _, segment, first = best[end]
            assert segment is not None
            segments.append(segment)
            end = first
        return Partition(segments[::-1], resident)

    def _fit(self, first: int, end: int, resident: Collection[Root]) -> Segment | None:
        inner = {r for r in accessed(self.flow.nodes[first:end]) if r.first >= first and r.last < end}
        room = self.room - self._live(first, end, resident, inner)
        nodes = self.flow.nodes[first:end]
        near = frozenset(accessed(nodes) & set(resident) - inner)
        key = (first, end, near, room)
        if key not in self._known:
            self._known[key] = cascade_segment(nodes, near, room) if room > 0 else None
        return self._known[key]

    def _fit_single(self, index: int, resident: Collection[Root]) -> Segment:
        node = self.flow.nodes[index]
        near = frozenset(accessed([node]) & set(resident))
        room = self.room - self._live(index, index + 1, resident, ())
        key = (index, near, room)
        if key not in self._single:
            self._single[key] = single_segment(node, near, room)
        return self._single[key]

    def _live(self, first: int, end: int, resident: Iterable[Root], inner: Collection[Root]) -> int:
        """The most bytes of resident buffers at one time of a segment: all of them, as stripes mix its times."""
        return sum(r.size for r in resident if r.first < end and r.last >= first and r not in inner)

    def _small(self, share: float) -> set[Root]:
        """Buffers that together never take more than that share of the SRAM, small ones first."""
        limit = int(self.room * share)
        taken = [0] * len(self.flow.nodes)
        chosen: set[Root] = set()
        for root in sorted(self._candidates(), key=lambda r: (r.size, r.first)):
            times = range(root.first, root.last + 1)
            if root.size <= limit and max(taken[t] for t in times) + root.size <= limit:
                chosen.add(root)
                for time in times:
                    taken[time] += root.size
        return chosen

    def _candidates(self) -> list[Root]:
        return [r for r in self.flow.roots.values() if not r.external and r.writes]

    def _settled(self, found: Partition) -> Partition:
        """With the segments as they are: buffers inside one leave the SRAM, others enter where that saves traffic."""
        segments = found.segments
        spans = [(s.nodes[0].index, s.nodes[-1].index + 1) for s in segments]
        inner = {
            r
            for segment, (first, end) in zip(segments, spans, strict=True)
            if len(segment.nodes) > 1
            for r in segment.roots
            if r.first >= first and r.last < end
        }
        resident = found.resident - inner
        for root in sorted(self._candidates(), key=lambda r: (-self._gain(r, segments, spans), r.first)):
            if root in resident or root in inner or root.size > self.room or not self._gain(root, segments, spans):
                continue
            changed = self._with(root, segments, spans, resident)
            if changed is not None:
                segments, resident = changed, resident | {root}
        return Partition(segments, resident)

    @staticmethod
    def _gain(root: Root, segments: Sequence[Segment], spans: Sequence[tuple[int, int]]) -> float:
        """Traffic that its staying would save, per byte and time in SRAM."""
        touched = sum(root in segment.roots for segment in segments)
        time = sum(1 for first, end in spans if root.first < end and root.last >= first)
        return touched / time if touched > 1 else 0.0

    def _with(
        self, root: Root, segments: Sequence[Segment], spans: Sequence[tuple[int, int]], resident: set[Root]
    ) -> list[Segment] | None:
        wider = resident | {root}
        result = list(segments)
        for k, (first, end) in enumerate(spans):
            if root.first >= end or root.last < first:
                continue
            try:
                fitted = self._fit(first, end, wider) if end - first > 1 else self._fit_single(first, wider)
            except UnsupportedError:
                return None
            if fitted is None:
                return None
            result[k] = fitted
        before, after = (sum(s.traffic for s in some) for some in (segments, result))
        return result if after < before else None


def naive_traffic(nodes: Sequence[Node]) -> int:
    """Bytes of a program that brings all operands of each layer from DDR and all results there."""
    total = 0
    for node in nodes:
        operands = [a.operand for a in (*node.reads.values(), node.write) if a is not None]
        total += node.weight_bytes
        for operand in operands:
            n, h, w, c = operand.extents
            total += n * h * w * c * operand.value.item_size
    return total


def ideal_traffic(flow: Flow) -> int:
    """What no schedule avoids: weights once, and once each buffer that the CPU and the BPU share."""
    shared = sum(root.memory.size for root in flow.roots.values() if root.external and _on_bpu(root, flow))
    return shared + sum(node.weight_bytes for node in flow.nodes)


def _on_bpu(root: Root, flow: Flow) -> bool:
    touching = (flow.nodes[index].instruction.op for index in (*root.writes, *root.reads))
    return any(op not in CPU for op in touching)
