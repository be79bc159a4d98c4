"""Pools, resizing, sampling, and normalisation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from graph_fuzz.elementwise import axes_of
from graph_fuzz.graph import Discarded, Graph
from graph_fuzz.products import check_fit, image, windows
from graph_fuzz.registry import draws


@draws("MaxPool", "AveragePool", "LpPool")
def pool(g: Graph, op: str) -> None:
    dimensions = g.choice((1, 2, 2, 2, 3))
    kernel = tuple(g.number(1, 3) for _ in range(dimensions))
    dilated = op == "MaxPool" or (op == "AveragePool" and g.opset >= 19)
    given: dict[str, Any] = {"kernel_shape": list(kernel), **windows(g, kernel, dilated)}
    if op == "AveragePool":
        given |= g.optional("count_include_pad", 1)
    if op == "LpPool":
        given |= g.optional("p", g.number(1, 3))
    elif "auto_pad" not in given and g.opset >= 22:  # before, ONNX and ONNX Runtime disagree on the last window
        given |= g.optional("ceil_mode", 1)
    x = image(g, g.number(1, 3), dimensions)
    check_fit(x, kernel, given)
    indices = op == "MaxPool" and g.flag()
    if indices:  # those that onnx's evaluator folds from a constant are wrong
        x = g.input(x.value)
    g.apply(op, x, outputs=1 + indices, **given)


@draws("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
def global_pool(g: Graph, op: str) -> None:
    g.one(op, image(g, g.number(1, 3), g.choice((1, 2, 2, 3))), **(g.optional("p", 1) if op == "GlobalLpPool" else {}))


@draws("MaxUnpool")
def unpool(g: Graph, op: str) -> None:
    x = g.fresh((1, g.number(1, 2), 2 * g.number(1, 3), 2 * g.number(1, 3)))
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    values, indices = g.apply("MaxPool", x, outputs=2, **attributes)
    g.one(op, values, indices, **attributes)


def _regions(g: Graph, size: int) -> np.ndarray:
    corners = np.sort(g.random.uniform(0, size, (g.number(1, 3), 2, 2)), 1)
    return corners.reshape(-1, 4).astype(np.float32)


@draws("MaxRoiPool")
def max_roi_pool(g: Graph, op: str) -> None:
    x, regions = image(g, g.number(1, 2)), _regions(g, 6)
    batched = np.concatenate([np.zeros((len(regions), 1), np.float32), np.floor(regions)], 1)
    g.one(op, x, g.constant(batched), pooled_shape=[g.number(1, 3), g.number(1, 3)], **g.optional("spatial_scale", 0.5))


@draws("RoiAlign")
def roi_align(g: Graph, op: str) -> None:
    x, regions = image(g, g.number(1, 2)), _regions(g, 6)
    given = {**g.optional("mode", g.choice(("avg", "max"))), **g.optional("sampling_ratio", g.number(1, 2))}
    if g.opset >= 16:
        given |= g.optional("coordinate_transformation_mode", g.choice(("half_pixel", "output_half_pixel")))
    batch = g.constant(np.zeros(len(regions)), "int64")
    g.one(op, x, g.constant(regions), batch, output_height=g.number(1, 3), output_width=g.number(1, 3), **given)


def _size(g: Graph, extent: int, given: dict[str, Any]) -> int:
    """A new extent; of nearest pixels one that no place on or halfway between pixels comes of, or an exact scale.

    Else ONNX Runtime, which rounds the scale to float32, takes either side; ours is exact.
    """
    size = g.number(1, 2 * extent)
    if given["mode"] != "nearest" or float(np.float32(size / extent)) == size / extent:
        return size
    half = "half_pixel" in given.get("coordinate_transformation_mode", "half_pixel")
    ends = given.get("coordinate_transformation_mode") == "align_corners"
    scale = Fraction(extent - ends, max(1, size - ends))
    places = [(i + Fraction(half, 2)) * scale - Fraction(half, 2) for i in range(1 - half, size)]
    return extent if any((2 * place).denominator == 1 for place in places) else size


@draws("Resize")
def resize(g: Graph, op: str) -> None:
    x = image(g, g.number(1, 2), g.choice((1, 2, 2, 3)))
    mode = g.choice(("nearest", "linear", *(("cubic",) if x.rank == 4 else ())))
    modes = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    given: dict[str, Any] = {"mode": mode, **g.optional("coordinate_transformation_mode", g.choice(modes))}
    if mode == "nearest":
        given |= g.optional("nearest_mode", g.choice(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")))
    if mode == "cubic":
        given |= g.optional("cubic_coeff_a", -0.5)
    if g.flag():
        sizes = [*x.shape[:2], *(_size(g, extent, given) for extent in x.shape[2:])]
        g.one(op, x, None, None, g.numbers(*sizes), **given)
    else:
        # align_corners on a fraction of a pixel: ONNX keeps the fraction (so do we), ONNX Runtime drops it.
        whole = given.get("coordinate_transformation_mode") == "align_corners"
        choices = (1.0, 2.0) if whole else (0.5, 1.0, 1.5, 2.0)
        factors = [1, 1, *(g.choice(choices) for _ in x.shape[2:])]
        g.one(op, x, None, g.constant(factors, "float32"), **given)


@draws("GridSample")
def grid_sample(g: Graph, op: str) -> None:
    dimensions = g.choice((2, 2, 3)) if g.opset >= 20 else 2
    x = image(g, g.number(1, 2), dimensions, 5)
    new = g.opset >= 20
    modes = (
        ("linear", "nearest", *(("cubic",) if dimensions == 2 else ())) if new else ("bilinear", "nearest", "bicubic")
    )
    given = {**g.optional("mode", g.choice(modes)), **g.optional("align_corners", 1)}
    given |= g.optional("padding_mode", g.choice(("zeros", "border", "reflection")))
    grid = g.like((x.shape[0], *(g.number(1, 4) for _ in range(dimensions)), dimensions), within=(-1.2, 1.2))
    g.one(op, x, grid, **given)


@draws("AffineGrid")
def affine_grid(g: Graph, op: str) -> None:
    dimensions, images = g.number(2, 3), g.number(1, 2)
    theta = g.like((images, dimensions, dimensions + 1))
    given = g.optional("align_corners", 1)
    # The corners of a single pixel: ONNX's step is 2 / 0, its reference stays at -1 (so do we), ONNX Runtime takes 1.
    least = 2 if given.get("align_corners") else 1
    size = (images, 1, *(g.number(least, 4) for _ in range(dimensions)))
    g.one(op, theta, g.numbers(*size), **given)


# ---- normalisation


@draws("BatchNormalization")
def batch_normalization(g: Graph, op: str) -> None:
    x = g.tensor(rank=(2, 4))
    channels = x.shape[1]
    operands = [g.weight(channels) for _ in range(3)]
    variance = g.constant(g.random.uniform(0.3, 2, channels), "float32")
    g.one(op, x, *operands, variance, **g.optional("epsilon", 1e-3))


@draws("LayerNormalization")
def layer_normalization(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    axis = g.number(-x.rank, x.rank - 1)
    shape = x.shape[axis % x.rank :]
    bias = g.weight(*shape) if g.flag() else None
    # A variance of zero or little more makes rounding errors large.
    g.one(op, x, g.weight(*shape), bias, axis=axis, epsilon=0.1)


@draws("RMSNormalization")
def rms_normalization(g: Graph, op: str) -> None:
    x = g.tensor(rank=(1, 4))
    axis = g.number(-x.rank, x.rank - 1)
    g.one(op, x, g.weight(*x.shape[axis % x.rank :]), axis=axis, epsilon=0.1)


@draws("InstanceNormalization")
def instance_normalization(g: Graph, op: str) -> None:
    x = image(g, g.number(1, 3), g.choice((1, 2, 2, 3)))
    g.one(op, x, *(g.weight(x.shape[1]) for _ in range(2)), epsilon=0.1)


@draws("GroupNormalization")
def group_normalization(g: Graph, op: str) -> None:
    groups, each = g.number(1, 3), g.number(1, 3)
    x = image(g, groups * each)
    if g.opset < 21:
        raise Discarded(op)
    g.one(op, x, *(g.weight(groups * each) for _ in range(2)), num_groups=groups, epsilon=0.1)


@draws("LRN")
def local_response(g: Graph, op: str) -> None:
    g.one(op, image(g, g.number(1, 4)), size=g.choice((1, 3, 5)), **g.optional("alpha", 0.1), **g.optional("beta", 0.5))


@draws("MeanVarianceNormalization")
def mean_variance(g: Graph, op: str) -> None:
    x = g.tensor(rank=(4, 4))
    axes = sorted({axis % 4 for axis in axes_of(g, x)})
    g.one(op, x, **({"axes": axes} if axes else {}))
