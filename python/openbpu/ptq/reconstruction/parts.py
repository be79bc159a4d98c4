"""Parts of an ONNX model between tensors that are at hand, run in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from openbpu.ir.onnx_graph import reads
from openbpu.ptq.blocks import session

Arrays = Mapping[str, Sequence[np.ndarray]]  # tensor -> its value for each sample


@dataclass(frozen=True)
class Part:
    """What makes `outputs` of `inputs`: nodes in graph order."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Parts:
    """A model whose parts are asked for; values of its initialisers may change meanwhile, its nodes may not."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.index = {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}

    def part(self, outputs: Sequence[str], at_hand: Collection[str]) -> Part:
        """The nodes that make the outputs of tensors at hand."""
        found: set[int] = set()
        inputs: dict[str, None] = {}
        front = list(outputs)
        while front:
            name = front.pop()
            if name in at_hand:
                inputs[name] = None
            elif (i := self.index.get(name)) is not None and i not in found:
                found.add(i)
                front += list(reads(self.model.graph.node[i]))
        nodes = tuple(self.model.graph.node[i] for i in sorted(found))
        return Part(nodes, tuple(sorted(inputs)), tuple(outputs))

    def run(self, part: Part, arrays: Arrays) -> dict[str, list[np.ndarray]]:
        """The outputs of a part for each sample."""
        used = {name for node in part.nodes for name in reads(node)} | {*part.outputs}
        first = {name: arrays[name][0] for name in part.inputs}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in first.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in part.outputs if name not in arrays]
        kept = [t for t in self.model.graph.initializer if t.name in used]
        graph = helper.make_graph(part.nodes, "part", inputs, outputs, kept)
        single = helper.make_model(graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version)
        running, names = session(single), [o.name for o in outputs]
        count = len(next(iter(arrays.values())))
        results = [running.run(names, {name: arrays[name][k] for name in part.inputs}) for k in range(count)]
        return {name: [result[i] for result in results] for i, name in enumerate(names)}
