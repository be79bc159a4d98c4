"""A place for every value: own buffers, views of others, and the copies that no view can save.

CPU tensors lie dense in ONNX order; their other shapes are views.

Concatenations come first, from the last to the first: their parts are written straight into the common buffer, wherever
the producer can do that. So are transposed results whose elements must then lie dense, such as the heads of attention.
Slices, reshapes and transpositions then become views of what is already placed.
"""

from __future__ import annotations

from math import prod

import numpy as np

from openbpu.ir.graph import Graph, Op, Value
from openbpu.schedule.memory import Memory, Place, dense_strides, is_channel_dense, normalised, reshaped

VIEWS = frozenset({"concat", "slice", "reshape", "transpose"})


class Placement:
    """Places of all values of a graph. `copies` are parts of concatenations that have to be copied into place."""

    def __init__(self, graph: Graph) -> None:
        self.places: dict[Value, Place] = {}
        self.copies: dict[tuple[Op, int], Place] = {}
        self.views: set[Op] = set()  # ops that need no instruction
        self.constants: dict[Value, np.ndarray] = {}  # CPU tensors that are known
        self._producers = {out: op for op in graph.ops for out in op.outputs}
        self._place_ports(graph)
        for op in reversed(graph.ops):
            if op.kind == "concat":
                self._join(op)
            elif op.kind == "reshape":
                self._write_through(op)
        for op in graph.ops:
            if any(out not in self.places for out in op.outputs):
                self._place(op)
            elif op.kind == "concat" and not any(key[0] is op for key in self.copies):
                self.views.add(op)

    @staticmethod
    def constant(value: Value, address: int = 0) -> Place:
        """A value in region "const"."""
        size = value.item_size
        return Place(Memory("const", size * prod(value.shape), address=address), 0, dense_strides(value.shape, size))

    def _place_ports(self, graph: Graph) -> None:
        for region, values in (("in", graph.inputs), ("out", graph.outputs)):
            for index, value in enumerate(values):
                memory = Memory(region, value.item_size * prod(value.shape), index)
                self.places[value] = Place(memory, 0, _dense_strides(value))

    def _join(self, op: Op) -> None:
        out, axis = op.outputs[0], op.attrs["axis"]
        if out not in self.places:
            self.places[out] = _buffer(out)
        start = 0
        for index, part in enumerate(op.inputs):
            target = self.places[out].part(axis, start)
            if not self._bind(part, target):
                self.copies[op, index] = target
            start += part.shape[axis]

    def _write_through(self, op: Op) -> None:
        """A reshape of a transposed tensor that cannot be a view: the transposed tensor is written in its order."""
        out, source = op.outputs[0], op.inputs[0]
        turn = self._producers.get(source)
        if turn is None or turn.kind != "transpose" or out.on_cpu or {out, source} & self.places.keys():
            return
        read = _buffer(turn.inputs[0]).permuted(turn.attrs["perm"])
        size = out.item_size
        as_view = reshaped(read, source.shape, out.shape, size)
        if as_view is not None and is_channel_dense(as_view, out.shape, size):
            return
        place = _buffer(out)
        target = reshaped(place, out.shape, source.shape, size)
        if target is not None and self._bind(source, target):
            self.places[out] = place
            self.views.add(op)

    def _bind(self, value: Value, place: Place) -> bool:
        """Makes the producer of `value` write to `place`; False if it cannot."""
        op = self._producers.get(value)
        if value in self.places or op is None or op.kind == "slice":
            return False
        if op.kind == "reshape":
            source, size = op.inputs[0], value.item_size
            inner = reshaped(place, value.shape, source.shape, size)
            if inner is None or not is_channel_dense(inner, source.shape, size) or not self._bind(source, inner):
                return False
            self.views.add(op)
        elif op.kind == "transpose":  # else it is copied into place
            inner = place.permuted([op.attrs["perm"].index(axis) for axis in range(4)])
            if is_channel_dense(inner, op.inputs[0].shape, value.item_size) and self._bind(op.inputs[0], inner):
                self.views.add(op)
        self.places[value] = place
        return True

    def _place(self, op: Op) -> None:
        out = op.outputs[0]
        if out.on_cpu:
            self._place_on_cpu(op)
            return
        view = self._view(op)
        if view is not None:
            self.places[out] = view
            self.views.add(op)
        elif op.kind == "constant":
            self.places[out] = self.constant(out)
        else:
            self.places[out] = _buffer(out)

    def _place_on_cpu(self, op: Op) -> None:
        source = op.inputs[0] if op.kind == "alias" else None
        if op.kind == "constant":
            self.constants[op.outputs[0]] = op.consts["data"]
            self.views.add(op)
        elif source in self.constants:
            self.constants[op.outputs[0]] = self.constants[source].reshape(op.outputs[0].onnx_shape)
            self.views.add(op)
        elif source is not None:
            out, held = op.outputs[0], self.places[source]
            self.places[out] = Place(held.memory, held.offset, _dense_strides(out))
            self.views.add(op)
        else:
            for out in op.outputs:
                if out not in self.places:
                    memory = Memory("ddr", out.item_size * prod(out.shape))
                    self.places[out] = Place(memory, 0, _dense_strides(out))

    def _view(self, op: Op) -> Place | None:
        """The result as a view of the first operand; None if it needs bytes of its own."""
        if op.kind not in VIEWS:
            return None
        value, out = op.inputs[0], op.outputs[0]
        source, size = self.places[value], value.item_size
        view: Place | None = None
        if op.kind == "slice":
            view = source.part(op.attrs["axis"], op.attrs["start"], op.attrs["step"])
        elif op.kind == "transpose":
            view = source.permuted(op.attrs["perm"])
        elif op.kind == "reshape":
            view = reshaped(source, value.shape, out.shape, size)
        if view is None or not is_channel_dense(view, out.shape, size):
            return None
        return normalised(view, out.shape, size)


def _buffer(value: Value) -> Place:
    size = value.item_size
    return Place(Memory("ddr", size * prod(value.shape)), 0, dense_strides(value.shape, size))


def _dense_strides(value: Value) -> tuple[int, int, int, int]:
    """Strides (n, h, w, c) of a dense tensor in ONNX order."""
    size = value.item_size
    if len(value.onnx_shape) != 4:
        return dense_strides(value.shape, size)
    n, c, h, w = dense_strides(value.onnx_shape, size)
    return n, h, w, c
