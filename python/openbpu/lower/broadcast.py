"""Operands of an element-wise instruction under common extents, in which each of them is whole or 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import MAX_EXTENT, Extents, GraphBuilder, Shape, memory_shape, row_major
from openbpu.lower.node import Node


@dataclass(frozen=True)
class Frame:
    """ONNX shape and extents of a result.

    Up to four dimensions lie as memory_shape says. More of them are joined: neighbours that every operand has, or
    that every operand repeats alike, are one extent; `groups` holds their first dimensions. Four dimensions that are
    `ordered` lie in ONNX order.
    """

    shape: Shape
    extents: Extents
    groups: tuple[int, ...] = ()
    ordered: bool = False

    def in_onnx_order(self) -> Frame:
        """The frame of four dimensions whose operands lie in that order: products of matrices, say."""
        return replace(self, extents=row_major(self.shape), ordered=True)

    def aligned(self, graph: GraphBuilder, value: Value, origin: tuple[str, ...]) -> Value:
        """An operand with leading ones, under the extents of the frame or ones."""
        padded = (1,) * (len(self.shape) - len(value.onnx_shape)) + value.onnx_shape
        value = graph.reshape(value, (1, *padded) if self.ordered else padded, origin)
        return graph.view(value, self._joined(padded), padded, origin) if self.groups else value

    def whole(self, graph: GraphBuilder, value: Value, origin: tuple[str, ...]) -> Value:
        """An aligned operand repeated to the extents of the frame."""
        if value.shape == self.extents:
            return value
        return graph.emit("expand", [value], self.shape, value.quant, origin, shape=self.extents)

    def finished(self, graph: GraphBuilder, value: Value, origin: tuple[str, ...]) -> Value:
        """The result of an instruction in the form of its ONNX shape."""
        if self.ordered:
            return graph.reshape(graph.view(value, self.extents, (1, *self.shape), origin), self.shape, origin)
        return graph.view(value, memory_shape(self.shape), self.shape, origin)

    def _joined(self, shape: Shape) -> Extents:
        stops = (*self.groups[1:], len(shape))
        return row_major(tuple(prod(shape[a:b]) for a, b in zip(self.groups, stops, strict=True)))


def common_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape that operands of these shapes broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise node.refuse("shapes must broadcast", seen=", ".join(map(str, shapes))) from error


def frame(node: Node, shapes: Sequence[Shape]) -> Frame:
    """The frame in which operands of these shapes broadcast; refused if more than four extents would be left."""
    shape = common_shape(node, shapes)
    rank = len(shape)
    if rank <= 4:
        return Frame(shape, memory_shape(shape))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    groups: list[int] = []
    last: tuple[bool, ...] | None = None
    for axis, extent in enumerate(shape):
        pattern = tuple(s[axis] == extent for s in padded)
        if axis == 0 or (extent > 1 and last is not None and pattern != last):
            groups.append(axis)
        if extent > 1:
            last = pattern
    if len(groups) > 4:
        raise node.refuse("beyond four dimensions, at most four groups of them may repeat", seen=f"shapes {shapes}")
    groups = _within_surface(shape, groups)
    joined = Frame(shape, (1, 1, 1, 1), tuple(groups))
    return Frame(shape, joined._joined(shape), tuple(groups))


def _within_surface(shape: Shape, groups: list[int]) -> list[int]:
    """The groups, those that are longer than an extent of a surface split between dimensions while there is room."""
    while len(groups) < 4:
        spans = zip(groups, [*groups[1:], len(shape)], strict=True)
        long = next(((a, b) for a, b in spans if b - a > 1 and prod(shape[a:b]) > MAX_EXTENT), None)
        if long is None:
            break
        first, stop = long
        inner = next(a for a in range(first + 1, stop) if a == stop - 1 or prod(shape[a:stop]) <= MAX_EXTENT)
        groups = sorted([*groups, inner])
    return groups
