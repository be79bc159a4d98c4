"""Models in operator form (QLinearConv and its kin) as Q/DQ models: every operator becomes DQ, float operator, Q."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.errors import UnsupportedError
from openbpu.ir.onnx_graph import STANDARD, array_of
from openbpu.lower.constants import value_of

_MICROSOFT = "com.microsoft"
_Form = Callable[["_Expansion"], Iterator[onnx.NodeProto]]

# A few operators of com.microsoft take (x, scale, zero, y scale, y zero): operator -> standard operator.
_UNARY = {
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSoftmax": "Softmax",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearAveragePool": "AveragePool",
    "QLinearReduceMean": "ReduceMean",
}
_BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul"}
_PRIVATE_ATTRIBUTES = ("channels_last", "opset")


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with all quantised operators written as Q/DQ; itself, if it has none. Raises UnsupportedError."""
    if not any(_form(node) or _is_contrib_qdq(node) for node in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    tensors = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    tensors |= {node.output[0]: value_of(node) for node in graph.node if node.op_type == "Constant"}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        form = _form(node)
        if form is not None:
            nodes.extend(form(_Expansion(node, graph, tensors)))
            continue
        if _is_contrib_qdq(node):
            node.domain = ""
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _is_contrib_qdq(node: onnx.NodeProto) -> bool:
    return node.domain == _MICROSOFT and node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _form(node: onnx.NodeProto) -> _Form | None:
    if node.domain in STANDARD:
        return {"QLinearConv": _conv, "QLinearMatMul": _matmul}.get(node.op_type)
    if node.domain != _MICROSOFT:
        return None
    if node.op_type in _UNARY:
        return _unary
    if node.op_type in _BINARY:
        return _binary
    return {"QLinearConcat": _concat, "QGemm": _gemm, "QLinearWhere": _where}.get(node.op_type)


class _Expansion:
    """One node being written as several; makes their names and constants."""

    def __init__(self, node: onnx.NodeProto, graph: onnx.GraphProto, tensors: dict[str, np.ndarray]) -> None:
        self.node, self.graph, self.tensors = node, graph, tensors
        self.title = node.name or node.output[0]
        self.inputs = [*node.input, *[""] * 9]
        self.attributes: dict[str, Any] = {
            a.name: helper.get_attribute_value(a) for a in node.attribute if a.name not in _PRIVATE_ATTRIBUTES
        }
        if any(a.name == "channels_last" and a.i for a in node.attribute):
            raise self.refuse("channels_last must be 0", "convert the model before layouts are optimised")

    def refuse(self, rule: str, remedy: str) -> UnsupportedError:
        return UnsupportedError(rule, where=f"node '{self.title}' ({self.node.op_type})", remedy=remedy)

    def dequantized(self, first: int, axis: int | None = None) -> tuple[str, onnx.NodeProto]:
        """DequantizeLinear of inputs first, first + 1 and first + 2: its result and itself."""
        x, scale, zero = self.inputs[first : first + 3]
        name = f"{self.title}.dq{first}"
        operands = [x, scale, zero] if zero else [x, scale]
        attributes: dict[str, Any] = {} if axis is None or self.array(scale).size == 1 else {"axis": axis}
        return name, helper.make_node("DequantizeLinear", operands, [name], name=name, **attributes)

    def bias(self, name: str, scales: tuple[str, str]) -> tuple[str, list[onnx.NodeProto]]:
        """DequantizeLinear of an int32 bias on the grid of two scales; nothing if there is no bias."""
        if not name:
            return "", []
        grid = f"{self.title}.bias_scale"
        product = np.asarray(self.array(scales[0]) * self.array(scales[1]), np.float32)
        self.graph.initializer.append(numpy_helper.from_array(product, grid))
        out = f"{self.title}.bias"
        attributes: dict[str, Any] = {"axis": 0} if product.size > 1 else {}
        return out, [helper.make_node("DequantizeLinear", [name, grid], [out], name=out, **attributes)]

    def core(self, op: str, inputs: list[str], scale: str, zero: str, **attributes: Any) -> Iterator[onnx.NodeProto]:
        """The float operator and the QuantizeLinear behind it, if there is a scale for that."""
        if not scale:
            yield helper.make_node(
                op, inputs, [self.node.output[0]], name=self.title, **{**self.attributes, **attributes}
            )
            return
        real = f"{self.title}.real"
        yield helper.make_node(op, inputs, [real], name=self.title, **{**self.attributes, **attributes})
        operands = [real, scale, zero] if zero else [real, scale]
        yield helper.make_node("QuantizeLinear", operands, [self.node.output[0]], name=f"{self.title}.q")

    def array(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise self.refuse("its scales must be constant", "use static quantisation")
        return self.tensors[name]


def _conv(e: _Expansion) -> Iterator[onnx.NodeProto]:
    x, first = e.dequantized(0)
    w, second = e.dequantized(3, axis=0)
    bias, extra = e.bias(e.inputs[8], (e.inputs[1], e.inputs[4]))
    yield from (first, second, *extra)
    yield from e.core("Conv", [x, w, bias] if bias else [x, w], e.inputs[6], e.inputs[7])


def _matmul(e: _Expansion) -> Iterator[onnx.NodeProto]:
    a, first = e.dequantized(0)
    b, second = e.dequantized(3, axis=-1)
    yield from (first, second)
    yield from e.core("MatMul", [a, b], e.inputs[6], e.inputs[7])


def _gemm(e: _Expansion) -> Iterator[onnx.NodeProto]:
    a, first = e.dequantized(0)
    b, second = e.dequantized(3, axis=0 if e.attributes.get("transB") else 1)
    alpha = float(e.attributes.pop("alpha", 1.0))
    if alpha != 1:
        raise e.refuse("alpha must be 1", "multiply a scale by alpha instead")
    bias, extra = e.bias(e.inputs[6], (e.inputs[1], e.inputs[4]))
    yield from (first, second, *extra)
    yield from e.core("Gemm", [a, b, bias] if bias else [a, b], e.inputs[7], e.inputs[8])


def _binary(e: _Expansion) -> Iterator[onnx.NodeProto]:
    a, first = e.dequantized(0)
    b, second = e.dequantized(3)
    yield from (first, second)
    yield from e.core(_BINARY[e.node.op_type], [a, b], e.inputs[6], e.inputs[7])


def _unary(e: _Expansion) -> Iterator[onnx.NodeProto]:
    x, first = e.dequantized(0)
    yield first
    yield from e.core(_UNARY[e.node.op_type], [x], e.inputs[3], e.inputs[4])


def _concat(e: _Expansion) -> Iterator[onnx.NodeProto]:
    parts = [e.dequantized(first) for first in range(2, len(e.node.input), 3)]
    yield from (node for _, node in parts)
    yield from e.core("Concat", [name for name, _ in parts], e.inputs[0], e.inputs[1])


def _where(e: _Expansion) -> Iterator[onnx.NodeProto]:
    a, first = e.dequantized(1)
    b, second = e.dequantized(4)
    yield from (first, second)
    yield from e.core("Where", [e.inputs[0], a, b], e.inputs[7], e.inputs[8])
