"""Blocks of the float model: the nodes between quantised tensors, each of which can be run on its own."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from openbpu.ir.onnx_graph import reads
from openbpu.memory import give_back
from openbpu.ptq.view import ModelView

_LARGEST_MESSAGE = 2_000_000_000  # bytes of weights: with the nodes less than 2 GiB
_FEW = 4096  # numbers of an array whose sum costs less than the call
_SCALE, _ZERO, _LEVELS = "openbpu:scale", "openbpu:zero", "openbpu:levels"


@dataclass(frozen=True)
class Block:
    """Nodes that exchange tensors without a Q/DQ pair; what they read from outside and what leaves them."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def blocks(model: onnx.ModelProto, quantised: Container[str]) -> list[Block]:
    """The blocks of a model whose tensors in `quantised` have pairs, in the order of their first nodes."""
    view = ModelView(model)
    nodes = list(model.graph.node)
    parent = list(range(len(nodes)))
    index = {name: i for i, node in enumerate(nodes) for name in node.output}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, node in enumerate(nodes):
        for name in reads(node):
            if name in index and name not in quantised:
                first, second = sorted((root(index[name]), root(i)))
                parent[second] = first
    members: dict[int, list[onnx.NodeProto]] = {}
    for i, node in enumerate(nodes):
        members.setdefault(root(i), []).append(node)
    return [_block(view, found, quantised) for _, found in sorted(members.items())]


def _block(view: ModelView, nodes: list[onnx.NodeProto], quantised: Container[str]) -> Block:
    made = {name for node in nodes for name in node.output if name}
    read = dict.fromkeys(name for node in nodes for name in reads(node))
    inputs = [n for n in read if n not in view.constants and (n not in made or n in quantised)]
    inside = {name for name in made if name not in quantised and name not in view.outputs}
    return Block(tuple(nodes), tuple(inputs), tuple(n for node in nodes for n in node.output if n in made - inside))


def joined(view: ModelView, parts: Sequence[Block]) -> Block:
    """Several blocks as one, in their order; its outputs are what others or nobody reads."""
    nodes = tuple(node for part in parts for node in part.nodes)
    inside = {node.name for node in nodes}
    made = {name for node in nodes for name in node.output if name}
    inputs = dict.fromkeys(name for part in parts for name in part.inputs if name not in made)
    outputs = [
        name
        for part in parts
        for name in part.outputs
        if name in view.outputs
        or any(c.name not in inside for c in view.consumers.get(name, ()))
        or not view.consumers.get(name)
    ]
    return Block(nodes, tuple(inputs), tuple(outputs))


class Weights:
    """The constants of a model as messages of their own; messages one behind the other are one.

    With `keep` each is written once, for many models of the same weights.
    """

    def __init__(self, constants: Mapping[str, np.ndarray], keep: bool = False) -> None:
        self._constants, self._keep, self._messages = constants, keep, dict[str, bytes]()

    def message(self, name: str) -> bytes:
        """Of a tensor that is none of the constants an empty one."""
        if name not in self._constants:
            return b""
        if name in self._messages:
            return self._messages[name]
        model = onnx.ModelProto()
        model.graph.initializer.add().CopyFrom(numpy_helper.from_array(self._constants[name], name))
        message: bytes = model.SerializeToString()
        if self._keep:
            self._messages[name] = message
        return message


class BlockRunner:
    """A block in ONNX Runtime, one of its inputs quantised with parameters that each run gives.

    With `readers`, names of nodes, only these read it quantised.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        weights: Weights,
        block: Block,
        quantised: str,
        readers: Container[str] | None = None,
    ) -> None:
        self._quantised, self._outputs = quantised, list(block.outputs)
        types = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        own = f"openbpu:{quantised}"
        nodes = [
            helper.make_node("QuantizeLinear", [quantised, _SCALE, _ZERO], [_LEVELS]),
            helper.make_node("DequantizeLinear", [_LEVELS, _SCALE, _ZERO], [own]),
        ]
        for node in block.nodes:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            if readers is None or node.name in readers:
                copy.input[:] = [own if name == quantised else name for name in node.input]
            nodes.append(copy)
        used = dict.fromkeys(name for node in block.nodes for name in reads(node))
        inputs = [types[name] for name in block.inputs]
        inputs.append(helper.make_tensor_value_info(_SCALE, TensorProto.FLOAT, []))
        inputs.append(helper.make_tensor_value_info(_ZERO, TensorProto.INT8, []))
        graph = helper.make_graph(
            nodes,
            "block",
            inputs,
            [types[name] for name in block.outputs],
        )
        single = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
        self._session = float_session(b"".join((single.SerializeToString(), *map(weights.message, used))))

    def run(self, arrays: dict[str, np.ndarray], scale: float, zero_point: int) -> list[np.ndarray]:
        """The outputs of the block, in order."""
        feed = arrays | {_SCALE: np.array(scale, np.float32), _ZERO: np.array(zero_point, np.int8)}
        return list(self._session.run(self._outputs, feed))


def energy(array: np.ndarray) -> float:
    """The sum of squares, in float64.

    Not by BLAS: its threads wait for one another in loops, which costs more than the sum of what small nets give.
    """
    flat = array.ravel().astype(np.float64)
    return float(np.einsum("i,i->", flat, flat))


def noises(results: Sequence[np.ndarray], floats: Sequence[np.ndarray]) -> np.ndarray:
    """`energy` of the difference of each two arrays; of many small ones in one go."""
    if not floats or sum(y.size for y in floats) > _FEW * len(floats):
        return np.array([energy(x - y) for x, y in zip(results, floats, strict=True)])
    flat = [np.concatenate([y.ravel() for y in arrays]) for arrays in (results, floats)]
    error = (flat[0] - flat[1]).astype(np.float64)
    starts = np.cumsum([0, *(y.size for y in floats[:-1])])
    return np.asarray(np.add.reduceat(error * error, starts))


def session(model: onnx.ModelProto | bytes) -> ort.InferenceSession:
    """A session of one thread that keeps no memory between runs and joins no quantised operators."""
    options = _sparing()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return _made(model, options)


def float_session(model: onnx.ModelProto | bytes) -> ort.InferenceSession:
    """The same for float operators with pairs between them: up to twice as fast."""
    return _made(model, _sparing())


def as_float() -> ort.SessionOptions:
    """Options with which a QDQ model runs as float operators with pairs between them.

    ONNX Runtime's kernels for int8 saturate on processors without VNNI, and layers left in float would get int8 weights
    per tensor.
    """
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 3
    return options


def _sparing() -> ort.SessionOptions:
    options = as_float()
    options.enable_cpu_mem_arena = False
    options.intra_op_num_threads = 1
    return options


def _made(model: onnx.ModelProto | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    made = loaded(model, options)
    give_back()
    return made


def loaded(model: onnx.ModelProto | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session with these options; of more than 2 GB, which no protobuf can be, the weights go through a file."""
    if isinstance(model, bytes) or sum(tensor.ByteSize() for tensor in model.graph.initializer) < _LARGEST_MESSAGE:
        data = model if isinstance(model, bytes) else model.SerializeToString()
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory(prefix="openbpu-") as folder:
        path = str(Path(folder) / "model.onnx")
        onnx.save(model, path, save_as_external_data=True, location="weights")  # takes them out of the model
        onnx.load_external_data_for_model(model, folder)
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
