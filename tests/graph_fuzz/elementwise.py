"""Operators that compute element by element, reduce, or compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graph_fuzz.graph import Graph, Shape, Tensor
from graph_fuzz.registry import draws

# Operator -> where its operand must lie.
_DOMAINS: dict[str, tuple[float, float] | None] = {
    **dict.fromkeys(
        ("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Atan", "Tanh", "Asinh", "Erf", "Sigmoid",
         "Relu", "HardSwish", "Softplus", "Softsign", "Mish", "IsNaN", "Identity")
    ),
    **dict.fromkeys(("Asin", "Acos"), (-1, 1)),
    **dict.fromkeys(("Exp", "Sinh", "Cosh"), (-8, 8)),
    "Atanh": (-0.9, 0.9), "Acosh": (1.1, 8), "Tan": (-1.4, 1.4),
    "Log": (0.01, 1e4), "Sqrt": (0, 1e4), "Reciprocal": (0.05, 1e4),
}  # fmt: skip
_ATTRIBUTES = {
    "LeakyRelu": ("alpha",), "Elu": ("alpha",), "Selu": ("alpha", "gamma"), "Celu": ("alpha",),
    "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Shrink": ("bias", "lambd"),
}  # fmt: skip
_INTEGERS = ("int32", "int64")


@draws(*_DOMAINS)
def function(g: Graph, op: str) -> None:
    g.one(op, g.tensor(within=_DOMAINS[op]))


@draws(*_ATTRIBUTES)
def function_with_attributes(g: Graph, op: str) -> None:
    given: dict[str, Any] = {}
    for name in _ATTRIBUTES[op]:
        given |= g.optional(name, float(np.float32(g.random.uniform(0.1, 2))))
    g.one(op, g.tensor(), **given)


@draws("Gelu")
def gelu(g: Graph, op: str) -> None:
    g.one(op, g.tensor(), **g.optional("approximate", g.choice(("none", "tanh"))))


@draws("IsInf")
def is_inf(g: Graph, op: str) -> None:
    g.one(op, g.tensor(), **g.optional("detect_negative", 0), **g.optional("detect_positive", 0))


@draws("Dropout")
def dropout(g: Graph, op: str) -> None:
    g.one(op, g.tensor(), g.constant(np.float32(0.3)) if g.flag() else None)


@draws("Not")
def negation(g: Graph, op: str) -> None:
    g.one(op, g.tensor("bool"))


@draws("BitwiseNot")
def bitwise_not(g: Graph, op: str) -> None:
    g.one(op, g.tensor(g.choice(("int32", "int64", "uint8"))))


@draws("Clip")
def clip(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "float32", "int64", "int32")))
    low, high = (g.constant(value, x.dtype) if g.flag() else None for value in (g.number(-3, 0), g.number(1, 3)))
    g.one(op, x, low, high)


@draws("Cast")
def cast(g: Graph, op: str) -> None:
    source, target = g.choice(
        (("float32", "INT64"), ("float32", "INT32"), ("float32", "FLOAT16"), ("float32", "DOUBLE"), ("float32", "BOOL"),
         ("float32", "INT8"), ("float32", "UINT8"), ("int64", "FLOAT"), ("int32", "FLOAT"), ("bool", "FLOAT"),
         ("bool", "INT64"), ("int64", "INT32"), ("float16", "FLOAT"), ("float64", "FLOAT"), ("uint8", "FLOAT"))
    )  # fmt: skip
    low = 0 if target == "UINT8" else -100
    g.one(op, g.tensor(source, within=None if source == "bool" else (low, 100)), to=TensorProto.DataType.Value(target))


@draws("CastLike")
def cast_like(g: Graph, op: str) -> None:
    g.one(op, g.tensor(within=(-100, 100)), g.constant(0, g.choice(("int64", "int32", "float32", "float64"))))


# ---- two operands


def pair(g: Graph, dtype: str, within: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """Two tensors whose shapes broadcast, in either order."""
    first = g.tensor(dtype)
    second = g.like(_broadcast(g, first.shape), dtype, within)
    return (first, second) if within is not None or g.flag() else (second, first)


def _broadcast(g: Graph, shape: Shape) -> Shape:
    kind = g.number(0, 3)
    if kind == 0:
        return shape
    kept = shape[g.number(0, len(shape)) :]
    if kind == 1 and len(shape) < 4:
        return (g.number(1, 3), *shape)
    return tuple(1 if g.number(0, 3) == 0 else extent for extent in kept)


@draws("Add", "Sub", "Mul")
def arithmetic(g: Graph, op: str) -> None:
    g.one(op, *pair(g, g.choice(("float32", "float32", "float32", "int64", "int32"))))


@draws("Div")
def division(g: Graph, op: str) -> None:
    dtype = g.choice(("float32", "float32", "int64", "int32"))
    g.one(op, *pair(g, dtype, (0.2, 8) if dtype == "float32" else (1, 9)))


@draws("Mod")
def modulo(g: Graph, op: str) -> None:
    if g.flag():
        g.one(op, *pair(g, "float32", (0.5, 4)), fmod=1)
    else:
        g.one(op, *pair(g, g.choice(_INTEGERS), (1, 9)), **g.optional("fmod", g.number(0, 1)))


@draws("Pow")
def power(g: Graph, op: str) -> None:
    base = g.tensor(within=(0.1, 8))
    if g.flag():
        exponent = g.constant(np.float32(g.choice((0.5, 2, 3, -1, 1.7))))
    else:
        exponent = g.like(_broadcast(g, base.shape), within=(-2, 3))
    g.one(op, base, exponent)


@draws("PRelu")
def parametric_relu(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    kept = g.number(0, x.rank)
    shape = tuple(1 if g.number(0, 2) == 0 else extent for extent in x.shape[kept:])
    g.one(op, x, g.weight(*shape))


@draws("Max", "Min", "Sum", "Mean")
def variadic(g: Graph, op: str) -> None:
    dtype = "float32" if op in ("Sum", "Mean") else g.choice(("float32", "float32", "int64", "int32"))
    first = g.tensor(dtype)
    rest = [g.like(_broadcast(g, first.shape), dtype) for _ in range(g.number(0, 2))]
    g.one(op, first, *rest)


@draws("And", "Or", "Xor")
def logic(g: Graph, op: str) -> None:
    g.one(op, *pair(g, "bool"))


@draws("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(g: Graph, op: str) -> None:
    g.one(op, *pair(g, g.choice(("int32", "int64", "uint8"))))


@draws("BitShift")
def bit_shift(g: Graph, op: str) -> None:
    g.one(op, *pair(g, g.choice(("uint8", "uint32", "uint64")), (0, 7)), direction=g.choice(("LEFT", "RIGHT")))


@draws("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def comparison(g: Graph, op: str) -> None:
    g.one(op, *pair(g, g.choice(("float32", "int64", "int32"))))


@draws("Where")
def where(g: Graph, op: str) -> None:
    first, second = pair(g, g.choice(("float32", "float32", "int64")))
    g.one(op, g.like(_broadcast(g, first.shape), "bool"), first, second)


# ---- along axes


@draws("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
       "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
def reduction(g: Graph, op: str) -> None:
    integral = op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean") and g.number(0, 4) == 0
    within = {"ReduceLogSum": (0.01, 1e4), "ReduceLogSumExp": (-9.0, 9.0)}.get(op)
    x = g.tensor(g.choice(_INTEGERS) if integral else "float32", within=within)
    attributes = g.optional("keepdims", g.number(0, 1))
    axes = axes_of(g, x) if g.number(0, 3) else []
    if g.opset >= 18 or op == "ReduceSum":
        operand = g.numbers(*axes) if axes else None
        g.one(op, x, operand, **attributes, **({} if axes else g.optional("noop_with_empty_axes", g.number(0, 1))))
    else:
        g.one(op, x, **attributes, **({"axes": axes} if axes else {}))


def axes_of(g: Graph, x: Tensor) -> list[int]:
    """Some axes of a tensor, each counted from the front or from the back."""
    chosen = [axis for axis in range(x.rank) if g.flag()]
    return [axis - x.rank if g.number(0, 2) == 0 else axis for axis in chosen]


def axis_of(g: Graph, x: Tensor) -> int:
    return g.number(-x.rank, x.rank - 1)


@draws("ArgMax", "ArgMin")
def arg_reduction(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "float32", "int32", "uint8")), (1, 4))
    keep = g.optional("keepdims", g.number(0, 1))
    g.one(op, x, axis=axis_of(g, x), **keep, **g.optional("select_last_index", g.number(0, 1)))


@draws("CumSum")
def cumulative(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "float32", "int64")), (1, 4))
    attributes = {**g.optional("exclusive", 1), **g.optional("reverse", 1)}
    g.one(op, x, g.constant(axis_of(g, x), g.choice(_INTEGERS)), **attributes)


@draws("Softmax", "LogSoftmax", "Hardmax")
def softmax(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4), within=(-50, 50))
    g.one(op, x, **g.optional("axis", axis_of(g, x)))


@draws("LpNormalization")
def lp_normalization(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4), within=(0.05, 1e3))
    g.one(op, x, **g.optional("axis", axis_of(g, x)), **g.optional("p", g.number(1, 2)))


@draws("TopK")
def top_k(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "float32", "int64", "int32")), (1, 4))
    axis = axis_of(g, x)
    attributes = {**g.optional("largest", g.number(0, 1)), **g.optional("axis", axis)}
    most = x.shape[attributes.get("axis", -1)]
    g.apply(op, x, g.numbers(g.number(1, most)), outputs=2, **attributes)
