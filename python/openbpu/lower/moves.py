"""Chains of reshapes and transpositions as the fewest moves with the same effect.

A chain is followed symbolically from the value where it starts: its result visits the elements of that value in the
order of some axes (ir/strides.py). An order that is dense needs a view; up to four axes are one transposition; more are
cut along the shortest axis and put together again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from openbpu.ir import strides
from openbpu.ir.graph import Op, Value
from openbpu.lower.builder import MAX_EXTENT, Extents, GraphBuilder, row_major

_CHAIN = frozenset({"reshape", "transpose", "rearrange"})
_POINTWISE = frozenset({"lut8"})  # one value at a time, whatever the order


@dataclass(frozen=True)
class _Order:
    """A value that visits the elements of `root` in the order of `axes`."""

    root: Value
    axes: list[strides.Axis]
    origin: tuple[str, ...]


def simplify(builder: GraphBuilder) -> None:
    """Rewrites all chains of the graph; afterwards no op is a "rearrange"."""
    _Simplifier(builder).run()


class _Simplifier:
    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.orders: dict[Value, _Order] = {}
        self.made: dict[Value, Value] = {}

    def run(self) -> None:
        graph = self.builder.graph
        ops, graph.ops = graph.ops, []
        for op in ops:
            if op.kind in _CHAIN:
                self.orders[op.outputs[0]] = self._followed(op)
            elif op.kind in _POINTWISE and op.inputs[0] in self.orders:
                self._before_moves(op)
            else:
                op.inputs = [self._value(value) for value in op.inputs]
                graph.ops.append(op)

    def _before_moves(self, op: Op) -> None:
        """A table is looked up before the moves that lead to its operand: they may then join those behind it."""
        order, out = self.orders[op.inputs[0]], op.outputs[0]
        made = self.builder.value(out.name, order.root.shape, order.root.onnx_shape, out.quant, out.dtype)
        self.builder.graph.ops.append(Op(op.kind, [order.root], [made], op.attrs, op.consts, op.origin))
        self.orders[out] = _Order(made, order.axes, order.origin)

    def _followed(self, op: Op) -> _Order:
        """The order in which the result of a chain op visits its root."""
        value = op.inputs[0]
        known = self.orders.get(value) or self._start(value)
        if op.kind == "reshape":
            return _Order(known.root, known.axes, (*known.origin, *op.origin))
        extents = op.attrs["factors"] if op.kind == "rearrange" else value.shape
        groups = strides.grouped(known.axes, extents)
        if groups is None:  # the shape cuts through an axis: start again from real bytes
            known = self._start(self._value(value))
            groups = strides.grouped(known.axes, extents)
            assert groups is not None
        axes = strides.merged([axis for index in op.attrs["perm"] for axis in groups[index]])
        return _Order(known.root, axes, (*known.origin, *op.origin))

    def _start(self, value: Value) -> _Order:
        return _Order(value, strides.merged(strides.dense(value.shape)), ())

    def _value(self, value: Value) -> Value:
        """A value that exists: chains that end in `value` are written out."""
        order = self.orders.get(value)
        if order is None:
            return value
        if value not in self.made:
            origin = tuple(dict.fromkeys(order.origin))
            result = self._arranged(order.root, order.axes, origin)
            if result.shape != value.shape or result.quant != value.quant:
                self.builder.graph.ops.append(Op("reshape", [result], [value], origin=origin))
                result = value
            self.made[value] = result
        return self.made[value]

    def _arranged(self, root: Value, axes: Sequence[strides.Axis], origin: tuple[str, ...]) -> Value:
        """The elements of `root` in the order of `axes`, in some shape."""
        axes = strides.merged(axes)
        if len(axes) <= 1:
            return root
        if len(axes) > 4:
            return self._cut(root, axes, origin)
        axes = _limited(axes)
        ranked = sorted(axes, key=lambda axis: -axis[1])
        shift = 4 - len(axes)
        source = self.builder.view(root, row_major(tuple(e for e, _ in ranked)), root.onnx_shape, origin)
        perm = (*range(shift), *(ranked.index(axis) + shift for axis in axes))
        return self.builder.permute(source, perm, root.onnx_shape, origin)

    def _cut(self, root: Value, axes: list[strides.Axis], origin: tuple[str, ...]) -> Value:
        """One arrangement per index of the shortest axis, concatenated along it."""
        at = min(range(len(axes)), key=lambda i: axes[i])
        extent, stride = axes[at]
        outer, inner = (prod(e for e, _ in part) for part in (axes[:at], axes[at + 1 :]))
        rest = [(e, s // extent if s > stride else s) for e, s in (*axes[:at], *axes[at + 1 :])]
        total = prod(root.shape)
        whole, along = _around(total // (extent * stride), extent, stride)
        single, _ = _around(total // (extent * stride), 1, stride)
        source = self.builder.view(root, whole, root.onnx_shape, origin)
        joined, axis = _around(outer, extent, inner)
        piece, _ = _around(outer, 1, inner)
        parts = []
        for index in range(extent):
            attrs = {"axis": along, "start": index, "stop": index + 1, "step": 1}
            taken = self.builder.emit("slice", [source], root.onnx_shape, root.quant, origin, shape=single, attrs=attrs)
            part = self._arranged(taken, rest, origin)
            parts.append(self.builder.view(part, piece, root.onnx_shape, origin))
        attrs = {"axis": axis}
        return self.builder.emit("concat", parts, root.onnx_shape, root.quant, origin, shape=joined, attrs=attrs)


def _around(outer: int, extent: int, inner: int) -> tuple[Extents, int]:
    """Extents in which an axis lies between what is outside and inside of it, and the number of that axis."""
    if inner <= MAX_EXTENT:
        return (1, outer, extent, inner), 2
    row = next(d for d in range(MAX_EXTENT, 0, -1) if inner % d == 0)
    return (outer, extent, inner // row, row), 1


def _limited(axes: list[strides.Axis]) -> list[strides.Axis]:
    """Extents within those of a surface, by splitting axes as long as there are fewer than four."""
    result: list[strides.Axis] = []
    for extent, stride in axes:
        spare = 4 - len(axes) - (len(result) - axes.index((extent, stride)))
        divisors = (d for d in range(MAX_EXTENT, 1, -1) if extent % d == 0)
        inner = next(divisors, extent) if extent > MAX_EXTENT and spare > 0 else extent
        result += [(extent // inner, stride * inner), (inner, stride)] if inner != extent else [(extent, stride)]
    return result
