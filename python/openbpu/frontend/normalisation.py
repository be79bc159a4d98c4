"""Normalisations that exporters write as means, differences and roots become one operator again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.frontend.decomposition import Context
from openbpu.ir.onnx_graph import Names, opset_of

_RMS_OPSET = 23  # the first with RMSNormalization


def fuse_normalisations(model: onnx.ModelProto) -> None:
    """LayerNormalization, and from opset 23 on RMSNormalization, in place of the nodes that compute them. In place.

    The parts are left for dead code removal. Over the last axes only; gain and offset must be constant.
    """
    _Fuser(model.graph, opset_of(model)).run()


@dataclass(frozen=True)
class _Found:
    """x normalised over `axis` and all after it."""

    x: str
    axis: int
    epsilon: float
    centred: bool


class _Fuser:
    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self.graph, self.opset = graph, opset
        context = Context(graph, opset)
        self.constants, self.shapes, self.made = context.constants, context.shapes, context.made
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.outputs = {o.name for o in graph.output}
        self.names = Names(graph)
        self.replaced: set[str] = set()  # results of nodes that a fused one stands for

    def run(self) -> None:
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            found = self._match(node)
            if node.output[0] in self.replaced:
                continue
            if found is None or (not found.centred and self.opset < _RMS_OPSET):
                nodes.append(node)
            else:
                nodes.append(self._fused(node, found))
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    # ---- from the last node back to x

    def _match(self, node: onnx.NodeProto) -> _Found | None:
        """What `node` computes if it divides a tensor by its deviation or root mean square."""
        if node.op_type == "Div":
            return self._divided(node.input[0], node.input[1])
        if node.op_type != "Mul":
            return None
        for value, factor in (node.input, node.input[::-1]):
            inverse = self.made(factor, "Reciprocal")
            if inverse is not None and (found := self._divided(value, inverse.input[0])):
                return found
            one = self.made(factor, "Div")
            if one is not None and self._number(one.input[0]) == 1 and (found := self._divided(value, one.input[1])):
                return found
        return None

    def _divided(self, value: str, deviation: str) -> _Found | None:
        root = self.made(deviation, "Sqrt")
        if root is None:
            power = self.made(deviation, "Pow")
            root = power if power is not None and self._number(power.input[1]) == 0.5 else None
        total = None if root is None else self.made(root.input[0], "Add")
        if total is None:
            return None
        for variance, other in (total.input, total.input[::-1]):
            epsilon, mean = self._number(other), self._mean(variance)
            if epsilon is None or epsilon < 0 or mean is None:
                continue
            squared, axis = mean
            base = self._square(squared)
            if base is None or not self._same(base, value):
                continue
            difference = self.made(value, "Sub")
            centre = None if difference is None else self._mean(difference.input[1])
            if difference is not None and centre == (difference.input[0], axis):
                return _Found(difference.input[0], axis, epsilon, True)
            return _Found(value, axis, epsilon, False)
        return None

    def _mean(self, name: str) -> tuple[str, int] | None:
        """(x, first axis) if the tensor is the mean of x over its last axes, which stay as extents of 1."""
        node = self.made(name, "ReduceMean")
        if node is None or any(a.name == "keepdims" and a.i == 0 for a in node.attribute):
            return None
        given = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
        if len(node.input) > 1 and node.input[1] in self.constants:
            given = self.constants[node.input[1]].ravel().tolist()
        shape = self.shapes.get(node.input[0])
        if not given or not shape:
            return None
        axes = sorted(int(axis) % len(shape) for axis in given)
        return (node.input[0], axes[0]) if axes == list(range(axes[0], len(shape))) else None

    def _square(self, name: str) -> str | None:
        product, power = self.made(name, "Mul"), self.made(name, "Pow")
        if product is not None and product.input[0] == product.input[1]:
            return str(product.input[0])
        return str(power.input[0]) if power is not None and self._number(power.input[1]) == 2 else None

    def _same(self, a: str, b: str) -> bool:
        """One tensor, or two differences of the same tensors: some exporters write x - mean twice."""
        first, second = self.made(a, "Sub"), self.made(b, "Sub")
        return a == b or (first is not None and second is not None and list(first.input) == list(second.input))

    def _number(self, name: str) -> float | None:
        array = self.constants.get(name)
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None

    # ---- gain and offset behind it

    def _fused(self, last: onnx.NodeProto, found: _Found) -> onnx.NodeProto:
        """The one node; it takes the place of the last node that it stands for."""
        shape = tuple(self.shapes[found.x][found.axis :])
        gain, last = self._operand(last, "Mul", shape)
        offset, last = self._operand(last, "Add", shape) if found.centred else (None, last)
        inputs = [found.x, self._constant(f"{last.name}/gain", np.ones(shape) if gain is None else gain)]
        if offset is not None:
            inputs.append(self._constant(f"{last.name}/offset", offset))
        op = "LayerNormalization" if found.centred else "RMSNormalization"
        return helper.make_node(op, inputs, [last.output[0]], name=last.name, axis=found.axis, epsilon=found.epsilon)

    def _operand(
        self, node: onnx.NodeProto, op: str, shape: tuple[int, ...]
    ) -> tuple[np.ndarray | None, onnx.NodeProto]:
        """The constant of the `op` that alone reads the result of `node`, and that op; else None and `node`."""
        name = node.output[0]
        readers = self.readers[name]
        if len(readers) != 1 or readers[0].op_type != op or name in self.outputs:
            return None, node
        constant = self.constants.get(next((n for n in readers[0].input if n != name), ""))
        if constant is None or constant.dtype != np.float32:
            return None, node
        extents = constant.shape[max(constant.ndim - len(shape), 0) :]
        aligned = zip(extents[::-1], shape[::-1], strict=False)
        if constant.size != np.prod(extents) or any(have not in (1, want) for have, want in aligned):
            return None, node
        self.replaced.add(readers[0].output[0])
        return np.broadcast_to(constant.reshape(extents), shape), readers[0]

    def _constant(self, name: str, array: np.ndarray) -> str:
        name = self.names.fresh(name)
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name
