"""Resize: index and weight tables per axis; sampling at run-time coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import Shape
from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node
from openbpu.lower.operators import Interpolated
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.operands import integers, numbers
from openbpu.lower.rules.windows import spatial, spatial_shape

_HALF = Fraction(1, 2)
_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda x: ceil(x - _HALF),
    "round_prefer_ceil": lambda x: floor(x + _HALF),
}
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")


@dataclass(frozen=True)
class Axis:
    """One resized axis: `scale` is the model's own, None if it gives sizes."""

    before: int
    after: int
    scale: float | None
    mode: str

    def source(self, index: int) -> Fraction:
        """Exact source coordinate of an output index (docs/numerics.md, clause RESIZE)."""
        before, after, i = self.before, self.after, Fraction(index)
        exact = self.scale is None or np.float32(self.scale) == np.float32(after / before)
        ratio = Fraction(after, before) if exact else Fraction(self.scale or 0.0)
        if self.mode == "asymmetric":
            return i / ratio
        if self.mode == "align_corners":
            return i * (before - 1) / (after - 1) if after > 1 else Fraction(0)
        if self.mode == "pytorch_half_pixel" and after == 1:
            return Fraction(0)
        centre = (i + _HALF) / ratio - _HALF
        if self.mode == "half_pixel_symmetric":
            return Fraction(before, 2) * (1 - Fraction(after) / (ratio * before)) + centre
        return centre

    def nearest(self, rounding: str) -> np.ndarray:
        """int32 source index per output index."""
        found = [_ROUNDINGS[rounding](self.source(i)) for i in range(self.after)]
        return np.clip(found, 0, self.before - 1).astype(np.int32)

    def linear(self, whole: int = 2048) -> tuple[np.ndarray, np.ndarray]:
        """Indices int32 and weights [after, 2]; the two weights sum to `whole`: 2048, or 2^20 for int16."""
        index = np.zeros((self.after, 2), np.int32)
        weight = np.zeros((self.after, 2), np.int16 if whole == 2048 else np.uint32)
        for i in range(self.after):
            x = min(max(self.source(i), Fraction(0)), Fraction(self.before - 1))
            first = floor(x)
            second = floor((x - first) * whole + _HALF)
            index[i] = first, min(first + 1, self.before - 1)
            weight[i] = whole - second, second
        return index, weight


@rule("Resize", int16=SAME)
def resize(node: Node) -> Expr:
    """RESIZE_NN in every coordinate and rounding mode; RESIZE_BILIN for mode linear without antialias."""
    mode = str(node.attribute("mode", "nearest"))
    coordinates = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if coordinates not in _COORDINATES:
        raise node.refuse("coordinate_transformation_mode", coordinates, f"use one of {', '.join(_COORDINATES)}")
    for name, allowed in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        if node.attribute(name, allowed) != allowed:
            raise node.refuse(f"{name} must be {allowed}", seen=node.attribute(name))
    rounding = str(node.attribute("nearest_mode", "round_prefer_floor"))
    return _resized(node, mode, coordinates, rounding, numbers(node, 2), integers(node, 3))


def _resized(node: Node, mode: str, coordinates: str, rounding: str, scales: list[float], sizes: list[int]) -> Expr:
    x = node.operand(0)
    axes = _axes(node, x.shape, coordinates, scales, sizes)
    if mode not in ("nearest", "linear", "bilinear"):
        raise node.refuse("mode must be nearest or linear", seen=mode, remedy="export with bilinear interpolation")
    kind = "resize_nearest" if mode == "nearest" else "resize_bilinear"
    inner: Shape = (x.shape[0], x.shape[1], axes[0].after, axes[1].after)
    after = spatial_shape(inner, len(x.shape))

    def apply(value: Value) -> Value:
        source = spatial(value, node)
        consts = _tables(axes, mode, rounding, source.dtype)
        out = node.graph.emit(kind, [source], inner, value.quant, (node.name,), consts=consts)
        return node.graph.reshape(out, after, (node.name,))

    if kind == "resize_nearest":
        return x.move(apply, node, after)
    origin = (*x.origin, node.name)
    return Interpolated(node=node, shape=after, origin=origin, source=x.value(node), apply=apply)


def _axes(node: Node, shape: Shape, coordinates: str, scales: list[float], sizes: list[int]) -> list[Axis]:
    """Rows and columns; a single row for a rank 3 tensor."""
    rank = len(shape)
    named = [int(a) % rank for a in node.attribute("axes", range(rank))]
    if len(scales or sizes) != len(named):
        raise node.refuse("scales or sizes must have one number per axis", seen=f"{scales or sizes} for {len(named)}")
    scale = dict(zip(named, scales, strict=bool(scales)))
    size = dict(zip(named, sizes, strict=bool(sizes)))
    after = [size.get(a, floor(shape[a] * scale.get(a, 1.0))) for a in range(rank)]
    if rank not in (3, 4) or list(shape[:2]) != after[:2] or min(after) < 1:
        raise node.refuse("only rows and columns of an image can be resized", seen=f"{shape} to {tuple(after)}")
    axes = [Axis(shape[a], after[a], scale.get(a), coordinates) for a in range(2, rank)]
    return axes if rank == 4 else [Axis(1, 1, None, "asymmetric"), *axes]


def _tables(axes: list[Axis], mode: str, rounding: str, dtype: str) -> dict[str, np.ndarray]:
    if mode == "nearest":
        return {"rows": axes[0].nearest(rounding), "columns": axes[1].nearest(rounding)}
    whole = 1 << 20 if dtype == "int16" else 2048
    (row_index, row_weight), (column_index, column_weight) = axes[0].linear(whole), axes[1].linear(whole)
    return {
        "row_index": row_index,
        "row_weight": row_weight,
        "column_index": column_index,
        "column_weight": column_weight,
    }


@rule("GridSample")
def grid_sample(node: Node) -> Expr:
    """GRIDSAMPLE of an image, bilinear or nearest, outside of it zeros or its border; coordinates are float32."""
    x, grid = node.operand(0), node.operand(1)
    mode = str(node.attribute("mode", "linear"))  # "bilinear" before opset 20
    padding = str(node.attribute("padding_mode", "zeros"))
    if len(x.shape) != 4 or mode not in ("linear", "bilinear", "nearest") or padding not in ("zeros", "border"):
        raise node.refuse(
            "images, bilinear or nearest, zeros or border outside", seen=f"shape {x.shape}, mode {mode}, {padding}"
        )
    if grid.dtype != "float32" or grid.shape[0] != x.shape[0]:
        raise node.refuse("its grid is float32, one per image", seen=f"{grid.dtype} {grid.shape}")
    shape = (*x.shape[:2], *grid.shape[1:3])
    places = grid.dense(node.where)
    corners = bool(node.attribute("align_corners", 0))
    attrs = {"nearest": mode == "nearest", "border": padding == "border", "align_corners": corners}

    def apply(value: Value) -> Value:
        return node.graph.emit("grid_sample", [value, places], shape, value.quant, (node.name,), attrs=attrs)

    if mode == "nearest" and padding == "border":  # only moves
        return x.move(apply, node, shape)
    return Interpolated(node=node, shape=shape, origin=(*x.origin, node.name), source=x.value(node), apply=apply)
