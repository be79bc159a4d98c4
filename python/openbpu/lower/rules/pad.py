"""Pad: constant borders, and borders that repeat the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant
from openbpu.lower.expressions import Codes, Expr, Moved, Unary
from openbpu.lower.node import Node
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.layout import gathered
from openbpu.lower.rules.operands import integers, scalar


@dataclass(eq=False, kw_only=True)
class Padded(Moved):
    """A tensor inside a constant border; a clamp would have to reach the border too."""

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        return self.map(lambda x: np.clip(x, lo, hi), node)


@rule("Pad", int16=SAME)
def pad(node: Node) -> Expr:
    """FILL and COPY, or the pads of the convolution behind; modes reflect, edge and wrap on rows and columns."""
    x = node.operand(0)
    before, after = _amounts(node, len(x.shape))
    mode = str(node.attribute("mode", "constant"))
    if mode != "constant":
        return _mirrored(node, x, mode, before, after)
    shape = tuple(b + e + a for b, e, a in zip(before, x.shape, after, strict=True))
    border = scalar(node, 2, float(node.attribute("value", 0.0)))

    def bordered(value: Value, code: int) -> Value:
        return node.graph.pad(value, before, after, code, (node.name,))

    def apply(value: Value) -> Value:
        assert value.quant is not None
        return bordered(value, _code(border, value.quant))

    if isinstance(x, Codes):
        return x.step(node, held=bordered(x.held, int(border) - (128 if x.unsigned else 0)), shape=shape)
    if isinstance(x, Unary) and x.leaf is not None and x.leaf.quant is not None and _on_grid(border, x.leaf.quant):
        return Unary.of(apply(x.leaf), node, (*x.origin, node.name))
    return Padded(node=node, shape=shape, origin=(*x.origin, node.name), inner=x, apply=apply, pointwise=False)


def _amounts(node: Node, rank: int) -> tuple[list[int], list[int]]:
    """Elements to add before and behind each axis."""
    given = integers(node, 1, "pads")
    axes = [a % rank for a in integers(node, 3)] or list(range(rank))
    if len(given) != 2 * len(axes) or min(given, default=0) < 0:
        raise node.refuse("pads are two numbers per axis, not negative", seen=given, remedy="use Slice to crop")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = given[i], given[len(axes) + i]
    return before, after


def _code(border: float, quant: QuantParams) -> int:
    return int(requant.table(np.array([border]), quant.s, quant.z, quant.dtype)[0])


def _on_grid(border: float, quant: QuantParams) -> bool:
    """True if the border loses nothing on this grid; else it waits for that of the result."""
    return (_code(border, quant) - quant.z) * quant.s == border


def _mirrored(node: Node, x: Expr, mode: str, before: list[int], after: list[int]) -> Expr:
    if mode not in ("reflect", "edge", "wrap") or len(x.shape) != 4 or any(before[:2]) or any(after[:2]):
        raise node.refuse("modes reflect, edge and wrap pad rows and columns of an image", seen=f"mode {mode}")
    for axis in (2, 3):
        if before[axis] or after[axis]:
            indices = np.pad(np.arange(x.shape[axis]), (before[axis], after[axis]), mode=mode)  # type: ignore[call-overload]
            x = gathered(node, x, axis, indices.tolist())
    return x
