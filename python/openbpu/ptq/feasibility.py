"""Raises output scales that are too fine for the integer arithmetic: those of tensors that were (almost) always zero.

The bounds are those of docs/numerics.md, clauses RQ8, ADD, MUL and AVGPOOL, with room to spare.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from dataclasses import replace

import numpy as np
import onnx

from openbpu.errors import ModelWarning
from openbpu.ir.quant import QuantParams
from openbpu.ptq.operators import ARITHMETIC, COMPUTING, NORMALISING
from openbpu.ptq.placement import SOFTMAX, Placement
from openbpu.ptq.view import ModelView, channel_axis
from openbpu.ptq.weights import smallest_output_scale

_LARGEST_RATIO = 2.0**13  # scale of an operand / scale of the result
_LARGEST_GAIN = 2.0**13  # gain or offset of a normalisation / scale of the result
_LARGEST_PRODUCT_RATIO = 2.0**6  # product of the scales of both operands / scale of the result
_MOST_PASSES = 4  # more than one only if a group that was raised also feeds nodes in front


def feasible(
    model: onnx.ModelProto,
    placement: Placement,
    by_group: Mapping[str, QuantParams],
    narrow: Mapping[str, QuantParams],
    always_zero: Container[str],
) -> dict[str, QuantParams]:
    """The parameters of each group, with scales raised where an operator could not express its result.

    16-bit forms have room for any scale. `narrow` holds the parameters of int8 copies of int16 groups.
    Warns if a group had to be raised that is not `always_zero`: its values lose precision.
    """
    view, groups, result = ModelView(model), placement.groups, dict(by_group)
    for _ in range(_MOST_PASSES):
        before = dict(result)
        for node in model.graph.node:
            group = groups.get(view.quantised_result(node, groups))
            if node.op_type not in COMPUTING | ARITHMETIC or node.name in placement.cpu:
                continue
            if group is None or group in placement.fixed:
                continue
            sources = [groups[n] for n in node.input if n in groups]
            copied = {g for g in sources if g in placement.wide}
            if group in placement.wide or (copied and node.name not in placement.narrow):
                continue
            scales = [narrow.get(g, SOFTMAX).s if g in copied else result[g].s for g in sources]
            smallest = _smallest_scale(view, node, scales)
            if smallest > result[group].s:
                result[group] = replace(result[group], scale=(float(np.float32(smallest)),))
        if result == before:
            break
    for group, quant in result.items():
        if quant != by_group[group] and group not in always_zero:
            warnings.warn(
                f"tensor {group}: its values are millions of times smaller than the sums they are made from; its scale "
                f"had to grow from {by_group[group].s:.3g} to {quant.s:.3g}. Check the range of the samples.",
                ModelWarning,
                stacklevel=2,
            )
    return result


def _smallest_scale(view: ModelView, node: onnx.NodeProto, inputs: list[float]) -> float:
    if not inputs:
        return 0.0
    if view.weighted(node):
        weight, axis, bias = view.constants[node.input[1]], channel_axis(node), view.bias(node)
        largest = np.zeros(1) if bias is None else np.abs(bias).reshape(-1, weight.shape[axis]).max(axis=0)
        return smallest_output_scale(weight, largest, axis, inputs[0])
    if node.op_type in NORMALISING:  # whatever the input's scale: results have a deviation of 1
        gains = [np.abs(view.constants[n]).max(initial=0) for n in node.input[1:] if n in view.constants]
        return float(max(gains, default=1.0)) / _LARGEST_GAIN
    if node.op_type in ("Mul", "MatMul", "Gemm") and len(inputs) == 2:
        return inputs[0] * inputs[1] / _LARGEST_PRODUCT_RATIO
    return max(inputs) / _LARGEST_RATIO
