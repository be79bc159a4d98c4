"""Conditions: comparisons, logic on their results, and selection by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from openbpu.ir.graph import RELATIONS, Value
from openbpu.lower import requant
from openbpu.lower.broadcast import Frame, common_shape, frame
from openbpu.lower.builder import memory_shape
from openbpu.lower.expressions import Constant, Expr, Plain, Unary
from openbpu.lower.node import CPU_INTEGERS, QUANTISE_BETWEEN, Node
from openbpu.lower.registry import rule
from openbpu.lower.rules.elementwise import same_root
from openbpu.lower.selections import TRUTH, Mask, Selected

_MIRRORED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Greater": "Less", "GreaterOrEqual": "LessOrEqual"}
_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}


@rule(*_FUNCTIONS)
def compare(node: Node) -> Expr:
    """CMP, exact; LUT8 with a constant, and for functions of one tensor. Its result is int8, 0 or 1."""
    a, b = node.operand(0), node.operand(1)
    if a.dtype != "float32" or b.dtype != "float32":
        raise node.refuse("comparisons are of float tensors", seen=f"{a.dtype} and {b.dtype}", remedy=CPU_INTEGERS)
    shape = common_shape(node, [a.shape, b.shape])
    function = _FUNCTIONS[node.op]

    def single(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return function(x.astype(np.float32), y.astype(np.float32)).astype(np.float64)

    def mirrored(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return single(y, x)

    if isinstance(a, Unary) and isinstance(b, Unary) and same_root(a, b):
        return truth(node, a.combined(b, single, node))
    for x, other, fixed in ((a, b, mirrored), (b, a, single)):
        if isinstance(other, Constant) and other.real.size == 1 and isinstance(x, Unary) and x.shape == shape:
            number = partial(fixed, np.asarray(other.real).reshape(1))
            return truth(node, x.map(number, node))
    framed = frame(node, [a.shape, b.shape])
    left, right = (framed.aligned(node.graph, operand.value(node), (node.name,)) for operand in (a, b))
    held = _related(node, left, right, framed, node.op)
    return Mask(node=node, shape=framed.shape, origin=(*a.origin, *b.origin, node.name), held=held)


def truth(node: Node, condition: Expr) -> Mask:
    """A function of one tensor whose values are 0 and 1."""
    return Mask(node=node, shape=condition.shape, origin=condition.origin, held=condition.quantise(TRUTH))


def _related(node: Node, left: Value, right: Value, framed: Frame, relation: str) -> Value:
    if left.shape != framed.extents and right.shape == framed.extents:
        left, right, relation = right, left, _MIRRORED.get(relation, relation)
    left = framed.whole(node.graph, left, (node.name,))
    qa, qb = left.quant, right.quant
    assert qa is not None and qb is not None and relation in RELATIONS
    consts = {"ranks": requant.ranks(qa.s, qa.z, qb.s, qb.z)}
    attrs = {"relation": relation}
    out = node.graph.emit(
        "compare", [left, right], framed.shape, TRUTH, (node.name,), shape=framed.extents, attrs=attrs, consts=consts
    )
    return framed.finished(node.graph, out, (node.name,))


# ---- logic


@rule("And", "Or", "Xor")
def logic(node: Node) -> Expr:
    """MIN, MAX and CMP of conditions that the BPU computes; LUT8 for functions of one tensor."""
    a, b = _mask(node, 0), _mask(node, 1)
    origin = tuple(dict.fromkeys((*a.origin, *b.origin, node.name)))
    x, y = Unary.of(a.held, node, a.origin), Unary.of(b.held, node, b.origin)
    if same_root(x, y):
        combine = {"And": np.minimum, "Or": np.maximum, "Xor": np.not_equal}[node.op]
        return truth(node, x.combined(y, combine, node))
    framed = frame(node, [a.shape, b.shape])
    left, right = (framed.aligned(node.graph, mask.held, (node.name,)) for mask in (a, b))
    if node.op == "Xor":
        held = _related(node, left, right, framed, "Different")
    else:
        if left.shape != framed.extents:
            left, right = right, left
        left = framed.whole(node.graph, left, (node.name,))
        attrs = {"largest": node.op == "Or", "lo": -128, "hi": 127}
        out = node.graph.emit(
            "extreme", [left, right], framed.shape, TRUTH, (node.name,), shape=framed.extents, attrs=attrs
        )
        held = framed.finished(node.graph, out, (node.name,))
    return Mask(node=node, shape=framed.shape, origin=origin, held=held)


@rule("Not")
def negation(node: Node) -> Expr:
    """LUT8 of a condition that the BPU computes."""
    mask = _mask(node, 0)
    return truth(node, Unary.of(mask.held, node, mask.origin).map(lambda x: 1 - x, node))


def _mask(node: Node, index: int) -> Mask:
    operand = node.operand(index)
    if not isinstance(operand, Mask):
        raise node.refuse(
            "its conditions must come from the BPU",
            seen=f"a condition of {operand.node.where}",
            remedy=QUANTISE_BETWEEN,
        )
    return operand


# ---- selection


@rule("Where", int16="MULs by the condition and what it is not, ADD; exact.")
def where(node: Node) -> Expr:
    """SELECT; LUT8 if condition and values are functions of one tensor."""
    condition, a, b = (node.operand(i) for i in range(3))
    for part in (a, b):
        if part.dtype != "float32":
            raise node.refuse("it selects among float tensors", seen=part.dtype, remedy=CPU_INTEGERS)
        if isinstance(part, Plain):
            part.value(node)
    joined = _same_tensor(node, condition, a, b)
    if joined is not None:
        return joined
    if isinstance(a, Constant) and isinstance(b, Constant) and not isinstance(condition, Mask):
        raise node.refuse("nothing that it reads is on the BPU")
    framed = frame(node, [condition.shape, a.shape, b.shape])
    held = framed.aligned(node.graph, _condition(node, condition), (node.name,))
    origin = tuple(dict.fromkeys((*condition.origin, *a.origin, *b.origin, node.name)))
    return Selected(node=node, shape=framed.shape, origin=origin, parts=[a, b], condition=held, frame=framed)


def _same_tensor(node: Node, condition: Expr, a: Expr, b: Expr) -> Expr | None:
    """The selection as one table; None if it reads more than one tensor."""
    if not isinstance(condition, Mask):
        return None
    test = Unary.of(condition.held, node, condition.origin)
    reals = []
    for part in (a, b):
        if isinstance(part, Unary) and same_root(test, part):
            reals.append(part.reals)
        elif isinstance(part, Constant) and part.real.size == 1:
            reals.append(np.full(len(test.reals), float(part.real.ravel()[0])))
        else:
            return None
    if common_shape(node, [a.shape, b.shape, test.shape]) != test.shape:
        return None
    origin = tuple(dict.fromkeys((*test.origin, *a.origin, *b.origin, node.name)))
    chosen = np.where(test.reals != 0, *reals)
    return Unary(node=node, shape=test.shape, origin=origin, root=test.root, results=chosen)


def _condition(node: Node, condition: Expr) -> Value:
    """A condition as int8 zeros and ones."""
    graph, shape = node.graph, condition.shape
    if isinstance(condition, Mask):
        return condition.held
    if isinstance(condition, Constant):
        codes = np.asarray(condition.real).astype(np.int8)
        data = codes.transpose(0, 2, 3, 1) if codes.ndim == 4 else codes
        consts = {"data": np.ascontiguousarray(data).reshape(memory_shape(shape))}
        return graph.emit("constant", [], shape, TRUTH, (), name=f"{node.name}.condition", consts=consts)
    if not isinstance(condition, Plain):
        raise node.refuse("its condition must be a tensor of bool", seen=condition.dtype)
    attrs = {"op": "Cast", "attributes": {}, "operands": (0,), "results": (0,)}
    name = f"{node.name}.condition"
    dense = graph.emit("cpu", [condition.held], shape, None, (), name=name, attrs=attrs, dtype="int8")
    return graph.emit("read_port", [dense], shape, TRUTH, (), name=name)
