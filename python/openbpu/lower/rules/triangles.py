"""Operators with a constant triangle of ones: running sums, triangles of matrices."""

from __future__ import annotations

from math import prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.broadcast import frame
from openbpu.lower.builder import MAX_EXTENT
from openbpu.lower.expressions import Constant, Expr, Quantised
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear, Product
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.operands import scalar

_LONGEST = 1024  # terms of a running sum: as many products for each


@rule("CumSum", int16=SAME)
def running_sum(node: Node) -> Expr:
    """MATMUL by a triangle of ones, up to 1024 terms; behind a transposition where the axis is not the last."""
    x = node.operand(0)
    rank, axis = len(x.shape), int(scalar(node, 1, 0)) % len(x.shape)
    count, rows = x.shape[axis], prod(x.shape) // x.shape[axis]
    if count > _LONGEST or rows > MAX_EXTENT:
        raise node.refuse(f"up to {_LONGEST} terms and {MAX_EXTENT} sums", seen=f"{count} of {x.shape}")
    order = [a for a in range(rank) if a != axis] + [axis]
    shape, origin = tuple(x.shape[a] for a in order), (node.name,)
    value = node.graph.transpose(x.value(node), order, origin) if axis != rank - 1 else x.value(node)
    ones = np.tri(count, k=-int(node.attribute("exclusive", 0)), dtype=np.int8)  # [result, term]
    sums = Linear(
        node=node,
        shape=shape,
        origin=(*x.origin, node.name),
        kind="matmul",
        source=node.graph.reshape(value, (rows, count), origin),
        attrs={},
        weight=ones[::-1, ::-1].copy() if node.attribute("reverse", 0) else ones,
        weight_scale=np.ones(count),
        bias=np.zeros(count),
        extents=(1, 1, rows, count),
        view=(rows, count),
    )
    if axis == rank - 1:
        return sums
    back = [order.index(a) for a in range(rank)]
    return sums.move(lambda v: node.graph.transpose(v, back, origin), node, x.shape)


@rule("Trilu", int16=SAME)
def triangle(node: Node) -> Expr:
    """MUL by a constant triangle of ones."""
    x, k = node.operand(0), int(scalar(node, 1, 0))
    if x.dtype != "float32":
        raise node.refuse("its operand is a float tensor", seen=x.dtype)
    rows, columns = x.shape[-2:]
    ones = np.tri(rows, columns, k - 1, np.int64)
    kept = 1 - ones if node.attribute("upper", 1) else np.tri(rows, columns, k, np.int64)
    framed, names = frame(node, [x.shape, kept.shape]), (node.name,)

    def apply(value: Value) -> Value:
        """On its own grid, which has a zero, the product is exact."""
        quantised = Quantised(kept, np.ones(1), np.zeros(1, np.int64))
        mask = Constant(node=node, shape=kept.shape, origin=(), quantised=quantised).value(node)
        a, b = (framed.aligned(node.graph, operand, names) for operand in (value, mask))
        assert value.quant is not None
        product = Product(node=node, shape=x.shape, origin=names, frame=framed, a=a, b=b)
        return product.quantise(value.quant)

    return x.move(apply, node, x.shape, pointwise=False)
