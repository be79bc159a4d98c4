"""Constant tensors of the model: folding, quantising and dequantising them at compile time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import array_of
from openbpu.lower.expressions import Constant, Expr, Quantised
from openbpu.lower.node import Node

_REARRANGING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather")


def value_of(proto: onnx.NodeProto) -> np.ndarray:
    """The tensor of a Constant node."""
    attribute = proto.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return array_of(value)
    return np.array(value, np.int64 if attribute.name in ("value_int", "value_ints") else np.float32)


def fold(proto: onnx.NodeProto, node: Node, opset: int) -> list[Expr]:
    """The results of a node whose operands are all constant; ModelError if onnx's evaluator cannot compute them."""
    first = node.inputs[0] if node.inputs else None
    if isinstance(first, Constant) and first.quantised is not None and proto.op_type in _REARRANGING:
        return _rearranged(proto, node, first.quantised, opset)
    results = _evaluated(proto, node, [_numbers(operand) for operand in node.inputs], opset)
    stated = [info for name, info in zip(node.outputs, node.infos, strict=True) if name]
    typed = [r if i is None else r.astype(named_type(i.dtype)) for r, i in zip(results, stated, strict=True)]
    return [Constant(node=node, shape=tuple(r.shape), origin=(), numbers=r) for r in typed]


def named_type(name: str) -> np.dtype[Any]:
    """A numpy type by name, those of ml_dtypes included."""
    return np.dtype(getattr(ml_dtypes, name, name))


def _numbers(operand: Expr | None) -> np.ndarray | None:
    """A constant as ONNX holds it: dequantised ones are float32."""
    if not isinstance(operand, Constant):
        return None
    return operand.real if operand.quantised is None else operand.real.astype(np.float32)


def _rearranged(proto: onnx.NodeProto, node: Node, first: Quantised, opset: int) -> list[Expr]:
    """As `fold`, keeping the integers of a dequantised constant and their scales."""
    others = [_numbers(operand) for operand in node.inputs[1:]]
    codes = _evaluated(proto, node, [first.codes, *others], opset)
    if first.scale.size == 1:
        return [_constant(node, Quantised(array, first.scale, first.zero)) for array in codes]
    if first.axis is None:
        scales, zeros = (
            _evaluated(proto, node, [first.along(array), *others], opset) for array in (first.scale, first.zero)
        )
        moved = zip(codes, scales, zeros, strict=True)
        return [_constant(node, Quantised(array, scale.ravel(), zero.ravel())) for array, scale, zero in moved]
    channel = first.along(np.arange(first.scale.size, dtype=np.int64))
    where = _evaluated(proto, node, [np.broadcast_to(channel, first.codes.shape), *others], opset)
    zero = np.broadcast_to(first.zero, first.scale.shape)
    results: list[Expr] = []
    for array, channels in zip(codes, where, strict=True):
        axis, order = _axis_of(channels, node)
        results.append(_constant(node, Quantised(array, first.scale[order], zero[order], axis)))
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
    """QuantizeLinear of a constant, as integers of the model's type, int4 and uint4 included."""
    limits: Any = ml_dtypes.iinfo(named_type(dtype))  # type: ignore[no-untyped-call]
    shape = [1] * real.ndim
    if scale.size > 1:
        shape[axis] = -1
    divisor, offset = scale.astype(np.float32).reshape(shape), zero.astype(np.float64).reshape(shape)
    steps = np.rint(real.astype(np.float32) / divisor).astype(np.float64)
    return np.asarray(np.clip(np.nan_to_num(steps) + offset, limits.min, limits.max).astype(named_type(dtype)))


def dequantized(
    node: Node, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int, block: int = 0
) -> Constant:
    """DequantizeLinear of a constant; uint8 becomes int8, 128 less.

    `block` consecutive indices of `axis` share a scale if it is not 0. Where a scale is negative, as NNCF chooses them
    to reach -128, the integers change their sign instead; where it is 0, they are those of 0.
    """
    shift = 128 if codes.dtype == np.uint8 else 0
    wide = codes.astype(np.int32) - shift
    along = axis % codes.ndim if scale.size > 1 and not block else None
    if block:
        scale, zero = (_of_elements(node, array, codes.shape, axis, block) for array in (scale, zero))
    held = Quantised(wide, scale.astype(np.float64).ravel(), zero.astype(np.int64).ravel() - shift, along)
    if (held.scale <= 0).any():
        signs, points = held.along(np.sign(held.scale).astype(np.int32)), held.along(held.zero)
        magnitudes = np.where(held.scale == 0, 1.0, np.abs(held.scale))
        held = replace(held, codes=points + signs * (wide - points), scale=magnitudes)
    return _constant(node, held)


def _of_elements(node: Node, array: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """Scales or zero points of blocks, one for each element."""
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block)
    if list(array.shape) != blocks:
        raise ModelError(
            "scales and zero points of blocks must cover the tensor",
            where=node.where,
            seen=f"shape {array.shape} for blocks of {block} in axis {axis} of {shape}",
            remedy="quantise the model again",
        )
    return np.repeat(array, block, axis).take(range(shape[axis]), axis)


def _constant(node: Node, quantised: Quantised) -> Constant:
    return Constant(node=node, shape=tuple(quantised.codes.shape), origin=(), quantised=quantised)
