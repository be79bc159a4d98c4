"""Boxes and links laid out top-down: ranks by longest path, order within a rank by the middle of the neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_GAP, _RISE = 24, 46  # between boxes, between ranks
_LINE, _PADDING, _CHARACTER = 14, 12, 6.6
_FAR = 24  # ranks; longer links are drawn straight
_SWEEPS = 4


@dataclass(frozen=True)
class Box:
    """A node of the picture: lines of text, a class for its colour, and what a click shows."""

    lines: tuple[str, ...]
    kind: str
    details: tuple[tuple[str, str], ...] = ()

    @property
    def width(self) -> float:
        return max(map(len, self.lines), default=1) * _CHARACTER + 2 * _PADDING

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + _PADDING


@dataclass(frozen=True)
class Link:
    """From a box to another, by their places; the text is shown beside it."""

    source: int
    target: int
    text: str = ""


@dataclass
class Layout:
    """Where everything lies: corners of boxes, points of links, the size of the whole."""

    corners: list[tuple[float, float]] = field(default_factory=list)
    paths: list[list[tuple[float, float]]] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def layout(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Places boxes that stand in an order in which links lead forwards; those that lead back count for nothing."""
    ranks = _ranks(boxes, links)
    widths = [box.width for box in boxes]
    of_rank: dict[int, list[int]] = defaultdict(list)
    for item, rank in enumerate(ranks):
        of_rank[rank].append(item)
    chains: list[list[int]] = []  # of each link: its boxes, and the places that it passes between them
    rank_of = list(ranks)
    for link in links:
        chain = [link.source]
        if 1 < ranks[link.target] - ranks[link.source] <= _FAR:
            for rank in range(ranks[link.source] + 1, ranks[link.target]):
                chain.append(len(widths))
                of_rank[rank].append(len(widths))
                widths.append(0.0)
                rank_of.append(rank)
        chains.append([*chain, link.target])
    above: dict[int, list[int]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    for chain in chains:
        for a, b in pairwise(chain):
            if rank_of[a] < rank_of[b]:
                above[b].append(a)
                below[a].append(b)
    rows = [of_rank[rank] for rank in range(max(ranks, default=-1) + 1)]
    xs = _placed(rows, widths, above, below)
    heights = [max([boxes[i].height for i in row if i < len(boxes)], default=0.0) for row in rows]
    tops = [0.0]
    for height in heights:
        tops.append(tops[-1] + height + _RISE)
    left = min((xs[i] - widths[i] / 2 for i in range(len(widths))), default=0.0) - _GAP
    right = max((xs[i] + widths[i] / 2 for i in range(len(widths))), default=0.0) + _GAP
    result = Layout(width=right - left, height=tops[-1] + _GAP)
    result.corners = [(xs[i] - box.width / 2 - left, tops[ranks[i]] + _GAP) for i, box in enumerate(boxes)]
    for chain in chains:
        first, last = chain[0], chain[-1]
        points = [(xs[first] - left, result.corners[first][1] + boxes[first].height)]
        for item in chain[1:-1]:
            y = tops[rank_of[item]] + _GAP
            points += [(xs[item] - left, y), (xs[item] - left, y + heights[rank_of[item]])]
        result.paths.append([*points, (xs[last] - left, result.corners[last][1])])
    return result


def _ranks(boxes: Sequence[Box], links: Sequence[Link]) -> list[int]:
    """The longest way from above to each box."""
    incoming: dict[int, list[int]] = defaultdict(list)
    for link in links:
        if link.source < link.target:
            incoming[link.target].append(link.source)
    ranks: list[int] = []
    for item in range(len(boxes)):
        ranks.append(max((ranks[source] + 1 for source in incoming[item]), default=0))
    for link in sorted(links, key=lambda x: -ranks[x.target]):  # what has nothing above stands over its nearest reader
        if not incoming[link.source] and link.source < link.target:
            ranks[link.source] = ranks[link.target] - 1
    return ranks


def _placed(
    rows: Sequence[list[int]], widths: Sequence[float], above: dict[int, list[int]], below: dict[int, list[int]]
) -> list[float]:
    """The middle of every item: near those of its neighbours, without overlaps."""
    xs = [0.0] * len(widths)

    def middle(item: int, near: dict[int, list[int]]) -> float:
        """Boxes count more than links that pass, or columns would drift to a side."""
        weights = [widths[n] + 1 for n in near[item]]
        return sum(xs[n] * w for n, w in zip(near[item], weights, strict=True)) / sum(weights) if weights else xs[item]

    for row in rows:
        _spread(row, widths, xs, {i: middle(i, above) for i in row})
    for sweep in range(_SWEEPS):
        upwards = sweep % 2 == 0
        near = below if upwards else above
        for row in reversed(rows) if upwards else rows:
            wanted = {i: middle(i, near) for i in row}
            row.sort(key=wanted.__getitem__)
            _spread(row, widths, xs, wanted)
    return xs


def _spread(row: Sequence[int], widths: Sequence[float], xs: list[float], wanted: dict[int, float]) -> None:
    """Sets the items of a row in their order as near to where they want to be as their widths allow."""
    end = float("-inf")
    for item in row:
        xs[item] = max(wanted[item], end + widths[item] / 2)
        end = xs[item] + widths[item] / 2 + _GAP
    if row:
        shift = sum((wanted[i] - xs[i]) * (widths[i] + 1) for i in row) / sum(widths[i] + 1 for i in row)
        for item in row:
            xs[item] += shift
