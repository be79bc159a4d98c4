"""Element-wise operators: activations, arithmetic with constants, sums and products of two tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from openbpu.lower.broadcast import common_shape, frame
from openbpu.lower.expressions import Constant, Expr, Plain, Unary
from openbpu.lower.node import CPU_INTEGERS, Node
from openbpu.lower.operators import Product, Quotient, Sum, affine
from openbpu.lower.registry import SAME, TABLE, rule
from openbpu.lower.rules import functions
from openbpu.lower.rules.operands import scalar
from openbpu.lower.selections import Extreme, Sloped

_Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]


@rule(*functions.NAMES, int16=TABLE)
def activation(node: Node) -> Expr:
    """LUT8, joined with the other functions of the same tensor."""
    return node.operand(0).map(functions.function(node.op, node.attributes), node)


@rule("Relu", int16=SAME)
def relu(node: Node) -> Expr:
    """A clamp of the operator before it, at no cost; else LUT8."""
    return node.operand(0).clamp(0.0, inf, node)


@rule("Clip", int16=SAME)
def clip(node: Node) -> Expr:
    """A clamp of the operator before it, at no cost; else LUT8; MAX and MIN for run-time bounds."""
    bounds = [node.optional(1), node.optional(2)]
    if all(bound is None or isinstance(bound, Constant) for bound in bounds):
        lo = scalar(node, 1, float(node.attribute("min", -inf)))
        return node.operand(0).clamp(lo, scalar(node, 2, float(node.attribute("max", inf))), node)
    x = node.operand(0)
    for bound, largest in zip(bounds, (True, False), strict=True):
        if bound is not None:
            x = _extreme(node, [x, bound], largest)
    return x


@rule("Max", "Min", int16=TABLE)
def limit(node: Node) -> Expr:
    """MAX, MIN; a clamp for a constant scalar, LUT8 for functions of one tensor."""
    operands = [node.operand(i) for i in range(len(node.inputs))]
    shape = common_shape(node, [operand.shape for operand in operands])
    largest = node.op == "Max"
    first, *others = sorted(operands, key=lambda operand: (isinstance(operand, Constant), operand.shape != shape))
    rest = []
    for other in others:
        if isinstance(other, Constant) and other.real.size == 1 and first.shape == shape:
            bound = float(other.real.ravel()[0])
            first = first.clamp(bound, inf, node) if largest else first.clamp(-inf, bound, node)
        elif isinstance(first, Unary) and isinstance(other, Unary) and same_root(first, other):
            first = first.combined(other, np.maximum if largest else np.minimum, node)
        else:
            rest.append(other)
    return _extreme(node, [first, *rest], largest) if rest else first


def _extreme(node: Node, parts: list[Expr], largest: bool) -> Expr:
    """MAX or MIN; refused for operands without a result to be quantised."""
    for part in parts:
        if part.dtype != "float32":
            raise node.refuse("its operands must be float", seen=part.dtype, remedy=CPU_INTEGERS)
        if isinstance(part, Plain):
            part.value(node)
    framed = frame(node, [part.shape for part in parts])
    origin = tuple(dict.fromkeys((*(name for part in parts for name in part.origin), node.name)))
    return Extreme(node=node, shape=framed.shape, origin=origin, parts=parts, frame=framed, largest=largest)


@rule("PRelu", int16=TABLE)
def prelu(node: Node) -> Expr:
    """LUT8 with one slope; with one per channel, the values above zero plus a DWCONV2D of those below."""
    slope = node.operand(1)
    if not isinstance(slope, Constant):
        raise node.refuse("its slope must be constant")
    x = node.operand(0)
    values = np.asarray(slope.real, np.float64)
    if np.unique(values).size == 1:
        alpha = float(values.ravel()[0])
        return x.map(lambda x: np.where(x < 0, alpha * x, x), node)
    padded = (1,) * (len(x.shape) - values.ndim) + values.shape
    if len(padded) > len(x.shape) or any(e != 1 for axis, e in enumerate(padded) if axis != x.channel_axis):
        raise node.refuse("one slope, or one per channel", seen=f"slopes of shape {values.shape}")
    if not isinstance(x, Unary):
        x.value(node)
    below = affine(x.map(lambda v: np.minimum(v, 0), node), values.ravel(), np.zeros(1), node)
    above = x.map(lambda v: np.maximum(v, 0), node)
    return Sloped(node=node, shape=x.shape, origin=(*x.origin, node.name), above=above, below=below)


@rule("Sum", "Mean", int16=SAME)
def total(node: Node) -> Expr:
    """ADD of two tensors; more of them become a chain when a float model is prepared."""
    operands = [node.operand(i) for i in range(len(node.inputs))]
    if len(operands) == 1:
        return operands[0]
    if len(operands) > 2:
        raise node.refuse("of two tensors", seen=f"{len(operands)} of them", remedy="write it as a chain of Add")
    both = _two_tensors(node, *operands)
    return both if node.op == "Sum" else both.affine(np.full(1, 0.5), np.zeros(1), node)


_ARITHMETIC: dict[str, _Binary] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": lambda a, b: np.power(np.asarray(a, np.float64), b),
}


@rule(*_ARITHMETIC, int16="The same, with LUT16; quotients of two tensors on the CPU.")
def arithmetic(node: Node) -> Expr:
    """ADD, SUB, MUL, DIV for two tensors; constants join the operator before them or a LUT8."""
    a, b = node.operand(0), node.operand(1)
    combine = _ARITHMETIC[node.op]
    if isinstance(a, Unary) and isinstance(b, Unary) and same_root(a, b):
        return a.combined(b, combine, node)
    for constant, other, reverse in ((b, a, False), (a, b, True)):
        if isinstance(constant, Constant) and not isinstance(other, Constant):
            result = _with_constant(node, other, constant, reverse)
            if result is not None:
                return result
    if node.op == "Pow":
        raise node.refuse("one operand of Pow must be constant", remedy="cut the model in front of this node")
    return _two_tensors(node, a, b)


def same_root(a: Unary, b: Unary) -> bool:
    return a.root is b.root and a.shape == b.shape


def _with_constant(node: Node, x: Expr, constant: Constant, reverse: bool) -> Expr | None:
    """The operator as a function or an affine map of `x`; None if the constant varies within a channel."""
    if x.shape != common_shape(node, [x.shape, constant.shape]):
        return None
    k = np.asarray(constant.real, np.float64)
    if node.op == "Pow":  # whether an exponent is a whole number shows in its float32
        k = k.astype(np.float32).astype(np.float64)
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
    """Sum, difference, product or quotient; the second operand of the instruction is the one that repeats."""
    framed = frame(node, [a.shape, b.shape])
    names, values = (node.name,), [operand.value(node) for operand in (a, b)]
    if len(framed.shape) == 4 and any(v in node.graph.turned and v.onnx_shape == framed.shape for v in values):
        framed = framed.in_onnx_order()
    left, right = (framed.aligned(node.graph, value, names) for value in values)
    signs = (1, -1 if node.op == "Sub" else 1)
    if left.shape != framed.extents and right.shape == framed.extents and node.op != "Div":
        left, right, signs = right, left, (signs[1], signs[0])
    left = framed.whole(node.graph, left, names)
    origin = tuple(dict.fromkeys((*a.origin, *b.origin, node.name)))
    shape = framed.shape
    if node.op in ("Mul", "Div"):
        kind = Product if node.op == "Mul" else Quotient
        return kind(node=node, shape=shape, origin=origin, frame=framed, a=left, b=right)
    sign_a, sign_b = signs
    return Sum(node=node, shape=shape, origin=origin, frame=framed, a=left, b=right, sign_a=sign_a, sign_b=sign_b)
