"""Constant tensors of the model: folding, quantising and dequantising them at compile time."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from openbpu.errors import ModelError
from openbpu.lower.expressions import Constant, Expr
from openbpu.lower.node import Node

_REARRANGING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather")


def value_of(proto: onnx.NodeProto) -> np.ndarray:
    """The tensor of a Constant node."""
    attribute = proto.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return np.asarray(numpy_helper.to_array(value))
    return np.array(value, np.int64 if attribute.name in ("value_int", "value_ints") else np.float32)


def fold(proto: onnx.NodeProto, node: Node, opset: int) -> list[Expr]:
    """The results of a node whose operands are all constant."""
    first = node.inputs[0] if node.inputs else None
    if isinstance(first, Constant) and first.codes is not None and proto.op_type in _REARRANGING:
        return _rearranged(proto, node, first, opset)
    results = _evaluated(proto, node, [c.real if isinstance(c, Constant) else None for c in node.inputs], opset)
    return [Constant(node=node, shape=tuple(r.shape), origin=(), real=r) for r in results]


def _rearranged(proto: onnx.NodeProto, node: Node, first: Constant, opset: int) -> list[Expr]:
    """As `fold`, keeping the integers of a dequantised constant and their scales."""
    others = [c.real if isinstance(c, Constant) else None for c in node.inputs[1:]]
    assert first.codes is not None and first.scale is not None and first.zero is not None
    codes = _evaluated(proto, node, [first.codes, *others], opset)
    where: list[np.ndarray | None] = [None] * len(codes)
    if first.scale.size > 1:
        shape = [1] * first.codes.ndim
        shape[first.axis or 0] = -1
        channel = np.broadcast_to(np.arange(first.scale.size, dtype=np.int64).reshape(shape), first.codes.shape)
        where = [*_evaluated(proto, node, [channel, *others], opset)]
    results: list[Expr] = []
    for array, channels in zip(codes, where, strict=True):
        scale, zero, axis = first.scale, first.zero, None
        if channels is not None:
            axis, order = _axis_of(channels, node)
            scale, zero = scale[order], np.broadcast_to(zero, scale.shape)[order]
        results.append(_dequantized(node, array, scale, zero, axis))
    return results


def _axis_of(channels: np.ndarray, node: Node) -> tuple[int, np.ndarray]:
    """The axis along which channel numbers vary, and those numbers."""
    for axis in range(channels.ndim):
        lines = np.moveaxis(channels, axis, 0).reshape(channels.shape[axis], -1)
        if (lines == lines[:, :1]).all():
            return axis, lines[:, 0]
    raise node.refuse("per-channel scales must still lie along one axis of the weights", seen=f"shape {channels.shape}")


def _evaluated(proto: onnx.NodeProto, node: Node, arrays: list[np.ndarray | None], opset: int) -> list[np.ndarray]:
    inputs = {name: a for name, a in zip(proto.input, arrays, strict=True) if name and a is not None}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = helper.make_graph([proto], "fold", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, inputs)]
    except Exception as error:  # the evaluator raises errors of many kinds
        raise ModelError(
            "a node with constant operands must be computable",
            where=node.where,
            seen=error,
            remedy="fold it in the model",
        ) from error


def quantized(real: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int, dtype: str) -> np.ndarray:
    """QuantizeLinear of a constant, as integers of the model's type."""
    limits = np.iinfo(dtype)
    steps = np.rint(np.asarray(real, np.float32) / _spread(np.asarray(scale, np.float32), axis, real.ndim))
    codes = np.nan_to_num(steps.astype(np.float64), nan=0.0) + _spread(zero, axis, real.ndim).astype(np.float64)
    return np.asarray(np.clip(codes, limits.min, limits.max).astype(dtype))


def dequantized(node: Node, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> Constant:
    """DequantizeLinear of a constant; uint8 becomes int8, 128 less."""
    shift = 128 if codes.dtype == np.uint8 else 0
    wide = codes.astype(np.int64) - shift
    along = axis % codes.ndim if scale.size > 1 else None
    return _dequantized(node, wide, scale.astype(np.float64).ravel(), zero.astype(np.int64).ravel() - shift, along)


def _dequantized(node: Node, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int | None) -> Constant:
    spread = [_spread(a, axis or 0, codes.ndim) for a in (scale, zero)]
    real = (codes - spread[1]) * spread[0]
    return Constant(
        node=node, shape=tuple(codes.shape), origin=(), real=real, codes=codes, scale=scale, zero=zero, axis=axis
    )


def _spread(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Values shaped to broadcast along an axis."""
    values = np.asarray(values)
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis % rank] = values.size
    return values.reshape(shape)
