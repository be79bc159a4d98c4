"""Logarithms of sums of exponentials: x - max - log(sum exp(x - max)) in 16-bit steps.

With int8 inputs the maximum, the differences and the table of exponentials are exact but for the rounding of results.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod, sqrt

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower.broadcast import Frame
from openbpu.lower.builder import MAX_EXTENT, Shape, memory_axis, memory_shape
from openbpu.lower.expressions import Expr, Unary, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Linear, Mean, Sum, reduced
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.normalise import softmax_axis
from openbpu.lower.rules.reduce import pixels, reduced_axes, reduced_shapes
from openbpu.lower.rules.windows import Window

_MOST = 4096  # terms: each exponential is off by 1/65534 of the largest, and that is a step of int8 here
_ONE_TABLE = 16  # terms up to which one scale of the sum is fine enough for its smallest value, 1
_REACH = 12.0  # distance from the maximum at which an exponential is less than half a step
_STEPS = 32767


@rule("LogSoftmax", int16=SAME)
def log_softmax(node: Node) -> Expr:
    """REDUCE or MAXPOOL, SUB, LUT16, MATMUL or AVGPOOL, LUT16, SUB; up to 4096 terms."""
    x = node.operand(0)
    axis = softmax_axis(node, x.shape)
    if x.shape[axis] == 1:
        return Unary.of(x.value(node), node, x.origin).map(np.zeros_like, node)
    lines = _along(node, x.value(node), axis)
    total = lines.logarithm(node, x.origin)
    top = total.quantise(lines.parameters)
    origin, frame = (*x.origin, node.name), Frame(lines.shape, lines.value.shape)
    wide = widened(node.graph, lines.value, origin)
    difference = Sum(node=node, shape=lines.shape, origin=origin, frame=frame, a=wide, b=top, sign_b=-1)
    return difference.move(lambda v: node.graph.view(v, memory_shape(x.shape), x.shape, (node.name,)), node, x.shape)


@rule("ReduceLogSumExp", int16=SAME)
def log_sum_exp(node: Node) -> Expr:
    """As LogSoftmax, without the last SUB; behind a transposition where the axes do not lie innermost."""
    x = node.operand(0)
    axes = reduced_axes(node, len(x.shape))
    shape, _ = reduced_shapes(node, x.shape, axes)
    rows = pixels(node, x.value(node), axes)
    total = _Lines(_as_image(node, rows), 1).logarithm(node, x.origin)

    def finish(value: Value) -> Value:
        count = prod(shape)
        flat = node.graph.view(value, memory_shape((count,)), (count,), (node.name,))
        return node.graph.reshape(flat, shape, (node.name,))

    return total.move(finish, node, shape)


@dataclass(frozen=True)
class _Lines:
    """A tensor as an image [n, c, h, w] of which one axis holds the terms of each sum."""

    value: Value
    axis: int

    @property
    def shape(self) -> Shape:
        return self.value.onnx_shape

    @property
    def count(self) -> int:
        return self.shape[self.axis]

    @property
    def kept(self) -> Shape:
        """Shape of what is one number per sum."""
        return tuple(1 if axis == self.axis else extent for axis, extent in enumerate(self.shape))

    @property
    def parameters(self) -> QuantParams:
        """Of the logarithm of a sum of exponentials: the range of the values, and log(count) above them."""
        x = self.value.quant
        assert x is not None
        largest = max(x.qmax - x.z, x.z - x.qmin) * x.s
        return _scaled(largest + log(self.count))

    def logarithm(self, node: Node, before: tuple[str, ...]) -> Expr:
        """max + log(sum exp(x - max)), one number per sum."""
        if self.count > _MOST:
            raise node.refuse(f"a sum of exponentials has at most {_MOST} terms", seen=self.count)
        origin, graph = (*before, node.name), node.graph
        wide = widened(graph, self.value, origin)
        top = widened(graph, self._largest(node), origin)
        assert wide.quant is not None and top.quant is not None
        apart = Sum(node=node, shape=self.shape, origin=origin, frame=self._frame, a=wide, b=top, sign_b=-1)
        distance = apart.quantise(self._distance(wide.quant.s))
        terms = Unary.of(distance, node, origin).map(np.exp, node).quantise(_scaled(1.0))
        frame = Frame(self.kept, memory_shape(self.kept))
        logs = self._log_of_sum(node, terms, frame, origin)
        return Sum(node=node, shape=self.kept, origin=origin, frame=frame, a=top, b=logs)

    @property
    def _frame(self) -> Frame:
        return Frame(self.shape, self.value.shape)

    def _distance(self, step: float) -> QuantParams:
        """Differences of two values, as far as exponentials of them are not 0; exact if they were int8."""
        if self.value.dtype == "int16" and step * _STEPS < _REACH:
            step = min(2 * step, _REACH / _STEPS)
        return QuantParams.per_tensor(step, 0, "int16")

    def _log_of_sum(self, node: Node, terms: Value, frame: Frame, origin: tuple[str, ...]) -> Value:
        """Of sums from 1 to `count`: with two scales where one is too coarse, of which one holds up to a bound."""
        result = _scaled(max(log(self.count), 1.0))
        if self.count <= _ONE_TABLE:
            total = self._sum(node, terms, _scaled(float(self.count)))
            return _logarithm(node, total, 1.0, float(self.count)).quantise(result)
        bound = sqrt(self.count)
        small, large = (self._sum(node, terms, quant) for quant in (_scaled(bound), _knotted(bound, self.count)))
        parts = [
            _logarithm(node, small, 0.5, bound).quantise(result),
            _logarithm(node, large, 1.0, self.count / bound, bound).quantise(result),
        ]
        both = Sum(node=node, shape=self.kept, origin=origin, frame=frame, a=parts[0], b=parts[1])
        return both.quantise(result)

    def _largest(self, node: Node) -> Value:
        graph, value, names = node.graph, self.value, (node.name,)
        if self.axis == 1 and value.dtype == "int8":
            attrs = {"kind": "max", "m": 0, "sh": 0, "lo": -128, "hi": 127}
            flat = reduced(graph, value, (prod(self.kept),), value.quant, names, node.name, attrs)
            return graph.view(flat, memory_shape(self.kept), self.kept, names)
        window, kept = self._window, self.kept
        if self.axis == 1:  # terms as columns
            n, _, w, c = value.shape
            value, window, kept = graph.view(value, (n, w, c, 1), (n, 1, w, c), names), _window((1, c)), (n, 1, w, 1)
        out = graph.emit("maxpool", [value], kept, value.quant, names, attrs=window.attributes)
        return graph.view(out, memory_shape(self.kept), self.kept, names)

    @property
    def _window(self) -> Window:
        return _window((self.count, 1) if self.axis == 2 else (1, self.count))

    def _sum(self, node: Node, terms: Value, quant: QuantParams) -> Value:
        kept, names = self.kept, (node.name,)
        if self.axis == 1:
            ones = np.ones((1, self.count), np.int8)
            product = Linear(
                node=node,
                shape=kept,
                origin=names,
                kind="matmul",
                source=terms,
                attrs={},
                weight=ones,
                weight_scale=np.ones(1),
                bias=np.zeros(1),
                extents=memory_shape(kept),
                view=kept,
            )
            return product.quantise(quant)
        attrs = {**self._window.attributes, "count_pad": True}
        mean = Mean(
            node=node,
            shape=kept,
            origin=names,
            source=terms,
            attrs=attrs,
            divisors=[1],
            extents=memory_shape(kept),
            view=kept,
        )
        return mean.quantise(quant)


def _along(node: Node, value: Value, axis: int) -> _Lines:
    """The tensor as it lies, with `axis` as channels if nothing lies further in, else as columns or rows."""
    shape, names = value.onnx_shape, (node.name,)
    if len(shape) <= 4:
        at = memory_axis(len(shape), axis)
        outer, inner = prod(value.shape[:at]), prod(value.shape[at + 1 :])
    else:
        outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    count = shape[axis]
    if inner == 1:
        return _Lines(_as_image(node, node.graph.view(value, (1, 1, outer, count), (outer, count), names)), 1)
    rows = next(d for d in range(1, inner + 1) if inner % d == 0 and inner // d <= MAX_EXTENT)
    if rows == 1:
        image, at = (outer, inner, 1, count), 3
    else:
        image, at = (outer, inner // rows, count, rows), 2
    if max(image) > MAX_EXTENT:
        raise node.refuse(f"extents of a sum of exponentials are at most {MAX_EXTENT}", seen=f"shape {shape}")
    return _Lines(node.graph.view(value, memory_shape(image), image, names), at)


def _as_image(node: Node, value: Value) -> Value:
    """Rows of terms as an image [n, terms, 1, columns]."""
    count = prod(value.shape[:3])
    columns = next(d for d in range(min(count, MAX_EXTENT), 0, -1) if count % d == 0)
    image = (count // columns, value.shape[3], 1, columns)
    if max(image) > MAX_EXTENT:
        raise node.refuse(f"extents of a sum of exponentials are at most {MAX_EXTENT}", seen=f"{count} of them")
    return node.graph.view(value, memory_shape(image), image, (node.name,))


def _scaled(largest: float) -> QuantParams:
    """int16 parameters of values up to `largest`."""
    return QuantParams.per_tensor(largest / _STEPS, 0, "int16")


def _knotted(bound: float, largest: float) -> QuantParams:
    """As `_scaled`, with the bound on a knot of every table, so that a bend there costs nothing."""
    steps = max(int(bound / largest * _STEPS) // 128, 1) * 128
    return QuantParams.per_tensor(max(bound / steps, largest / _STEPS), 0, "int16")


def _logarithm(node: Node, total: Value, low: float, high: float, unit: float = 1.0) -> Expr:
    """log(total / unit), the quotient within `low` and `high`."""
    return Unary.of(total, node, (node.name,)).map(lambda x: np.log(np.clip(x / unit, low, high)), node)


def _window(kernel: tuple[int, int]) -> Window:
    return Window(kernel, (1, 1), (1, 1), (0, 0, 0, 0))
