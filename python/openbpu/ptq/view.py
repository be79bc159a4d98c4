"""Who makes and who reads each tensor of a model: the look-ups that placement, insertion and refinement share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.ir.onnx_graph import reads
from openbpu.ptq.operators import WEIGHTED


class ModelView:
    """Look-ups by name over a model that is not changed meanwhile."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants: dict[str, np.ndarray] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.outputs = {o.name for o in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(reads(node)):
                self.consumers[name].append(node)

    def weighted(self, node: onnx.NodeProto) -> bool:
        """A multiply-accumulate operator with constant weights and a constant bias, or none."""
        if node.op_type not in WEIGHTED or node.input[1] not in self.constants:
            return False
        if len(node.input) > 2 and node.input[2] and node.input[2] not in self.constants:
            return False
        return node.op_type.startswith("Conv") or self.constants[node.input[1]].ndim == 2

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """The only node that reads a tensor which is no output of the graph."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def quantised_result(self, node: onnx.NodeProto, quantised: Container[str]) -> str:
        """The tensor with a pair behind a node and the bias and clamp that it absorbs; "" if there is none."""
        name = str(node.output[0])
        while name not in quantised:
            following = self.sole_consumer(name)
            if following is None:
                return ""
            name = str(following.output[0])
        return name

    def bias_add(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The Add behind a weighted MatMul that holds its bias: a constant with one number per column."""
        if node.op_type != "MatMul" or not self.weighted(node):
            return None
        add = self.sole_consumer(node.output[0])
        if add is None or add.op_type != "Add":
            return None
        constant = self.constants.get(next((n for n in add.input if n != node.output[0]), ""))
        columns = self.constants[node.input[1]].shape[1]
        return add if constant is not None and constant.shape[-1:] == (columns,) == (constant.size,) else None

    def bias(self, node: onnx.NodeProto) -> np.ndarray | None:
        """float64, one number per output channel; None if a weighted node has no bias."""
        add = self.bias_add(node)
        if add is not None:
            name = next(n for n in add.input if n in self.constants)
        elif len(node.input) > 2 and node.input[2]:
            name = node.input[2]
        else:
            return None
        channels = output_channels(node, self.constants[node.input[1]])
        return np.broadcast_to(self.constants[name].reshape(-1).astype(np.float64), channels)


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return int(next((a.i for a in node.attribute if a.name == name), default))


def channel_axis(node: onnx.NodeProto) -> int:
    """Axis of the output channels in the weight of a weighted node; those of ConvTranspose repeat for each group."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    return 1


def output_channels(node: onnx.NodeProto, weight: np.ndarray) -> int:
    """Output channels of a weighted node."""
    repeats = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    return int(weight.shape[channel_axis(node)]) * repeats
