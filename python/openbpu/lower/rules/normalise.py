"""Softmax."""

from __future__ import annotations

from math import prod

from openbpu.lower.builder import memory_axis
from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node
from openbpu.lower.operators import Softmax
from openbpu.lower.registry import rule


@rule("Softmax")
def softmax(node: Node) -> Expr:
    """SOFTMAX; over other axes than the innermost with a transposition before and after."""
    x = node.operand(0)
    rank = len(x.shape)
    axis = int(node.attribute("axis", -1 if node.opset >= 13 else 1)) % rank
    if node.opset < 13 and prod(x.shape[axis + 1 :]) > 1:
        raise node.refuse(
            "before opset 13 its axis must be the last",
            seen=f"axis {axis} of {x.shape}",
            remedy="convert the model with onnx.version_converter",
        )
    value = x.value(node)
    origin = (*x.origin, node.name)
    if rank > 4 or memory_axis(rank, axis) == 3:
        if rank > 4 and axis != rank - 1:
            raise node.refuse("beyond four dimensions, its axis must be the last", seen=f"axis {axis}")
        return Softmax(node=node, shape=x.shape, origin=origin, source=value)
    last = 1 if rank == 4 else rank - 1
    order = list(range(rank))
    order[axis], order[last] = order[last], order[axis]  # its own inverse
    inner = node.graph.transpose(value, order, (node.name,))
    swapped = Softmax(node=node, shape=inner.onnx_shape, origin=origin, source=inner)
    return swapped.move(lambda v: node.graph.transpose(v, order, (node.name,)), node, x.shape)
