"""Which instructions form a cascade, and which buffers stay in SRAM: least DDR traffic within the SRAM's size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from openbpu.errors import UnsupportedError
from openbpu.schedule.cascade import Cascade, build
from openbpu.schedule.chain import Chain
from openbpu.schedule.flow import CPU, Flow, Node, Root
from openbpu.schedule.segments import Segment, accessed, single_segment, stripe_counts

_LONGEST = 24  # nodes of a cascade
_SHARES = tuple(k / 10 for k in range(10))  # of the SRAM, that buffers which stay may take while cascades are chosen
_STARTS = 2  # divisions that are worth more trials
_NEAR = 1.1  # times the fewest bytes so far, that are worth more trials
_CROWDED = (0.9, 0.6)  # of the SRAM, that buffers may take when one more is to stay
_EFFORT = 100_000  # nodes that trials may look at, one division after the other
_MISSES = 2  # extensions that may fail before a cascade is given up


@dataclass(eq=False)
class Partition:
    """Segments in order, and the buffers that lie in SRAM from their first to their last use."""

    segments: list[Segment]
    resident: set[Root]

    @property
    def traffic(self) -> int:
        return sum(segment.traffic for segment in self.segments)

    def moved(self) -> dict[Root, int]:
        """Bytes that cascades move of each buffer that could stay in SRAM."""
        found: dict[Root, int] = {}
        for segment in self.segments:
            for root, stage in segment.cascade.stages.items() if segment.cascade else ():
                size = stage.loaded_bytes + stage.stored_bytes
                if size and not root.external and root.writes:
                    found[root] = found.get(root, 0) + size
        return found


class Partitioner:
    """Divides one program for several sizes of the SRAM; what it has found for one serves the others."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.touched = [frozenset(accessed([node])) for node in flow.nodes]
        self._alive = self._alive_around()
        self._chains: dict[tuple[int, frozenset[Root]], Chain] = {}
        self._cascades: dict[tuple[int, int, int, frozenset[Root]], Cascade | None] = {}
        self._single: dict[tuple[int, frozenset[Root], int], Segment] = {}

    def best(self, room: int, level: int = 2) -> Partition:
        """The best of several; level 0 keeps nothing in SRAM beyond a layer, level 1 makes no cascades.

        Raises UnsupportedError for a layer that does not fit.
        """
        search = _Search(self, room, cascades=level > 1)
        if level == 0:
            return search.chosen(set())
        found: list[Partition] = []
        tried: list[set[Root]] = []
        failure: UnsupportedError | None = None
        ideal = ideal_traffic(self.flow)
        for share in _SHARES:
            resident = search.small(share)
            if resident in tried:
                continue
            tried.append(resident)
            try:
                found.append(search.settled(search.chosen(resident)))
            except UnsupportedError as error:
                failure = failure or error  # the first one has all of the SRAM
                continue
            if found[-1].traffic <= ideal:
                return found[-1]
        if not found:
            assert failure is not None
            raise failure
        starts = sorted(found, key=lambda p: p.traffic)[:_STARTS]
        return min((search.exchanged(search.improved(start)) for start in starts), key=lambda p: p.traffic)

    def around(self, end: int, resident: set[Root]) -> frozenset[Root]:
        """Resident buffers at the times of all cascades that end there."""
        return self._alive[end] & resident

    def _alive_around(self) -> list[frozenset[Root]]:
        """Per end of a cascade the buffers that live at any of its times, as long as it may be."""
        count = len(self.flow.nodes)
        found: list[set[Root]] = [set() for _ in range(count + 1)]
        for root in self.flow.roots.values():
            for end in range(root.first + 1, min(count, root.last + _LONGEST) + 1):
                found[end].add(root)
        return [frozenset(roots) for roots in found]

    def chain(self, end: int, length: int, resident: frozenset[Root]) -> Chain:
        """The nodes that end at one, at least so many; `resident` are the buffers that lie in SRAM at these times."""
        chain = self._chains.get((end, resident))
        if chain is None:
            chain = self._chains[end, resident] = Chain(end - 1, resident)
        for index in range(end - 1 - len(chain.nodes), end - 1 - length, -1):
            chain.add(self.flow.nodes[index])
        return chain

    def cascade(self, first: int, end: int, stripes: int, near: frozenset[Root]) -> Cascade | None:
        """The cascade of these nodes."""
        key = (first, end, stripes, near)
        if key not in self._cascades:
            self._cascades[key] = build(self.flow.nodes[first:end], stripes, near)
        return self._cascades[key]

    def single(self, index: int, near: frozenset[Root], room: int) -> Segment:
        """A node on its own."""
        key = (index, near, room)
        if key not in self._single:
            split = partial(self.cascade, index, index + 1, near=near)
            self._single[key] = single_segment(self.flow.nodes[index], near, room, split)
        return self._single[key]


