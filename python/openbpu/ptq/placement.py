"""Where QuantizeLinear/DequantizeLinear pairs go, and which tensors share parameters.

After a convolution and its clamp, never between them; at both ends of a chain of functions of one tensor, never inside
it; on every other tensor between two operators. Tensors joined by concat, pooling, resize and layout operators share
parameters, so that those operators change no number.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto

from openbpu.ptq.operators import ARITHMETIC, CLAMPS, COMPUTING, FUNCTIONS, QUANTISABLE, SHARING
from openbpu.ptq.view import ModelView


@dataclass(frozen=True)
class Placement:
    """Tensors that get a Q/DQ pair, in graph order, each with the group whose parameters it uses."""

    groups: dict[str, str]  # tensor -> representative of its group
    fixed: dict[str, tuple[float, int]]  # representative -> (scale, zero point) that need no calibration

    @property
    def tensors(self) -> list[str]:
        return list(self.groups)

    def members(self) -> dict[str, list[str]]:
        """Representative -> tensors of the group."""
        members: dict[str, list[str]] = defaultdict(list)
        for tensor, group in self.groups.items():
            members[group].append(tensor)
        return dict(members)


def place(model: onnx.ModelProto) -> Placement:
    """Decides placement for a clean float model."""
    return _Placer(model).run()


class _Placer:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.view = ModelView(model)
        self.floats = _float_tensors(model)
        self.roots: dict[str, str] = {}  # tensor -> tensor that its chain of functions starts from
        self.absorbed: set[str] = set()  # results whose only consumer is a bias or clamp that their producer absorbs

    def run(self) -> Placement:
        wanted = [i.name for i in self.graph.input if i.name in self.floats]
        for node in self.graph.node:
            for name in node.output:
                if name in self.floats:
                    self.roots[name] = self._root(node, name)
        for node in self.graph.node:
            wanted += [n for n in node.output if n in self.floats and self._is_border(node, n)]
        groups = self._groups(wanted)
        fixed = {}
        for node in self.graph.node:
            if node.op_type == "Softmax" and node.output[0] in groups:
                fixed[groups[node.output[0]]] = (1 / 256, -128)
        return Placement(groups, fixed)

    def _data(self, node: onnx.NodeProto) -> list[str]:
        """Run-time float inputs of a node."""
        return [n for n in node.input if n and n not in self.view.constants and n in self.floats]

    def _root(self, node: onnx.NodeProto, output: str) -> str:
        data = self._data(node)
        if node.op_type not in FUNCTIONS | ARITHMETIC or not data:
            return output
        if self._absorbs_bias(node, data[0]) or self._absorbs_clamp(node, data[0]):
            self.absorbed.add(data[0])
            return output
        roots = {self.roots.get(name, name) for name in data}
        constants = self.view.constants
        numbers = all(_is_number(constants[n]) for n in node.input if n in constants)
        if len(roots) != 1 or (node.op_type in ARITHMETIC and not numbers):
            return output
        return roots.pop()

    def _absorbs_bias(self, add: onnx.NodeProto, source: str) -> bool:
        product = self.view.producers.get(source)
        return product is not None and self.view.bias_add(product) is add

    def _absorbs_clamp(self, clamp: onnx.NodeProto, source: str) -> bool:
        """`clamp` is the only consumer of an operator that clips its own result."""
        producer = self.view.producers.get(source)
        if clamp.op_type not in CLAMPS or producer is None:
            return False
        sums = producer.op_type in ARITHMETIC and self.roots[source] == source
        computes = producer.op_type in COMPUTING and producer.op_type != "Softmax"
        chained = producer.op_type in CLAMPS and producer.input[0] in self.absorbed
        return (sums or computes or chained) and self.view.sole_consumer(source) is clamp

    def _is_border(self, node: onnx.NodeProto, output: str) -> bool:
        consumers = self.view.consumers.get(output, [])
        if output in self.view.outputs:
            return True
        if output in self.absorbed or not consumers:
            return False
        if node.op_type not in QUANTISABLE:
            return any(c.op_type in QUANTISABLE for c in consumers)
        if self.roots[output] == output:
            return True
        # Inside a chain unless somebody leaves it.
        return any(self.roots.get(c.output[0]) != self.roots[output] for c in consumers)

    def _groups(self, wanted: list[str]) -> dict[str, str]:
        parent = {name: name for name in wanted}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        order = {name: i for i, name in enumerate(wanted)}
        for node in self.graph.node:
            if node.op_type not in SHARING:
                continue
            inputs = self._data(node) if node.op_type == "Concat" else self._data(node)[:1]
            joined = [n for n in [*inputs, *node.output] if n in parent]
            for a, b in pairwise(joined):
                first, second = sorted((find(a), find(b)), key=order.__getitem__)
                parent[second] = first
        return {name: find(name) for name in wanted}


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    infos = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    return {i.name for i in infos if i.type.tensor_type.elem_type == TensorProto.FLOAT}


def _is_number(array: np.ndarray) -> bool:
    """All elements equal: an element-wise operator with it is a function of its other input."""
    return bool(array.size) and np.unique(array).size == 1
