"""Constants as exporters write them: one value everywhere (masks that mask nothing, layer scales), masks of -inf."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.ir.onnx_graph import Names, array_of, shapes_of

_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Min", "Max")
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}  # as the second operand; of Add and Mul as either
_RESHAPES = ("Reshape", "Expand")


def bound_masks(model: onnx.ModelProto) -> None:
    """Masks of -inf in front of a Softmax become the lowest float32: what it reads is finite and can be calibrated.

    In place. The probabilities stay the same. Masks that are added stay if a row is masked throughout; of those chosen
    in place of scores (Where) such rows, which had no result, become uniform.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    names = Names(graph)
    for node in graph.node:
        if node.op_type not in ("Add", "Where") or [n.op_type for n in readers.get(node.output[0], ())] != ["Softmax"]:
            continue
        chosen = node.op_type == "Where"
        for index, name in enumerate(node.input):
            if name not in constants or constants[name].data_type != onnx.TensorProto.FLOAT:
                continue
            mask = array_of(constants[name])
            if np.isneginf(mask).any() and (chosen or (mask.ndim and np.isfinite(mask).any(axis=-1).all())):
                finite = np.where(np.isneginf(mask), np.finfo(np.float32).min, mask)
                graph.initializer.append(numpy_helper.from_array(finite, names.fresh(f"{name}/finite")))
                node.input[index] = graph.initializer[-1].name


def fold_uniform(model: onnx.ModelProto) -> None:
    """Such operands of element-wise nodes become scalars; sums with 0, products with 1 and reshapes to the shape that a
    tensor has vanish. In place.

    Shapes must have been inferred: an operand that gives the result its shape stays.
    """
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # names may be read in there
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = shapes_of(graph)
    outputs = {info.name for info in graph.output}
    names, kept = Names(graph), list[onnx.NodeProto]()
    same: dict[str, str] = {}  # a tensor that vanishes: what stands for it
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = same.get(name, name)
        if node.op_type in _RESHAPES and node.output[0] not in outputs:
            shape = shapes.get(node.input[0], [])
            if shape == shapes.get(node.output[0]) and all(shape):
                same[node.output[0]] = node.input[0]
        if node.op_type in _ELEMENTWISE and len(node.input) == 2:
            for index, data in enumerate(reversed(node.input)):
                value = _uniform(constants.get(node.input[index]))
                if value is None or data not in shapes or shapes[data] != shapes.get(node.output[0]):
                    continue
                if _is_neutral(node.op_type, value, index) and node.output[0] not in outputs:
                    same[node.output[0]] = data
                    break
                if constants[node.input[index]].dims:
                    scalar = numpy_helper.from_array(np.array(value, np.float32), names.fresh(f"{node.name}/value"))
                    graph.initializer.append(scalar)
                    node.input[index] = scalar.name
        if node.output[0] not in same:
            kept.append(node)
    _replace(graph, kept)


def _uniform(tensor: onnx.TensorProto | None) -> float | None:
    """The value of all elements of a float32 constant; None if there are several."""
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    values = array_of(tensor)
    if not values.size or not np.isfinite(values.flat[0]) or (values != values.flat[0]).any():
        return None
    return float(values.flat[0])


def _is_neutral(op: str, value: float, index: int) -> bool:
    return _NEUTRAL.get(op) == value and (index == 1 or op in ("Add", "Mul"))


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Only these nodes stay, and the constants and shapes that they or the outputs name."""
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in (*node.input, *node.output)} | {o.name for o in graph.output}
    for field in (graph.initializer, graph.value_info):
        entries = [entry for entry in field if entry.name in used]
        if len(entries) < len(field):  # a message keeps the memory of what it held, and these may be gigabytes
            del field[:]
            field.extend(entries)
