"""Where channels can be scaled without changing the network: tensors between weighted producers and weighted readers.

A positive factor per channel goes into the weights (or the gain) of what makes a tensor, its inverse into the weights
of what reads it; ReLU, pools, sums of tensors with the same factors and, within limits, a clip pass it on. So all
tensors of a residual chain form one site. Nagel et al., Data-Free Quantization (2019), there for pairs of layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np
import onnx

from openbpu.ir.onnx_graph import reads, shapes_of
from openbpu.ptq.operators import NORMALISING
from openbpu.ptq.view import ModelView, attribute, channel_axis

# Functions f with f(a x) = a f(x) for positive a, channel by channel.
_PASSING = frozenset({"AveragePool", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu",
                      "MaxPool", "Relu"})  # fmt: skip
_SUMS = frozenset({"Add", "Sub", "Max", "Min"})


@dataclass
class Site:
    """Tensors whose channels are scaled by the same factors."""

    tensors: list[str] = field(default_factory=list)
    axis: int = 0  # of their channels
    producers: list[onnx.NodeProto] = field(default_factory=list)
    readers: list[onnx.NodeProto] = field(default_factory=list)
    bounds: dict[str, float] = field(default_factory=dict)  # upper ends of clips, by their results
    shared: bool = False  # others read it too: its producer, a norm, is doubled

    @property
    def name(self) -> str:
        return self.tensors[0]

    @property
    def read(self) -> list[str]:
        """The tensors that readers read."""
        return list(dict.fromkeys(str(node.input[0]) for node in self.readers))

    @property
    def normalised(self) -> bool:
        """Made by a norm alone."""
        return all(node.op_type in NORMALISING for node in self.producers)


def sites(model: onnx.ModelProto, excluded: Container[str]) -> list[Site]:
    """All sites of a clean float model, in graph order; nodes whose names are in `excluded` take no part."""
    return _Finder(model, excluded).run()


class _Finder:
    def __init__(self, model: onnx.ModelProto, excluded: Container[str]) -> None:
        self.graph, self.excluded, self.view = model.graph, excluded, ModelView(model)
        self.shapes = shapes_of(model.graph)
        self.parent = {name: name for name in self.shapes}
        self.barred: set[str] = {*self.view.outputs, *(i.name for i in model.graph.input)}
        self.axes: dict[str, set[int]] = defaultdict(set)  # of the channels of a tensor
        self.made: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.bounds: dict[str, float] = {}

    def run(self) -> list[Site]:
        for node in self.graph.node:
            if node.name in self.excluded or not self._joins(node):
                self.barred |= {*reads(node), *node.output}
        members: dict[str, list[str]] = defaultdict(list)
        for name in self.parent:
            members[self._root(name)].append(name)
        order = {name: i for i, node in enumerate(self.graph.node) for name in node.output}
        found = [s for names in members.values() for s in self._sites(sorted(names, key=lambda n: order.get(n, -1)))]
        return sorted(found, key=lambda s: order[s.name])

    def _sites(self, tensors: list[str]) -> list[Site]:
        """The site of tensors that pass factors on to one another; without one, the norms among them on their own."""
        if self.barred.isdisjoint(tensors):
            site = self._site(tensors)
            return [] if site is None else [site]
        norms = [name for name in tensors if name in self.made and self.made[name].op_type in NORMALISING]
        return [site for name in norms if (site := self._site([name])) is not None]

    def _site(self, tensors: list[str]) -> Site | None:
        axes = {axis for name in tensors for axis in self.axes[name]}
        readers = [node for name in tensors for node in self.readers[name]]
        producers = [self.made[name] for name in tensors if name in self.made]
        if not readers or not producers or len(axes) != 1:
            return None
        shared = any(c not in readers for name in tensors[-1:] for c in self.view.consumers[name])
        shared = len(tensors) == 1 and (shared or tensors[0] in self.view.outputs)
        bounds = {name: self.bounds[name] for name in tensors if name in self.bounds}
        return Site(tensors, axes.pop(), producers, readers, bounds, shared)

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _join(self, *names: str) -> None:
        for name in names[1:]:
            self.parent[self._root(name)] = self._root(names[0])

    def _joins(self, node: onnx.NodeProto) -> bool:
        """Notes what a node does with factors; False if it passes none on."""
        output, view = str(node.output[0]), self.view
        data = [n for n in node.input if n and n not in view.constants]
        if any(name not in self.shapes for name in (output, *data)) or len(node.output) > 1:
            return False
        rank = len(self.shapes[output])
        if node.op_type in NORMALISING:
            return self._norm(node, output, rank)
        if view.weighted(node):
            return self._weighted(node, output, rank)
        if len(data) == 1:
            return self._function(node, data[0], output)
        if len(data) != 2 or node.op_type not in _SUMS | {"Mul"}:
            return False
        if node.op_type == "Mul":  # a gate: what has more elements is scaled
            gate, x = sorted(data, key=lambda n: int(np.prod(self.shapes[n])))
            if self.shapes[gate] == self.shapes[x]:
                return False
            self.barred.add(gate)
            self._join(x, output)
            return True
        if self.shapes[data[0]] != self.shapes[data[1]]:
            return False
        self._join(*data, output)
        return True

    def _norm(self, node: onnx.NodeProto, output: str, rank: int) -> bool:
        self.barred |= set(node.input[:1])
        constant = all(n in self.view.constants for n in node.input[1:] if n)
        if node.op_type == "LpNormalization" or not constant or attribute(node, "axis", -1) not in (-1, rank - 1):
            return False
        self.axes[output].add(rank - 1)
        self.made[output] = node
        return True

    def _weighted(self, node: onnx.NodeProto, output: str, rank: int) -> bool:
        convolves = node.op_type.startswith("Conv")
        source, axis = str(node.input[0]), 1 if convolves else rank - 1
        if node.op_type == "ConvTranspose" or (node.op_type == "Gemm" and attribute(node, "transA", 0)):
            return False
        self.axes[output].add(axis)
        self.axes[source].add(1 if convolves else len(self.shapes[source]) - 1)
        self.made[output] = node
        self.readers[source].append(node)
        return True

    def _function(self, node: onnx.NodeProto, source: str, output: str) -> bool:
        producer = self.view.producers.get(source)
        if node.op_type == "Clip":
            limits = _limits(self.view, node)
            if limits is None or limits[0] not in (0.0, -np.inf):
                return False
            self.bounds[output] = limits[1]
        elif node.op_type == "Add":
            if producer is None or self.view.bias_add(producer) is not node:
                return False
        elif node.op_type not in _PASSING or list(node.input).count(source) > 1:
            return False
        if "Pool" in node.op_type:
            self.axes[output].add(1)
        self._join(source, output)
        return True


def _limits(view: ModelView, clip: onnx.NodeProto) -> tuple[float, float] | None:
    values = []
    for index, default in ((1, -np.inf), (2, np.inf)):
        name = clip.input[index] if len(clip.input) > index else ""
        if name and (name not in view.constants or view.constants[name].size != 1):
            return None
        values.append(float(view.constants[name].ravel()[0]) if name else default)
    return values[0], values[1]


def by_input_channel(node: onnx.NodeProto, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The weight of a reader with each input channel multiplied by its factor."""
    if node.op_type != "Conv":
        return np.asarray(weight * (factors if channel_axis(node) == 0 else factors[:, None]))
    groups = attribute(node, "group", 1)
    outputs = weight.shape[0] // groups
    per_group = np.repeat(factors.reshape(groups, 1, -1), outputs, axis=1).reshape(weight.shape[0], -1)
    return np.asarray(weight * per_group.reshape(*per_group.shape, *(1,) * (weight.ndim - 2)))


def input_peaks(node: onnx.NodeProto, weight: np.ndarray) -> np.ndarray:
    """The largest magnitude of the weights that read each input channel."""
    magnitudes = np.abs(weight)
    if node.op_type != "Conv":
        return np.asarray(magnitudes.max(axis=0 if channel_axis(node) == 0 else 1))
    groups = attribute(node, "group", 1)
    rows = magnitudes.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return np.asarray(rows.max(axis=(1, 3)).ravel())


def by_output_channel(node: onnx.NodeProto, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The weight of a producer with each output channel multiplied by its factor."""
    shape = [1] * weight.ndim
    shape[channel_axis(node)] = -1
    return np.asarray(weight * factors.reshape(shape))


def output_peaks(node: onnx.NodeProto, weight: np.ndarray) -> np.ndarray:
    """The largest magnitude of the weights that make each output channel."""
    rows = np.abs(np.moveaxis(weight, channel_axis(node), 0))
    return np.asarray(rows.reshape(len(rows), -1).max(axis=1))
