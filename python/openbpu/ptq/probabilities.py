"""Parameters of softmax results: steps of 1/256, finer ones where every probability is small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from openbpu.ptq.placement import SOFTMAX, Placement

_HEADROOM = 1.25  # over the largest probability seen: other samples may have a larger one
_FINEST = 16  # halvings of the step


def settled(placement: Placement, low: Mapping[str, float], high: Mapping[str, float]) -> Placement:
    """The placement with the parameters of softmax results that follow from the ranges of their groups.

    Steps are 1/256 times a power of two: attention over many positions or a heat map whose probabilities are all below
    1/256 would be zeros in steps of 1/256. Groups that hold anything but probabilities (a softmax that is concatenated
    with coordinates) are calibrated like all others.
    """
    fixed = {}
    for group, (scale, zero) in placement.fixed.items():
        if low[group] < 0 or high[group] > 1.001:
            continue
        halvings = 0 if group in placement.wide else _halvings(high[group])
        fixed[group] = (scale / 2**halvings, zero)
    return replace(placement, fixed=fixed)


def _halvings(largest: float) -> int:
    """How often the step of SOFTMAX can be halved before the largest probability comes near its end."""
    count = 0
    while count < _FINEST and 0 < largest * _HEADROOM <= 256 * SOFTMAX.s / 2 ** (count + 1):
        count += 1
    return count
