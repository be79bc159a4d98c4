"""Nodes in place of one: names, constants and the small operators that rewriting needs again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name; strings are bytes."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


class NodeWriter:
    """Collects in `made` the nodes that replace one; methods return the name of what they compute."""

    def __init__(self, graph: onnx.GraphProto, title: str) -> None:
        self.graph, self.title = graph, title
        self.made: list[onnx.NodeProto] = []

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{self.title}/{kind.lower()}{len(self.made)}"
        name = f"{self.title}/{len(self.made)}"
        self.made.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, array: Any) -> str:
        name = f"{self.title}/constant{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def scalar(self, number: bool | int) -> str:
        """A bool or int64 without dimensions."""
        name = f"{self.title}/constant{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(number), name))
        return name

    def shaped(self, name: str, shape: Sequence[int], output: str = "") -> str:
        return self.op("Reshape", name, self.constant(np.array(shape, np.int64)), output=output)

    def parts(self, name: str, sizes: Sequence[int], axis: int) -> list[str]:
        if len(sizes) == 1:
            return [name]
        outputs = [f"{self.title}/part{len(self.made)}_{i}" for i in range(len(sizes))]
        split = self.constant(np.array(sizes, np.int64))
        self.made.append(helper.make_node("Split", [name, split], outputs, name=outputs[0], axis=axis))
        return outputs
