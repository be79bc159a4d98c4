"""Expressions of operators that have an instruction of their own, with what joins them at no cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant, requant16
from openbpu.lower.broadcast import Frame
from openbpu.lower.builder import Extents, GraphBuilder, Shape, memory_shape
from openbpu.lower.expressions import Expr, Move, Unary, is_wide, rescale, widened
from openbpu.lower.node import Node

_Form = tuple[Value, dict[str, Any], dict[str, np.ndarray]]  # source, attributes and constants of an op
_EXACT_SHIFT = 8  # of a sum: below it, rounding of the multipliers can cost a step


def _scale(value: Value) -> float:
    assert value.quant is not None
    return value.quant.s


@dataclass(eq=False, kw_only=True)
class Clamped(Expr):
    """An operator whose instruction clamps its result to [lo, hi] at no cost."""

    lo: float = -inf
    hi: float = inf

    def clamp(self, lo: float, hi: float, node: Node) -> Expr:
        return self.step(node, lo=min(max(self.lo, lo), hi), hi=max(min(self.hi, hi), lo))

    def limits(self, quant: QuantParams) -> dict[str, int]:
        """The clamp in steps of the result."""

        def level(bound: float) -> int:
            steps = min(max(bound / quant.s, -1e6), 1e6)
            return min(max(quant.z + int(requant.round_half_up(steps)), quant.qmin), quant.qmax)

        return {"lo": level(self.lo), "hi": level(self.hi)}


@dataclass(eq=False, kw_only=True)
class Scaled(Clamped):
    """A clamped operator that takes a positive real factor into its requantisation."""

    gain: float = 1.0

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        factor = float(gain.ravel()[0])
        if gain.size == 1 and factor > 0 and not offset.any():
            return self.step(node, gain=self.gain * factor, lo=self.lo * factor, hi=self.hi * factor)
        return super().affine(gain, offset, node)


@dataclass(eq=False, kw_only=True)
class Linear(Clamped):
    """A sum of products with constant weights: conv2d, dwconv2d, tconv2d or matmul.

    weight int8 in the order of ir.graph.KINDS, weight_scale and bias float64 per output channel (bias in real units).
    """

    kind: str
    source: Value
    attrs: dict[str, Any]
    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray
    extents: Extents
    view: Shape  # ONNX shape of the op's own result; reshaped to `shape` if that differs

    @property
    def channel_axis(self) -> int:
        return len(self.shape) - 1 if self.kind == "matmul" else 1

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        channels = len(self.weight)
        g, b = (np.broadcast_to(np.asarray(a, np.float64).ravel(), channels) for a in (gain, offset))
        if (self.lo, self.hi) != (-inf, inf) or not g.all():
            return super().affine(gain, offset, node)
        weight = self.weight
        if (g < 0).any():
            negative = (g < 0).reshape(-1, *[1] * (weight.ndim - 1))
            if ((weight == -128) & negative).any():
                node.warn("weights of -128 became 127 in channels that a negative factor turns around")
            weight = np.where(negative, -np.maximum(weight, -127), weight).astype(np.int8)
        return self.step(
            node, weight=weight, weight_scale=self.weight_scale * np.abs(g), bias=self.bias * g + b, lo=-inf, hi=inf
        )

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        source, attrs, consts = self._wide(quant) if is_wide(quant, self.source) else self._narrow(quant)
        out = self.graph.emit(
            self.kind,
            [source],
            self.view,
            quant,
            self.origin,
            name=name,
            shape=self.extents,
            attrs={**self.attrs, **attrs, **self.limits(quant)},
            consts=consts,
        )
        return self.graph.reshape(out, self.shape, self.origin)

    def _narrow(self, quant: QuantParams) -> _Form:
        x = self.source.quant
        assert x is not None
        rq = requant.rq8(x.s, x.z, self.weight, self.weight_scale, self.bias, quant.s, quant.z)
        if rq.changed:
            self.node.warn(
                f"the weights of {len(rq.changed)} channels (first: {rq.changed[0]}) were rounded anew, "
                "because their scales are too far from the scale of the result"
            )
        return self.source, {"L": rq.L}, {"weight": rq.weight, "B": rq.B, "m": rq.m, "s": rq.s}

    def _wide(self, quant: QuantParams) -> _Form:
        source = widened(self.graph, self.source, self.origin)
        assert source.quant is not None
        limit = -quant.qmin
        rq = requant16.linear(source.quant.s, self.weight, self.weight_scale, self.bias, quant.s, quant.z, limit)
        return source, {}, {"weight": rq.weight, **rq.table}


@dataclass(eq=False, kw_only=True)
class Arithmetic(Scaled):
    """An operator on two tensors that are aligned in a frame; extents of b may be 1."""

    a: Value
    b: Value
    frame: Frame

    def _framed(
        self,
        kind: str,
        quant: QuantParams,
        name: str,
        attrs: dict[str, Any],
        consts: dict[str, np.ndarray] | None = None,
        operands: tuple[Value, Value] | None = None,
    ) -> Value:
        out = self.graph.emit(
            kind,
            operands or (self.a, self.b),
            self.shape,
            quant,
            self.origin,
            name=name,
            shape=self.frame.extents,
            attrs=attrs,
            consts=consts,
        )
        return self.frame.finished(self.graph, out, self.origin)

    def _widened(self) -> tuple[Value, Value]:
        return widened(self.graph, self.a, self.origin), widened(self.graph, self.b, self.origin)


@dataclass(eq=False, kw_only=True)
class Sum(Arithmetic):
    """gain * (sign_a * a + sign_b * b)."""

    sign_a: int = 1
    sign_b: int = 1

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if is_wide(quant, self.a, self.b):
            return self._wide(quant, name)
        qa, qb = self.a.quant, self.b.quant
        assert qa is not None and qb is not None
        sa, sb = qa.s * self.gain, qb.s * self.gain
        p = requant.add(sa, qa.z, sb, qb.z, quant.s, quant.z, self.sign_a, self.sign_b)
        if p.sh < _EXACT_SHIFT:
            self.node.warn(
                f"the scales of its operands are up to {max(sa, sb) / quant.s:.0f} times that of the result: "
                f"the sum may be off by {255 / (1 << p.sh):.0f} steps"
            )
        attrs = {"ma": p.ma, "mb": p.mb, "C": p.C, "sh": p.sh, **self.limits(quant)}
        return self._framed("add", quant, name, attrs)

    def _wide(self, quant: QuantParams, name: str) -> Value:
        a, b = self._widened()
        if self.sign_a < 0:  # b - a: the instruction subtracts its second operand
            a, b = self.frame.whole(self.graph, b, self.origin), a
        consts = requant16.add(_scale(a) * self.gain, _scale(b) * self.gain, quant.s, quant.z)
        attrs = {"negative": min(self.sign_a, self.sign_b) < 0, **self.limits(quant)}
        return self._framed("add", quant, name, attrs, consts, (a, b))


@dataclass(eq=False, kw_only=True)
class Product(Arithmetic):
    """gain * a * b."""

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if is_wide(quant, self.a, self.b):
            a, b = self._widened()
            consts = requant16.product(_scale(a) * _scale(b) * self.gain / quant.s, quant.z)
            return self._framed("mul", quant, name, dict(self.limits(quant)), consts, (a, b))
        qa, qb = self.a.quant, self.b.quant
        assert qa is not None and qb is not None
        m, sh = requant.multiplier(qa.s * qb.s * self.gain / quant.s)
        return self._framed("mul", quant, name, {"m": m, "sh": sh, **self.limits(quant)})


@dataclass(eq=False, kw_only=True)
class Quotient(Arithmetic):
    """gain * a / b."""

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        qa, qb = self.a.quant, self.b.quant
        assert qa is not None and qb is not None
        ratio, sh = requant.ratio(qa.s * self.gain, qb.s, qb.z, quant.s)
        return self._framed("divide", quant, name, {"sh": sh, **self.limits(quant)}, {"ratio": ratio})


@dataclass(eq=False, kw_only=True)
class MatrixProduct(Scaled):
    """gain * a @ b of two run-time matrices, (n, 1, rows, columns) each."""

    a: Value
    b: Value
    transpose_b: bool
    extents: Extents

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        wide = is_wide(quant, self.a, self.b)
        a, b = (widened(self.graph, v, self.origin) if wide else v for v in (self.a, self.b))
        qa, qb = a.quant, b.quant
        assert qa is not None and qb is not None
        inner = a.shape[3]
        attrs: dict[str, Any] = {"transpose_b": self.transpose_b, **self.limits(quant)}
        if wide:
            consts = requant16.product(qa.s * qb.s * self.gain / quant.s, quant.z, inner)
        else:
            rq = requant.rq8_dynamic(qa.s, qa.z, qb.s, qb.z, quant.s, quant.z, inner, self.gain)
            attrs["L"] = rq.L
            consts = {"B": rq.B, "m": rq.m, "s": rq.s}
        view = (self.extents[0], self.extents[2], self.extents[3])
        out = self.graph.emit(
            "matmul_dynamic",
            [a, b],
            view,
            quant,
            self.origin,
            name=name,
            shape=self.extents,
            attrs=attrs,
            consts=consts,
        )
        out = self.graph.view(out, (1, view[0], view[1], view[2]), view, self.origin)
        return self.graph.reshape(out, self.shape, self.origin)


@dataclass(eq=False, kw_only=True)
class Mean(Scaled):
    """An average over windows; `divisors` has one entry, or one per number of taps inside."""

    source: Value
    attrs: dict[str, Any]
    divisors: list[int]
    extents: Extents
    view: Shape

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        wide = is_wide(quant, self.source)
        source = widened(self.graph, self.source, self.origin) if wide else self.source
        assert source.quant is not None
        taps = prod(self.attrs["kernel"])
        if wide:
            consts = requant16.mean(source.quant.s * self.gain, quant.s, quant.z, taps, self.divisors)
        else:
            m, sh = requant.mean(source.quant.s * self.gain, quant.s, taps, self.divisors)
            consts = {"m": m, "sh": sh}
        out = self.graph.emit(
            "avgpool",
            [source],
            self.view,
            quant,
            self.origin,
            name=name,
            shape=self.extents,
            attrs={**self.attrs, **self.limits(quant)},
            consts=consts,
        )
        out = self.graph.view(out, memory_shape(self.view), self.view, self.origin)
        return self.graph.reshape(out, self.shape, self.origin)


@dataclass(eq=False, kw_only=True)
class Reduced(Scaled):
    """gain times a sum or norm over the channels of `source`; `kind` is a key of REDUCTIONS but max and min."""

    source: Value
    kind: str

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if is_wide(quant, self.source) and self.kind in ("sum", "l1"):
            return self._wide(quant, name)
        x = self.source.quant
        assert x is not None
        ratio = x.s * self.gain / quant.s
        ratio = {"square": ratio * x.s, "l2": ratio / 2**15}.get(self.kind, ratio)
        m, sh = requant.multiplier(ratio)
        attrs = {"kind": self.kind, "m": m, "sh": sh, **self.limits(quant)}
        return reduced(self.graph, self.source, self.shape, quant, self.origin, name, attrs)

    def _wide(self, quant: QuantParams, name: str) -> Value:
        """A product with ones, of magnitudes for l1."""
        graph, origin = self.graph, self.origin
        n, h, w, c = self.source.shape
        image, sums = (n * h, c, 1, w), (n * h, 1, 1, w)
        terms = widened(graph, graph.view(self.source, memory_shape(image), image, origin), origin)
        if self.kind == "l1":
            assert terms.quant is not None
            terms = Unary.of(terms, self.node, origin).map(np.abs, self.node).quantise(terms.quant)
        total = Linear(
            node=self.node,
            shape=sums,
            origin=origin,
            kind="matmul",
            source=terms,
            attrs={},
            weight=np.ones((1, c), np.int8),
            weight_scale=np.array([self.gain]),
            bias=np.zeros(1),
            extents=memory_shape(sums),
            view=sums,
            lo=self.lo,
            hi=self.hi,
        )
        return as_pixels(graph, total.quantise(quant, name), self.shape, origin)


def reduced(
    graph: GraphBuilder,
    source: Value,
    shape: Shape,
    quant: QuantParams | None,
    origin: tuple[str, ...],
    name: str,
    attrs: dict[str, Any],
) -> Value:
    """The op that reduces the channels of `source`; its pixels, in order, become the elements of `shape`."""
    n, h, w, _ = source.shape
    out = graph.emit("reduce", [source], (n * h * w,), quant, origin, name=name, shape=(n, h, w, 1), attrs=attrs)
    return as_pixels(graph, out, shape, origin)


def as_pixels(graph: GraphBuilder, value: Value, shape: Shape, origin: tuple[str, ...]) -> Value:
    """A surface of one channel whose pixels, in order, are the elements of `shape`."""
    pixels = (prod(value.shape),)
    return graph.reshape(graph.view(value, memory_shape(pixels), pixels, origin), shape, origin)


@dataclass(eq=False, kw_only=True)
class Softmax(Clamped):
    """Softmax over the innermost memory axis of `source`."""

    source: Value

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        wide = is_wide(quant, self.source)
        source = widened(self.graph, self.source, self.origin) if wide else self.source
        assert source.quant is not None
        exp, C = (requant16 if wide else requant).softmax(source.quant.s, quant.s)
        out = self.graph.emit(
            "softmax",
            [source],
            source.onnx_shape,
            quant,
            self.origin,
            name=name,
            shape=self.source.shape,
            attrs={"C": C, **self.limits(quant)},
            consts={"exp": exp},
        )
        return self.graph.reshape(out, self.shape, self.origin)


@dataclass(eq=False, kw_only=True)
class Norm(Clamped):
    """gamma * z + beta over the innermost memory axis of `source`; z is centred on the mean, or on zero (RMS)."""

    source: Value
    centred: bool
    epsilon: float
    gamma: np.ndarray  # float64 [channels]
    beta: np.ndarray

    @property
    def channel_axis(self) -> int:
        return len(self.shape) - 1

    def affine(self, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
        fits = all(array.size in (1, self.gamma.size) for array in (gain, offset))
        if (self.lo, self.hi) != (-inf, inf) or not fits:
            return super().affine(gain, offset, node)
        return self.step(node, gamma=self.gamma * gain.ravel(), beta=self.beta * gain.ravel() + offset.ravel())

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        wide = is_wide(quant, self.source)
        source = widened(self.graph, self.source, self.origin) if wide else self.source
        x = source.quant
        assert x is not None
        zero = None if self.centred else x.z
        parameters = self.epsilon, self.gamma, self.beta, quant.s, quant.z
        p = requant16.norm(x.s, self.centred, *parameters) if wide else requant.norm(x.s, zero, *parameters)
        out = self.graph.emit(
            "norm",
            [source],
            source.onnx_shape,
            quant,
            self.origin,
            name=name,
            shape=self.source.shape,
            attrs={"eps": p.eps, "F": p.F, "zero": zero, "sh": p.sh, **self.limits(quant)},
            consts={"b": p.b, "g": p.g},
        )
        return self.graph.reshape(out, self.shape, self.origin)


@dataclass(eq=False, kw_only=True)
class Interpolated(Clamped):
    """A result on the grid of its int8 input `source`, which `apply` computes there."""

    source: Value
    apply: Move

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        source = widened(self.graph, self.source, self.origin) if is_wide(quant, self.source) else self.source
        out = self.apply(source)
        if out.quant == quant and (self.lo, self.hi) == (-inf, inf):
            return out
        return rescale(self.graph, out, quant, self.origin, name, self.limits(quant))


def affine(source: Expr, gain: np.ndarray, offset: np.ndarray, node: Node) -> Expr:
    """gain * x + offset, scalars or one number per channel; on int8 values a depthwise convolution with one tap."""
    if not isinstance(source, Unary) or (gain.size == 1 and offset.size == 1):
        return source.affine(gain, offset, node)
    value = source.value(node)
    channels = value.shape[3]
    g, b = (np.array(np.broadcast_to(np.asarray(a, np.float64).ravel(), channels)) for a in (gain, offset))
    weight = (64 * np.sign(g)).astype(np.int8).reshape(channels, 1, 1)
    return Linear(
        node=node,
        shape=source.shape,
        origin=(*source.origin, node.name),
        kind="dwconv2d",
        source=value,
        attrs={"stride": (1, 1), "dilation": (1, 1), "pads": (0, 0, 0, 0)},
        weight=weight,
        weight_scale=np.where(g == 0, 1.0, np.abs(g)) / 64,
        bias=b,
        extents=value.shape,
        view=source.shape,
    )
