"""Products over axes: halves of what is left multiplied by each other, in 16-bit steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import requant
from openbpu.lower.broadcast import frame
from openbpu.lower.expressions import Expr, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Product
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.reduce import reduced_axes, reduced_shapes

_MOST = 64  # factors
_WORST = {"int8": 0.45, "int16": 4.0}  # steps of the result that the roundings before it may add up to
_LARGEST = 1e30  # product of ranges


@rule("ReduceProd", int16=SAME)
def reduce_product(node: Node) -> Expr:
    """MULs of halves in 16-bit steps, up to 64 factors, if the range of the result leaves room for their roundings."""
    x = node.operand(0)
    axes = reduced_axes(node, len(x.shape))
    shape, _ = reduced_shapes(node, x.shape, axes)
    count = prod(x.shape[axis] for axis in axes)
    if not 2 <= count <= _MOST:
        raise node.refuse(f"a product has 2 to {_MOST} factors", seen=count)
    value = x.value(node)
    assert value.quant is not None
    quant, wide = value.quant, widened(node.graph, value, (*x.origin, node.name))
    factors = [_Factor(wide, quant.s * max(quant.qmax - quant.z, quant.z - quant.qmin), 0)]
    for axis in axes:
        factors = [part for factor in factors for part in _split(node, factor, axis)]
    while len(factors) > 2:
        first, second, *rest = sorted(factors, key=lambda factor: factor.roundings)
        factors = [_multiplied(node, first, second), *rest]
    product = _product(node, (*x.origin, node.name), *factors)
    return product.move(lambda v: node.graph.reshape(v, shape, (node.name,)), node, shape)


@dataclass(frozen=True)
class _Factor:
    """A tensor of values up to `reach`, and how many roundings it has seen."""

    value: Value
    reach: float
    roundings: int


@dataclass(eq=False, kw_only=True)
class _Rounded(Product):
    """A product; `error` is what the roundings of the ones before it may add up to, in real units."""

    error: float

    def _quantise(self, quant: QuantParams, name: str) -> Value:
        if self.error > _WORST[quant.dtype] * quant.s:
            raise requant.Infeasible(
                f"the range of the factors allows products so large that 16 bits lose {self.error / quant.s:.1f} steps"
            )
        return super()._quantise(quant, name)


def _split(node: Node, factor: _Factor, axis: int) -> list[_Factor]:
    """Factors whose product is that of the slices along an axis: halves are multiplied, odd slices stand apart."""
    found: list[_Factor] = []
    while (left := factor.value.onnx_shape[axis]) > 1:
        half = left // 2
        parts = [_sliced(node, factor, axis, start, start + half) for start in (0, half)]
        if left % 2:
            found.append(_sliced(node, factor, axis, left - 1, left))
        if half == 1:
            return [*found, *parts]
        factor = _multiplied(node, *parts)
    return [*found, factor]


def _sliced(node: Node, factor: _Factor, axis: int, start: int, stop: int) -> _Factor:
    return replace(factor, value=node.graph.slice(factor.value, axis, start, stop, 1, (node.name,)))


def _multiplied(node: Node, a: _Factor, b: _Factor) -> _Factor:
    """The product with a scale that holds every value there may be."""
    reach = a.reach * b.reach
    if not 1 / _LARGEST < reach < _LARGEST:
        raise node.refuse("the range of a product must be a number", seen=f"{a.reach:.3g} times {b.reach:.3g}")
    value = _product(node, (node.name,), a, b).quantise(QuantParams.per_tensor(reach / 32767, 0, "int16"))
    return _Factor(value, reach, a.roundings + b.roundings + 1)


def _product(node: Node, origin: tuple[str, ...], a: _Factor, b: _Factor) -> _Rounded:
    names, graph = (node.name,), node.graph
    framed = frame(node, [a.value.onnx_shape, b.value.onnx_shape])
    left, right = (framed.aligned(graph, factor.value, names) for factor in (a, b))
    error = (a.roundings + b.roundings) * a.reach * b.reach / 65534
    return _Rounded(node=node, shape=framed.shape, origin=origin, frame=framed, a=left, b=right, error=error)
