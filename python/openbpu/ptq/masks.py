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
    """The least value of each group, but a little below the scores for what only a Softmax reads, and for masks.

    What lies lower gets a weight of next to nothing, clipped or not. Masks are added to scores or stand in their place.
    """
    view, groups, result = ModelView(model), placement.groups, dict(low)
    for node in model.graph.node:
        made = view.producers.get(node.input[0]) if node.op_type == "Softmax" else None
        if made is None or made.op_type not in ("Add", "Where") or view.sole_consumer(made.output[0]) is not node:
            continue
        total, parts = groups.get(made.output[0]), [groups.get(name) for name in made.input[-2:]]
        if total not in result:
            continue
        if made.op_type == "Where":
            known = [low[scores] for scores in parts if scores in result]
            result[total] = max(result[total], min(known) - _FAR) if len(known) == 1 else result[total]
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
