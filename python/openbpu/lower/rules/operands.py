"""Operands of a node: constants as plain numbers."""

from __future__ import annotations

import numpy as np

from openbpu.lower.expressions import Constant
from openbpu.lower.node import Node


def numbers(node: Node, index: int) -> list[float]:
    """All elements of a constant operand; none if it is left out."""
    operand = node.optional(index)
    if operand is None:
        return []
    if not isinstance(operand, Constant):
        raise node.refuse(f"operand {index} must be constant", remedy="fix the input shapes and simplify the model")
    return [float(v) for v in np.ravel(operand.real)]


def integers(node: Node, index: int, attribute: str = "") -> list[int]:
    """As `numbers`, for shapes, axes and indices; `attribute` is their home in older opsets."""
    return [int(v) for v in numbers(node, index) or node.attribute(attribute, [])]


def scalar(node: Node, index: int, default: float) -> float:
    """A constant scalar operand."""
    found = numbers(node, index) or [default]
    if len(found) != 1:
        raise node.refuse(f"operand {index} must be a scalar", seen=f"{len(found)} elements")
    return found[0]
