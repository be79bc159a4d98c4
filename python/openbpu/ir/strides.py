"""The algebra of strided views: one order of elements seen under several shapes.

An axis is (extent, stride); a list of axes, outermost first, says in which order the elements of a memory are visited.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Axis = tuple[int, int]


def dense(extents: Sequence[int], size: int = 1) -> list[Axis]:
    """The axes of a dense row-major tensor whose elements have `size` units."""
    return [(extent, size * prod(extents[i + 1 :])) for i, extent in enumerate(extents)]


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """The same order with as few axes as possible; none has extent 1."""
    joined: list[Axis] = []
    for extent, stride in axes:
        if extent == 1:
            continue
        if joined and joined[-1][1] == extent * stride:
            joined[-1] = (joined[-1][0] * extent, stride)
        else:
            joined.append((extent, stride))
    return joined


def grouped(axes: Sequence[Axis], extents: Sequence[int]) -> list[list[Axis]] | None:
    """The axes that make up each dimension of a shape; None if a dimension cuts through an axis unevenly.

    Axes are split where a dimension ends inside of one.
    """
    rest = merged(axes)
    groups: list[list[Axis]] = []
    for extent in reversed(extents):
        group: list[Axis] = []
        while extent > 1:
            if not rest:
                return None
            available, stride = rest.pop()
            taken = min(available, extent)
            if available % taken or extent % taken:
                return None
            group.insert(0, (taken, stride))
            if available > taken:
                rest.append((available // taken, stride * taken))
            extent //= taken
        groups.insert(0, group)
    return groups
