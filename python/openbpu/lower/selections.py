"""Expressions of operators that choose among values: maximum and minimum, conditions, selection by a condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant, requant16
from openbpu.lower.broadcast import Frame
from openbpu.lower.builder import Shape
from openbpu.lower.expressions import CODES, Expr, Function, Move, is_wide, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Clamped

TRUTH = QuantParams.per_tensor(1.0)  # of conditions: 0 and 1


@dataclass(eq=False, kw_only=True)
class Extreme(Clamped):
    """The largest or smallest of several tensors, each quantised as the result is: rounding keeps their order."""

    parts: Sequence[Expr]
    frame: Frame
    largest: bool

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        graph, origin = self.graph, self.origin
        values = [self.frame.aligned(graph, part.quantise(quant), origin) for part in self.parts]
        values.sort(key=lambda value: value.shape != self.frame.extents)  # stable: a whole one comes first
        out = self.frame.whole(graph, values[0], origin)
        for index, value in enumerate(values[1:], 2):
            limits = self.limits(quant) if index == len(values) else {"lo": -128, "hi": 127}
            attrs = {"largest": self.largest, **limits}
            extents = self.frame.extents
            out = graph.emit("extreme", [out, value], self.shape, quant, origin, name=name, shape=extents, attrs=attrs)
        return self.frame.finished(graph, out, origin)


@dataclass(eq=False, kw_only=True)
class Sloped(Expr):
    """The sum of two parts of which one is zero everywhere."""

    above: Expr
    below: Expr

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        """On one grid the sum is exact, but for what lies beyond the range."""
        parts = [self.above.quantise(quant), self.below.quantise(quant)]
        if is_wide(quant):
            consts = requant16.add(quant.s, quant.s, quant.s, quant.z)
            wide = {"negative": False, "lo": quant.qmin, "hi": quant.qmax}
            return self.graph.emit("add", parts, self.shape, quant, self.origin, name=name, attrs=wide, consts=consts)
        p = requant.add(quant.s, quant.z, quant.s, quant.z, quant.s, quant.z)
        attrs = {"ma": p.ma, "mb": p.mb, "C": p.C, "sh": p.sh, "lo": -128, "hi": 127}
        return self.graph.emit("add", parts, self.shape, quant, self.origin, name=name, attrs=attrs)


@dataclass(eq=False, kw_only=True)
class Mask(Expr):
    """A bool tensor of the model, held as int8 zeros and ones."""

    held: Value

    @property
    def dtype(self) -> str:
        return "bool"

    def dense(self, reader: str) -> Value:
        name = f"{self.held.name}.bool"
        dense = self.graph.emit("write_port", [self.held], self.shape, None, (), name=name, dtype="int8")
        attrs = {"op": "Cast", "attributes": {}, "operands": (0,), "results": (0,)}
        return self.graph.emit("cpu", [dense], self.shape, None, (), name=name, attrs=attrs, dtype="bool")

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        raise self.node.refuse("only float tensors can be quantised", seen=self.dtype)

    def move(self, move: Move, node: Node, shape: Shape, pointwise: bool = True) -> Expr:
        return self.step(node, held=move(self.held), shape=shape)


@dataclass(eq=False, kw_only=True)
class Selected(Expr):
    """`parts[0]` where the aligned condition is not zero, else `parts[1]`."""

    parts: Sequence[Expr]
    condition: Value
    frame: Frame

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        graph, origin = self.graph, self.origin
        values = [self.frame.aligned(graph, part.quantise(quant), origin) for part in self.parts]
        if is_wide(quant):
            return self._masked(values, quant, name)
        operands = [*values, self.condition]
        out = graph.emit("select", operands, self.shape, quant, origin, name=name, shape=self.frame.extents)
        return self.frame.finished(graph, out, origin)

    def _masked(self, values: Sequence[Value], quant: QuantParams, name: str) -> Value:
        """Of int16: each part times its zeros and ones, and their sum; exact, for one of two is always 0."""
        graph, origin, frame = self.graph, self.origin, self.frame
        condition, extents, limits = self.condition, frame.extents, {"lo": quant.qmin, "hi": quant.qmax}
        inverted = {"table": np.clip(1 - CODES, -128, 127).astype(np.int8)}
        other = graph.emit(
            "lut8", [condition], condition.onnx_shape, TRUTH, origin, shape=condition.shape, consts=inverted
        )
        parts = []
        for value, mask in zip(values, (condition, other), strict=True):
            ones = widened(graph, mask, origin)
            assert ones.quant is not None
            consts, whole = requant16.product(ones.quant.s, 0), frame.whole(graph, value, origin)
            part = graph.emit(
                "mul", [whole, ones], self.shape, quant, origin, shape=extents, attrs=dict(limits), consts=consts
            )
            parts.append(part)
        sums = requant16.add(quant.s, quant.s, quant.s, quant.z)
        attrs = {"negative": False, **limits}
        out = graph.emit("add", parts, self.shape, quant, origin, name=name, shape=extents, attrs=attrs, consts=sums)
        return frame.finished(graph, out, origin)

    def map(self, function: Function, node: Node) -> Expr:
        return self.step(node, parts=[part.map(function, node) for part in self.parts])

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        return self.step(node, parts=[part.clamp(lo, hi, node) for part in self.parts])

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        if gain.size > 1 or offset.size > 1:
            return super().affine(gain, offset, node)
        return self.step(node, parts=[part.affine(gain, offset, node) for part in self.parts])
