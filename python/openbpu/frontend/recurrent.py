"""LSTM, GRU and RNN layers as the nodes of their steps, which the BPU can run; very long ones stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.frontend.writing import NodeWriter, attributes_of

MOST_STEPS = 64
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def unroll(model: onnx.ModelProto) -> None:
    """Replaces each layer of at most MOST_STEPS steps, with constant weights and plain gates. In place."""
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


def _is_plain(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], infos: dict[str, onnx.ValueInfoProto]
) -> bool:
    given = attributes_of(node)
    inputs = [*node.input, *[""] * 8]
    words = [word.decode() for word in given.get("activations", [])]
    usual = all(word in ("", default) for word, default in zip(words, 2 * _DEFAULTS[node.op_type], strict=False))
    if node.op_type == "RNN":  # both directions have one activation
        usual = len(set(words)) <= 1 and set(words) <= {"", "Tanh", "Relu"}
    weights = all(not name or name in constants for name in inputs[1:4])
    dims = list(infos[inputs[0]].type.tensor_type.shape.dim) if inputs[0] in infos else []
    short = len(dims) == 3 and 0 < dims[0].dim_value <= MOST_STEPS
    simple = not (given.get("clip") or given.get("layout") or given.get("input_forget") or inputs[4])
    simple = simple and not (node.op_type == "LSTM" and inputs[7])
    return usual and weights and short and simple


class _Layer(NodeWriter):
    """One layer being written out. Shapes: x [steps, batch, inputs], state [batch, hidden]."""

    def __init__(
        self,
        node: onnx.NodeProto,
        constants: dict[str, onnx.TensorProto],
        graph: onnx.GraphProto,
        extents: Sequence[int],
    ) -> None:
        super().__init__(graph, node.name or next(name for name in node.output if name))
        self.node, self.constants = node, constants
        self.given = attributes_of(node)
        self.steps, self.batch, self.inputs = extents
        self.hidden = int(self.given["hidden_size"])
        self.gates = _GATES[node.op_type]
        word = next(iter(self.given.get("activations", [])), b"") or b"Tanh"
        self.activation = word.decode()  # of an RNN
        self.operands = [*node.input, *[""] * 8]

    def run(self) -> list[onnx.NodeProto]:
        directions = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}
        chosen = directions[self.given.get("direction", b"forward")]
        found = [self._direction(index, backwards) for index, backwards in enumerate(chosen)]
        outputs = [*self.node.output, *[""] * 3]
        if outputs[0]:
            rows = [
                self.op("Concat", *(states[t] for states, _ in found), axis=0) for t in range(self.steps)
            ]  # [directions * batch, hidden] per step
            joined = self.op("Concat", *rows, axis=0)
            self.shaped(joined, (self.steps, len(chosen), self.batch, self.hidden), outputs[0])
        for name, position in ((outputs[1], 0), (outputs[2], 1)):
            if name:
                last = [states[0 if backwards else -1] if position == 0 else str(cell)
                        for (states, cell), backwards in zip(found, chosen, strict=True)]  # fmt: skip
                joined = self.op("Concat", *last, axis=0)
                self.shaped(joined, (len(chosen), self.batch, self.hidden), name)
        return self.made

    def _direction(self, index: int, backwards: bool) -> tuple[list[str], str | None]:
        """The state after each step, by time, and the last cell."""
        weight, recurrent = (self._array(position)[index] for position in (1, 2))
        width = self.gates * self.hidden
        bias = self._array(3)[index] if self.operands[3] else np.zeros(2 * width, np.float32)
        own, other = bias[:width].copy(), bias[width:].copy()
        if self.node.op_type == "GRU" and self.given.get("linear_before_reset"):
            own[: 2 * self.hidden] += other[: 2 * self.hidden]  # that of the candidate joins inside
        else:
            own += other
        flat = self.shaped(self.operands[0], (self.steps * self.batch, self.inputs))
        product = self.op("Gemm", flat, self.constant(weight.T), self.constant(own))
        terms = self.parts(product, [self.batch] * self.steps, 0)
        state, cell = (self._initial(position, index) for position in (5, 6))
        states = [""] * self.steps
        step = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[self.node.op_type]
        for time in range(self.steps)[:: -1 if backwards else 1]:
            state, cell = step(terms[time], state, cell, recurrent, other)
            states[time] = state
        return states, cell

    # One step each: the state and cell behind it. States of None are zero, those before the first step.

    def _rnn(
        self, term: str, state: str | None, cell: str | None, recurrent: np.ndarray, _: np.ndarray
    ) -> tuple[str, str | None]:
        return self.op(self.activation, self._plus(term, state, recurrent.T)), cell

    def _lstm(
        self, term: str, state: str | None, cell: str | None, recurrent: np.ndarray, _: np.ndarray
    ) -> tuple[str, str | None]:
        i, o, f, c = self.parts(self._plus(term, state, recurrent.T), [self.hidden] * 4, 1)
        i, o, f = (self.op("Sigmoid", gate) for gate in (i, o, f))
        new = self.op("Mul", i, self.op("Tanh", c))
        cell = new if cell is None else self.op("Add", self.op("Mul", f, cell), new)
        return self.op("Mul", o, self.op("Tanh", cell)), cell

    def _gru(
        self, term: str, state: str | None, cell: str | None, recurrent: np.ndarray, bias: np.ndarray
    ) -> tuple[str, str | None]:
        hidden = self.hidden
        gates, candidate = recurrent[: 2 * hidden].T, recurrent[2 * hidden :].T
        first, last = self.parts(term, [2 * hidden, hidden], 1)
        z, r = self.parts(self.op("Sigmoid", self._plus(first, state, gates)), [hidden, hidden], 1)
        offset = bias[2 * hidden :]
        if self.given.get("linear_before_reset"):
            inner = self.constant(offset)
            if state is not None:
                inner = self.op("Gemm", state, self.constant(candidate), inner)
            last = self.op("Add", last, self.op("Mul", r, inner))
        elif state is not None:
            last = self._plus(last, self.op("Mul", r, state), candidate)
        new = self.op("Tanh", last)
        if state is None:
            return self.op("Sub", new, self.op("Mul", z, new)), cell
        return self.op("Add", new, self.op("Mul", z, self.op("Sub", state, new))), cell

    def _plus(self, term: str, state: str | None, weight: np.ndarray) -> str:
        """`term` and the product of the state."""
        return term if state is None else self.op("Add", term, self.op("MatMul", state, self.constant(weight)))

    # ---- pieces

    def _array(self, position: int) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(self.constants[self.operands[position]]))

    def _initial(self, position: int, index: int) -> str | None:
        shape = (self.batch, self.hidden)
        name = self.operands[position]
        if not name:
            return None
        if name in self.constants:
            array = self._array(position)[index]
            return self.constant(array) if array.any() else None
        limits = [self.constant(np.array([v], np.int64)) for v in (index, index + 1, 0)]
        return self.shaped(self.op("Slice", name, *limits), shape)
