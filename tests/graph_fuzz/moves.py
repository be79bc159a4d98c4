"""Operators that move elements, make them, or say something about shapes."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graph_fuzz.elementwise import axes_of, axis_of
from graph_fuzz.graph import Discarded, Graph, Shape, Tensor
from graph_fuzz.registry import draws

_TYPES = ("float32", "float32", "float32", "int64", "int32", "bool", "uint8", "float16")


def _any(g: Graph, low: int = 0, high: int = 4) -> Tensor:
    return g.tensor(g.choice(_TYPES), (low, high))


@draws("Reshape")
def reshape(g: Graph, op: str) -> None:
    x = _any(g)
    extents = _factors(g, prod(x.shape))
    if extents and g.flag():
        extents[g.number(0, len(extents) - 1)] = -1
    g.one(op, x, g.numbers(*extents))


def _factors(g: Graph, count: int) -> list[int]:
    extents = []
    while count > 1 and len(extents) < 4:
        extents.append(g.choice([f for f in range(1, count + 1) if count % f == 0]))
        count //= extents[-1]
    return [*extents, count] if count > 1 or g.flag() else extents


@draws("Flatten")
def flatten(g: Graph, op: str) -> None:
    x = g.tensor(rank=(0, 4))
    g.one(op, x, axis=g.number(-x.rank, x.rank))


@draws("Squeeze")
def squeeze(g: Graph, op: str) -> None:
    x = _any(g, 1)
    ones = [axis for axis, extent in enumerate(x.shape) if extent == 1 and g.flag()]
    g.one(op, x, g.numbers(*ones) if ones else None)  # of no axes, ONNX does not say what it means


@draws("Unsqueeze")
def unsqueeze(g: Graph, op: str) -> None:
    x = _any(g, 0, 3)
    rank = x.rank + g.number(1, 2)
    axes = list(g.random.permutation(rank)[: rank - x.rank])
    g.one(op, x, g.numbers(*(int(axis) - rank * g.flag() for axis in axes)))


@draws("Transpose")
def transpose(g: Graph, op: str) -> None:
    x = _any(g, 0, 5)
    given = g.optional("perm", [int(axis) for axis in g.random.permutation(x.rank)]) if x.rank else {}
    g.one(op, x, **given)


@draws("Concat")
def concat(g: Graph, op: str) -> None:
    first = _any(g, 1)
    axis = axis_of(g, first)
    parts = [first]
    for _ in range(g.number(0, 2)):
        shape = list(first.shape)
        shape[axis] = g.number(1, 4)
        parts.append(g.like(tuple(shape), first.dtype))
    g.one(op, *parts, axis=axis)


@draws("Split")
def split(g: Graph, op: str) -> None:
    x = _any(g, 1)
    axis = axis_of(g, x)
    extent, count = x.shape[axis], g.number(1, 3)
    if count > extent:
        raise Discarded(op)
    if g.flag():
        cuts = sorted({0, extent, *(g.number(1, extent) for _ in range(count - 1))})
        sizes = [b - a for a, b in pairwise(cuts)]
        g.apply(op, x, g.numbers(*sizes), outputs=len(sizes), axis=axis)
    elif g.opset >= 18:
        g.apply(op, x, outputs=count, num_outputs=count, axis=axis)
    elif extent % count == 0:
        g.apply(op, x, outputs=count, axis=axis)


@draws("Slice")
def slices(g: Graph, op: str) -> None:
    x = _any(g, 1)
    axes = axes_of(g, x) or [axis_of(g, x)]
    starts, ends, steps = [], [], []
    for axis in axes:
        extent, step = x.shape[axis], g.choice((1, 1, 1, 2, 3, -1, -2))
        start = g.number(0, extent - 1)
        end = g.number(start + 1, extent + 2) if step > 0 else g.number(-1, start - 1)
        starts.append(start - extent * g.flag())
        ends.append(-extent - 1 if end < 0 else end)
        steps.append(step)
    plain = all(step == 1 for step in steps)
    g.one(op, x, g.numbers(*starts), g.numbers(*ends), g.numbers(*axes), None if plain else g.numbers(*steps))


@draws("Pad")
def pad(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "float32", "int64", "int32")), (1, 4))
    mode = g.choice(("constant", "constant", "reflect", "edge", *(("wrap",) if g.opset >= 19 else ())))
    most = [2 if mode in ("constant", "edge") else extent - 1 for extent in x.shape]
    pads = [g.number(0, min(2, limit)) for limit in (*most, *most)]
    value = g.constant(2, x.dtype) if mode == "constant" and g.flag() else None
    g.one(op, x, g.numbers(*pads), value, mode=mode)


@draws("Expand")
def expand(g: Graph, op: str) -> None:
    x = _any(g)
    target = [g.number(1, 3) if extent == 1 else extent for extent in x.shape]
    g.one(op, x, g.numbers(*([g.number(1, 2)] if g.flag() else []), *target))


@draws("Tile")
def tile(g: Graph, op: str) -> None:
    x = _any(g, 1)
    g.one(op, x, g.numbers(*(g.number(1, 3) for _ in x.shape)))


# ---- gathering and scattering


def _indices(g: Graph, shape: Shape, extent: int, constant: bool | None = None) -> Tensor:
    """Indices into an extent, negative ones too."""
    values = g.random.integers(-extent, extent, shape)
    if constant or (constant is None and g.flag()):
        return g.constant(values.astype(g.choice(("int64", "int32"))))
    return g.input(values.astype("int64"))


@draws("Gather")
def gather(g: Graph, op: str) -> None:
    x = _any(g, 1)
    axis = axis_of(g, x)
    g.one(op, x, _indices(g, g.shape(0, 2, 3), x.shape[axis]), axis=axis)


@draws("GatherElements")
def gather_elements(g: Graph, op: str) -> None:
    x = _any(g, 1)
    axis = axis_of(g, x)
    shape = tuple(g.number(1, 4) if k == axis % x.rank else g.number(1, extent) for k, extent in enumerate(x.shape))
    g.one(op, x, _indices(g, shape, x.shape[axis]), axis=axis)


@draws("GatherND")
def gather_nd(g: Graph, op: str) -> None:
    x = _any(g, 1)
    batch = g.number(0, min(1, x.rank - 1))
    depth = g.number(1, x.rank - batch)
    least = min(x.shape[batch : batch + depth])
    g.one(op, x, _indices(g, (*x.shape[:batch], g.number(1, 3), depth), least), batch_dims=batch)


@draws("ScatterElements")
def scatter_elements(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 3))
    axis = axis_of(g, x) % x.rank
    rows = g.number(1, x.shape[axis])
    shape = tuple(rows if k == axis else g.number(1, extent) for k, extent in enumerate(x.shape))
    order = np.argsort(g.random.random((*shape[:axis], x.shape[axis], *shape[axis + 1 :])), axis)
    places = np.take(order, range(rows), axis).astype(np.int64)  # no place twice
    reduction = g.choice(("none", "none", "add", *(("mul", "max", "min") if g.opset >= 18 else ())))
    attributes = {"reduction": reduction} if reduction != "none" else {}
    if g.opset < 16 and attributes:
        raise Discarded(op)
    g.one(op, x, g.constant(places), g.like(shape), axis=axis, **attributes)


@draws("ScatterND")
def scatter_nd(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 3))
    depth = g.number(1, x.rank)
    places = np.argwhere(np.ones(x.shape[:depth], bool))
    chosen = g.random.permutation(places)[: g.number(1, len(places))].astype(np.int64)
    g.one(op, x, g.constant(chosen), g.like((len(chosen), *x.shape[depth:])))


@draws("OneHot")
def one_hot(g: Graph, op: str) -> None:
    depth = g.number(1, 5)
    indices = _indices(g, g.shape(1, 2, 4), depth, constant=False)
    g.one(op, indices, g.constant(depth, "int64"), g.constant([0.5, 3.0], "float32"), axis=g.number(-1, indices.rank))


@draws("ReverseSequence")
def reverse_sequence(g: Graph, op: str) -> None:
    x = g.tensor(rank=(2, 4))
    batch = g.number(0, 1)
    lengths = g.random.integers(1, x.shape[1 - batch] + 1, x.shape[batch])
    g.one(op, x, g.input(lengths.astype(np.int64)), batch_axis=batch, time_axis=1 - batch)


@draws("DepthToSpace", "SpaceToDepth")
def blocks(g: Graph, op: str) -> None:
    size, (n, c, h, w) = g.number(1, 3), (g.number(1, 2), g.number(1, 3), g.number(1, 4), g.number(1, 4))
    if op == "DepthToSpace":
        x = g.like((n, c * size * size, h, w))
        g.one(op, x, blocksize=size, **g.optional("mode", g.choice(("DCR", "CRD"))))
    else:
        g.one(op, g.like((n, c, h * size, w * size)), blocksize=size)


@draws("Trilu")
def triangle(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "int64")), (2, 4))
    k = g.constant(g.number(-3, 3), "int64") if g.flag() else None
    g.one(op, x, k, **g.optional("upper", g.number(0, 1)))


@draws("CenterCropPad")
def center_crop_pad(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    axes = sorted({axis % x.rank for axis in axes_of(g, x)}) or [0]
    g.one(op, x, g.numbers(*(g.number(1, 7) for _ in axes)), axes=axes)


# ---- results whose extent depends on the data


@draws("Compress")
def compress(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    axis = axis_of(g, x)
    given = g.optional("axis", axis)
    extent = x.shape[axis] if given else prod(x.shape)
    g.apply_padded(op, x, g.like((g.number(1, extent),), "bool"), **given)


@draws("NonZero")
def non_zero(g: Graph, op: str) -> None:
    g.apply_padded(op, g.tensor(g.choice(("float32", "int64", "bool")), (1, 3)))


@draws("Unique")
def unique(g: Graph, op: str) -> None:
    x = g.tensor(g.choice(("float32", "int64")), (1, 3))
    g.apply_padded(op, x, **g.optional("axis", g.number(0, x.rank - 1)))


@draws("NonMaxSuppression")
def non_max_suppression(g: Graph, op: str) -> None:
    images, boxes, classes = g.number(1, 2), g.number(1, 6), g.number(1, 2)
    corners = np.sort(g.random.uniform(0, 4, (images, boxes, 2, 2)), 2).reshape(images, boxes, 4).astype(np.float32)
    limits = [g.constant(v, t) for v, t in ((g.number(1, 4), "int64"), (0.5, "float32"), (0.2, "float32"))]
    scores = g.like((images, classes, boxes), within=(0, 1))
    g.apply_padded(op, g.input(corners), scores, *limits, **g.optional("center_point_box", g.number(0, 1)))


# ---- what the compiler computes


@draws("Shape", "Size")
def shape_of(g: Graph, op: str) -> None:
    attributes = {}
    x = _any(g, 1)
    if op == "Shape" and g.opset >= 15:
        attributes = {**g.optional("start", g.number(-x.rank, x.rank - 1)), **g.optional("end", x.rank)}
    _used(g, g.one(op, x, **attributes))


def _used(g: Graph, folded: Tensor) -> None:
    """A folded result joins what is computed: constants alone are no model."""
    g.one("Add", g.one("Cast", folded, to=TensorProto.FLOAT), g.tensor(rank=(0, 0)))


@draws("EyeLike")
def eye_like(g: Graph, op: str) -> None:
    x = g.tensor(rank=(2, 2))
    g.one("Mul", g.one(op, x, **g.optional("k", g.number(-2, 2))), x)


@draws("ConstantOfShape")
def constant_of_shape(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    value = numpy_helper.from_array(np.array([1.5], np.float32))
    g.one("Add", g.one(op, g.one("Shape", x), value=value), x)


@draws("Range")
def ranges(g: Graph, op: str) -> None:
    count = g.number(1, 6)
    limits = (g.constant(value, "int64") for value in (0, 2 * count, 2))
    steps = g.one("Cast", g.one(op, *limits), to=TensorProto.FLOAT)
    g.one("Mul", g.like((count,)), steps)


@draws("HannWindow", "HammingWindow", "BlackmanWindow")
def window(g: Graph, op: str) -> None:
    count = g.number(2, 9)
    g.one("Mul", g.one(op, g.constant(count, "int64"), **g.optional("periodic", g.number(0, 1))), g.like((count,)))


@draws("MelWeightMatrix")
def mel_weight_matrix(g: Graph, op: str) -> None:
    whole = [g.constant(value, "int64") for value in (g.number(2, 6), 16, 8000)]
    limits = [g.constant(value, "float32") for value in (20, 4000)]
    g.one("MatMul", g.like((g.number(1, 3), 9)), g.one(op, *whole, *limits))


@draws("Constant")
def constant(g: Graph, op: str) -> None:
    x = g.tensor()
    kind = g.choice(("value", "value_float", "value_floats"))
    value = {"value": numpy_helper.from_array(np.float32(0.5)), "value_float": 0.5, "value_floats": [0.5]}[kind]
    g.one("Add", x, g.one(op, **{kind: value}))


@draws("If")
def branch(g: Graph, op: str) -> None:
    """A condition that is known; both branches read a tensor from outside."""
    x = g.tensor()
    made = []
    for name, function in (("then", "Neg"), ("else", "Abs")):
        output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, x.shape)
        nodes = [helper.make_node(function, [x.name], [f"{name}_y"])]
        made.append(helper.make_graph(nodes, name, [], [output]))
    taken = g.flag()
    value = -x.value if taken else np.abs(x.value)
    condition = g.constant(taken, "bool")
    g.stated(op, [condition], [np.asarray(value)], then_branch=made[0], else_branch=made[1])
