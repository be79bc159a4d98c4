"""Short LSTM and GRU layers as the nodes of their steps, which the BPU can run; long ones stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

MOST_STEPS = 16
_GATES = {"LSTM": 4, "GRU": 3}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


def unroll(model: onnx.ModelProto) -> None:
    """Replaces each LSTM and GRU of at most MOST_STEPS steps, with constant weights and plain gates. In place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    infos = {info.name: info for info in (*graph.input, *graph.value_info)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in _GATES and _is_plain(node, constants, infos):
            extents = [d.dim_value for d in infos[node.input[0]].type.tensor_type.shape.dim]
            nodes += _Layer(node, constants, graph, extents).run()
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _is_plain(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], infos: dict[str, onnx.ValueInfoProto]
) -> bool:
    given = _attributes(node)
    inputs = [*node.input, *[""] * 8]
    words = [word.decode() for word in given.get("activations", [])]
    usual = all(word in ("", default) for word, default in zip(words, 2 * _DEFAULTS[node.op_type], strict=False))
    weights = all(not name or name in constants for name in inputs[1:4])
    dims = list(infos[inputs[0]].type.tensor_type.shape.dim) if inputs[0] in infos else []
    short = len(dims) == 3 and 0 < dims[0].dim_value <= MOST_STEPS
    simple = not (given.get("clip") or given.get("layout") or given.get("input_forget") or inputs[4] or inputs[7])
    return usual and weights and short and simple


class _Layer:
    """One layer being written out. Shapes: x [steps, batch, inputs], state [batch, hidden]."""

    def __init__(
        self,
        node: onnx.NodeProto,
        constants: dict[str, onnx.TensorProto],
        graph: onnx.GraphProto,
        extents: Sequence[int],
    ) -> None:
        self.node, self.constants, self.graph = node, constants, graph
        self.given = _attributes(node)
        self.steps, self.batch, self.inputs = extents
        self.hidden = int(self.given["hidden_size"])
        self.gates = _GATES[node.op_type]
        self.made: list[onnx.NodeProto] = []
        self.title = node.name or next(name for name in node.output if name)
        self.operands = [*node.input, *[""] * 8]

    def run(self) -> list[onnx.NodeProto]:
        directions = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}
        chosen = directions[self.given.get("direction", b"forward")]
        found = [self._direction(index, backwards) for index, backwards in enumerate(chosen)]
        outputs = [*self.node.output, *[""] * 3]
        if outputs[0]:
            rows = [
                self._op("Concat", *(states[t] for states, _ in found), axis=0) for t in range(self.steps)
            ]  # [directions * batch, hidden] per step
            joined = self._op("Concat", *rows, axis=0)
            self._shaped(joined, (self.steps, len(chosen), self.batch, self.hidden), outputs[0])
        for name, position in ((outputs[1], 0), (outputs[2], 1)):
            if name:
                last = [states[0 if backwards else -1] if position == 0 else cell
                        for (states, cell), backwards in zip(found, chosen, strict=True)]  # fmt: skip
                joined = self._op("Concat", *last, axis=0)
                self._shaped(joined, (len(chosen), self.batch, self.hidden), name)
        return self.made

    def _direction(self, index: int, backwards: bool) -> tuple[list[str], str]:
        """The state after each step, by time, and the last cell."""
        weight, recurrent = (self._array(position)[index] for position in (1, 2))
        width = self.gates * self.hidden
        bias = self._array(3)[index] if self.operands[3] else np.zeros(2 * width, np.float32)
        own, other = bias[:width].copy(), bias[width:].copy()
        if self.node.op_type == "GRU" and self.given.get("linear_before_reset"):
            own[: 2 * self.hidden] += other[: 2 * self.hidden]  # that of the candidate joins inside
        else:
            own += other
        flat = self._shaped(self.operands[0], (self.steps * self.batch, self.inputs))
        product = self._op("Gemm", flat, self._constant(weight.T), self._constant(own))
        terms = self._parts(product, [self.batch] * self.steps, 0)
        state, cell = (self._initial(position, index) for position in (5, 6))
        states = [""] * self.steps
        step = self._lstm if self.node.op_type == "LSTM" else self._gru
        for time in range(self.steps)[:: -1 if backwards else 1]:
            state, cell = step(terms[time], state, cell, recurrent, other)
            states[time] = state
        return states, cell

    def _lstm(self, term: str, state: str, cell: str, recurrent: np.ndarray, _: np.ndarray) -> tuple[str, str]:
        total = self._op("Add", term, self._op("MatMul", state, self._constant(recurrent.T)))
        i, o, f, c = self._parts(total, [self.hidden] * 4, 1)
        i, o, f = (self._op("Sigmoid", gate) for gate in (i, o, f))
        kept = self._op("Mul", f, cell)
        cell = self._op("Add", kept, self._op("Mul", i, self._op("Tanh", c)))
        return self._op("Mul", o, self._op("Tanh", cell)), cell

    def _gru(self, term: str, state: str, cell: str, recurrent: np.ndarray, bias: np.ndarray) -> tuple[str, str]:
        hidden = self.hidden
        gates, candidate = recurrent[: 2 * hidden].T, recurrent[2 * hidden :].T
        first, last = self._parts(term, [2 * hidden, hidden], 1)
        opened = self._op("Sigmoid", self._op("Add", first, self._op("MatMul", state, self._constant(gates))))
        z, r = self._parts(opened, [hidden, hidden], 1)
        if self.given.get("linear_before_reset"):
            inner = self._op("Gemm", state, self._constant(candidate), self._constant(bias[2 * hidden :]))
            inner = self._op("Mul", r, inner)
        else:
            inner = self._op("MatMul", self._op("Mul", r, state), self._constant(candidate))
        new = self._op("Tanh", self._op("Add", last, inner))
        kept = self._op("Mul", z, self._op("Sub", state, new))
        return self._op("Add", new, kept), cell

    # ---- pieces

    def _array(self, position: int) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(self.constants[self.operands[position]]))

    def _initial(self, position: int, index: int) -> str:
        shape = (self.batch, self.hidden)
        name = self.operands[position]
        if not name:
            return self._constant(np.zeros(shape, np.float32))
        if name in self.constants:
            return self._constant(self._array(position)[index])
        limits = [self._constant(np.array([v], np.int64)) for v in (index, index + 1, 0)]
        return self._shaped(self._op("Slice", name, *limits), shape)

    def _parts(self, name: str, sizes: list[int], axis: int) -> list[str]:
        if len(sizes) == 1:
            return [name]
        outputs = [f"{self.title}/part{len(self.made)}_{i}" for i in range(len(sizes))]
        split = self._constant(np.array(sizes, np.int64))
        self.made.append(helper.make_node("Split", [name, split], outputs, name=outputs[0], axis=axis))
        return outputs

    def _shaped(self, name: str, shape: tuple[int, ...], output: str = "") -> str:
        return self._op("Reshape", name, self._constant(np.array(shape, np.int64)), output=output)

    def _op(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{self.title}/{op.lower()}{len(self.made)}"
        self.made.append(
            helper.make_node(op, list(inputs), [output], name=f"{self.title}/{len(self.made)}", **attributes)
        )
        return output

    def _constant(self, array: np.ndarray) -> str:
        name = f"{self.title}/constant{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name
