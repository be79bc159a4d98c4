"""Operators of a float model as nodes that the BPU has instructions for.

Sums of many tensors become chains of Add, so that every step has a range of its own; normalisations over images become
LayerNormalization of their rows; einsum becomes a matrix product; a quotient by a norm becomes LpNormalization;
windows over volumes become windows over images (volumes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np
import onnx
from onnx import TensorProto

from openbpu.frontend.batch_norm import over_images
from openbpu.frontend.einsum import write_einsum
from openbpu.frontend.indexing import (
    DATA,
    gather_elements,
    gather_nd,
    reverse_sequence,
    scatter_elements,
    scatter_nd,
)
from openbpu.frontend.norms import (
    LONGEST_ROW,
    logarithm_of_sum,
    long_rows,
    mean_and_variance,
    product_of_slices,
)
from openbpu.frontend.volumes import image_of_columns, mean_of_volume, product_and_sum, transposed_volume
from openbpu.frontend.writing import NodeWriter, attributes_of
from openbpu.ir.onnx_graph import STANDARD, array_of, opset_of

_MOST_GROUPS = 32  # that go one by one
_LOWEST = -3e38  # borders from here on never are the largest value
_LAYER_NORM = 17  # the opset that has it
_IMAGE_NORMS = ("InstanceNormalization", "GroupNormalization")


class Context:
    """What rules ask about the model: shapes, constants, producers."""

    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self.opset = opset
        infos = (*graph.input, *graph.value_info, *graph.output)
        shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in infos}
        self.types = {i.name: i.type.tensor_type.elem_type for i in infos}
        self.types |= {t.name: t.data_type for t in graph.initializer}
        self.constants = {t.name: array_of(t) for t in (*graph.initializer, *_constants(graph))}
        shapes |= {name: list(array.shape) for name, array in self.constants.items()}
        self.shapes = {name: shape for name, shape in shapes.items() if all(extent > 0 for extent in shape)}
        self.producers = {name: node for node in graph.node for name in node.output}

    def constant(self, name: str) -> np.ndarray | None:
        """A constant, or one behind DequantizeLinear with one scale."""
        node = self.made(name, "DequantizeLinear")
        if node is None:
            return self.constants.get(name)
        parts = [self.constants[operand] for operand in node.input if operand in self.constants]
        if len(parts) != len(node.input) or parts[1].size != 1:
            return None
        zero = parts[2].astype(np.float32) if len(parts) > 2 else np.float32(0)
        return np.asarray((parts[0].astype(np.float32) - zero) * parts[1], np.float32)

    def is_float(self, node: onnx.NodeProto) -> bool:
        """float32 operands, but for indices and axes: the constants that rules write are."""
        first = (0,) if node.op_type.startswith("Reduce") else tuple(range(len(node.input)))
        names = [node.input[i] for i in DATA.get(node.op_type, first)]
        return all(self.types.get(name, TensorProto.FLOAT) == TensorProto.FLOAT for name in names)

    def made(self, name: str, op: str) -> onnx.NodeProto | None:
        node = self.producers.get(name)
        return node if node is not None and node.op_type == op and node.domain in STANDARD else None


def _constants(graph: onnx.GraphProto) -> list[TensorProto]:
    """Those that nodes hold, under the names of their results."""
    found = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            found.append(tensor)
    return found


_Rule = Callable[[onnx.NodeProto, Context, NodeWriter], bool]  # False if the node stays


def decompose(model: onnx.ModelProto, integers: bool = True) -> None:
    """Replaces the float32 nodes for which there is a rule that takes them. In place; shapes must be known.

    Without `integers` only where float32 gains by it, too.
    """
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    context = Context(graph, opset_of(model, 1))
    tables = (_RULES, _INTEGER_RULES) if integers else (_RULES,)
    for node in graph.node:
        known = node.domain in STANDARD and context.is_float(node)
        rules = [table[node.op_type] for table in tables if known and node.op_type in table]
        writer = NodeWriter(graph, node.name or node.output[0])
        nodes += writer.made if any(rule(node, context, writer) for rule in rules) else [node]
    del graph.node[:]
    graph.node.extend(nodes)


def decompose_quantised(model: onnx.ModelProto) -> None:
    """The same for a quantised model: what needs no parameters between its nodes, behind DequantizeLinear."""
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    context = Context(graph, opset_of(model, 1))
    rules: dict[str, _Rule] = {"Einsum": _einsum, **dict.fromkeys(_IMAGE_NORMS, _rows_of_groups), **_INDEXING}
    rules["Col2Im"] = partial(image_of_columns, quantised=True)
    if context.opset >= _LAYER_NORM:
        rules["MeanVarianceNormalization"] = mean_and_variance
    for node in graph.node:
        rule = rules.get(node.op_type) if node.domain in STANDARD and context.is_float(node) else None
        if rule is not None and context.made(node.input[0], "DequantizeLinear") is None:
            rule = None
        writer = NodeWriter(graph, node.name or node.output[0])
        nodes += writer.made if rule is not None and rule(node, context, writer) else [node]
    del graph.node[:]
    graph.node.extend(nodes)


def _sum(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """Sum and Mean of at least two tensors."""
    if len(node.input) < 2:
        return False
    total, count = node.input[0], len(node.input)
    last = node.output[0] if node.op_type == "Sum" else ""
    for index, name in enumerate(node.input[1:], 2):
        total = write.op("Add", total, name, output=last if index == count else "")
    if node.op_type == "Mean":
        write.op("Mul", total, write.constant(np.float32(1 / count)), output=node.output[0])
    return True


def _normalisation(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """InstanceNormalization and GroupNormalization: rows of one channel or group, then gain and offset per channel."""
    shape, given = context.shapes.get(node.input[0]), attributes_of(node)
    gain, offset = (context.constants.get(name) for name in node.input[1:3])
    if shape is None or len(shape) < 3 or gain is None or offset is None:
        return False
    groups = int(given.get("num_groups", shape[1]))
    row = shape[1] // groups * prod(shape[2:])
    if row > LONGEST_ROW:
        return False
    plain = np.unique(gain).size == 1 and not offset.any()  # then the rows can take the gain
    flat = write.shaped(node.input[0], (shape[0], groups, row))
    factor = write.constant(np.full(row, gain[0] if plain else 1, np.float32))
    normal = write.op("LayerNormalization", flat, factor, axis=-1, epsilon=float(given.get("epsilon", 1e-5)))
    normal = write.shaped(normal, shape, output=node.output[0] if plain else "")
    if not plain:
        column = (shape[1], *[1] * (len(shape) - 2))
        scaled = write.op("Mul", normal, write.constant(gain.reshape(column)))
        write.op("Add", scaled, write.constant(offset.reshape(column)), output=node.output[0])
    return True


def _rows_of_groups(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """Normalisation over images by LayerNormalization alone: a row's elements have gains and offsets of their own.

    Groups whose gains differ go one by one.
    """
    shape, given = context.shapes.get(node.input[0]), attributes_of(node)
    gain, offset = (context.constant(name) for name in node.input[1:3])
    if shape is None or len(shape) < 3 or gain is None or offset is None or gain.size != shape[1]:
        return False
    groups = int(given.get("num_groups", shape[1]))
    row, pixels = shape[1] // groups * prod(shape[2:]), prod(shape[2:])
    pairs = np.stack([gain.ravel(), offset.ravel()]).reshape(2, groups, -1)
    parts = 1 if (pairs == pairs[:, :1]).all() else groups
    if row > LONGEST_ROW or parts > _MOST_GROUPS or context.opset < _LAYER_NORM:
        return False
    flat, epsilon, made = write.shaped(node.input[0], (shape[0], groups, row)), given.get("epsilon", 1e-5), []
    for part in range(parts):
        rows = flat
        if parts > 1:
            bounds = (write.constant(np.array([n], np.int64)) for n in (part, part + 1, 1))
            rows = write.op("Slice", flat, *bounds)
        factors = [write.constant(np.repeat(p[part], pixels).astype(np.float32)) for p in pairs]
        made.append(write.op("LayerNormalization", rows, *factors, axis=-1, epsilon=float(epsilon)))
    whole = made[0] if parts == 1 else write.op("Concat", *made, axis=1)
    write.shaped(whole, shape, output=node.output[0])
    return True


def _quotient(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """x / max(norm of x, a little), as torch exports normalize()."""
    x, divisor = node.input
    expanded = context.made(divisor, "Expand")
    divisor = divisor if expanded is None else expanded.input[0]
    for op in ("Clip", "Max"):
        bounded = context.made(divisor, op)
        if bounded is not None and len(bounded.input) > 1:
            bound = context.constants.get(bounded.input[1])
            if bound is None or bound.size != 1 or float(bound.ravel()[0]) > 1e-6:
                return False
            divisor = bounded.input[0]
    norm, shape = context.made(divisor, "ReduceL2"), context.shapes.get(x)
    if norm is None or norm.input[0] != x or shape is None:
        return False
    given = attributes_of(norm)
    axes = given.get("axes") or [int(a) for name in norm.input[1:] for a in context.constants.get(name, np.zeros(0))]
    if len(axes) != 1 or not given.get("keepdims", 1):
        return False
    write.op("LpNormalization", x, output=node.output[0], axis=int(axes[0]) % len(shape), p=2)
    return True


def _window_beyond(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """MaxPool behind a border of -inf, as frameworks with pads of their own write it: the pads of the window."""
    pad, given = context.made(node.input[0], "Pad"), attributes_of(node)
    shape = context.shapes.get(pad.input[0]) if pad is not None else None
    if pad is None or shape is None or any(node.output[1:]) or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        return False
    facts = [context.constants.get(name) for name in (*pad.input[1:], *[""] * (4 - len(pad.input)))]
    amounts, border, axes = facts
    plain = attributes_of(pad).get("mode", b"constant") == b"constant" and len(pad.input) < 4 and axes is None
    if not plain or amounts is None or border is None or float(border.ravel()[0]) > _LOWEST:
        return False
    rank, kernel = len(shape), given["kernel_shape"]
    ends = amounts.reshape(2, rank)
    pads = np.array(given.get("pads", [0] * 2 * (rank - 2))).reshape(2, rank - 2) + ends[:, 2:]
    if ends.min() < 0 or ends[:, :2].any() or (pads >= kernel).any():
        return False
    given |= {"pads": pads.ravel().tolist()}
    write.op("MaxPool", pad.input[0], output=node.output[0], **given)
    return True


def _einsum(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    shapes = [context.shapes.get(name) for name in node.input]
    if any(shape is None for shape in shapes):
        return False
    constants = [context.constants.get(name) for name in node.input]
    equation = attributes_of(node)["equation"].decode()
    known = [shape for shape in shapes if shape is not None]
    return write_einsum(write, equation, list(node.input), known, constants, node.output[0])


_RULES: dict[str, _Rule] = {
    "Sum": _sum,
    "Mean": _sum,
    "InstanceNormalization": _normalisation,
    "GroupNormalization": _normalisation,
    "Div": _quotient,
    "Einsum": _einsum,
    "BatchNormalization": over_images,
    "AveragePool": mean_of_volume,
    "ConvTranspose": transposed_volume,
    "Gemm": product_and_sum,
    "MaxPool": _window_beyond,
}
_INDEXING: dict[str, _Rule] = {
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "ReverseSequence": reverse_sequence,
}
_INTEGER_RULES: dict[str, _Rule] = {
    **_INDEXING,
    "Col2Im": image_of_columns,
    "InstanceNormalization": long_rows,
    "GroupNormalization": long_rows,
    "MeanVarianceNormalization": mean_and_variance,
    "ReduceLogSum": logarithm_of_sum,
    "ReduceProd": product_of_slices,
}
