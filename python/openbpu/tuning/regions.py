"""Lifted operators as regions: what lies between them may be quicker if it is lifted too.

Every border between the types costs a copy, and parts operators that would run as one. So beside a choice of operators
stand wider ones that fill its gaps; which of them is cheapest, the compiler says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from openbpu.analyze.anatomy import Unit

_FAR = 1 << 20
_WIDTHS = (1, 2, 4, 8, _FAR - 1)  # operators on the shortest way from one lifted operator to another


def filled(units: Sequence[Unit], lifted: Collection[int], free: Collection[int]) -> list[frozenset[int]]:
    """`lifted`, then the same with wider and wider gaps filled; all are indices of `units`.

    `units` stand in graph order, `free` are those that may be lifted. A way goes from an operator to a later one that
    shares a tensor with it. Choices that repeat an earlier one are left out.
    """
    open_, chosen = set(free) | set(lifted), set(lifted)
    before = _distances(units, chosen, open_, range(len(units)))
    behind = _distances(units, chosen, open_, range(len(units) - 1, -1, -1))
    found = [frozenset(chosen)]
    for width in _WIDTHS:
        wider = frozenset(chosen | {k for k in open_ if before[k] + behind[k] - 1 <= width})
        if wider != found[-1]:
            found.append(wider)
    return found


def _distances(
    units: Sequence[Unit], lifted: Collection[int], free: Collection[int], order: Sequence[int]
) -> list[int]:
    """Steps from each unit back along `order` to a lifted one; 0 for these, _FAR if there is none."""
    steps = [_FAR] * len(units)
    nearest: dict[str, int] = {}  # by group of tensors, the least distance of a unit seen that touches it
    for k in order:
        if k in lifted:
            steps[k] = 0
        elif k in free:
            steps[k] = min((nearest.get(group, _FAR) + 1 for group in units[k].touches), default=_FAR)
        for group in units[k].touches:
            nearest[group] = min(nearest.get(group, _FAR), steps[k])
    return [min(step, _FAR) for step in steps]
