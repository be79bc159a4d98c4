"""The parts of a QDQ model: pairs on activations, nodes that become one operator, tensors that share parameters.

Nodes and tensors go by their names in the clean float model that the QDQ model was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from openbpu.analyze.stepping import Values, open_session
from openbpu.ir.onnx_graph import reads
from openbpu.ptq.operators import SHARING, WEIGHTED

COMPUTES = "computes"
BLENDS = "blends"  # new values of tensors that share parameters: its type is theirs
MOVES = "moves"  # layout: no number changes
_BLENDING = {"GridSample": b"linear", "Resize": b"nearest", "Upsample": b"nearest"}  # with their default mode
_PAIR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Unit:
    """Nodes without a Q/DQ pair between them, in graph order: one operator of the executable."""

    index: int
    nodes: tuple[str, ...]
    op: str  # of the node that computes most
    edges: tuple[str, ...]  # dequantised tensors that it reads
    touches: frozenset[str]  # groups of the tensors that it reads and writes
    kind: str  # COMPUTES, BLENDS or MOVES
    writes: frozenset[str] = frozenset()  # groups of the tensors that it writes

    @property
    def name(self) -> str:
        """Of the node that computes most, else of the first."""
        return self.nodes[0]


class Anatomy:
    """What the QDQ form of a clean float model consists of."""

    def __init__(self, model: onnx.ModelProto, qdq: onnx.ModelProto) -> None:
        self.model = qdq
        self._floats = {name for node in model.graph.node for name in node.output}
        self._floats |= {i.name for i in model.graph.input}
        self._known = {node.name for node in model.graph.node}
        self._constants = {t.name for t in qdq.graph.initializer}
        self._made: dict[str, onnx.NodeProto] = {name: node for node in qdq.graph.node for name in node.output}
        self.chains: dict[str, list[onnx.NodeProto]] = {}  # dequantised tensor -> the pairs that lead to it
        for node in qdq.graph.node:
            if node.op_type == _PAIR[1] and self._is_pair(node):
                quantise = self._made[node.input[0]]
                self.chains[node.output[0]] = [*self.chains.get(quantise.input[0], []), quantise, node]
        paired = {id(node) for chain in self.chains.values() for node in chain}
        self._own = [node for node in qdq.graph.node if id(node) not in paired]
        self._base = [self._without_pairs(node) for node in self._own]
        self._arrays = {t.name: numpy_helper.to_array(t) for t in qdq.graph.initializer}
        self._sessions: dict[str, ort.InferenceSession] = {}
        self.groups = self._groups()
        self.units = self._units()

    def source(self, name: str) -> str:
        """The float tensor that stands for a tensor of the QDQ model."""
        if name in self._floats:
            return name
        start = self.start(name)
        return start if start in self._floats else start.removesuffix("/float")

    def start(self, name: str) -> str:
        """The tensor of the QDQ model before the pairs of a dequantised one."""
        return str(self.chains[name][0].input[0]) if name in self.chains else name

    def quantised(self, name: str, values: Values) -> np.ndarray:
        """What the pairs before a dequantised tensor make of the float values."""
        chain = self.chains[name]
        start, feed = chain[0].input[0], values[self.source(name)]
        session = self._sessions.get(name)
        if session is None:
            names = {n for node in chain for n in node.input if n in self._constants}
            constants = {n: self._arrays[n] for n in names}
            opsets, version = list(self.model.opset_import), self.model.ir_version
            session = open_session(chain, {start: feed}, constants, [name], opsets, version)
            self._sessions[name] = session
        return np.asarray(session.run([name], {start: feed})[0])

    def in_16_bits(self) -> set[str]:
        """Names of the nodes that run in a 16-bit form: those of units that read or write int16."""
        written = {self.groups[chain[0].input[0]] for chain in self.chains.values() if self._is_wide(chain[0])}
        read = {name for name, chain in self.chains.items() if self._is_wide(chain[-1])}
        return {name for unit in self.units if unit.writes & written or read & {*unit.edges} for name in unit.nodes}

    def _is_wide(self, node: onnx.NodeProto) -> bool:
        return len(node.input) > 2 and self._arrays[node.input[2]].dtype == np.int16

    def range(self, name: str) -> tuple[float, float] | None:
        """The reals that the last pair before a dequantised tensor can hold; None if it is per channel."""
        node = self.chains[name][-1]
        scale, zero = (self._arrays[n] for n in node.input[1:3])
        if scale.size != 1:
            return None
        limits = np.iinfo(zero.dtype)
        s, z = float(scale.ravel()[0]), int(zero.ravel()[0])
        return (limits.min - z) * s, (limits.max - z) * s

    def weights(self, node: str) -> np.ndarray | None:
        """The dequantised weights of a node; None if it has no quantised weights."""
        made = self._made.get(next((n.input[1] for n in self._own if n.name == node and len(n.input) > 1), ""))
        if made is None or made.op_type != _PAIR[1] or made.input[0] not in self._constants:
            return None
        q, scale = (self._arrays[n].astype(np.float64) for n in made.input[:2])
        zero = self._arrays[made.input[2]].astype(np.float64) if len(made.input) > 2 else np.zeros(())
        shape = [1] * q.ndim
        if scale.ndim and scale.size > 1:
            shape[next((a.i for a in made.attribute if a.name == "axis"), 1)] = -1
        zero = zero.reshape(shape) if zero.ndim and zero.size > 1 else zero
        return ((q - zero) * scale.reshape(shape)).astype(np.float32)

    def _is_pair(self, node: onnx.NodeProto) -> bool:
        before = self._made.get(node.input[0])
        return before is not None and before.op_type == _PAIR[0] and before.input[0] not in self._constants

    def _without_pairs(self, node: onnx.NodeProto) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self.start(name) for name in node.input]
        return copy

    def _groups(self) -> dict[str, str]:
        """Source tensor of each pair -> the first of those that share its parameters."""
        sources = list(dict.fromkeys(self.start(name) for name in self.chains))
        union = _Union(sources)
        for node, base in zip(self._own, self._base, strict=True):
            if node.op_type not in SHARING:
                continue
            data = [n for n in base.input if n in union.parent]
            joined = data if node.op_type == "Concat" else data[:1]
            union.join([*joined, *(n for n in base.output if n in union.parent)])
        return {name: union.find(name) for name in sources}

    def _units(self) -> tuple[Unit, ...]:
        dynamic = self._dynamic()
        own = [(k, node) for k, node in enumerate(self._own) if dynamic.intersection(node.output)]
        union = _Union([str(k) for k, _ in own])
        maker = {name: str(k) for k, node in own for name in node.output}
        for k, node in own:
            direct = [maker[n] for n in reads(node) if n in maker]
            if node.op_type not in SHARING:
                union.join([*(m for m in direct if self._own[int(m)].op_type not in SHARING), str(k)])
        members: dict[str, list[int]] = defaultdict(list)
        for k, _ in own:
            members[union.find(str(k))].append(k)
        return tuple(self._unit(index, ks) for index, ks in enumerate(sorted(members.values())))

    def _unit(self, index: int, ks: list[int]) -> Unit:
        nodes = [self._own[k] for k in ks]
        edges = tuple(dict.fromkeys(n for node in nodes for n in reads(node) if n in self.chains))
        bases = [self._base[k] for k in ks]
        around = [n for node in bases for n in (*reads(node), *node.output)]
        main = next((node for node in nodes if node.op_type in WEIGHTED), nodes[0])
        names = (main.name, *(node.name for node in nodes if node is not main and node.name in self._known))
        touches = frozenset(self.groups[n] for n in around if n in self.groups)
        writes = frozenset(self.groups[n] for node in bases for n in node.output if n in self.groups)
        return Unit(index, names, main.op_type, edges, touches, _kind(main), writes)

    def _dynamic(self) -> set[str]:
        live = {i.name for i in self.model.graph.input} - self._constants
        for node in self.model.graph.node:
            if live.intersection(reads(node)):
                live.update(name for name in node.output if name)
        return live


class _Union:
    """Sets of strings that are joined; the first in order stands for all."""

    def __init__(self, names: Iterable[str]) -> None:
        self.parent = {name: name for name in names}
        self._order = {name: k for k, name in enumerate(self.parent)}

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, names: Iterable[str]) -> None:
        roots = sorted({self.find(name) for name in names}, key=self._order.__getitem__)
        for root in roots[1:]:
            self.parent[root] = roots[0]


def _kind(node: onnx.NodeProto) -> str:
    if node.op_type not in SHARING:
        return COMPUTES
    mode = next((a.s for a in node.attribute if a.name == "mode"), _BLENDING.get(node.op_type, b"nearest"))
    return BLENDS if node.op_type in _BLENDING and mode != b"nearest" else MOVES


def node_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-accumulates of each node of a clean float model, whose shapes are all known."""
    infos = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in infos}
    shapes |= {t.name: tuple(t.dims) for t in model.graph.initializer}
    return {node.name: macs_of(node, shapes) for node in model.graph.node}


def macs_of(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiply-accumulates of a node of a float model, from the shapes of its tensors; 0 if it is no product."""
    if node.op_type not in WEIGHTED:
        return 0
    first, second = (shapes.get(name, ()) for name in node.input[:2])
    result = shapes.get(node.output[0], ())
    if not first or not second or not result:
        return 0
    if node.op_type == "ConvTranspose":
        return int(np.prod(first[:1] + first[2:]) * np.prod(second))
    if node.op_type == "Conv":
        return int(np.prod(result) * np.prod(second[1:]))
    inner = first[0 if _flag(node, "transA") else 1] if node.op_type == "Gemm" else first[-1]
    return int(np.prod(result) * inner)


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return any(a.name == name and a.i for a in node.attribute)
