"""Matrix products: MatMul, Gemm."""

from __future__ import annotations

from math import prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.broadcast import common_shape
from openbpu.lower.builder import Shape
from openbpu.lower.expressions import Constant, Expr, Quantised, Unary
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear, MatrixProduct
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.layout import repeated
from openbpu.lower.weights import bias, symmetric


@rule("MatMul", int16=SAME)
def matmul(node: Node) -> Expr:
    """MATMUL with a constant matrix on the right, MATMULD with two run-time operands or stacks of matrices."""
    a, b = node.operand(0), node.operand(1)
    if isinstance(b, Constant) and len(b.shape) > 1 and prod(b.shape[:-2]) == 1:
        b = _as_matrix(node, b)
        return _constant_product(node, a, b, False, np.zeros(b.shape[1]), (*a.shape[:-1], b.shape[1]))
    if min(len(a.shape), len(b.shape)) < 2:
        raise node.refuse("its operands must be matrices", seen=f"{a.shape} and {b.shape}")
    batch = common_shape(node, [a.shape[:-2], b.shape[:-2]])
    if prod(b.shape[:-2]) == 1 and prod(batch) > 1:  # one matrix for all: the rows of all batches are one matrix
        shape = (*batch, a.shape[-2], b.shape[-1])
        tall, wide = (prod(a.shape[:-1]), a.shape[-1]), b.shape[-2:]
        flat = _dynamic_product(node, _viewed(node, a, tall), _viewed(node, b, wide), False)
        return flat.move(lambda v: node.graph.reshape(v, shape, (node.name,)), node, shape)
    operands = [repeated(node, _held(node, x), (*batch, *x.shape[-2:])) for x in (a, b)]
    return _dynamic_product(node, operands[0], operands[1], False)


def _as_matrix(node: Node, b: Constant) -> Constant:
    """A constant without its leading ones."""
    held, lead = b.quantised, len(b.shape) - 2
    if lead == 0 or held is None:
        return b
    codes = held.codes.reshape(b.shape[-2:])
    axis = None if held.axis is None else max(held.axis - lead, 0)
    return b.step(node, shape=codes.shape, quantised=Quantised(codes, held.scale, held.zero, axis))


def _held(node: Node, x: Expr) -> Expr:
    """A constant as what it is held as: moves of it are those of any other tensor."""
    return Unary.of(x.value(node), node) if isinstance(x, Constant) else x


def _viewed(node: Node, x: Expr, shape: Shape) -> Expr:
    return x.move(lambda v: node.graph.reshape(v, shape, (node.name,)), node, shape)


@rule("Gemm", int16=SAME)
def gemm(node: Node) -> Expr:
    """MATMUL; the right operand must be constant, or the bias absent."""
    a, b = node.operand(0), node.operand(1)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if node.attribute("transA", 0):
        a = a.move(lambda v: node.graph.transpose(v, (1, 0), (node.name,)), node, (a.shape[1], a.shape[0]))
    transpose_b = bool(node.attribute("transB", 0))
    if isinstance(b, Constant):
        columns = b.shape[0 if transpose_b else 1]
        offset = bias(node.optional(2), columns, node) * beta
        product: Expr = _constant_product(node, a, b, transpose_b, offset / alpha, (a.shape[0], columns))
        return product if alpha == 1 else product.affine(np.array([alpha]), np.zeros(1), node)
    if node.optional(2) is not None:
        raise node.refuse(
            "a product of two run-time matrices has no bias", remedy="use MatMul and Add, with a Q/DQ pair between"
        )
    product = _dynamic_product(node, a, b, transpose_b)
    return product if alpha == 1 else product.affine(np.array([alpha]), np.zeros(1), node)


def _constant_product(node: Node, a: Expr, b: Constant, transpose_b: bool, offset: np.ndarray, shape: Shape) -> Linear:
    weights = symmetric(b, 0 if transpose_b else 1, node)
    codes = weights.codes if transpose_b else weights.codes.T
    columns, inner = codes.shape
    rows = prod(a.shape[:-1])
    x = node.graph.reshape(a.value(node), (rows, a.shape[-1]), (node.name,))
    if a.shape[-1] != inner:
        raise node.refuse("the inner extents of a product must be equal", seen=f"{a.shape[-1]} and {inner}")
    return Linear(
        node=node,
        shape=shape,
        origin=(*a.origin, node.name),
        kind="matmul",
        source=x,
        attrs={},
        weight=np.ascontiguousarray(codes),
        weight_scale=weights.scale,
        bias=offset,
        extents=(1, 1, rows, columns),
        view=(rows, columns),
    )


def _dynamic_product(node: Node, a: Expr, b: Expr, transpose_b: bool) -> MatrixProduct:
    batch = a.shape[:-2]
    if len(a.shape) < 2 or b.shape[:-2] != batch:
        raise node.refuse(
            "the operands of a run-time product must have equal batch dimensions", seen=f"{a.shape} and {b.shape}"
        )
    left, right = _matrices(node, a), _matrices(node, b)
    columns = right.shape[2 if transpose_b else 3]
    rows = left.shape[2]
    return MatrixProduct(
        node=node,
        shape=(*batch, rows, columns),
        origin=tuple(dict.fromkeys((*a.origin, *b.origin, node.name))),
        a=left,
        b=right,
        transpose_b=transpose_b,
        extents=(left.shape[0], 1, rows, columns),
    )


def _matrices(node: Node, operand: Expr) -> Value:
    """The operand as (batch, 1, rows, columns)."""
    *batch, rows, columns = operand.shape
    count = prod(batch)
    value = node.graph.reshape(operand.value(node), (count, rows, columns), (node.name,))
    return node.graph.view(value, (count, 1, rows, columns), value.onnx_shape, (node.name,))
