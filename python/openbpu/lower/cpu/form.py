"""ONNX nodes in the form that CPU kernels take: that of the newest opset, with static operands.

Each rule rewrites what differs: attributes that became inputs, automatic padding, types that follow from the result.
Nodes without a rule keep their operands and attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from openbpu.lower.expressions import Constant, Expr
from openbpu.lower.node import Node, TensorInfo

VIEW = "view"  # a form that computes nothing: the same bytes under another shape


@dataclass
class Form:
    """Kernel, operands and attributes of a node; `results` by position, None for one that is not wanted."""

    op: str
    operands: list[Expr | None]
    attributes: dict[str, Any]
    results: list[TensorInfo | None]
    flattened: int | None = None  # first axis of those that become one: operand and result are seen as matrices


_Rule = Callable[[Node, Form], None]
RULES: dict[str, _Rule] = {}
_IGNORED = (
    "to", "dtype", "stash_type", "saturate", "round_mode", "output_dtype", "consumed_inputs", "precision",
    "output_height", "output_width", "pooled_shape",
)  # fmt: skip


def form(*ops: str) -> Callable[[_Rule], _Rule]:
    """Registers the rule that brings nodes of these operators into the form of their kernel."""

    def register(rule: _Rule) -> _Rule:
        RULES.update(dict.fromkeys(ops, rule))
        return rule

    return register


def canonical(node: Node) -> Form:
    """The form of a node; raises UnsupportedError for one that no kernel takes."""
    attributes = {name: value for name, value in node.attributes.items() if name not in _IGNORED}
    results = [
        info if name and not _is_empty(info) else None for name, info in zip(node.outputs, node.infos, strict=True)
    ]
    result = Form(node.op, list(node.inputs), attributes, results)
    rule = RULES.get(node.op)
    if rule is not None:
        rule(node, result)
    while result.operands and result.operands[-1] is None:
        result.operands.pop()
    return result


# ---- pieces


def _is_empty(info: TensorInfo | None) -> bool:
    return info is not None and 0 in info.shape


def constant(node: Node, values: Any, dtype: str = "int64") -> Constant:
    """A constant operand."""
    array = np.asarray(values, dtype)
    return Constant(node=node, shape=tuple(array.shape), origin=(), numbers=array)


def axis_of(node: Node, result: Form, default: int) -> int:
    """The attribute "axis", counted from the front."""
    rank = len(node.operand(0).shape)
    axis = int(result.attributes.get("axis", default))
    if not -rank <= axis < max(rank, 1):
        raise node.refuse(
            "its axis must be one of its dimensions", seen=f"axis {axis} of shape {node.operand(0).shape}"
        )
    return axis % max(rank, 1)


def moved_to_input(node: Node, result: Form, name: str, position: int) -> None:
    """An attribute of older opsets as the input that it became."""
    values = result.attributes.pop(name, None)
    while len(result.operands) <= position:
        result.operands.append(None)
    if values is not None and result.operands[position] is None:
        result.operands[position] = constant(node, values)
