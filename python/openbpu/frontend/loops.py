"""Loop and Scan whose number of steps is known, as the nodes of their steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from openbpu.frontend.inlining import renamed
from openbpu.frontend.recurrent import MOST_STEPS
from openbpu.frontend.writing import NodeWriter, attributes_of
from openbpu.ir.onnx_graph import STANDARD, array_of

_MOST_NODES = 20_000  # of one loop written out


def unroll_loops(model: onnx.ModelProto) -> bool:
    """Writes out each Loop and Scan of at most MOST_STEPS steps, in place; whether there was one.

    A Loop qualifies if its trip count is constant and its condition stays true, which simplification must have shown.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    infos = {info.name: info for info in (*graph.input, *graph.value_info)}
    nodes: list[onnx.NodeProto] = []
    found = False
    for node in graph.node:
        steps = _steps(node, constants, infos)
        if steps is None:
            nodes.append(node)
            continue
        found = True
        kind = _Loop if node.op_type == "Loop" else _Scan
        nodes += kind(node, graph, steps).run()
    del graph.node[:]
    graph.node.extend(nodes)
    return found


def _steps(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], infos: Mapping[str, onnx.ValueInfoProto]
) -> int | None:
    """The number of steps of a Loop or Scan; None if it is not known, 0 or too large, and for other nodes."""
    if node.op_type not in ("Loop", "Scan") or node.domain not in STANDARD:
        return None
    given = attributes_of(node)
    body = given["body"]
    if node.op_type == "Loop":
        trips, condition = node.input[0], node.input[1]
        if trips not in constants or not (_is_true(condition, constants) and _goes_on(body, constants)):
            return None
        steps = int(array_of(constants[trips]).ravel()[0])
    else:
        first = len(node.input) - given["num_scan_inputs"]
        axis = next(iter(given.get("scan_input_axes", [])), 0)
        if node.input[first] not in infos:
            return None
        dims = infos[node.input[first]].type.tensor_type.shape.dim
        steps = dims[axis].dim_value if -len(dims) <= axis < len(dims) else 0
    return steps if 0 < steps <= MOST_STEPS and steps * len(body.node) <= _MOST_NODES else None


def _is_true(name: str, constants: Mapping[str, onnx.TensorProto]) -> bool:
    return not name or (name in constants and bool(array_of(constants[name]).ravel()[0]))


def _goes_on(body: onnx.GraphProto, outside: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether the condition that a body computes is the one that it is given, or true."""
    made = {name: node for node in body.node for name in node.output}
    constants = {**outside, **{tensor.name: tensor for tensor in body.initializer}}
    name = body.output[0].name
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    if name in made and made[name].op_type == "Constant":
        return bool(array_of(made[name].attribute[0].t).ravel()[0])
    return name == body.input[1].name or (name in constants and _is_true(name, constants))


class _Steps(NodeWriter):
    """A Loop or Scan being written out."""

    def __init__(self, node: onnx.NodeProto, graph: onnx.GraphProto, steps: int) -> None:
        super().__init__(graph, node.name or node.output[0])
        self.node, self.steps, self.given = node, steps, attributes_of(node)
        self.body: onnx.GraphProto = self.given["body"]
        self.outside = {name: name for name in _read(self.body.node)} | {o.name: o.name for o in self.body.output}
        for name in _defined(self.body):
            self.outside.pop(name, None)

    def step(self, index: int, operands: Sequence[str]) -> list[str]:
        """The results of the body for these operands."""
        prefix = f"{self.title}/{index}/"
        names = {**self.outside, **{i.name: given for i, given in zip(self.body.input, operands, strict=True)}}
        for tensor in self.body.initializer:
            names[tensor.name] = f"{prefix}{tensor.name}"
            copy = self.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = names[tensor.name]
        self.made += [renamed(node, names, {}, prefix) for node in self.body.node]
        return [names[output.name] for output in self.body.output]

    def finish(self, states: Sequence[str], rows: Sequence[Sequence[str]], axes: Sequence[int]) -> list[onnx.NodeProto]:
        """The outputs of the node: last states, and what each step gave, stacked along an axis."""
        names = iter(self.node.output)
        for state, name in zip(states, names, strict=False):
            if name:
                self.op("Identity", state, output=name)
        for parts, axis, name in zip(rows, axes, names, strict=False):
            if name:
                axes_of = self.constant(np.array([axis], np.int64))
                self.op("Concat", *(self.op("Unsqueeze", part, axes_of) for part in parts), axis=axis, output=name)
        return self.made


class _Loop(_Steps):
    def run(self) -> list[onnx.NodeProto]:
        states = list(self.node.input[2:])
        count, going = len(states), self.scalar(True)
        rows: list[list[str]] = [[] for _ in self.body.output[1 + count :]]
        for index in range(self.steps):
            results = self.step(index, [self.scalar(index), going, *states])[1:]
            states = results[:count]
            for row, part in zip(rows, results[count:], strict=True):
                row.append(part)
        return self.finish(states, rows, [0] * len(rows))


class _Scan(_Steps):
    def run(self) -> list[onnx.NodeProto]:
        inputs = self.given["num_scan_inputs"]
        count = len(self.node.input) - inputs
        states, scanned = list(self.node.input[:count]), self.node.input[count:]
        rows: list[list[str]] = [[] for _ in self.body.output[count:]]
        for index in range(self.steps):
            options = zip(scanned, self._list("scan_input_axes", inputs), self._order("input", inputs), strict=True)
            parts = [
                self.op("Gather", name, self.scalar(self._place(index, back)), axis=axis)
                for name, axis, back in options
            ]
            results = self.step(index, [*states, *parts])
            states = results[:count]
            for row, part in zip(rows, results[count:], strict=True):
                row.append(part)
        ordered = [row[::-1] if back else row for row, back in zip(rows, self._order("output", len(rows)), strict=True)]
        return self.finish(states, ordered, self._list("scan_output_axes", len(rows)))

    def _place(self, index: int, backwards: int) -> int:
        return self.steps - 1 - index if backwards else index

    def _order(self, side: str, count: int) -> list[int]:
        return self._list(f"scan_{side}_directions", count)

    def _list(self, name: str, count: int) -> list[int]:
        return list(self.given.get(name, [])) or [0] * count


def _read(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    """What nodes read, sub-graphs included."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _read(attribute.g.node)
                yield from (output.name for output in attribute.g.output)


def _defined(graph: onnx.GraphProto) -> Iterator[str]:
    """What a graph defines, sub-graphs included."""
    yield from (info.name for info in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from node.output
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _defined(attribute.g)
