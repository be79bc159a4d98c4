"""Cuts a model at given outputs, and takes nodes off its boundary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import onnx

from openbpu.errors import ConfigError, ModelError, did_you_mean
from openbpu.ir.onnx_graph import infer_shapes, reads

_TYPES = {
    "Quantize": "QuantizeLinear",
    "Dequantize": "DequantizeLinear",
    "Transpose": "Transpose",
    "Reshape": "Reshape",
    "Cast": "Cast",
    "Softmax": "Softmax",
}
_ENDS = {"QuantizeLinear": "input", "DequantizeLinear": "output"}  # where removing the type leaves integers


def cut(model: onnx.ModelProto, outputs: Collection[str]) -> onnx.ModelProto:
    """The model with these outputs, nodes (all their results) or tensors by name; what only others need is dropped.

    Changes `model`. Raises ConfigError for a name that is neither.
    """
    graph = model.graph
    nodes = {node.name: node for node in graph.node if node.name}
    tensors = {name for node in graph.node for name in node.output if name}
    wanted: list[str] = []
    for name in outputs:
        if name in nodes:
            wanted += [output for output in nodes[name].output if output]
        elif name in tensors:
            wanted.append(name)
        else:
            raise _unknown(name, "output_nodes", {*nodes, *tensors})
    infos = _infos(model)
    del graph.output[:]
    graph.output.extend(infos.get(name, onnx.ValueInfoProto(name=name)) for name in dict.fromkeys(wanted))
    _drop_unused(graph)
    return model


def remove_boundary(model: onnx.ModelProto, types: Collection[str], names: Collection[str]) -> onnx.ModelProto:
    """The model without the named nodes and, again and again, without nodes of `types` at its inputs and outputs.

    Changes `model`. Raises ConfigError for an unknown type or name, ModelError for a named node inside the model.
    """
    for kind in types:
        if kind not in _TYPES:
            raise ConfigError("a type that can be removed", where="remove_node_type", seen=kind, remedy=_known_types())
    graph = model.graph
    known = {node.name for node in graph.node}
    for name in names:
        if name not in known:
            raise _unknown(name, "remove_node_name", known)
    kinds = {_TYPES[kind] for kind in types}
    left = set(names)

    def goes(node: onnx.NodeProto) -> bool:
        if node.name not in left and node.op_type not in kinds:
            return False
        at_input, at_output = _at_input(node, graph), _at_output(node, graph)
        if node.name in left:
            return at_input or at_output
        end = _ENDS.get(node.op_type, "")
        return (at_input and end != "output") or (at_output and end != "input")

    while True:
        node = next((n for n in graph.node if goes(n)), None)
        if node is None:
            break
        left.discard(node.name)
        _remove(node, model)
    if left:
        raise ModelError(
            "only nodes at an input or output can be removed",
            where=f"node '{min(left)}'",
            seen="a node inside the model",
            remedy="name the nodes between it and the boundary too",
        )
    _drop_unused(graph)
    return model


def _known_types() -> str:
    return f"use some of {', '.join(_TYPES)}"


def _unknown(name: str, key: str, known: Iterable[str]) -> ConfigError:
    remedy = did_you_mean(name, known, "the command `openbpu check` lists the names of the nodes")
    return ConfigError("the model has no such node", where=key, seen=name, remedy=remedy)


def _infos(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = infer_shapes(copy).graph
    return {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}


def _readers(graph: onnx.GraphProto) -> Counter[str]:
    return Counter(name for node in graph.node for name in node.input if name)


def _at_input(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """It reads an input of the model that nothing else reads."""
    inputs = {i.name for i in graph.input} - {t.name for t in graph.initializer}
    outputs = {o.name for o in graph.output}
    source = node.input[0] if node.input else ""
    return source in inputs and source not in outputs and _readers(graph)[source] == 1


def _at_output(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """It makes an output of the model that nothing else reads."""
    outputs = {o.name for o in graph.output}
    return node.output[0] in outputs and not _readers(graph)[node.output[0]]


def _remove(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    graph, infos = model.graph, _infos(model)
    if _at_output(node, graph):
        ports, old, new = graph.output, node.output[0], node.input[0]
    else:
        ports, old, new = graph.input, node.input[0], node.output[0]
    if new not in infos:
        raise ModelError("its shape must be known", where=f"node '{node.name}'", seen=new)
    taken = any(port.name == new for port in ports)
    kept = [infos[new] if port.name == old else port for port in ports if not (taken and port.name == old)]
    del ports[:]
    ports.extend(kept)
    graph.node.remove(node)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Removes nodes and initializers that no output needs; inputs stay."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(reads(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
