"""Cuts the float model into spans: consecutive nodes that are learned together, joined to the rest by few tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from openbpu.ir.onnx_graph import reads
from openbpu.ptq.operators import SATURATING
from openbpu.ptq.view import ModelView

_LAYERS = 3  # weighted nodes that a span has at least: those of an inverted residual block
_MOST_LAYERS = 16  # and that it has before it is cut where several tensors leave


@dataclass(frozen=True)
class Span:
    """Nodes in graph order, what they read from outside and what others read of them."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: int  # weighted nodes

    @property
    def title(self) -> str:
        """The last tensor that leaves it."""
        return self.outputs[-1] if self.outputs else self.nodes[-1].name


def spans(model: onnx.ModelProto, quantised: Collection[str]) -> list[Span]:
    """All nodes of a clean float model as spans, in order; `quantised` holds the tensors with a pair.

    A span ends where one tensor with a pair alone leaves it, which is the end of a residual block or of a stage; if
    there is none within 16 weighted nodes, at the first place where all that leaves has pairs.
    """
    return _Cutter(model, quantised).run()


class _Cutter:
    def __init__(self, model: onnx.ModelProto, quantised: Collection[str]) -> None:
        self.nodes, self.view, self.quantised = list(model.graph.node), ModelView(model), frozenset(quantised)
        self.last_use = {name: i for i, node in enumerate(self.nodes) for name in reads(node)}
        self.last_use |= dict.fromkeys(self.view.outputs, len(self.nodes))

    def run(self) -> list[Span]:
        found, start = [], 0
        while start < len(self.nodes):
            end = self._end(start)
            found.append(self._span(start, end))
            start = end
        return found

    def _end(self, start: int) -> int:
        layers, fallback = 0, 0
        for end in range(start + 1, len(self.nodes) + 1):
            layers += self.view.weighted(self.nodes[end - 1])
            leaving = self._leaving(start, end)
            if not layers or not all(name in self.quantised for name in leaving):
                continue
            if not fallback:
                fallback = end
            if len(leaving) == 1 and layers >= _LAYERS and not self._goes_on(leaving[0], end):
                return end
            if layers >= _MOST_LAYERS:
                return fallback
        return len(self.nodes) if layers <= _MOST_LAYERS or not fallback else fallback

    def _leaving(self, start: int, end: int) -> list[str]:
        made = (name for node in self.nodes[start:end] for name in node.output if name)
        return [name for name in made if self.last_use.get(name, -1) >= end]

    def _goes_on(self, name: str, end: int) -> bool:
        """Whether all that reads a tensor is the next node, without weights: a residual sum, a pool.

        What saturates ends a span: behind it, few unsure samples would hold all of the error.
        """
        if end >= len(self.nodes) or self.last_use[name] != end:
            return False
        return not self.view.weighted(self.nodes[end]) and self.nodes[end].op_type not in SATURATING

    def _span(self, start: int, end: int) -> Span:
        nodes = tuple(self.nodes[start:end])
        made = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in reads(node))
        inputs = tuple(name for name in read if name not in made and name not in self.view.constants)
        return Span(nodes, inputs, tuple(self._leaving(start, end)), sum(map(self.view.weighted, nodes)))
