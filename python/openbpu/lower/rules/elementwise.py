"""Element-wise operators: activations, arithmetic with constants, sums and products of two tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape, memory_shape
from openbpu.lower.expressions import Constant, Expr, Unary
from openbpu.lower.node import Node
from openbpu.lower.operators import Product, Sum, affine
from openbpu.lower.registry import rule
from openbpu.lower.rules import functions
from openbpu.lower.rules.operands import common_shape, scalar

_Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]


@rule(*functions.NAMES)
def activation(node: Node) -> Expr:
    """LUT8, joined with the other functions of the same tensor."""
    return node.operand(0).map(functions.function(node.op, node.attributes), node)


@rule("Relu")
def relu(node: Node) -> Expr:
    """A clamp of the operator before it, at no cost; else LUT8."""
    return node.operand(0).clamp(0.0, inf, node)


@rule("Clip")
def clip(node: Node) -> Expr:
    """A clamp of the operator before it, at no cost; else LUT8."""
    lo = scalar(node, 1, float(node.attribute("min", -inf)))
    return node.operand(0).clamp(lo, scalar(node, 2, float(node.attribute("max", inf))), node)


@rule("Max", "Min")
def limit(node: Node) -> Expr:
    """A clamp if one operand is a constant scalar, or LUT8 if both are functions of one tensor."""
    operands = [node.operand(i) for i in range(len(node.inputs))]
    first, *others = operands
    shape = common_shape(node, [operand.shape for operand in operands])
    if isinstance(first, Constant) and others:
        first, others = others[0], [first, *others[1:]]
    combine = np.maximum if node.op == "Max" else np.minimum
    for other in others:
        if isinstance(other, Constant) and other.real.size == 1 and first.shape == shape:
            bound = float(other.real.ravel()[0])
            first = first.clamp(bound, inf, node) if node.op == "Max" else first.clamp(-inf, bound, node)
        elif isinstance(first, Unary) and isinstance(other, Unary) and _same_root(first, other):
            first = first.combined(other, combine, node)
        else:
            raise node.refuse(
                "one of two operands must be a constant scalar", remedy="cut the model in front of this node"
            )
    return first


@rule("PRelu")
def prelu(node: Node) -> Expr:
    """LUT8; one slope for all channels."""
    slope = node.operand(1)
    if not isinstance(slope, Constant):
        raise node.refuse("its slope must be constant")
    values = np.unique(np.asarray(slope.real, np.float64))
    if values.size != 1:
        raise node.refuse(
            "one slope for all channels",
            seen=f"{values.size} different slopes",
            remedy="train with a shared slope, or use LeakyRelu",
        )
    alpha = float(values[0])
    return node.operand(0).map(lambda x: np.where(x < 0, alpha * x, x), node)


_ARITHMETIC: dict[str, _Binary] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": lambda a, b: np.power(np.asarray(a, np.float64), b),
}


@rule(*_ARITHMETIC)
def arithmetic(node: Node) -> Expr:
    """ADD, SUB, MUL for two tensors; constants join the operator before them or a LUT8."""
    a, b = node.operand(0), node.operand(1)
    combine = _ARITHMETIC[node.op]
    if isinstance(a, Unary) and isinstance(b, Unary) and _same_root(a, b):
        return a.combined(b, combine, node)
    for constant, other, reverse in ((b, a, False), (a, b, True)):
        if isinstance(constant, Constant) and not isinstance(other, Constant):
            result = _with_constant(node, other, constant, reverse)
            if result is not None:
                return result
    if node.op in ("Div", "Pow"):
        raise node.refuse(f"one operand of {node.op} must be constant", remedy="cut the model in front of this node")
    return _two_tensors(node, a, b)


def _same_root(a: Unary, b: Unary) -> bool:
    return a.root is b.root and a.shape == b.shape


def _with_constant(node: Node, x: Expr, constant: Constant, reverse: bool) -> Expr | None:
    """The operator as a function or an affine map of `x`; None if the constant varies within a channel."""
    if x.shape != common_shape(node, [x.shape, constant.shape]):
        return None
    k = np.asarray(constant.real, np.float64)
    one = np.ones(1)
    if k.size > 1:
        padded = (1,) * (len(x.shape) - k.ndim) + k.shape
        if any(extent != 1 for axis, extent in enumerate(padded) if axis != x.channel_axis):
            return None
        k = k.ravel()
    else:
        k = k.reshape(1)
        if not isinstance(x, Unary) and node.op == "Pow":
            return x.map(lambda v: np.power(v, k[0]), node)
    if node.op == "Add":
        return affine(x, one, k, node)
    if node.op == "Sub":
        return affine(x, -one, k, node) if reverse else affine(x, one, -k, node)
    if node.op == "Mul":
        return affine(x, k, np.zeros(1), node)
    if node.op == "Div" and not reverse:
        return affine(x, 1 / k, np.zeros(1), node)
    if k.size > 1:
        return None
    combine = _ARITHMETIC[node.op]
    return x.map((lambda v: combine(k, v)) if reverse else (lambda v: combine(v, k)), node)


def _two_tensors(node: Node, a: Expr, b: Expr) -> Expr:
    """Sum, difference or product; the second operand of the instruction is the one that repeats."""
    shape = common_shape(node, [a.shape, b.shape])
    left, right = (_aligned(node, operand.value(node), shape) for operand in (a, b))
    extents = memory_shape(shape)
    signs = (1, -1 if node.op == "Sub" else 1)
    if left.shape != extents and right.shape == extents:
        left, right, signs = right, left, (signs[1], signs[0])
    elif left.shape != extents:
        left = node.graph.emit("expand", [left], shape, left.quant, (node.name,))
    origin = tuple(dict.fromkeys((*a.origin, *b.origin, node.name)))
    if node.op == "Mul":
        return Product(node=node, shape=shape, origin=origin, a=left, b=right)
    return Sum(node=node, shape=shape, origin=origin, a=left, b=right, sign_a=signs[0], sign_b=signs[1])


def _aligned(node: Node, value: Value, shape: Shape) -> Value:
    """The operand with leading ones added up to the rank of the result."""
    rank = len(value.onnx_shape)
    if len(shape) > 4 and value.onnx_shape != shape:
        raise node.refuse("operands of more than four dimensions must have equal shapes", seen=value.onnx_shape)
    return node.graph.reshape(value, (1,) * (len(shape) - rank) + value.onnx_shape, (node.name,))
