"""Folds constant arithmetic around products into weights and biases: what onnxscript's rewrite rules lack."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.ir.onnx_graph import Names

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_AFFINE = ("Add", "Sub", "Mul", "Div")


def fold_arithmetic(model: onnx.ModelProto) -> None:
    """Conv and ConvTranspose take in a sum or product with constants per channel; Gemm its alpha and beta; MatMul and
    Gemm, with a bias behind them or not, a product with constants per column. In place.

    A Gemm whose C is not one row becomes a Gemm and an Add.
    """
    _Folder(model.graph).run()


class _Folder:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {t.name: t for t in graph.initializer}
        self.names = Names(graph)
        self.uses = Counter([n for node in graph.node for n in node.input] + [o.name for o in graph.output])
        self.producers = {out: node for node in graph.node for out in node.output}

    def run(self) -> None:
        kept: list[onnx.NodeProto] = []
        for node in self.graph.node:
            if node.op_type in _AFFINE and (self._folded(node) or self._scaled(node)):
                continue
            kept.append(node)
            if node.op_type == "Gemm" and node.input[1] in self.constants:
                kept += self._normalise(node)
        del self.graph.node[:]
        self.graph.node.extend(kept)

    # ---- convolution, then arithmetic with a constant per channel

    def _folded(self, node: onnx.NodeProto) -> bool:
        for data, other in (node.input, node.input[::-1]):
            conv = self.producers.get(data)
            if conv is None or conv.op_type not in _CONVOLUTIONS or other not in self.constants or self.uses[data] != 1:
                continue
            if node.op_type == "Div" and data != node.input[0]:
                continue
            if self._fold(conv, node, numpy_helper.to_array(self.constants[other]), data == node.input[0]):
                conv.output[0] = node.output[0]
                self.producers[node.output[0]] = conv
                return True
        return False

    def _fold(self, conv: onnx.NodeProto, node: onnx.NodeProto, constant: np.ndarray, conv_first: bool) -> bool:
        if conv.input[1] not in self.constants or constant.dtype != np.float32:
            return False
        weight = numpy_helper.to_array(self.constants[conv.input[1]])
        groups = next((a.i for a in conv.attribute if a.name == "group"), 1)
        transposed = conv.op_type == "ConvTranspose"
        channels = weight.shape[1] * groups if transposed else weight.shape[0]
        shape = (1,) * (weight.ndim - constant.ndim) + constant.shape
        if len(shape) != weight.ndim or any(n != 1 for i, n in enumerate(shape) if i != 1):
            return False
        if constant.size not in (1, channels):
            return False
        bias = np.zeros(channels, np.float64)
        if len(conv.input) > 2 and conv.input[2]:
            if conv.input[2] not in self.constants:
                return False
            bias = numpy_helper.to_array(self.constants[conv.input[2]]).astype(np.float64)
        gain, offset = _affine(node.op_type, constant.astype(np.float64).reshape(-1), conv_first)
        gain = np.broadcast_to(gain, channels)
        if (gain != 1).any():
            if transposed and groups > 1:
                return False
            by_channel = gain.reshape(1, -1) if transposed else gain.reshape(-1, 1)
            by_channel = by_channel.reshape(*by_channel.shape, *[1] * (weight.ndim - 2))
            conv.input[1] = self._constant(f"{conv.input[1]}/scaled", weight * by_channel)
        del conv.input[2:]
        conv.input.append(self._constant(f"{node.output[0]}/bias", bias * gain + offset))
        return True

    # ---- product of matrices, then a product with a constant per column

    def _scaled(self, node: onnx.NodeProto) -> bool:
        """Into the weights, and the bias between, of what `node` multiplies or divides; False if it stays."""
        if node.op_type not in ("Mul", "Div"):
            return False
        for data, other in (node.input, node.input[::-1])[: 2 if node.op_type == "Mul" else 1]:
            last = self.producers.get(data)
            if last is None or other not in self.constants or self.uses[data] != 1:
                continue
            biased = last.op_type == "Add"
            product = self._product_before(last) if biased else last
            bias = next((n for n in last.input if n in self.constants), "") if biased else ""
            if product is None or not self._is_matrix(product) or (biased and not bias):
                continue
            gain = self._row(other, product)
            if node.op_type == "Div" and gain is not None:
                gain = None if not gain.all() else 1 / gain
            offset = self._row(bias, product) if biased else np.zeros(1)
            if gain is None or offset is None or not self._scale(product, gain):
                continue
            if biased:
                scaled = self._constant(f"{bias}/scaled", offset * gain)
                del last.input[:]
                last.input.extend([product.output[0], scaled])
            last.output[0] = node.output[0]
            self.producers[node.output[0]] = last
            return True
        return False

    def _product_before(self, add: onnx.NodeProto) -> onnx.NodeProto | None:
        """The node whose result only this sum reads."""
        data = next((n for n in add.input if n not in self.constants), "")
        return self.producers.get(data) if self.uses[data] == 1 else None

    def _is_matrix(self, node: onnx.NodeProto) -> bool:
        weight = self.constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        return weight is not None and len(weight.dims) == 2 and weight.data_type == onnx.TensorProto.FLOAT

    def _row(self, name: str, product: onnx.NodeProto) -> np.ndarray | None:
        """One number, or one per column of the product; None for a constant of another shape."""
        constant = self.constants[name]
        columns = self.constants[product.input[1]].dims[0 if _is_transposed(product) else 1]
        if constant.data_type != onnx.TensorProto.FLOAT or len(constant.dims) > 1:
            return None
        row = numpy_helper.to_array(constant).reshape(-1).astype(np.float64)
        return row if row.size in (1, columns) else None

    def _scale(self, product: onnx.NodeProto, gain: np.ndarray) -> bool:
        bias = product.input[2] if len(product.input) > 2 else ""
        if bias and (bias not in self.constants or self._row(bias, product) is None):
            return False
        weight = numpy_helper.to_array(self.constants[product.input[1]])
        by_column = gain.reshape(-1, 1) if _is_transposed(product) else gain
        product.input[1] = self._constant(f"{product.input[1]}/scaled", weight * by_column)
        if bias:
            product.input[2] = self._constant(f"{bias}/scaled", numpy_helper.to_array(self.constants[bias]) * gain)
        return True

    # ---- Gemm

    def _normalise(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """alpha = beta = 1 and C one row, or absent; the nodes that must follow for it."""
        factors = {a.name: a.f for a in node.attribute if a.name in ("alpha", "beta")}
        weight = numpy_helper.to_array(self.constants[node.input[1]])
        alpha, beta = factors.get("alpha", 1.0), factors.get("beta", 1.0)
        has_bias = len(node.input) > 2 and node.input[2] != ""
        if has_bias and node.input[2] not in self.constants:
            return []
        if alpha != 1:
            node.input[1] = self._constant(f"{node.input[1]}/scaled", weight * np.float64(alpha))
        kept = [a for a in node.attribute if a.name not in ("alpha", "beta")]
        del node.attribute[:]
        node.attribute.extend(kept)
        if not has_bias:
            return []
        bias = numpy_helper.to_array(self.constants[node.input[2]])
        if beta != 1:
            node.input[2] = self._constant(f"{node.input[2]}/scaled", bias * np.float64(beta))
        if bias.ndim < 2 or bias.shape[0] == 1:
            return []
        extra = node.input[2]
        product = self.names.fresh(f"{node.output[0]}/product")
        add = helper.make_node("Add", [product, extra], [node.output[0]])
        del node.input[2:]
        node.output[0] = product
        return [add]

    def _constant(self, name: str, array: np.ndarray) -> str:
        name = self.names.fresh(name)
        self.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        self.constants[name] = self.graph.initializer[-1]
        return name


def _is_transposed(node: onnx.NodeProto) -> bool:
    """A Gemm whose weights are [columns, rows]."""
    return node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)


def _affine(op: str, constant: np.ndarray, data_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """(gain, offset) of an arithmetic node as a function of its run-time operand."""
    one, zero = np.ones(1), np.zeros(1)
    if op == "Add":
        return one, constant
    if op == "Sub":
        return (one, -constant) if data_first else (-one, constant)
    return (constant if op == "Mul" else 1 / constant), zero
