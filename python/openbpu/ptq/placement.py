"""Where QuantizeLinear/DequantizeLinear pairs go, and which tensors share parameters.

After a convolution and its clamp, never between them; at both ends of a chain of functions of one tensor, never inside
it; on every other tensor between two operators. Tensors joined by concat, pooling, resize and layout operators share
parameters, so that those operators change no number. Operators that run on the CPU stay float: between two of them
there is no pair, and layout operators among them stay float too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto

from openbpu.ir.quant import QuantParams
from openbpu.ptq.operators import (
    ARITHMETIC,
    CLAMPS,
    COMPUTING,
    FUNCTIONS,
    NORMALISING,
    QUANTISABLE,
    SHARING,
    TESTING,
)
from openbpu.ptq.view import ModelView

SOFTMAX = QuantParams.per_tensor(1 / 256, -128)  # int8 parameters of every softmax result


@dataclass(frozen=True)
class Placement:
    """Tensors that get a Q/DQ pair, in graph order, each with the group whose parameters it uses."""

    groups: dict[str, str]  # tensor -> representative of its group
    fixed: dict[str, tuple[float, int]]  # representative -> (scale, zero point) that need no calibration
    cpu: frozenset[str] = frozenset()  # names of nodes that stay float
    symmetric: frozenset[str] = frozenset()  # representatives of groups whose zero point is 0
    wide: frozenset[str] = frozenset()  # representatives of groups that are int16
    narrow: frozenset[str] = frozenset()  # names of nodes that read int8 copies of int16 tensors

    @property
    def tensors(self) -> list[str]:
        return list(self.groups)

    def members(self) -> dict[str, list[str]]:
        """Representative -> tensors of the group."""
        members: dict[str, list[str]] = defaultdict(list)
        for tensor, group in self.groups.items():
            members[group].append(tensor)
        return dict(members)


def place(
    model: onnx.ModelProto,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    int16: Collection[str] = (),
) -> Placement:
    """Decides placement for a clean float model.

    All lists hold names of nodes; the first two win over what is decided here. What an `int16` node reads and writes is
    int16, with all that shares its parameters; what other nodes read is int8, but for norms, which read int16 as it is.
    """
    return _Placer(model, run_on_cpu, run_on_bpu, int16).run()


class _Placer:
    def __init__(
        self,
        model: onnx.ModelProto,
        run_on_cpu: Collection[str],
        run_on_bpu: Collection[str],
        int16: Collection[str],
    ) -> None:
        self.graph = model.graph
        self.view = ModelView(model)
        self.floats = _float_tensors(model)
        self.cpu = self._float_nodes(frozenset(run_on_cpu), frozenset(run_on_bpu))
        self.roots: dict[str, str] = {}  # tensor -> tensor that its chain of functions starts from
        self.int16 = set(int16)
        self.absorbed: set[str] = set()  # results whose only consumer is a bias or clamp that their producer absorbs

    def run(self) -> Placement:
        wanted = [i.name for i in self.graph.input if i.name in self.floats and self._read_on_bpu(i.name)]
        for node in self.graph.node:
            for name in node.output:
                if name in self.floats:
                    self.roots[name] = self._root(node, name)
        for node in self.graph.node:
            wanted += [n for n in node.output if n in self.floats and self._is_border(node, n)]
        groups = self._groups(wanted)
        self._unify_types()
        wide = self._wide_groups(groups)
        fixed = {}
        for node in self.graph.node:
            if node.op_type == "Softmax" and node.output[0] in groups and node.name not in self.cpu:
                group = groups[node.output[0]]
                fixed[group] = (1 / 32768, 0) if group in wide else (SOFTMAX.s, SOFTMAX.z)
        float_or_wide = self.cpu | self.int16
        as_they_are = SHARING | NORMALISING
        others = (n for n in self.graph.node if n.name not in float_or_wide and n.op_type not in as_they_are)
        symmetric = self._symmetric(groups) - fixed.keys()
        return Placement(groups, fixed, self.cpu, symmetric, wide, frozenset(n.name for n in others))

    def _symmetric(self, groups: Mapping[str, str]) -> frozenset[str]:
        """Groups of right operands of run-time products: without a zero point they are multiplied as they are."""
        products = (n for n in self.graph.node if n.op_type == "MatMul" and n.name not in self.cpu)
        return frozenset(groups[node.input[1]] for node in products if node.input[1] in groups)

    def _unify_types(self) -> None:
        """Nodes that become one operator have one type: a bias, a clamp, and the functions of one tensor."""
        for nodes in (self.graph.node, reversed(self.graph.node)):
            chains = {self.roots[n.output[0]] for n in self.graph.node if n.name in self.int16 and self._in_chain(n)}
            for node in nodes:
                producer = self.view.producers.get(node.input[0]) if node.input else None
                joined = producer is not None and node.input[0] in self.absorbed
                if joined and producer is not None and {producer.name, node.name} & self.int16:
                    self.int16 |= {producer.name, node.name}
                if self._in_chain(node) and self.roots[node.output[0]] in chains:
                    self.int16.add(node.name)

    def _in_chain(self, node: onnx.NodeProto) -> bool:
        output = str(node.output[0])
        return self.roots.get(output, output) != output

    def _wide_groups(self, groups: dict[str, str]) -> frozenset[str]:
        """Groups with a tensor that an int16 node reads or writes."""
        wide = set()
        for tensor, group in groups.items():
            around = [self.view.producers.get(tensor), *self.view.consumers.get(tensor, [])]
            if any(node is not None and node.name in self.int16 - self.cpu for node in around):
                wide.add(group)
        return frozenset(wide)

    def _float_nodes(self, forced: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
        """Nodes on the CPU: other operators, other types, those asked for, and layout operators among them."""
        cpu = {node.name for node in self.graph.node if node.name in forced or self._is_foreign(node)} - wanted
        for node in self.graph.node:
            sources = [self.view.producers.get(name) for name in self._data(node)]
            if node.op_type in TESTING and any(source is None or source.name in cpu for source in sources):
                cpu.add(node.name)  # quantising what it reads would change its result, and save nothing
        cpu -= wanted
        nodes = [n for n in self.graph.node if n.op_type in SHARING and n.name not in cpu | wanted]
        for order in (nodes, nodes[::-1]):  # from the producers on, then from the consumers back
            for node in order:
                sources = [self.view.producers.get(name) for name in self._data(node)]
                readers = [c for name in node.output for c in self.view.consumers.get(name, [])]
                made_there = all(source is not None and source.name in cpu for source in sources)
                if made_there and all(reader.name in cpu for reader in readers):
                    cpu.add(node.name)
        return frozenset(cpu)

    def _is_foreign(self, node: onnx.NodeProto) -> bool:
        """An operator that has no int8 form, or one on tensors that are not float."""
        if node.op_type not in QUANTISABLE or node.domain not in ("", "ai.onnx"):
            return True
        if node.op_type == "Gather" and node.output[0] in self.floats:
            return False  # its table may be constant
        return (node.output[0] not in self.floats and node.op_type not in TESTING) or not self._data(node)

    def _read_on_bpu(self, name: str) -> bool:
        consumers = self.view.consumers.get(name, [])
        return any(consumer.name not in self.cpu and name in self._data(consumer) for consumer in consumers)

    def _data(self, node: onnx.NodeProto) -> list[str]:
        """Run-time float inputs of a node; coordinates stay float32."""
        names = node.input[:1] if node.op_type == "GridSample" else node.input
        return [n for n in names if n and n not in self.view.constants and n in self.floats]

    def _root(self, node: onnx.NodeProto, output: str) -> str:
        data = self._data(node)
        if node.op_type not in FUNCTIONS | ARITHMETIC or not data or node.name in self.cpu:
            return output
        source = data[0]
        if self._absorbs_bias(node, source) or self._absorbs_clamp(node, source) or self._absorbs_gain(node, source):
            self.absorbed.add(source)
            return output
        roots = {self.roots.get(name, name) for name in data}
        constants = self.view.constants
        numbers = all(_is_number(constants[n]) for n in node.input if n in constants)
        if len(roots) != 1 or (node.op_type in ARITHMETIC | {"PRelu"} and not numbers):
            return output
        return roots.pop()

    def _absorbs_bias(self, add: onnx.NodeProto, source: str) -> bool:
        product = self.view.producers.get(source)
        return product is not None and product.name not in self.cpu and self.view.bias_add(product) is add

    def _absorbs_clamp(self, clamp: onnx.NodeProto, source: str) -> bool:
        """`clamp` is the only consumer of an operator that clips its own result."""
        producer = self.view.producers.get(source)
        if clamp.op_type not in CLAMPS or producer is None or producer.name in self.cpu:
            return False
        sums = producer.op_type in ARITHMETIC and self.roots[source] == source
        computes = producer.op_type in COMPUTING and producer.op_type != "Softmax"
        chained = producer.op_type in CLAMPS and producer.input[0] in self.absorbed
        return (sums or computes or chained) and self.view.sole_consumer(source) is clamp

    def _absorbs_gain(self, node: onnx.NodeProto, source: str) -> bool:
        """`node` multiplies the product of two run-time matrices by a positive number, as attention does."""
        product = self.view.producers.get(source)
        if node.op_type not in ("Mul", "Div") or product is None or product.op_type != "MatMul":
            return False
        if product.name in self.cpu or self.view.weighted(product) or self.view.sole_consumer(source) is not node:
            return False
        factor = self.view.constants.get(next(name for name in node.input if name != source))
        is_first = node.input[0] == source or node.op_type == "Mul"
        return is_first and factor is not None and _is_number(factor) and float(factor.ravel()[0]) > 0

    def _is_border(self, node: onnx.NodeProto, output: str) -> bool:
        consumers = self.view.consumers.get(output, [])
        if node.name in self.cpu:
            return self._read_on_bpu(output)
        if output in self.view.outputs:
            return True
        if output in self.absorbed or not consumers:
            return False
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
            if node.op_type not in SHARING or node.name in self.cpu:
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