class _Search:
    """Divisions for one size of the SRAM."""

    def __init__(self, partitioner: Partitioner, room: int, cascades: bool) -> None:
        self.shared, self.flow = partitioner, partitioner.flow
        self.room, self.cascades = room, cascades

    def chosen(self, resident: set[Root]) -> Partition:
        """The cheapest division into segments, by dynamic programming over their ends."""
        count = len(self.flow.nodes)
        load = self._load(resident)
        best: list[tuple[int, int]] = [(0, 0)]  # by end: bytes moved up to there, first node of the last segment
        for end in range(1, count + 1):
            single = self._fit_single(end - 1, resident, load)
            best.append((best[end - 1][0] + single.traffic, end - 1))
            if self.cascades and self.flow.nodes[end - 1].by_rows:
                self._extend(best, end, resident)
        segments: list[Segment] = []
        end = count
        while end:
            first = best[end][1]
            fitted = self._fit(first, end, resident) if end - first > 1 else self._fit_single(first, resident, load)
            assert fitted is not None
            segments.append(fitted)
            end = first
        return Partition(segments[::-1], resident)

    def _extend(self, best: list[tuple[int, int]], end: int, resident: set[Root]) -> None:
        """Looks for a cascade that ends here and costs less."""
        nodes = self.flow.nodes
        near = self.shared.around(end, resident)
        misses = 0
        chain = self.shared.chain(end, 1, near)
        for first in range(end - 2, max(-1, end - 1 - _LONGEST), -1):
            if not nodes[first].by_rows or misses > _MISSES:
                break
            if len(chain.nodes) < end - first:
                chain.add(nodes[first])
            moved, (weights, padded) = chain.moved[end - first], chain.weights[end - first]
            if moved is not None and best[first][0] + moved + weights >= best[end][0]:
                continue
            room = self._room(first, end, near)
            if moved is None or padded > room:
                misses += 1
                continue
            if _stripes(chain, end - first, room) is None:
                misses += 1
                continue
            best[end] = (best[first][0] + moved + weights, first)

    def _fit(self, first: int, end: int, resident: set[Root]) -> Segment | None:
        near, length = self.shared.around(end, resident), end - first
        chain, room = self.shared.chain(end, length, near), self._room(first, end, near)
        stripes = None if chain.moved[length] is None else _stripes(chain, length, room)
        if stripes is None:
            return None
        nodes = self.flow.nodes[first:end]
        touched = frozenset(r for r in accessed(nodes) & near if chain.is_resident(r, first))
        cascade = self.shared.cascade(first, end, stripes, touched)
        assert cascade is not None
        return Segment(nodes, cascade, cascade.bytes, cascade.traffic + chain.weights[length][0])

    def _fit_single(self, index: int, resident: set[Root], load: Sequence[int]) -> Segment:
        return self.shared.single(index, self.shared.touched[index] & resident, self.room - load[index])

    def _load(self, resident: Iterable[Root]) -> list[int]:
        """Bytes of these buffers at the time of each node."""
        changes = [0] * (len(self.flow.nodes) + 1)
        for root in resident:
            changes[root.first] += root.size
            changes[root.last + 1] -= root.size
        return list(accumulate(changes))

    def _room(self, first: int, end: int, near: Iterable[Root]) -> int:
        """What a cascade has beside all resident buffers of its times (stripes mix them) that live beyond it."""
        outer = (r for r in near if r.last >= first and (r.first < first or r.last >= end))
        return self.room - sum(r.size for r in outer)

    def small(self, share: float) -> set[Root]:
        """Buffers that together never take more than that share of the SRAM, small ones first."""
        limit = int(self.room * share)
        taken = [0] * len(self.flow.nodes)
        chosen: set[Root] = set()
        for root in sorted(self._candidates(), key=lambda r: (r.size, r.first)):
            if root.size <= limit and max(taken[root.first : root.last + 1]) + root.size <= limit:
                chosen.add(root)
                for time in range(root.first, root.last + 1):
                    taken[time] += root.size
        return chosen

    def _candidates(self) -> list[Root]:
        return [r for r in self.flow.roots.values() if not r.external and r.writes]

    def improved(self, best: Partition) -> Partition:
        """Segments settle what stays in SRAM, and that the segments, as long as it saves traffic."""
        while True:
            again = self.settled(self.chosen(best.resident))
            if again.traffic >= best.traffic:
                return best
            best = again

    def exchanged(self, best: Partition) -> Partition:
        """Buffers that still move stay, those that move most first, in the place of others, as long as it saves.

        Programs of several hundred nodes have more of them than can be tried: the effort ends the search.
        """
        left = _EFFORT // len(self.flow.nodes)
        while True:
            moved = {root: size for root, size in best.moved().items() if root.size <= self.room}
            trials = [(root, part) for root in sorted(moved, key=lambda r: (-moved[r], r.first)) for part in _CROWDED]
            for root, part in trials:
                if left == 0:
                    return best
                left -= 1
                try:
                    found = self.settled(self.chosen(self._in_place_of_others(root, best.resident, part)))
                    if found.traffic < _NEAR * best.traffic:
                        found = self.improved(found)
                except UnsupportedError:
                    continue
                if found.traffic < best.traffic:
                    best = found
                    break
            else:
                return best

    def _in_place_of_others(self, root: Root, resident: set[Root], part: float) -> set[Root]:
        """One more buffer; the largest of its time go until what stays takes that part of the SRAM."""
        result = resident | {root}
        load = self._load(result)
        rivals = [r for r in resident if r.first <= root.last and r.last >= root.first]
        for rival in sorted(rivals, key=lambda r: (-r.size, r.first)):
            if max(load[root.first : root.last + 1]) <= part * self.room:
                break
            if rival in result:
                result.discard(rival)
                for time in range(rival.first, rival.last + 1):
                    load[time] -= rival.size
        return result

    def settled(self, found: Partition) -> Partition:
        """With the segments as they are: buffers inside one leave the SRAM, others enter where that saves traffic."""
        segments = list(found.segments)
        spans = [(s.nodes[0].index, s.nodes[-1].index + 1) for s in segments]
        inner = {
            r
            for segment, (first, end) in zip(segments, spans, strict=True)
            if len(segment.nodes) > 1
            for r in segment.roots
            if r.first >= first and r.last < end
        }
        resident = found.resident - inner
        load = self._load(resident)
        gains = {root: self._gain(root, segments, spans) for root in self._candidates()}
        for root in sorted(gains, key=lambda r: (-gains[r], r.first)):
            if root in resident or root in inner or root.size > self.room or not gains[root]:
                continue
            self._enter(root, segments, spans, resident, load)
        return Partition(segments, resident)

    @staticmethod
    def _gain(root: Root, segments: Sequence[Segment], spans: Sequence[tuple[int, int]]) -> float:
        """Traffic that its staying would save, per byte and time in SRAM."""
        beside = _overlap(root, spans)
        touched = sum(root in segments[k].roots for k in beside)
        return touched / len(beside) if touched > 1 else 0.0

    def _enter(
        self,
        root: Root,
        segments: list[Segment],
        spans: Sequence[tuple[int, int]],
        resident: set[Root],
        load: list[int],
    ) -> None:
        """One more buffer stays if that saves traffic: changes the segments, the buffers that stay and their bytes."""
        self._move(root, resident, load, 1)
        beside = _overlap(root, spans)
        fitted = [self._refitted(*spans[k], resident, load) for k in beside]
        whole = [segment for segment in fitted if segment is not None]
        if len(whole) < len(fitted) or sum(s.traffic for s in whole) >= sum(segments[k].traffic for k in beside):
            self._move(root, resident, load, -1)
            return
        segments[beside.start : beside.stop] = whole

    @staticmethod
    def _move(root: Root, resident: set[Root], load: list[int], sign: int) -> None:
        (resident.add if sign > 0 else resident.discard)(root)
        size = sign * root.size
        for time in range(root.first, root.last + 1):
            load[time] += size

    def _refitted(self, first: int, end: int, resident: set[Root], load: Sequence[int]) -> Segment | None:
        try:
            return self._fit(first, end, resident) if end - first > 1 else self._fit_single(first, resident, load)
        except UnsupportedError:
            return None


def _overlap(root: Root, spans: Sequence[tuple[int, int]]) -> range:
    """Which of these spans, one behind the other, lie in the life of a buffer."""
    first = bisect_right(spans, root.first, key=lambda span: span[1])
    return range(first, bisect_right(spans, root.last, key=lambda span: span[0]))


def _stripes(chain: Chain, length: int, room: int) -> int | None:
    """The fewest stripes in which a cascade fits; None if there are none."""
    counts = stripe_counts(chain.nodes[0].rows)[1:]
    low, high, found = 0, len(counts), None
    while low < high:  # more stripes need less SRAM
        middle = (low + high) // 2
        size = chain.bytes(length, counts[middle])
        if size is None:
            return None
        if size <= room:
            found, high = counts[middle], middle
        else:
            low = middle + 1
    return found


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
