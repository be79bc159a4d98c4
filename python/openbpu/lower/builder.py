"""The integer graph under construction: values with unique names, ops, and moves in ONNX terms.

Tensors of rank 4 lie NHWC, all others row major (see ir/graph.py). The methods `reshape`, `transpose`, `slice` and
`concat` take ONNX axes and keep ONNX semantics; they write plain sequences of moves, which moves.py makes minimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import INT16_KINDS, Graph, Op, Value
from openbpu.ir.quant import QuantParams

Shape = tuple[int, ...]
Extents = tuple[int, int, int, int]
MAX_EXTENT = 65535  # of a surface
_NHWC_OF_NCHW = (0, 3, 1, 2)  # memory axis of an ONNX axis


def memory_shape(shape: Shape) -> Extents:
    """Extents in memory order of a tensor with this ONNX shape."""
    if len(shape) == 4:
        return shape[0], shape[2], shape[3], shape[1]
    return row_major(shape)


def row_major(shape: Shape) -> Extents:
    """Extents when the tensor lies in ONNX order: leading ones added, leading dimensions beyond four joined."""
    padded = (1,) * (4 - len(shape)) + tuple(shape)
    return prod(padded[:-3]), padded[-3], padded[-2], padded[-1]


def memory_axis(rank: int, axis: int) -> int:
    """Axis into (n, h, w, c) of an ONNX axis; ranks up to four."""
    return _NHWC_OF_NCHW[axis] if rank == 4 else axis + 4 - rank


class GraphBuilder:
    """Collects ops in order. `origin` of an emission is the ONNX nodes that it stands for."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name, [], [], [])
        self._taken: dict[str, int] = {}
        self.turned: set[Value] = set()  # of four dimensions, but made by moves from a tensor that lies in ONNX order
        self.tables: dict[Value, tuple[Value, np.ndarray]] = {}  # result of a LUT8 -> its input and table

    def value(self, name: str, shape: Extents, onnx_shape: Shape, quant: QuantParams | None, dtype: str) -> Value:
        """A value whose name is `name`, with a number if it is taken."""
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return Value(name if count == 0 else f"{name}#{count}", shape, dtype, quant, onnx_shape)

    def emit(
        self,
        kind: str,
        inputs: Sequence[Value],
        onnx_shape: Shape,
        quant: QuantParams | None,
        origin: tuple[str, ...],
        *,
        name: str = "",
        shape: Extents | None = None,
        attrs: dict[str, Any] | None = None,
        consts: dict[str, np.ndarray] | None = None,
        dtype: str = "",
    ) -> Value:
        """Appends an op with one result and returns the result.

        `shape` defaults to that of the ONNX shape, `dtype` to the type of the parameters. Raises UnsupportedError for
        an op on int16 that has no such form.
        """
        dtype = dtype or ("int8" if quant is None else quant.dtype)
        if kind not in INT16_KINDS and "int16" in (dtype, *(value.dtype for value in inputs)):
            raise UnsupportedError(
                "it has no int16 form",
                where=f"node '{origin[-1] if origin else name}'",
                seen=kind,
                remedy="quantise it to int8",
            )
        title = name or (origin[-1] if origin else inputs[0].name)
        out = self.value(title, memory_shape(onnx_shape) if shape is None else shape, onnx_shape, quant, dtype)
        self.graph.ops.append(Op(kind, list(inputs), [out], attrs or {}, consts or {}, origin))
        return out

    # ---- moves

    def view(self, value: Value, extents: Extents, onnx_shape: Shape, origin: tuple[str, ...]) -> Value:
        """The same bytes under other extents."""
        if value.shape == extents and value.onnx_shape == onnx_shape:
            return value
        return self.emit("reshape", [value], onnx_shape, value.quant, origin, shape=extents)

    def permute(self, value: Value, perm: Sequence[int], onnx_shape: Shape, origin: tuple[str, ...]) -> Value:
        """Memory axes in another order: axis i of the result is axis perm[i] of `value`."""
        n, h, w, c = (value.shape[axis] for axis in perm)
        attrs = {"perm": tuple(perm)}
        return self.emit("transpose", [value], onnx_shape, value.quant, origin, shape=(n, h, w, c), attrs=attrs)

    def reshape(self, value: Value, shape: Shape, origin: tuple[str, ...]) -> Value:
        """ONNX Reshape: element order is that of ONNX, whatever the memory order."""
        if shape == value.onnx_shape:
            return value
        if len(value.onnx_shape) == 4:
            value = self.permute(value, _NHWC_OF_NCHW, value.onnx_shape, origin)
        value = self.view(value, row_major(shape), shape, origin)
        if len(shape) != 4:
            return value
        value = self.permute(value, (0, 2, 3, 1), shape, origin)
        self.turned.add(value)
        return value

    def transpose(self, value: Value, perm: Sequence[int], origin: tuple[str, ...]) -> Value:
        """ONNX Transpose; of more than four axes as an op "rearrange", which moves.py takes apart."""
        rank = len(value.onnx_shape)
        shape = tuple(value.onnx_shape[axis] for axis in perm)
        if rank == 4:
            order = [0] * 4
            for i, axis in enumerate(perm):
                order[memory_axis(4, i)] = memory_axis(4, axis)
            result = self.permute(value, order, shape, origin)
            if value in self.turned:
                self.turned.add(result)
            return result
        if rank < 4:
            shift = 4 - rank
            return self.permute(value, (*range(shift), *(axis + shift for axis in perm)), shape, origin)
        attrs = {"factors": value.onnx_shape, "perm": tuple(perm)}
        return self.emit("rearrange", [value], shape, value.quant, origin, shape=row_major(shape), attrs=attrs)

    def slice(self, value: Value, axis: int, start: int, stop: int, step: int, origin: tuple[str, ...]) -> Value:
        """Elements start, start + step, ... before stop of an ONNX axis."""
        shape = list(value.onnx_shape)
        shape[axis] = -(-(stop - start) // step)
        if shape[axis] == value.onnx_shape[axis]:
            return value
        source, extents, at = self._along(value, axis, tuple(shape), origin)
        attrs = {"axis": at, "start": start, "stop": stop, "step": step}
        out = self.emit("slice", [source], tuple(shape), value.quant, origin, shape=extents, attrs=attrs)
        return self.view(out, memory_shape(tuple(shape)), tuple(shape), origin)

    def concat(self, values: Sequence[Value], axis: int, origin: tuple[str, ...]) -> Value:
        """Values of equal parameters, joined along an ONNX axis."""
        if len(values) == 1:
            return values[0]
        shape = list(values[0].onnx_shape)
        shape[axis] = sum(value.onnx_shape[axis] for value in values)
        sources = [self._along(value, axis, tuple(shape), origin) for value in values]
        attrs = {"axis": sources[0][2]}
        parts = [source for source, _, _ in sources]
        out = self.emit("concat", parts, tuple(shape), values[0].quant, origin, shape=sources[0][1], attrs=attrs)
        return self.view(out, memory_shape(tuple(shape)), tuple(shape), origin)

    def pad(
        self, value: Value, before: Sequence[int], after: Sequence[int], code: int, origin: tuple[str, ...]
    ) -> Value:
        """The value inside a border of `code`, `before` and `after` elements wide along each ONNX axis."""
        rank = len(value.onnx_shape)
        if rank <= 4:
            pads = [(0, 0)] * 4
            for axis in range(rank):
                pads[memory_axis(rank, axis)] = (before[axis], after[axis])
            shape = tuple(b + e + a for b, e, a in zip(before, value.onnx_shape, after, strict=True))
            attrs = {"pads": tuple(pads), "value": code}
            return self.emit("pad", [value], shape, value.quant, origin, attrs=attrs)
        for axis in range(rank):  # one after the other, each between what lies outside and inside of it
            if before[axis] or after[axis]:
                widened = list(value.onnx_shape)
                widened[axis] += before[axis] + after[axis]
                shape = tuple(widened)
                source, extents, at = self._along(value, axis, shape, origin)
                pads = [(before[axis], after[axis]) if i == at else (0, 0) for i in range(4)]
                attrs = {"pads": tuple(pads), "value": code}
                out = self.emit("pad", [source], shape, value.quant, origin, shape=extents, attrs=attrs)
                value = self.view(out, memory_shape(shape), shape, origin)
        return value

    def _along(self, value: Value, axis: int, result: Shape, origin: tuple[str, ...]) -> tuple[Value, Extents, int]:
        """`value` with `axis` as a memory axis of its own, the extents that `result` then has, and that axis."""
        rank = len(result)
        if rank <= 4:
            return value, memory_shape(result), memory_axis(rank, axis)

        inner = prod(result[axis + 1 :])
        row = next((prod(result[a:]) for a in range(axis + 1, rank) if prod(result[a:]) <= MAX_EXTENT), result[-1])

        def around(shape: Shape) -> Extents:
            if inner <= MAX_EXTENT:
                return 1, prod(shape[:axis]), shape[axis], inner
            return prod(shape[:axis]), shape[axis], inner // row, row

        at = 2 if inner <= MAX_EXTENT else 1
        return self.view(value, around(value.onnx_shape), value.onnx_shape, origin), around(result), at
