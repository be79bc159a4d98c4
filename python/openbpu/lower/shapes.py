"""Shapes and types of the tensors of a model, with static maxima where they depend on the data."""

from __future__ import annotations

from math import prod

import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import infer_shapes
from openbpu.lower.builder import Shape
from openbpu.lower.constants import named_type
from openbpu.lower.expressions import Constant
from openbpu.lower.node import Node, TensorInfo

DATA_DEPENDENT = ("NonMaxSuppression", "NonZero", "Compress", "Unique")
_MOST_DATA = 4096  # elements of a constant whose values shape inference may want


def counted(node: onnx.NodeProto) -> dict[str, int]:
    """Results of a node whose extent depends on the data, each with the axis along which it is padded."""
    axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 0)
    first = {"NonZero": 1, "NonMaxSuppression": 0}.get(node.op_type, axis)
    names = zip(node.output, (first, 0, None, 0), strict=False)  # the inverse of Unique is as long as its operand
    return {name: along for name, along in names if name and along is not None}


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes that follow from those of its inputs; ModelError if they contradict one another."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        return infer_shapes(copy)
    except (shape_inference.InferenceError, ValueError) as error:
        raise ModelError(
            "shapes must fit together",
            where=f"model '{model.graph.name}'",
            seen=error,
            remedy="check it with onnx.checker",
        ) from error


def infos_of(graph: onnx.GraphProto) -> dict[str, TensorInfo]:
    """Static shapes that a graph states or that follow."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        info = _info(value.type)
        if info is not None:
            found[value.name] = info
    return found


def _info(kind: onnx.TypeProto) -> TensorInfo | None:
    tensor = kind.tensor_type
    known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
    if not known or tensor.elem_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorInfo(tuple(d.dim_value for d in tensor.shape.dim), dtype)


def results_of(proto: onnx.NodeProto, node: Node) -> list[TensorInfo | None]:
    """Shapes and types of the results of one node, from those of its operands and from the constants among them.

    Where they depend on the data, the largest that there can be; None if they do not follow.
    """
    if proto.op_type in DATA_DEPENDENT:
        return _largest(node)
    if proto.op_type == "MaxUnpool" and isinstance(extents := node.optional(2), Constant):
        return [TensorInfo(tuple(int(e) for e in extents.real.ravel()), node.operand(0).dtype)]
    types, data = {}, {}
    for name, operand in zip(proto.input, node.inputs, strict=True):
        if operand is None:
            continue
        kind = helper.np_dtype_to_tensor_dtype(named_type(operand.dtype))
        types[name] = helper.make_tensor_type_proto(kind, operand.shape)
        if isinstance(operand, Constant) and operand.numbers is not None and operand.numbers.size <= _MOST_DATA:
            data[name] = numpy_helper.from_array(operand.numbers, name)
    try:
        schema = defs.get_schema(proto.op_type, node.opset, proto.domain)
        found = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[helper.make_opsetid(proto.domain, node.opset)]
        )
    except (defs.SchemaError, shape_inference.InferenceError, RuntimeError, ValueError, KeyError):
        return [None] * len(proto.output)
    return [_info(found[name]) if name in found else None for name in proto.output]


def _largest(node: Node) -> list[TensorInfo | None]:
    first = node.operand(0)
    axis = node.attribute("axis")
    made: list[Shape]
    if node.op == "NonMaxSuppression":
        scores, limit = node.operand(1).shape, node.optional(2)
        most = int(limit.real.ravel()[0]) if isinstance(limit, Constant) else 0
        made = [(scores[0] * scores[1] * min(max(most, 0), first.shape[1]), 3)]
        return [TensorInfo(made[0], "int64")]
    if node.op == "NonZero":
        return [TensorInfo((len(first.shape), prod(first.shape)), "int64")]
    if node.op == "Compress":
        kept = prod(node.operand(1).shape)
        shape = list(first.shape) if axis is not None else [prod(first.shape)]
        shape[axis or 0] = min(shape[axis or 0], kept)
        return [TensorInfo(tuple(shape), first.dtype)]
    count = prod(first.shape) if axis is None else first.shape[axis]
    values = TensorInfo((count,) if axis is None else first.shape, first.dtype)
    return [values, *[TensorInfo((count,), "int64")] * (len(node.outputs) - 1)]
