"""Products, convolutions, recurrent layers, attention, quantised operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph_fuzz.graph import Discarded, Graph, Shape, Tensor
from graph_fuzz.registry import draws


@draws("MatMul")
def matmul(g: Graph, op: str) -> None:
    a = g.tensor(rank=(1, 4))
    inner, columns = a.shape[-1], g.number(1, 6)
    batch = a.shape[:-2] if g.flag() else ()
    b = g.weight(inner) if g.number(0, 5) == 0 else g.weight(*batch, inner, columns)
    g.one(op, *((a, b) if a.rank > 1 or b.rank > 1 else (a, g.weight(inner, columns))))


@draws("Gemm")
def gemm(g: Graph, op: str) -> None:
    a = g.tensor(rank=(2, 2))
    transposed = {name: g.number(0, 1) for name in ("transA", "transB")}
    rows, inner = a.shape[::-1] if transposed["transA"] else a.shape
    columns = g.number(1, 6)
    b = g.weight(columns, inner) if transposed["transB"] else g.weight(inner, columns)
    bias = g.weight(*g.choice(((columns,), (1,), (rows, columns), (rows, 1), (1, columns)))) if g.flag() else None
    g.one(op, a, b, bias, **transposed, **g.optional("alpha", 0.7), **g.optional("beta", 1.3))


@draws("Einsum")
def einsum(g: Graph, op: str) -> None:
    equation, *shapes = g.choice(
        (
            ("ij,jk->ik", "ij", "jk"), ("bij,bkj->bik", "bij", "bkj"), ("ij->ji", "ij"), ("ii->i", "ii"),
            ("ij->", "ij"), ("i,j->ij", "i", "j"), ("bij,bjk", "bij", "bjk"), ("ij,ij->j", "ij", "ij"),
            ("...ij,...jk->...ik", "abij", "abjk"), ("bhwc,hkc->bhwk", "bhwc", "hkc"),
        )
    )  # fmt: skip
    extents = {letter: g.number(1, 4) for letter in "abchijkw"}
    operands = [g.like(tuple(extents[letter] for letter in shape)) for shape in shapes]
    g.one(op, *operands, equation=equation)


@draws("MatMulInteger")
def matmul_integer(g: Graph, op: str) -> None:
    rows, inner, columns = g.number(1, 4), g.number(1, 6), g.number(1, 5)
    kinds = ("uint8", g.choice(("int8", "uint8")))
    a, b = (g.like(shape, kind) for shape, kind in zip(((rows, inner), (inner, columns)), kinds, strict=True))
    zeros = [g.constant(3, kind) if g.flag() else None for kind in kinds]
    g.one(op, a, b, *zeros)


@draws("DFT")
def fourier_transform(g: Graph, op: str) -> None:
    parts, axis = g.number(1, 2), g.number(0, 1)
    x = g.like((g.number(1, 4), g.number(1, 8), parts))
    length = g.constant(g.number(1, 9), "int64") if g.flag() else None
    given = g.optional("onesided", 1) if parts == 1 else g.optional("inverse", 1)
    if g.opset < 20:
        g.one(op, x, length, axis=axis, **given)
    else:
        g.one(op, x, length, g.constant(axis, "int64"), **given)


@draws("STFT")
def windowed_fourier_transform(g: Graph, op: str) -> None:
    length, step = g.number(2, 8), g.constant(g.number(1, 5), "int64")
    x = g.like((g.number(1, 2), length + g.number(0, 20), 1))
    window = g.constant(g.random.uniform(0.2, 1, length), "float32") if g.flag() else None
    g.one(op, x, step, window, g.constant(length, "int64"), **g.optional("onesided", g.number(0, 1)))


@draws("Det")
def determinant(g: Graph, op: str) -> None:
    size = g.number(1, 4)
    g.one(op, g.like((*g.shape(0, 1, 3), size, size)))


# ---- convolutions


def windows(g: Graph, kernel: Shape, dilated: bool = True) -> dict[str, Any]:
    """Strides, dilations and pads, or automatic padding, all of them optional."""
    given: dict[str, Any] = {}
    given |= g.optional("strides", [g.number(1, 3) for _ in kernel])
    padding = g.number(0, 3)
    if padding == 0:
        given["auto_pad"] = g.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
    elif padding == 1:
        given["pads"] = [g.number(0, k - 1) for k in (*kernel, *kernel)]
    if dilated and "auto_pad" not in given:
        given |= g.optional("dilations", [g.number(1, 2) for _ in kernel])
    return given


def check_fit(x: Tensor, kernel: Shape, given: dict[str, Any]) -> None:
    """Discards windows that are larger than the padded image, for which ONNX Runtime has results all the same."""
    pads = given.get("pads", [0] * 2 * len(kernel))
    for k, size in enumerate(kernel):
        reach = (size - 1) * given.get("dilations", [1] * len(kernel))[k] + 1
        if reach > x.shape[2 + k] + pads[k] + pads[len(kernel) + k]:
            raise Discarded("window")


def image(g: Graph, channels: int, dimensions: int = 2, most: int = 8) -> Tensor:
    fitting = [t for t in g.made if t.dtype == "float32" and t.rank == dimensions + 2 and t.shape[1] == channels]
    if fitting and g.flag():
        return g.choice(fitting)
    return g.fresh((g.number(1, 2), channels, *(g.number(2, most) for _ in range(dimensions))))


@draws("Conv")
def convolution(g: Graph, op: str) -> None:
    dimensions, groups = g.choice((1, 2, 2, 2, 3)), g.number(1, 3)
    inputs, outputs = g.number(1, 3), g.number(1, 3)
    kernel = tuple(g.number(1, 3) for _ in range(dimensions))
    weight = g.weight(groups * outputs, inputs, *kernel)
    bias = g.weight(groups * outputs) if g.flag() else None
    x = image(g, groups * inputs, dimensions)
    given = windows(g, kernel)
    check_fit(x, kernel, given)
    g.one(op, x, weight, bias, group=groups, **given, **g.optional("kernel_shape", list(kernel)))


@draws("ConvTranspose")
def transposed_convolution(g: Graph, op: str) -> None:
    dimensions, groups = g.choice((1, 2, 2)), g.number(1, 2)
    inputs, outputs = g.number(1, 3), g.number(1, 3)
    kernel = tuple(g.number(1, 3) for _ in range(dimensions))
    weight = g.weight(groups * inputs, outputs, *kernel)
    bias = g.weight(groups * outputs) if g.flag() else None
    given = windows(g, kernel)
    if "strides" in given and "auto_pad" not in given:
        given |= g.optional("output_padding", [g.number(0, stride - 1) for stride in given["strides"]])
    g.one(op, image(g, groups * inputs, dimensions, 5), weight, bias, group=groups, **given)


@draws("ConvInteger")
def integer_convolution(g: Graph, op: str) -> None:
    kernel = (g.number(1, 3), g.number(1, 3))
    channels = g.number(1, 3)
    x = g.like((1, channels, g.number(3, 6), g.number(3, 6)), "uint8")
    weight = g.like((g.number(1, 3), channels, *kernel), "uint8")
    g.one(op, x, weight, *(g.constant(2, "uint8") if g.flag() else None for _ in range(2)), **windows(g, kernel))


@draws("DeformConv")
def deformable_convolution(g: Graph, op: str) -> None:
    (kh, kw), channels = (g.number(1, 3), g.number(1, 3)), g.number(1, 3)
    h, w = g.number(3, 6), g.number(3, 6)
    x, weight = g.like((1, channels, h, w)), g.weight(g.number(1, 3), channels, kh, kw)
    rows, columns = h - kh + 1, w - kw + 1
    offset = g.like((1, 2 * kh * kw, rows, columns), within=(-1.3, 1.3))
    bias = g.weight(weight.shape[0]) if g.flag() else None
    mask = g.like((1, kh * kw, rows, columns), within=(0, 1)) if g.flag() else None
    g.one(op, x, weight, offset, bias, mask, kernel_shape=[kh, kw], pads=[0, 0, 0, 0])


@draws("Col2Im")
def columns_to_image(g: Graph, op: str) -> None:
    (kh, kw), (h, w) = (g.number(1, 3), g.number(1, 3)), (g.number(3, 5), g.number(3, 5))
    count = (h - kh + 1) * (w - kw + 1)
    x = g.like((g.number(1, 2), g.number(1, 2) * kh * kw, count))
    g.one(op, x, g.numbers(h, w), g.numbers(kh, kw))


# ---- recurrent layers


@draws("LSTM", "GRU", "RNN")
def recurrent(g: Graph, op: str) -> None:
    gates, results = {"LSTM": (4, 3), "GRU": (3, 2), "RNN": (1, 2)}[op]
    direction = g.choice(("forward", "reverse", "bidirectional"))
    ways = 2 if direction == "bidirectional" else 1
    x = g.tensor(rank=(3, 3), within=(-8, 8))
    inputs, hidden = x.shape[2], g.number(1, 4)
    weights = [g.weight(ways, gates * hidden, extent) for extent in (inputs, hidden)]
    bias = g.weight(ways, 2 * gates * hidden) if g.flag() else None
    initial = g.like((ways, x.shape[1], hidden)) if bias is not None and g.flag() else None
    given: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if op == "GRU":
        given |= g.optional("linear_before_reset", g.number(0, 1))
    count = g.number(1, results)
    g.apply(op, x, *weights, bias, None, initial, outputs=count, **given)


# ---- attention and losses


@draws("Attention")
def attention(g: Graph, op: str) -> None:
    heads, size, queries, keys = g.number(1, 2), g.number(1, 4), g.number(1, 4), g.number(1, 4)
    q, k, v = (g.like((1, heads, n, size), within=(-3, 3)) for n in (queries, keys, keys))
    mask = g.like((queries, keys), within=(-2, 2)) if g.flag() else None
    g.one(op, q, k, v, mask, **g.optional("is_causal", 1), **g.optional("scale", 0.5))


@draws("RotaryEmbedding")
def rotary_embedding(g: Graph, op: str) -> None:
    heads, length, half = g.number(1, 2), g.number(1, 4), g.number(1, 3)
    caches = [g.weight(1, length, half) for _ in range(2)]
    g.one(op, g.like((1, heads, length, 2 * half)), *caches, **g.optional("interleaved", 1))


@draws("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(g: Graph, op: str) -> None:
    items, classes = g.number(1, 4), g.number(2, 5)
    target = g.input(g.random.integers(0, classes, items))
    scores = g.like((items, classes), within=(-8, 8))
    weights = g.constant(g.random.uniform(0.5, 2, classes), "float32") if g.flag() else None
    g.one(op, scores, target, weights, reduction=g.choice(("none", "mean", "sum")))


# ---- quantised operators


def _scale(g: Graph) -> Tensor:
    return g.constant(np.float32(g.random.uniform(0.02, 0.1)))


@draws("QuantizeLinear", "DequantizeLinear")
def quantise(g: Graph, op: str) -> None:
    """A pair, because an integer tensor is of no use to most operators."""
    x, dtype = g.tensor(), g.choice(("int8", "uint8"))
    scale, zero = _scale(g), g.constant(g.number(0, 100), dtype)
    if op == "QuantizeLinear" and g.number(0, 2) == 0 and x.rank > 1:
        axis = g.number(0, x.rank - 1)
        scale = g.constant(g.random.uniform(0.02, 0.1, x.shape[axis]), "float32")
        zero = g.constant(np.zeros(x.shape[axis]), dtype)
        g.one("DequantizeLinear", g.one(op, x, scale, zero, axis=axis), scale, zero, axis=axis)
        return
    g.one("DequantizeLinear", g.one("QuantizeLinear", x, scale, zero), scale, zero)


@draws("DynamicQuantizeLinear")
def dynamic_quantise(g: Graph, op: str) -> None:
    y, scale, zero = g.apply(op, g.tensor(rank=(1, 4)), outputs=3)
    g.one("DequantizeLinear", y, scale, zero)


@draws("QLinearConv")
def quantised_convolution(g: Graph, op: str) -> None:
    kernel, channels, outputs = (g.number(1, 3), g.number(1, 3)), g.number(1, 3), g.number(1, 3)
    x = g.like((1, channels, g.number(3, 6), g.number(3, 6)), "uint8")
    weight = g.constant(g.random.integers(-100, 100, (outputs, channels, *kernel)), "int8")
    zero = g.constant(7, "uint8")
    g.apply_rounded(
        op, x, _scale(g), zero, weight, _scale(g), g.constant(0, "int8"), _scale(g), zero, **windows(g, kernel)
    )


@draws("QLinearMatMul")
def quantised_matmul(g: Graph, op: str) -> None:
    rows, inner, columns = g.number(1, 4), g.number(1, 6), g.number(1, 5)
    a, zero = g.like((rows, inner), "uint8"), g.constant(9, "uint8")
    # Without their zero point they fit 8 bits: others are quantised again, which costs more than a step.
    b = g.constant(g.random.integers(0, 137, (inner, columns)), "uint8")
    g.apply_rounded(op, a, _scale(g), zero, b, _scale(g), zero, _scale(g), zero)
