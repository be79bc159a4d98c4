"""Random quantised models: every result of a node, or of a few that belong together, has Q/DQ behind it.

Draws come from numpy's generator alone: a seed is a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graph_fuzz.reference import session
from lowering.nets import Net
from openbpu.pipeline import compile as compile_model
from openbpu.runtime import Session

Shape = tuple[int, ...]
_MOST = 6000  # elements of a tensor
_DTYPES = ("int8", "uint8", "int8", "uint8", "int16")
# Operators of which several on one tensor may become one table.
_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "Min",
     "Mul", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sub", "Tanh", "ThresholdedRelu"}
)  # fmt: skip


@dataclass
class Step:
    """Nodes between dequantised operands and one quantised result, which is an output; of an input, none at all."""

    nodes: list[onnx.NodeProto]
    operands: list[str]
    result: str  # behind DequantizeLinear
    float_result: str
    scale: float
    zero: int
    tolerance: int

    @property
    def of_one(self) -> bool:
        """A function of one tensor, element by element."""
        return len(set(self.operands)) == 1 and bool(self.nodes) and {n.op_type for n in self.nodes} <= _ELEMENTWISE


@dataclass
class Operand:
    """A dequantised tensor."""

    name: str
    value: np.ndarray

    @property
    def shape(self) -> Shape:
        return self.value.shape


@dataclass
class QuantisedGraph:
    """A model under construction; `steps` say what to compare."""

    seed: int
    net: Net = field(init=False)
    steps: list[Step] = field(default_factory=list)
    operands: list[Operand] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        opset = int(random.integers(17, 22))
        self.net = Net(self.seed, _DTYPES[self.seed % len(_DTYPES)], opset)

    # ---- draws

    def number(self, low: int, high: int) -> int:
        return int(self.net.random.integers(low, high + 1))

    def flag(self) -> bool:
        return bool(self.net.random.integers(2))

    def operand(self, rank: tuple[int, int] = (1, 5), shape: Shape | None = None) -> Operand:
        """One of the last results that fits, or a new input."""
        found = [t for t in self.operands[-6:] if rank[0] <= t.value.ndim <= rank[1] and shape in (None, t.shape)]
        if found and self.number(0, 5):
            return found[self.number(0, len(found) - 1)]
        if shape is None:
            shape = tuple(self.number(1, 7) for _ in range(self.number(*rank)))
        return self._input(shape)

    def image(self, channels: int | None = None) -> Operand:
        found = [t for t in self.operands[-6:] if t.value.ndim == 4 and channels in (None, t.shape[1])]
        if found and self.number(0, 5):
            return found[self.number(0, len(found) - 1)]
        shape = (self.number(1, 2), channels or self.number(1, 12), self.number(4, 9), self.number(4, 9))
        return self._input(shape)

    def _input(self, shape: Shape) -> Operand:
        name = self.net.input(*shape, spread=float(self.net.random.uniform(0.2, 3)))
        q = next(n for n in self.net.nodes if n.output[0] == self.net.nodes[-1].input[0])
        scale, zero = (
            numpy_helper.to_array(next(t for t in self.net.initializers if t.name == n)).item() for n in q.input[1:]
        )
        self.scales[name] = scale
        self.steps.append(Step([], [q.input[0]], name, q.input[0], scale, zero, 1))
        return self._keep(name, self.net.values(name))

    # ---- results

    def result(self, y: str, first: int, *operands: Operand, tolerance: int = 1, coarse: Operand | None = None) -> None:
        """Ends a step: nodes from the `first` on make the float tensor `y` from the operands."""
        nodes = self.net.nodes[first:]
        value = self._values(nodes, [y], operands)[0]
        if not np.isfinite(value).all() or not 0 < value.size <= _MOST or np.abs(value).max() > 1e4:
            del self.net.nodes[first:]
            return
        scale, zero = self._parameters(value)
        tolerance += int(self.scales[coarse.name] / scale / 2) if coarse else 0
        if self.net.dtype == "int16":  # functions in a row are one table, without the rounding between them
            tolerance += int(max(self.scales[o.name] for o in operands) / scale / 2 + 0.5)
        name = self.net.quantise(y, scale, zero)
        self.scales[name] = scale
        kept = self._keep(name, self._values(self.net.nodes[-2:], [name], [Operand(y, value)])[0])
        self.steps.append(Step(list(nodes), [o.name for o in operands], kept.name, y, scale, zero, tolerance))

    def model(self) -> onnx.ModelProto:
        self.net.outputs = [step.result for step in self.steps]
        model = self.net.model()
        shapes = {o.name: o.shape for o in self.operands}
        for info in model.graph.output:  # those of other domains are not inferred
            info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, shapes[info.name]))
        return model

    def codes(self, step: Step, values: dict[str, np.ndarray]) -> np.ndarray:
        """Integers that ONNX Runtime gives for a step whose operands have these values."""
        q = next(n for n in self.net.nodes if n.op_type == "QuantizeLinear" and n.input[0] == step.float_result)
        return self._values([*step.nodes, q], [q.output[0]], [Operand(n, values[n]) for n in step.operands])[0]

    def moved(self, step: Step, values: dict[str, np.ndarray], wanted: np.ndarray) -> np.ndarray:
        """How far the result moves when the operand does by a step, where both may be one int16 table: then the operand
        is the rounded one to the table, and what interpolation makes of it to the reference."""
        makers = {s.result: s for s in self.steps}
        if self.net.dtype != "int16" or not step.of_one or not makers[step.operands[0]].of_one:
            return np.zeros(wanted.shape, np.int64)
        name = step.operands[0]
        near = [values | {name: values[name] + np.float32(sign * self.scales[name])} for sign in (-1, 1)]
        return np.max([np.abs(self.codes(step, there).astype(np.int64) - wanted) for there in near], axis=0)

    def _parameters(self, value: np.ndarray) -> tuple[float, int]:
        name = self.net.name("v")
        self.net.feeds[name] = value
        scale, zero = self.net.parameters(name)
        del self.net.feeds[name]
        return scale, zero

    def _keep(self, name: str, value: np.ndarray) -> Operand:
        self.operands.append(Operand(name, value))
        return self.operands[-1]

    def _values(self, nodes: list[onnx.NodeProto], outputs: list[str], operands: object) -> list[np.ndarray]:
        """The nodes alone, with weights as constants, by ONNX Runtime."""
        feeds = {o.name: o.value for o in operands}  # type: ignore[attr-defined]
        made = {name: node for node in self.net.nodes for name in node.output}
        weights: list[onnx.NodeProto] = []
        own = {name for node in nodes for name in node.output}
        for name in {n for node in nodes for n in node.input} - own - set(feeds):
            if name in made:
                weights.append(made[name])
        used = {n for node in (*nodes, *weights) for n in node.input}
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in feeds.items() if n in used]
        constants = [t for t in self.net.initializers if t.name in used]
        graph = helper.make_graph(
            [*weights, *nodes], "step", infos, [onnx.ValueInfoProto(name=n) for n in outputs], constants
        )
        opsets = [helper.make_opsetid("", self.net.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.net.opset < 21 else 10)
        return session(model).run(None, {info.name: feeds[info.name] for info in infos})


Generator = Callable[[QuantisedGraph], None]


def _geometry(g: QuantisedGraph, kernel: Shape, size: Shape, dilated: bool = True) -> dict[str, list[int]]:
    dilations = [g.number(1, 2) if dilated and (k - 1) * 2 < s else 1 for k, s in zip(kernel, size, strict=True)]
    pads = [g.number(0, k - 1) for k in (*kernel, *kernel)]
    given = {"strides": [g.number(1, 3) for _ in kernel], "pads": pads}
    return given | ({"dilations": dilations} if dilated else {})


def _kernel(g: QuantisedGraph, x: Operand) -> Shape:
    return tuple(g.number(1, min(4, extent)) for extent in x.shape[2:])


def _normal(g: QuantisedGraph, *shape: int) -> np.ndarray:
    return g.net.random.standard_normal(shape) / max(1.0, math.sqrt(math.prod(shape[1:])))


def _conv(g: QuantisedGraph) -> None:
    x = g.image()
    channels = x.shape[1]
    groups = int(g.net.random.choice([d for d in range(1, channels + 1) if channels % d == 0]))
    outputs, kernel, first = groups * g.number(1, 4), _kernel(g, x), len(g.net.nodes)
    weight = g.net.weight(_normal(g, outputs, channels // groups, *kernel), axis=(0, None)[g.number(0, 1)])
    operands = [x.name, weight]
    if g.flag():
        operands.append(g.net.constant(g.net.random.standard_normal(outputs), np.float32))
    y = g.net.node("Conv", *operands, group=groups, **_geometry(g, kernel, x.shape[2:]))
    g.result(_activated(g, y), first, x)


def _activated(g: QuantisedGraph, y: str) -> str:
    """Nothing, or an activation that belongs to the node before it."""
    kind = g.number(0, 3)
    if kind == 0:
        return g.net.node("Relu", y)
    if kind == 1:
        return g.net.node("Clip", y, g.net.constant(np.float32(0)), g.net.constant(np.float32(6)))
    return y


def _conv_transpose(g: QuantisedGraph) -> None:
    x = g.image()
    kernel, first, outputs = _kernel(g, x), len(g.net.nodes), g.number(1, 6)
    weight = g.net.weight(_normal(g, x.shape[1], outputs, *kernel), axis=1)
    given = _geometry(g, kernel, x.shape[2:], dilated=False)
    g.result(g.net.node("ConvTranspose", x.name, weight, **given), first, x)


def _pool(g: QuantisedGraph) -> None:
    x = g.image()
    kernel, first = _kernel(g, x), len(g.net.nodes)
    op = ("MaxPool", "AveragePool")[g.number(0, 1)]
    given = _geometry(g, kernel, x.shape[2:], dilated=False)
    g.result(g.net.node(op, x.name, kernel_shape=list(kernel), **given), first, x)


def _global_pool(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    g.result(g.net.node(("GlobalAveragePool", "GlobalMaxPool")[g.number(0, 1)], x.name), first, x)


def _resize(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    factors = g.net.constant([1, 1, g.net.random.choice([0.5, 1, 2, 3]), g.net.random.choice([1, 2])], np.float32)
    mode = ("nearest", "linear")[g.number(0, 1)]
    transform = ("half_pixel", "asymmetric")[g.number(0, 1)]
    y = g.net.node("Resize", x.name, "", factors, mode=mode, coordinate_transformation_mode=transform)
    # Interpolation rounds to the grid of its operand, which may be coarser than that of the result.
    g.result(y, first, x, coarse=x)


def _function(g: QuantisedGraph) -> None:
    op = g.net.random.choice(
        ["Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus", "Abs", "Neg", "Exp",
         "Erf", "Selu", "Softsign", "Floor", "Celu", "ThresholdedRelu"]
    )  # fmt: skip
    x, first = g.operand(), len(g.net.nodes)
    g.result(g.net.node(str(op), x.name), first, x)


def _pair(g: QuantisedGraph) -> None:
    op = ("Add", "Sub", "Mul", "Max", "Min")[g.number(0, 4)]
    x, first = g.operand(), len(g.net.nodes)
    kind = g.number(0, 2)
    if kind == 0:
        other = g.operand(shape=x.shape)
        first = len(g.net.nodes)
    elif kind == 1:
        shape = tuple(1 if g.number(0, 2) == 0 else e for e in x.shape)
        other = g.operand(shape=shape)
        first = len(g.net.nodes)
    else:
        shape = x.shape[g.number(0, x.value.ndim) :]
        constant = g.net.constant(g.net.random.standard_normal(shape), np.float32)
        return g.result(g.net.node(op, x.name, constant), first, x)
    names = (x.name, other.name) if g.flag() else (other.name, x.name)
    g.result(_activated(g, g.net.node(op, *names)), first, x, other)


def _select(g: QuantisedGraph) -> None:
    x = g.operand()
    other, first = g.operand(shape=x.shape), len(g.net.nodes)
    test = g.net.node(("Less", "Greater", "Equal")[g.number(0, 2)], x.name, other.name)
    g.result(g.net.node("Where", test, x.name, other.name), first, x, other)


def _parametric(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    slope = g.net.constant(g.net.random.uniform(-0.5, 1, (x.shape[1], 1, 1)), np.float32)
    g.result(g.net.node("PRelu", x.name, slope), first, x)


def _reduction(g: QuantisedGraph) -> None:
    op = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceProd")[g.number(0, 6)]
    x, first = g.operand(), len(g.net.nodes)
    axes = [a for a in range(x.value.ndim) if g.flag()] or [x.value.ndim - 1]
    if op == "ReduceSum" or g.net.opset >= 18:
        y = g.net.node(op, x.name, g.net.constant(axes, np.int64), keepdims=g.number(0, 1))
    else:
        y = g.net.node(op, x.name, axes=axes, keepdims=g.number(0, 1))
    g.result(y, first, x)


def _matmul(g: QuantisedGraph) -> None:
    x, first, columns = g.operand((2, 4)), len(g.net.nodes), g.number(1, 20)
    weight = g.net.weight(_normal(g, x.shape[-1], columns) * math.sqrt(columns), axis=1)
    y = g.net.node("MatMul", x.name, weight)
    if g.flag():
        y = g.net.node("Add", y, g.net.constant(g.net.random.standard_normal(columns), np.float32))
    g.result(_activated(g, y), first, x)


def _product(g: QuantisedGraph) -> None:
    x = g.operand((2, 4))
    other = g.operand(shape=(*x.shape[:-2], x.shape[-1], g.number(1, 7)))
    first = len(g.net.nodes)
    g.result(g.net.node("MatMul", x.name, other.name), first, x, other)


def _gemm(g: QuantisedGraph) -> None:
    x, first, columns, turned = g.operand((2, 2)), len(g.net.nodes), g.number(1, 20), g.number(0, 1)
    shape = (columns, x.shape[1]) if turned else (x.shape[1], columns)
    weight = g.net.weight(_normal(g, *shape), axis=1 - turned)
    bias = g.net.constant(g.net.random.standard_normal(columns), np.float32)
    g.result(g.net.node("Gemm", x.name, weight, bias, transB=turned), first, x)


def _softmax(g: QuantisedGraph) -> None:
    x, first = g.operand((1, 4)), len(g.net.nodes)
    g.result(g.net.node("Softmax", x.name, axis=-1), first, x, tolerance=2)


def _logarithm(g: QuantisedGraph) -> None:
    """LogSoftmax, and ReduceLogSumExp over the last axis."""
    x, first = g.operand((1, 5)), len(g.net.nodes)
    axis = g.number(0, x.value.ndim - 1)
    if g.flag():
        return g.result(g.net.node("LogSoftmax", x.name, axis=axis), first, x, tolerance=2)
    axes = [g.net.constant([axis], np.int64)] if g.net.opset >= 18 else []
    given = {} if axes else {"axes": [axis]}
    g.result(g.net.node("ReduceLogSumExp", x.name, *axes, keepdims=g.number(0, 1), **given), first, x)


def _running_sum(g: QuantisedGraph) -> None:
    x, first = g.operand(), len(g.net.nodes)
    axis = g.net.constant(g.number(0, x.value.ndim - 1), np.int64)
    g.result(g.net.node("CumSum", x.name, axis, exclusive=g.number(0, 1), reverse=g.number(0, 1)), first, x)


def _triangle(g: QuantisedGraph) -> None:
    x, first = g.operand((2, 5)), len(g.net.nodes)
    k = g.net.constant(g.number(-2, 2), np.int64)
    g.result(g.net.node("Trilu", x.name, k, upper=g.number(0, 1)), first, x)


def _elements(g: QuantisedGraph) -> None:
    """GatherElements and GatherND, ScatterElements and ScatterND, by constant indices."""
    x = g.operand((1, 4))
    rank, kind = x.value.ndim, g.number(0, 3)
    axis = g.number(0, rank - 1)
    if kind == 0:
        first, count = len(g.net.nodes), g.number(1, 5)
        extents = [count if a == axis else g.number(1, extent) for a, extent in enumerate(x.shape)]
        at = g.net.constant(g.net.random.integers(-x.shape[axis], x.shape[axis], extents), np.int64)
        return g.result(g.net.node("GatherElements", x.name, at, axis=axis), first, x)
    bounds = np.array(x.shape[: axis + 1])
    if kind == 1:
        first = len(g.net.nodes)
        at = g.net.constant(g.net.random.integers(-bounds, bounds, (g.number(1, 6), axis + 1)), np.int64)
        return g.result(g.net.node("GatherND", x.name, at), first, x)
    if kind == 2:
        rows = g.net.random.permutation(int(np.prod(bounds)))[: g.number(1, 6)]
        updates = g.operand(shape=(len(rows), *x.shape[axis + 1 :]))
        at, first = g.net.constant(np.stack(np.unravel_index(rows, bounds), -1), np.int64), len(g.net.nodes)
        return g.result(g.net.node("ScatterND", x.name, at, updates.name), first, x, updates)
    line = g.net.random.permutation(x.shape[axis])[: g.number(1, 3)]
    extents = [len(line) if a == axis else extent for a, extent in enumerate(x.shape)]
    updates = g.operand(shape=tuple(extents))
    places = np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(rank)]), extents)
    first = len(g.net.nodes)
    y = g.net.node("ScatterElements", x.name, g.net.constant(places, np.int64), updates.name, axis=axis)
    g.result(y, first, x, updates)


def _cubic(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    sizes = g.net.constant([*x.shape[:2], g.number(2, 12), g.number(2, 12)], np.int64)
    y = g.net.node("Resize", x.name, "", "", sizes, mode="cubic", exclude_outside=g.number(0, 1))
    g.result(y, first, x, coarse=x, tolerance=1 if g.net.dtype != "int16" else 12)  # steps of four times the operand's


def _norms(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    if g.flag():
        return g.result(g.net.node("GlobalLpPool", x.name, p=g.number(1, 2)), first, x)
    y = g.net.node("MeanVarianceNormalization", x.name, axes=[2, 3])
    g.result(y, first, x, tolerance=2)


def _layer_norm(g: QuantisedGraph) -> None:
    x, first = g.operand((2, 4)), len(g.net.nodes)
    if x.shape[-1] < 2:
        return
    scale, bias = (g.net.constant(g.net.random.uniform(0.5, 1.5, x.shape[-1]), np.float32) for _ in range(2))
    g.result(g.net.node("LayerNormalization", x.name, scale, bias, axis=-1), first, x, tolerance=2)


def _transpose(g: QuantisedGraph) -> None:
    x, first = g.operand((2, 5)), len(g.net.nodes)
    g.result(g.net.node("Transpose", x.name, perm=list(g.net.random.permutation(x.value.ndim))), first, x)


def _reshape(g: QuantisedGraph) -> None:
    x, first = g.operand(), len(g.net.nodes)
    cut = g.number(0, x.value.ndim)
    shape = [math.prod(x.shape[:cut]), math.prod(x.shape[cut:])]
    if g.flag():
        shape.insert(g.number(0, 2), 1)
    g.result(g.net.node("Reshape", x.name, g.net.constant(shape, np.int64)), first, x)


def _slice(g: QuantisedGraph) -> None:
    x, first = g.operand(), len(g.net.nodes)
    axis = g.number(0, x.value.ndim - 1)
    begin = g.number(0, x.shape[axis] - 1)
    numbers = (begin, g.number(begin + 1, x.shape[axis]), axis, g.number(1, 2))
    g.result(g.net.node("Slice", x.name, *(g.net.constant([n], np.int64) for n in numbers)), first, x)


def _concat(g: QuantisedGraph) -> None:
    x = g.operand()
    axis = g.number(0, x.value.ndim - 1)
    shape = list(x.shape)
    shape[axis] = g.number(1, 5)
    other = g.operand(shape=tuple(shape))
    first = len(g.net.nodes)
    g.result(g.net.node("Concat", x.name, other.name, axis=axis), first, x, other)


def _pad(g: QuantisedGraph) -> None:
    x, first = g.operand((1, 4)), len(g.net.nodes)
    counts = [g.number(0, 2) for _ in range(2 * x.value.ndim)]
    y = g.net.node("Pad", x.name, g.net.constant(counts, np.int64), g.net.constant(np.float32(0)))
    g.result(y, first, x)


def _gather(g: QuantisedGraph) -> None:
    x, first = g.operand(), len(g.net.nodes)
    axis = g.number(0, x.value.ndim - 1)
    indices = g.net.random.integers(0, x.shape[axis], g.number(1, 5))
    g.result(g.net.node("Gather", x.name, g.net.constant(indices, np.int64), axis=axis), first, x)


def _blocks(g: QuantisedGraph) -> None:
    x, first = g.image(), len(g.net.nodes)
    if x.shape[1] % 4 == 0 and g.flag():
        mode = ("DCR", "CRD")[g.number(0, 1)]
        g.result(g.net.node("DepthToSpace", x.name, blocksize=2, mode=mode), first, x)
    elif x.shape[2] % 2 == x.shape[3] % 2 == 0:
        g.result(g.net.node("SpaceToDepth", x.name, blocksize=2), first, x)


def _repeat(g: QuantisedGraph) -> None:
    x, first = g.operand((1, 4)), len(g.net.nodes)
    repeats = [g.number(1, 2) for _ in x.shape]
    g.result(g.net.node("Tile", x.name, g.net.constant(repeats, np.int64)), first, x)


GENERATORS: tuple[Generator, ...] = (
    _conv, _conv, _conv, _conv_transpose, _pool, _pool, _global_pool, _resize, _function, _function, _function, _pair,
    _pair, _pair, _select, _parametric, _reduction, _reduction, _matmul, _product, _gemm, _softmax, _layer_norm,
    _transpose, _reshape, _slice, _concat, _pad, _gather, _blocks, _repeat, _logarithm, _running_sum, _triangle,
    _elements, _cubic, _norms,
)  # fmt: skip


def quantised_graph(seed: int) -> QuantisedGraph:
    """The graph of a seed: up to eight steps."""
    g = QuantisedGraph(seed)
    for _ in range(g.number(1, 8)):
        GENERATORS[g.number(0, len(GENERATORS) - 1)](g)
    return g


def compare_quantised(g: QuantisedGraph) -> None:
    """Asserts that each result is within its tolerance of ONNX Runtime's for the same operands: ours."""
    model = g.model()
    results = Session(compile_model(model), threads=1).run(g.net.feeds)
    values = g.net.feeds | results
    for step in g.steps:
        wanted = g.codes(step, values).astype(np.int64)
        got = np.rint(results[step.result].astype(np.float64) / step.scale).astype(np.int64) + step.zero
        off = np.abs(got - wanted)
        worst = int((off - np.where(off > step.tolerance, g.moved(step, values, wanted), 0)).max())
        assert worst <= step.tolerance, (
            f"seed {g.seed}: {step.result} is {worst} steps off\n{onnx.printer.to_text(model)}"
        )
