"""Random models, node by node: every tensor has its value as soon as it exists, by which operands can be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from graph_fuzz.reference import Unsupported, node_runner

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
MOST_ELEMENTS = 2048
_LARGEST = 1e4  # magnitude of values: what is larger leads to infinities in the nodes that follow


class Discarded(Exception):
    """The operator cannot be applied here, or its result is of no use; the graph is as it was."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the model with the value that it has for the model's inputs."""

    name: str
    value: np.ndarray

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    @property
    def rank(self) -> int:
        return self.value.ndim

    @property
    def dtype(self) -> str:
        return self.value.dtype.name


class Graph:
    """A model under construction; `draw` is hypothesis's, numbers come from a generator that it seeds."""

    def __init__(self, draw: Draw, opset: int) -> None:
        self.draw, self.opset = draw, opset
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.inputs: list[Tensor] = []
        self.constants: list[Tensor] = []
        self.disturbable: set[str] = set()  # constants that are data, as inputs are
        self.made: list[Tensor] = []
        self.nodes: list[onnx.NodeProto] = []
        self.padded: list[Tensor] = []  # results whose extent depends on the data: outputs only
        self.rounded: list[Tensor] = []  # 8-bit results that may be off by one: outputs only
        self.whole: onnx.ModelProto | None = None  # once its outputs are drawn

    # ---- choices

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def choice(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def optional(self, name: str, value: Any) -> dict[str, Any]:
        """An attribute that is given or left out."""
        return {name: value} if self.flag() else {}

    def shape(self, low: int = 0, high: int = 4, most: int = 5) -> Shape:
        return tuple(self.number(1, most) for _ in range(self.number(low, high)))

    # ---- tensors

    def tensor(
        self, dtype: str = "float32", rank: tuple[int, int] = (0, 4), within: tuple[float, float] | None = None
    ) -> Tensor:
        """A tensor that is there, if one fits, or a new input."""
        fitting = [t for t in (*self.inputs, *self.made) if t.dtype == dtype and rank[0] <= t.rank <= rank[1]]
        if within is not None:
            fitting = [t for t in fitting if _lies_within(t.value, *within)]
        if fitting and self.number(0, 5):
            return self.choice(fitting[::-1])
        return self.fresh(self.shape(*rank), dtype, within)

    def like(self, shape: Shape, dtype: str = "float32", within: tuple[float, float] | None = None) -> Tensor:
        """A tensor of this very shape."""
        fitting = [t for t in (*self.inputs, *self.made) if t.dtype == dtype and t.shape == shape]
        if within is not None:
            fitting = [t for t in fitting if _lies_within(t.value, *within)]
        if fitting and self.flag():
            return self.choice(fitting)
        return self.fresh(shape, dtype, within)

    def fresh(self, shape: Shape, dtype: str = "float32", within: tuple[float, float] | None = None) -> Tensor:
        """A new input or, less often, a constant."""
        value = self._values(shape, dtype, within)
        return self._data(value) if self.number(0, 3) == 0 else self.input(value)

    def weight(self, *shape: int) -> Tensor:
        """Numbers that keep the magnitude of what they are multiplied with; a constant most of the time."""
        fan = max(1, int(np.prod(shape[1:])))
        value = (self.random.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)
        return self._data(value) if self.number(0, 4) else self.input(value)

    def _data(self, value: np.ndarray) -> Tensor:
        tensor = self.constant(value)
        self.disturbable.add(tensor.name)
        return tensor

    def constant(self, value: Any, dtype: str | None = None) -> Tensor:
        tensor = Tensor(f"c{len(self.constants)}", np.asarray(value, dtype))
        self.constants.append(tensor)
        return tensor

    def numbers(self, *values: int) -> Tensor:
        """An int64 vector, as axes and shapes are."""
        return self.constant(np.array(values, np.int64))

    def input(self, value: np.ndarray) -> Tensor:
        tensor = Tensor(f"x{len(self.inputs)}", value)
        self.inputs.append(tensor)
        return tensor

    def _values(self, shape: Shape, dtype: str, within: tuple[float, float] | None) -> np.ndarray:
        kind = np.dtype(dtype).kind
        if kind == "b":
            return self.random.random(shape) > 0.5
        if kind in "iu":
            limits = np.iinfo(dtype)
            low, high = within or (max(-20, limits.min), min(20, limits.max))
            return self.random.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
        if within is not None:
            low, high = max(within[0], -8.0), min(within[1], 8.0)
            return self.random.uniform(low, high, shape).astype(dtype)
        values = self.random.standard_normal(shape) * self.choice((0.5, 1.0, 3.0))
        if self.number(0, 4) == 0:
            values = np.rint(values)  # equal values, zeros
        return values.astype(dtype)

    # ---- nodes

    def apply(self, op: str, *operands: Tensor | None, outputs: int = 1, **attributes: Any) -> list[Tensor]:
        """Appends a node; Discarded if it cannot be computed, or its results are too many or too large."""
        values = self._computed(op, operands, outputs, attributes)
        for value in values:
            if value.size > MOST_ELEMENTS or not _is_tame(value):
                raise Discarded(op)
        return self._append(op, operands, values, attributes)

    def one(self, op: str, *operands: Tensor | None, **attributes: Any) -> Tensor:
        return self.apply(op, *operands, **attributes)[0]

    def apply_padded(self, op: str, *operands: Tensor | None, outputs: int = 1, **attributes: Any) -> None:
        """As `apply`, for results whose extent depends on the data: no other node reads them.

        One per operator and operands: equal nodes become one, and its count then bears only one of the names.
        """
        names = ["" if t is None else t.name for t in operands]
        if any(node.op_type == op and list(node.input) == names for node in self.nodes):
            raise Discarded(op)
        values = self._computed(op, operands, outputs, attributes)
        if any(value.size == 0 for value in values):
            raise Discarded(op)
        made = self._append(op, operands, values, attributes)
        self.made = [t for t in self.made if t not in made]
        self.padded += made

    def apply_rounded(self, op: str, *operands: Tensor | None, **attributes: Any) -> None:
        """As `apply`, for an 8-bit result that two correct implementations may round apart: no other node reads it."""
        made = self.apply(op, *operands, **attributes)
        self.made = [t for t in self.made if t not in made]
        self.rounded += made

    def stated(self, op: str, operands: Sequence[Tensor | None], values: list[np.ndarray], **attributes: Any) -> None:
        """Appends a node whose results are known without computing it."""
        self._append(op, operands, values, attributes)

    def _computed(
        self, op: str, operands: Sequence[Tensor | None], outputs: int, attributes: dict[str, Any]
    ) -> list[np.ndarray]:
        node = _node(op, operands, [f"y{k}" for k in range(outputs)], attributes)
        try:
            values = node_runner(node, self.opset)([None if t is None else t.value for t in operands])
        except Unsupported as error:
            raise Discarded(op) from error
        return [np.asarray(value) for value in values]

    def _append(
        self, op: str, operands: Sequence[Tensor | None], values: list[np.ndarray], attributes: dict[str, Any]
    ) -> list[Tensor]:
        if any(value.size == 0 for value in values):
            raise Discarded(op)
        start = len(self.made) + len(self.padded) + len(self.rounded)
        made = [Tensor(f"t{start + k}", value) for k, value in enumerate(values)]
        self.nodes.append(_node(op, operands, [t.name for t in made], attributes))
        self.nodes[-1].name = f"n{len(self.nodes)}"
        self.made += made
        return made

    # ---- the whole

    def outputs(self) -> list[Tensor]:
        """Results that no node reads, and now and then one that is read."""
        read = {name for node in self.nodes for name in node.input}
        return [t for t in (*self.made, *self.padded, *self.rounded) if t.name not in read or self.number(0, 4) == 0]

    def model(self) -> onnx.ModelProto:
        """The same one at every call: its outputs are drawn."""
        if self.whole is None:
            self.whole = self._finished()
        return self.whole

    def _finished(self) -> onnx.ModelProto:
        infos = [_info(t) for t in self.inputs]
        outputs = [_info(t) if t not in self.padded else _open(t) for t in self.outputs()]
        constants = [numpy_helper.from_array(t.value, t.name) for t in self.constants]
        graph = helper.make_graph(self.nodes, "fuzz", infos, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {t.name: t.value for t in self.inputs}


def _node(op: str, operands: Sequence[Tensor | None], results: list[str], attributes: dict[str, Any]) -> onnx.NodeProto:
    names = ["" if t is None else t.name for t in operands]
    while names and not names[-1]:
        names.pop()
    return helper.make_node(op, names, results, **attributes)


def _kind(tensor: Tensor) -> int:
    return int(helper.np_dtype_to_tensor_dtype(tensor.value.dtype))


def _info(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, _kind(tensor), tensor.shape)


def _open(tensor: Tensor) -> onnx.ValueInfoProto:
    """Without extents: those of this run are not those of every run."""
    return helper.make_tensor_value_info(tensor.name, _kind(tensor), [None] * tensor.rank)


def _lies_within(value: np.ndarray, low: float, high: float) -> bool:
    return bool(value.size) and float(value.min()) >= low and float(value.max()) <= high


def _is_tame(value: np.ndarray) -> bool:
    if value.dtype.kind == "f":
        return bool(np.isfinite(value).all()) and float(np.abs(value).max(initial=0)) <= _LARGEST
    return True
