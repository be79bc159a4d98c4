"""Float tensors that are waiting for their QuantizeLinear.

Lowering walks the model once and keeps for each float tensor an expression: what would compute it, from which int8
values. `quantise` turns an expression into ops of the integer graph once the parameters of the result are known; until
then clamps, tables and affine maps join the expression instead of becoming ops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant, requant16
from openbpu.lower.builder import MAX_EXTENT, GraphBuilder, Shape, memory_shape
from openbpu.lower.node import CPU_INTEGERS, QUANTISE_BEHIND, QUANTISE_BETWEEN, Node

Function = Callable[[np.ndarray], np.ndarray]  # element-wise on float64
Move = Callable[[Value], Value]
CODES = np.arange(-128, 128)
_WIDENING = 128  # steps of int16 for one of int8: no bit is lost, and tables have their knots there
_E = TypeVar("_E", bound="Expr")


@dataclass(eq=False, kw_only=True)
class Expr(ABC):
    """A float tensor of ONNX shape `shape`, made by `node`; `origin` names all nodes that it stands for."""

    node: Node
    shape: Shape
    origin: tuple[str, ...]
    index: int = 0  # which result of `node`
    _made: dict[QuantParams, Value] = field(default_factory=dict, repr=False)

    @property
    def graph(self) -> GraphBuilder:
        return self.node.graph

    def quantise(self, quant: QuantParams, name: str = "") -> Value:
        """The int8 value that QuantizeLinear with these parameters gives."""
        if quant not in self._made:
            try:
                self._made[quant] = self._quantise(quant, name or (self.origin[-1] if self.origin else ""))
            except requant.Infeasible as error:
                raise UnsupportedError(
                    "the scales have no integer form",
                    where=self.node.where,
                    seen=error,
                    remedy="calibrate the model again, or check the scales around this node",
                ) from error
        return self._made[quant]

    @abstractmethod
    def _quantise(self, quant: QuantParams, name: str) -> Value:
        """What `quantise` gives, made anew."""

    def value(self, node: Node) -> Value:
        """The tensor as an int8 operand of `node`; refused if it has no exact int8 form."""
        raise node.refuse(
            "its operands must come from DequantizeLinear",
            seen=f"the float result of {self.node.where}",
            remedy=QUANTISE_BETWEEN,
        )

    @property
    def dtype(self) -> str:
        """Type of the tensor in the model."""
        return "float32"

    def dense(self, reader: str) -> Value:
        """The tensor as CPU operators read it; `reader` says who needs it in float."""
        if self.dtype in ("int32", "int64", "bool"):
            moved = self.node.refuse("it moves integers of the CPU", seen=self.dtype, remedy=CPU_INTEGERS)
            return self.node.on_cpu(self.index, moved)
        why = self.node.refuse(
            "its result is not quantised", seen=f"a float result for {reader}", remedy=QUANTISE_BEHIND
        )
        return self.node.on_cpu(self.index, why)

    def map(self, function: Function, node: Node) -> Expr:
        """An element-wise function of this tensor."""
        raise node.refuse(
            "a function after this operator needs int8 values", seen=self.node.where, remedy=QUANTISE_BETWEEN
        )

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        """The tensor limited to [lo, hi]."""
        return self.map(lambda x: np.clip(x, lo, hi), node)

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        """gain * x + offset, each a scalar or one number per channel."""
        if gain.size == 1 and offset.size == 1:
            g, b = float(gain.ravel()[0]), float(offset.ravel()[0])
            return self.map(lambda x: x * g + b, node)
        raise node.refuse("a constant per channel needs int8 values", seen=self.node.where, remedy=QUANTISE_BETWEEN)

    @property
    def channel_axis(self) -> int:
        """ONNX axis that lies innermost in memory."""
        return 1 if len(self.shape) == 4 else len(self.shape) - 1

    def move(self, move: Move, node: Node, shape: Shape, pointwise: bool = True) -> Expr:
        """The tensor after ops that commute with quantisation; `pointwise` if they also commute with any function."""
        origin = (*self.origin, node.name)
        return Moved(node=node, shape=shape, origin=origin, inner=self, apply=move, pointwise=pointwise)

    def step(self: _E, node: Node, **changes: Any) -> _E:
        """A copy that stands for `node` too."""
        return replace(self, node=node, origin=(*self.origin, node.name), index=0, _made={}, **changes)


@dataclass(frozen=True, eq=False)
class Quantised:
    """Constant integers with their scales: codes int32 or wider, uint8 already 128 less; real = scale * (codes - zero).

    scale float64 and zero int64 have one element, or one per index of `axis`, or, if that is None, one per element.
    """

    codes: np.ndarray
    scale: np.ndarray
    zero: np.ndarray
    axis: int | None = None

    def along(self, values: np.ndarray) -> np.ndarray:
        """Scales or zero points shaped to broadcast with the codes."""
        if self.axis is None:
            return values.reshape(self.codes.shape if values.size > 1 else (1,) * self.codes.ndim)
        shape = [1] * self.codes.ndim
        if values.size > 1:
            shape[self.axis] = -1
        return values.reshape(shape)

    @property
    def real(self) -> np.ndarray:
        return np.asarray((self.codes - self.along(self.zero)) * self.along(self.scale))


@dataclass(eq=False, kw_only=True)
class Constant(Expr):
    """A constant tensor: `quantised` if it comes from DequantizeLinear, else the numbers of the model."""

    numbers: np.ndarray | None = None
    quantised: Quantised | None = None

    @cached_property
    def real(self) -> np.ndarray:
        """The numbers; float64 if they are dequantised ones."""
        if self.numbers is not None:
            return self.numbers
        assert self.quantised is not None
        return self.quantised.real

    @property
    def dtype(self) -> str:
        return "float32" if self.numbers is None else self.numbers.dtype.name

    def dense(self, reader: str) -> Value:
        numbers = np.asarray(self.real, self.dtype, order="C")
        name, consts = f"{self.node.name}.constant", {"data": numbers}
        return self.graph.emit("constant", [], self.shape, None, (), name=name, consts=consts, dtype=self.dtype)

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        codes = requant.table(self.real, quant.s, quant.z, quant.dtype)
        return self._emit(codes, quant, name or f"{self.node.name}.constant")

    def value(self, node: Node) -> Value:
        held = self.quantised or self._uniform()
        most = np.inf if held is None or held.scale.size != 1 else np.abs(held.codes + 0.5).max(initial=0)
        if held is None or most > 32768 or (most > 128 and held.zero.any()):
            raise node.refuse(
                "a constant operand must be quantised to 8 bits, or 16 bits with zero point 0, per tensor",
                seen=f"a constant of shape {self.shape}",
                remedy=QUANTISE_BETWEEN,
            )
        dtype = "int8" if most <= 128 else "int16"
        quant = QuantParams.per_tensor(float(held.scale[0]), int(held.zero[0]), dtype)
        return self._emit(held.codes.astype(dtype), quant, node.name + ".constant")

    def _uniform(self) -> Quantised | None:
        """One value everywhere is 1, 0 or -1 in steps of itself; None for other numbers."""
        numbers = np.asarray(self.real, np.float64)
        if not numbers.size or not np.isfinite(numbers.flat[0]) or (numbers != numbers.flat[0]).any():
            return None
        step = abs(float(numbers.flat[0])) or 1.0
        return Quantised(np.sign(numbers).astype(np.int64), np.array([step]), np.zeros(1, np.int64))

    def map(self, function: Function, node: Node) -> Expr:
        numbers = function(np.asarray(self.real, np.float64))
        return Constant(node=node, shape=numbers.shape, origin=(), numbers=numbers)

    def _emit(self, codes: np.ndarray, quant: QuantParams, name: str) -> Value:
        shape = tuple(codes.shape)
        data = codes.transpose(0, 2, 3, 1) if len(shape) == 4 else codes
        data = np.ascontiguousarray(data).reshape(memory_shape(shape))
        return self.graph.emit("constant", [], shape, quant, self.origin, name=name, consts={"data": data})


@dataclass(eq=False, kw_only=True)
class Plain(Expr):
    """A CPU tensor: an input of the graph that is not quantised, or the result of a CPU operator."""

    held: Value

    @property
    def dtype(self) -> str:
        return self.held.dtype

    def dense(self, reader: str) -> Value:
        return self.held

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if self.dtype != "float32":
            raise self.node.refuse("only float tensors can be quantised", seen=self.dtype)
        if self.node.run is not None and max(memory_shape(self.shape)) > MAX_EXTENT:
            raise self.node.refuse(f"extents of a tensor on the BPU are at most {MAX_EXTENT}", seen=self.shape)
        return self.graph.emit("quantize", [self.held], self.shape, quant, (), name=name)


@dataclass(eq=False, kw_only=True)
class Unary(Expr):
    """A function of one integer value: `reals` are the results for all values of `root`, from the lowest on.

    A dequantised tensor is the case `leaf` with reals on its grid; a chain of element-wise functions, quantised in
    between or not, has the same root as its start and ends as one table.
    """

    root: Value
    results: np.ndarray | None = None  # `reals`; None if they follow from the leaf
    leaf: Value | None = None  # the integer value whose dequantisation this is

    @staticmethod
    def of(value: Value, node: Node, origin: tuple[str, ...] = ()) -> Unary:
        """The dequantisation of `value`."""
        root, _ = node.graph.tables.get(value, (value, None))
        return Unary(node=node, shape=value.onnx_shape, origin=origin, root=root, leaf=value)

    @cached_property
    def reals(self) -> np.ndarray:
        """float64 [256]; of an int16 root [65537], one more than it has values, for the end of its tables."""
        if self.results is not None:
            return self.results
        assert self.leaf is not None and self.leaf.quant is not None
        quant = self.leaf.quant
        _, codes = self.graph.tables.get(self.leaf, (self.leaf, codes_of(self.leaf)))
        return np.asarray((np.asarray(codes, np.float64) - quant.z) * quant.s)

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if self.leaf is not None:
            if self.leaf.quant == quant:
                return self.leaf
            if self.root is self.leaf:
                return rescale(self.graph, self.leaf, quant, self.origin, name)
        codes = requant.table(self.reals, quant.s, quant.z, quant.dtype)
        if is_wide(quant, self.root):
            out = self._interpolated(codes, quant, name)
        else:
            table = {"table": codes}
            out = self.graph.emit("lut8", [self.root], self.shape, quant, self.origin, name=name, consts=table)
        self.graph.tables[out] = (self.root, codes)
        return out

    def _interpolated(self, codes: np.ndarray, quant: QuantParams, name: str) -> Value:
        """The result by a RESCALE if the function only clamps, else by a LUT16, which gives int16."""
        x = self.root.quant
        assert x is not None
        limits = {"lo": int(codes.min()), "hi": int(codes.max())}
        steps = (codes_of(self.root) - x.z) * (x.s / quant.s) + quant.z
        if np.abs(np.clip(requant.round_half_up(steps), limits["lo"], limits["hi"]) - codes).max() <= 1:
            return rescale(self.graph, self.root, quant, self.origin, name, limits)
        fine = quant if quant.dtype == "int16" else widened_parameters(quant)
        if self.root.dtype == "int8":  # each of its values is a knot
            at = np.clip(np.arange(-256, 257), -128 - x.z, 127 - x.z)
            table = requant.table(self.reals[at + x.z + 128], fine.s, 0, "int16")
        else:
            table = requant16.knots(self.reals / fine.s)
        source = widened(self.graph, self.root, self.origin)
        shape, consts = self.shape, {"table": table}
        out = self.graph.emit("lut16", [source], shape, fine, self.origin, name=name, consts=consts)
        return out if fine == quant else rescale(self.graph, out, quant, self.origin, name)

    def dense(self, reader: str) -> Value:
        if self.leaf is None:
            return super().dense(reader)
        name = f"{self.leaf.name}.float"
        return self.graph.emit("dequantize", [self.leaf], self.shape, None, (), name=name, dtype="float32")

    def value(self, node: Node) -> Value:
        if self.leaf is not None:
            return self.leaf
        quant = self.root.quant  # a clamp, say, stays on the grid of its input
        assert quant is not None
        codes = requant.table(self.reals, quant.s, quant.z, quant.dtype)
        if np.array_equal((codes.astype(np.float64) - quant.z) * quant.s, self.reals):
            return self.quantise(quant)
        return super().value(node)

    def map(self, function: Function, node: Node) -> Expr:
        with np.errstate(all="ignore"):
            results = np.asarray(function(self.reals), np.float64)
        return self.step(node, results=results, leaf=None)

    def move(self, move: Move, node: Node, shape: Shape, pointwise: bool = True) -> Expr:
        if self.leaf is None:
            return super().move(move, node, shape, pointwise)
        return Unary.of(move(self.leaf), node, (*self.origin, node.name))

    def combined(self, other: Unary, function: Callable[[np.ndarray, np.ndarray], np.ndarray], node: Node) -> Unary:
        """An element-wise function of two functions of the same root."""
        with np.errstate(all="ignore"):
            results = np.asarray(function(self.reals, other.reals), np.float64)
        origin = tuple(dict.fromkeys((*self.origin, *other.origin, node.name)))
        return Unary(node=node, shape=self.shape, origin=origin, root=self.root, results=results)


@dataclass(eq=False, kw_only=True)
class Moved(Expr):
    """A rearrangement of a tensor that is not quantised yet."""

    inner: Expr
    apply: Move
    pointwise: bool  # any element-wise function may be applied before it; a clamp always may

    @property
    def dtype(self) -> str:
        return self.inner.dtype

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        return self.apply(self.inner.quantise(quant, name))

    def map(self, function: Function, node: Node) -> Expr:
        if not self.pointwise:
            return super().map(function, node)
        return self.step(node, inner=self.inner.map(function, node))

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        return self.step(node, inner=self.inner.clamp(lo, hi, node))

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        if gain.size > 1 or offset.size > 1 or not self.pointwise:
            return super().affine(gain, offset, node)
        return self.step(node, inner=self.inner.affine(gain, offset, node))


@dataclass(eq=False, kw_only=True)
class Join(Expr):
    """A concatenation along ONNX axis `axis`."""

    parts: Sequence[Expr]
    axis: int

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        return self.graph.concat([part.quantise(quant) for part in self.parts], self.axis, self.origin)

    def map(self, function: Function, node: Node) -> Expr:
        return self.step(node, parts=[part.map(function, node) for part in self.parts])

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        return self.step(node, parts=[part.clamp(lo, hi, node) for part in self.parts])


@dataclass(eq=False, kw_only=True)
class Codes(Expr):
    """An integer tensor: what QuantizeLinear gave, or an integer input of the graph."""

    held: Value
    unsigned: bool  # uint8 in the model: held as int8, 128 less
    port: Value | None = None  # the input of the graph that holds the same integers

    @property
    def dtype(self) -> str:
        return "uint8" if self.unsigned else self.held.dtype

    def dense(self, reader: str) -> Value:
        if self.port is not None:
            return self.port
        name = f"{self.held.name}.{self.dtype}"
        return self.graph.emit("write_port", [self.held], self.shape, None, (), name=name, dtype=self.dtype)

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        raise self.node.refuse("only float tensors can be quantised", seen=f"integers of {self.node.where}")

    def numbers(self, node: Node) -> Value:
        """The integers themselves, on the grid of steps of 1."""
        quant = QuantParams.per_tensor(1.0, -128 if self.unsigned else 0, self.held.dtype)
        if self.held.quant == quant:
            return self.held
        return self.graph.emit("reshape", [self.held], self.shape, quant, (node.name,), shape=self.held.shape)

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        """The integers limited to [lo, hi], as quantisers write a narrow range."""
        held, origin, shift = self.held, (node.name,), 128 if self.unsigned else 0
        assert held.quant is not None
        low, high = (int(np.clip(limit - shift, held.quant.qmin, held.quant.qmax)) for limit in (lo, hi))
        if held.dtype == "int16":
            out = rescale(self.graph, held, held.quant, origin, "", {"lo": low, "hi": high})
            return self.step(node, held=out, port=None)
        table = np.clip(codes_of(held), low, high).astype(np.int8)
        out = self.graph.emit("lut8", [held], self.shape, held.quant, origin, shape=held.shape, consts={"table": table})
        return self.step(node, held=out, port=None)

    def move(self, move: Move, node: Node, shape: Shape, pointwise: bool = True) -> Expr:
        return self.step(node, held=move(self.held), shape=shape, port=None)


def is_wide(quant: QuantParams, *sources: Value) -> bool:
    """Whether an operator takes its 16-bit form: if its result or an operand is int16."""
    return "int16" in (quant.dtype, *(source.dtype for source in sources))


def codes_of(value: Value) -> np.ndarray:
    """All values that a tensor may have; for int16 one more, where tables end."""
    return requant16.codes() if value.dtype == "int16" else np.arange(-128, 128)


def widened_parameters(quant: QuantParams) -> QuantParams:
    """Those of the int16 grid that holds every value of an int8 grid."""
    if quant.s < 2.0**-100:
        raise requant.Infeasible(f"the scale {quant.s:.6g} is too small for a 16-bit form")
    return QuantParams.per_tensor(quant.s / _WIDENING, 0, "int16")


def widened(graph: GraphBuilder, value: Value, origin: tuple[str, ...]) -> Value:
    """The same real values as int16, exactly."""
    if value.dtype == "int16":
        return value
    assert value.quant is not None
    return rescale(graph, value, widened_parameters(value.quant), origin, f"{value.name}.int16")


def rescale(
    graph: GraphBuilder,
    value: Value,
    quant: QuantParams,
    origin: tuple[str, ...],
    name: str,
    limits: dict[str, int] | None = None,
) -> Value:
    """The same real values on another grid, within `limits`, which default to those of its type."""
    x = value.quant
    assert x is not None
    bias, m, sh = requant.rescale(x.s, x.z, quant.s, quant.z, -x.qmin)
    if limits is None:
        limits = {"lo": quant.qmin, "hi": quant.qmax}
    table: dict[str, np.ndarray] = {
        "bias": np.array([bias]),
        "m": np.array([m], np.int32),
        "sh": np.array([sh], np.uint8),
    }
    return graph.emit(
        "rescale",
        [value],
        value.onnx_shape,
        quant,
        origin,
        name=name,
        shape=value.shape,
        attrs={**limits},
        consts=table,
    )
