"""Ranges around attention masks: a mask of -1e4 or -3e38 must not set the scale of the scores that it is added to."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from openbpu.ptq.placement import Placement
from openbpu.ptq.view import ModelView

_FAR = 10.0  # below every score: a masked position weighs less than exp(-10) of the largest


def raised_floors(
    model: onnx.ModelProto, placement: Placement, low: Mapping[str, float], high: Mapping[str, float]
) -> dict[str, float]:
    """The least value of each group, but a little below the scores for sums that only a Softmax reads, and for masks.

    What lies lower gets a weight of next to nothing, clipped or not.
    """
    view, groups, result = ModelView(model), placement.groups, dict(low)
    for node in model.graph.node:
        add = view.producers.get(node.input[0]) if node.op_type == "Softmax" else None
        if add is None or add.op_type != "Add" or view.sole_consumer(add.output[0]) is not node:
            continue
        total, parts = groups.get(add.output[0]), [groups.get(name) for name in add.input]
        if total not in result:
            continue
        for scores, mask in (parts, parts[::-1]):
            if scores not in result or scores == mask:
                continue
            floor = low[scores] - _FAR
            if mask not in result:  # a constant
                result[total] = max(result[total], floor)
            elif low[mask] < floor - high[scores]:
                result[mask] = max(result[mask], floor - high[scores])
                result[total] = max(result[total], floor)
    return result
