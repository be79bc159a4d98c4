"""BatchNormalization that is not folded: over other tensors than images, and with the statistics of the batch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx

from openbpu.frontend.writing import NodeWriter, attributes_of
from openbpu.ir.onnx_graph import STANDARD, infer_shapes, opset_of, shapes_of

if TYPE_CHECKING:
    from openbpu.frontend.decomposition import Context

_AXES_ARE_OPERANDS = 18  # from this opset on, of reductions


def over_images(node: onnx.NodeProto, context: Context, write: NodeWriter) -> bool:
    """Sequences and volumes as images of one column."""
    shape = context.shapes.get(node.input[0])
    if shape is None or len(shape) < 3 or len(shape) == 4 or any(node.output[1:]):
        return False
    images = write.shaped(node.input[0], (*shape[:2], prod(shape[2:]), 1))
    normal = write.op("BatchNormalization", images, *node.input[1:], **attributes_of(node))
    write.shaped(normal, shape, output=node.output[0])
    return True


def use_batch_statistics(model: onnx.ModelProto) -> None:
    """Nodes in training mode, by which exporters standardise weights, as the arithmetic that they stand for. In place.

    Those whose running statistics are read stay.
    """
    graph = model.graph
    found = [node for node in graph.node if node.op_type == "BatchNormalization" and node.domain in STANDARD]
    if not any(_is_training(node) for node in found):
        return
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shapes = shapes_of(infer_shapes(copy).graph) | {t.name: list(t.dims) for t in graph.initializer}
    read = {name for node in graph.node for name in node.input} | {info.name for info in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        rank = len(shapes.get(node.input[0], ())) if node in found and _is_training(node) else 0
        if rank < 2 or read & set(node.output[1:]):
            nodes.append(node)
            continue
        write = NodeWriter(graph, node.name or node.output[0])
        _standardise(node, rank, opset_of(model), write)
        nodes += write.made
    del graph.node[:]
    graph.node.extend(nodes)


def _is_training(node: onnx.NodeProto) -> bool:
    """Before opset 14 the number of results says so."""
    mode = attributes_of(node).get("training_mode")
    return bool(mode) if mode is not None else len(node.output) > 1


def _standardise(node: onnx.NodeProto, rank: int, opset: int, write: NodeWriter) -> None:
    x, gain, offset = node.input[:3]
    axes = [axis for axis in range(rank) if axis != 1]

    def mean(name: str) -> str:
        if opset >= _AXES_ARE_OPERANDS:
            return write.op("ReduceMean", name, write.constant(np.array(axes, np.int64)))
        return write.op("ReduceMean", name, axes=axes)

    def per_channel(name: str) -> str:
        return write.shaped(name, (-1, *[1] * (rank - 2)))

    centred = write.op("Sub", x, mean(x))
    epsilon = write.constant(np.float32(attributes_of(node).get("epsilon", 1e-5)))
    variance = write.op("Add", mean(write.op("Mul", centred, centred)), epsilon)
    normal = write.op("Div", centred, write.op("Sqrt", variance))
    write.op("Add", write.op("Mul", normal, per_channel(gain)), per_channel(offset), output=node.output[0])
