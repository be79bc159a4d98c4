"""Forms of nodes that move elements, reduce, compare or quantise."""

from __future__ import annotations

import numpy as np

from openbpu.lower.cpu.form import VIEW, Form, axis_of, constant, form, moved_to_input
from openbpu.lower.expressions import Constant
from openbpu.lower.node import Node, TensorInfo


@form("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
def _view(node: Node, result: Form) -> None:
    result.op, result.attributes = VIEW, {}
    del result.operands[1:]


@form("Dropout")
def _dropout(node: Node, result: Form) -> None:
    training = node.optional(2)
    if isinstance(training, Constant) and bool(training.real.any()):
        raise node.refuse("training mode is not inference", remedy="export in inference mode")
    if len(result.results) > 1 and result.results[1] is not None:
        raise node.refuse("its second result, the mask, cannot be computed", remedy="export in inference mode")
    _view(node, result)


@form("Cast", "CastLike")
def _cast(node: Node, result: Form) -> None:
    result.op, result.attributes = "Cast", {}
    del result.operands[1:]


@form("Expand", "Tile", "Split")
def _data_only(node: Node, result: Form) -> None:
    """The extents of the results say the rest."""
    del result.operands[1:]
    result.attributes = {"axis": axis_of(node, result, 0)} if node.op == "Split" else {}


@form("Slice")
def _slice(node: Node, result: Form) -> None:
    for position, name in enumerate(("starts", "ends", "axes"), 1):
        moved_to_input(node, result, name, position)
    for position, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps")):
        if position < len(result.operands) and result.operands[position] is not None:
            result.operands[position] = constant(node, np.asarray(integers_of(node, result, position, name)))


def integers_of(node: Node, result: Form, position: int, name: str) -> list[int]:
    """A constant operand of a form as int64 numbers."""
    operand = result.operands[position]
    if not isinstance(operand, Constant):
        raise node.refuse(
            f"its {name} must be known at compile time",
            seen="values computed at run time",
            remedy="fix the input shapes and fold the shape arithmetic",
        )
    return [int(v) for v in np.ravel(operand.real)]


@form("Pad")
def _pad(node: Node, result: Form) -> None:
    moved_to_input(node, result, "pads", 1)
    value = result.attributes.pop("value", None)
    if value is not None and len(result.operands) == 2:
        result.operands.append(constant(node, value, "float32"))
    result.operands[1] = constant(node, integers_of(node, result, 1, "pads"))
    if len(result.operands) > 3 and result.operands[3] is not None:
        result.operands[3] = constant(node, integers_of(node, result, 3, "axes"))
    if result.attributes.get("mode", "constant") == "wrap" and min(integers_of(node, result, 1, "pads")) < 0:
        raise node.refuse("mode wrap has no negative pads", remedy="use Slice to crop")


@form("Clip")
def _clip(node: Node, result: Form) -> None:
    for position, name in ((1, "min"), (2, "max")):
        value = result.attributes.pop(name, None)
        while len(result.operands) <= position:
            result.operands.append(None)
        if value is not None:
            result.operands[position] = constant(node, value, "float32")


@form("TopK")
def _topk(node: Node, result: Form) -> None:
    moved_to_input(node, result, "k", 1)
    result.operands[1] = constant(node, integers_of(node, result, 1, "k"))


@form("OneHot")
def _one_hot(node: Node, result: Form) -> None:
    result.operands[1] = constant(node, integers_of(node, result, 1, "depth"))


@form("Trilu")
def _trilu(node: Node, result: Form) -> None:
    if len(result.operands) > 1 and result.operands[1] is not None:
        result.operands[1] = constant(node, integers_of(node, result, 1, "k")[0])


@form(
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip
def _reduce(node: Node, result: Form) -> None:
    moved_to_input(node, result, "axes", 1)
    if result.operands[1] is not None:
        axes = integers_of(node, result, 1, "axes")
        result.operands[1] = constant(node, axes) if axes else None


@form("CumSum", "CumProd")
def _cumulative(node: Node, result: Form) -> None:
    result.operands[1] = constant(node, integers_of(node, result, 1, "axis")[0])


@form("Concat")
def _concat(node: Node, result: Form) -> None:
    result.attributes["axis"] = axis_of(node, result, 1)
    result.operands = [operand for operand in result.operands if operand is not None and 0 not in operand.shape]


@form("Transpose")
def _transpose(node: Node, result: Form) -> None:
    rank = len(node.operand(0).shape)
    result.attributes["perm"] = [int(a) for a in node.attribute("perm", range(rank)[::-1])]


@form("Scatter")
def _scatter(node: Node, result: Form) -> None:
    result.op = "ScatterElements"


@form("Softmax", "LogSoftmax", "Hardmax")
def _softmax(node: Node, result: Form) -> None:
    if node.opset >= 13:
        return
    result.flattened = axis_of(node, result, 1)  # the old form sees a matrix
    result.attributes["axis"] = -1


@form("BatchNormalization")
def _batch_normalization(node: Node, result: Form) -> None:
    if any(info is not None for info in result.results[1:]) or node.attribute("training_mode", 0):
        raise node.refuse("training mode is not inference", remedy="export in inference mode")
    result.attributes = {"epsilon": float(node.attribute("epsilon", 1e-5))}
    del result.results[1:]


@form("GroupNormalization")
def _group_normalization(node: Node, result: Form) -> None:
    if node.opset < 21:
        groups, channels = int(node.attribute("num_groups")), node.operand(0).shape[1]
        for position in (1, 2):
            operand = node.operand(position)
            if not isinstance(operand, Constant):
                raise node.refuse("before opset 21, scale and bias must be constant")
            result.operands[position] = constant(node, np.repeat(operand.real, channels // groups), operand.dtype)


@form("QuantizeLinear", "DequantizeLinear")
def _quantise(node: Node, result: Form) -> None:
    result.attributes = {name: v for name, v in result.attributes.items() if name in ("axis", "block_size")}


@form("Einsum")
def _einsum(node: Node, result: Form) -> None:
    ranks = [len(operand.shape) for operand in node.inputs if operand is not None]
    result.attributes = {"labels": einsum_labels(node, str(node.attribute("equation")), ranks)}


def einsum_labels(node: Node, equation: str, ranks: list[int]) -> list[int]:
    """One number per dimension of each operand, then of the result; "..." takes the dimensions that are left."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise node.refuse("its equation must name each operand", seen=equation)
    widest = max(
        [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term],
        default=0,
    )
    dots = [f"{i}" for i in range(widest)]  # digits are no labels of ONNX

    def spread(term: str, count: int) -> list[str]:
        before, found, after = term.partition("...")
        return [*before, *(dots[widest - count :] if found else []), *after]

    operands = [spread(term, rank - len(term.replace("...", ""))) for term, rank in zip(terms, ranks, strict=True)]
    if arrow:
        result = spread(right, widest)
    else:
        letters = [label for operand in operands for label in operand if label not in dots]
        result = [*dots, *sorted(label for label in set(letters) if letters.count(label) == 1)]
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(label, len(numbers)) for term in (*operands, result) for label in term]
    if len(numbers) > 32:
        raise node.refuse("at most 32 different labels", seen=len(numbers))
    return flat


@form("LSTM", "GRU", "RNN")
def _recurrent(node: Node, result: Form) -> None:
    words = [str(w.decode() if isinstance(w, bytes) else w) for w in result.attributes.get("activations", [])]
    if words:
        result.attributes["activations"] = words
    known = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
    if words:
        result.attributes["activations"] = [known.get(w.lower(), w) for w in words]
    result.attributes.pop("output_sequence", None)


@form("NonMaxSuppression")
def _nms(node: Node, result: Form) -> None:
    for position, name, dtype in ((2, "count", "int64"), (3, "threshold", "float32"), (4, "threshold", "float32")):
        if position < len(result.operands) and (operand := result.operands[position]) is not None:
            if not isinstance(operand, Constant):
                raise node.refuse(f"its {name} must be known at compile time", remedy="make it an initializer")
            result.operands[position] = constant(node, np.ravel(operand.real)[:1], dtype)
    _counted(node, result)


_COUNT_POSITION = {"NonMaxSuppression": 1, "NonZero": 1, "Compress": 1, "Unique": 4}


@form("NonZero", "Unique", "Compress")
def _counted(node: Node, result: Form) -> None:
    """Results with a static maximum: one more result holds the count of valid rows."""
    position = _COUNT_POSITION[node.op]
    result.results += [None] * (position - len(result.results))
    result.results.append(TensorInfo((), "int64"))


@form("EyeLike")
def _eye(node: Node, result: Form) -> None:
    raise node.refuse("its shape must be known when it is folded")
