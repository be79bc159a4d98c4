"""Resize: index and weight tables per axis; sampling at run-time coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, prod

import numpy as np

from openbpu.ir.graph import Value
from openbpu.lower.builder import MAX_EXTENT, Extents, Shape, memory_axis, memory_shape
from openbpu.lower.expressions import Expr, widened
from openbpu.lower.node import Node
from openbpu.lower.operators import Interpolated
from openbpu.lower.registry import SAME, rule
from openbpu.lower.rules.coordinates import COORDINATES, Axis
from openbpu.lower.rules.cubic import cubic
from openbpu.lower.rules.operands import integers, numbers
from openbpu.lower.rules.volume import images, volumes
from openbpu.lower.rules.windows import spatial

_FINE = 1 << 20  # sum of the two weights of an int16 value; 2048 of an int8 value


@rule("Resize", int16=SAME)
def resize(node: Node) -> Expr:
    """RESIZE_NN; RESIZE_BILIN for mode linear, four of them for cubic of images; volumes by slices; no antialias."""
    x, mode = node.operand(0), str(node.attribute("mode", "nearest"))
    coordinates = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if coordinates not in COORDINATES:
        raise node.refuse("coordinate_transformation_mode", coordinates, f"use one of {', '.join(COORDINATES)}")
    for name, allowed in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        if node.attribute(name, allowed) != allowed:
            raise node.refuse(f"{name} must be {allowed}", seen=node.attribute(name))
    axes = _axes(node, x.shape, coordinates)
    shape = tuple(axis.after for axis in axes)
    changed = {i: axis for i, axis in enumerate(axes) if axis.changes}
    if not changed:
        return x.move(lambda v: v, node, shape)
    is_image = len(shape) in (3, 4) and min(changed) > 1
    if mode == "cubic":
        if not is_image:
            raise node.refuse("only rows and columns of an image are resized by cubic interpolation", seen=x.shape)
        exclude = bool(node.attribute("exclude_outside", 0))
        tables = [axis.cubic(float(node.attribute("cubic_coeff_a", -0.75)), exclude) for axis in _plane(axes)]
        return cubic(node, x, tables, shape)
    if is_image:
        return _image(node, x, _plane(axes), shape)
    return _others(node, x, changed, shape)


def _axes(node: Node, shape: Shape, coordinates: str) -> list[Axis]:
    """One per dimension."""
    rank, scales, sizes = len(shape), numbers(node, 2), integers(node, 3)
    named = [int(a) % rank for a in node.attribute("axes", range(rank))]
    if len(scales or sizes) != len(named):
        raise node.refuse("scales or sizes must have one number per axis", seen=f"{scales or sizes} for {len(named)}")
    scale = dict(zip(named, scales, strict=bool(scales)))
    size = dict(zip(named, sizes, strict=bool(sizes)))
    after = [size.get(a, floor(shape[a] * scale.get(a, 1.0))) for a in range(rank)]
    if min(after) < 1:
        raise node.refuse("its result must not be empty", seen=f"{shape} to {tuple(after)}")
    return [Axis(shape[a], after[a], scale.get(a), coordinates) for a in range(rank)]


def _plane(axes: list[Axis]) -> list[Axis]:
    """Rows and columns; a single row for a rank 3 tensor."""
    return axes[2:] if len(axes) == 4 else [_kept(1), *axes[2:]]


def _kept(extent: int) -> Axis:
    return Axis(extent, extent, None, "asymmetric")


def _image(node: Node, x: Expr, plane: list[Axis], shape: Shape) -> Expr:
    inner = (*shape[:2], plane[0].after, plane[1].after)

    def apply(value: Value) -> Value:
        out = _sampled(node, spatial(value, node), plane, inner)
        return node.graph.reshape(out, shape, (node.name,))

    if _mode(node) == "nearest":
        return x.move(apply, node, shape)
    origin = (*x.origin, node.name)
    return Interpolated(node=node, shape=shape, origin=origin, source=x.value(node), apply=apply)


def _others(node: Node, x: Expr, changed: Mapping[int, Axis], shape: Shape) -> Expr:
    """Volumes, and axes of batch or channels: in 16-bit steps until the last one."""
    is_volume = len(shape) == 5 and min(changed) > 1
    mode = _mode(node)
    if not is_volume:
        for axis in changed:
            _around(node, x.shape, axis)

    def apply(value: Value) -> Value:
        if is_volume:
            return _volume(node, value, [changed.get(a, _kept(shape[a])) for a in (2, 3, 4)], shape)
        for axis, resized in changed.items():
            value = _along(node, value, axis, resized)
        return value

    if mode == "nearest":
        return x.move(apply, node, shape)
    source = widened(node.graph, x.value(node), (node.name,)) if len(changed) > 1 else x.value(node)
    return Interpolated(node=node, shape=shape, origin=(*x.origin, node.name), source=source, apply=apply)


def _volume(node: Node, value: Value, axes: list[Axis], shape: Shape) -> Value:
    """Depth, rows and columns of [n, c, d, h, w]: each slice as an image, then depth as rows."""
    graph, origin = node.graph, (node.name,)
    n, c, od, oh, ow = shape
    slices = (n * axes[0].before, c, oh, ow)
    flat = _sampled(node, images(node, value), axes[1:], slices)
    if not axes[0].changes:
        return volumes(node, flat, shape)
    rows, columns = (oh * ow, c) if oh * ow <= MAX_EXTENT else (oh, ow * c)
    deep = graph.view(flat, (n, axes[0].before, rows, columns), slices, origin)
    out = _sampled(node, deep, [axes[0], _kept(rows)], (n * od, c, oh, ow), (n, od, rows, columns))
    return volumes(node, graph.view(out, memory_shape(out.onnx_shape), out.onnx_shape, origin), shape)


def _along(node: Node, value: Value, axis: int, resized: Axis) -> Value:
    """One axis of any tensor, as it lies in memory: as the rows of images with one column."""
    graph, origin = node.graph, (node.name,)
    outer, inner = _around(node, value.onnx_shape, axis)
    shape = (*value.onnx_shape[:axis], resized.after, *value.onnx_shape[axis + 1 :])
    source = graph.view(value, (outer, resized.before, 1, inner), value.onnx_shape, origin)
    out = _sampled(node, source, [resized, _kept(1)], shape, (outer, resized.after, 1, inner))
    return graph.view(out, memory_shape(shape), shape, origin)


def _around(node: Node, shape: Shape, axis: int) -> tuple[int, int]:
    """The numbers of elements that lie outside and inside of an axis in memory."""
    rank = len(shape)
    extents = memory_shape(shape) if rank <= 4 else shape
    at = memory_axis(rank, axis) if rank <= 4 else axis
    found = prod(extents[:at]), prod(extents[at + 1 :])
    if max(*found, shape[axis]) > MAX_EXTENT:
        raise node.refuse(f"extents of a resize are at most {MAX_EXTENT}", seen=f"axis {axis} of {shape}")
    return found


def _sampled(node: Node, source: Value, plane: list[Axis], shape: Shape, extents: Extents | None = None) -> Value:
    """A RESIZE of rows and columns; `extents` of the result default to those of its shape."""
    mode = _mode(node)
    kind = "resize_nearest" if mode == "nearest" else "resize_bilinear"
    rounding = str(node.attribute("nearest_mode", "round_prefer_floor"))
    consts = _tables(plane, mode, rounding, source.dtype)
    return node.graph.emit(kind, [source], shape, source.quant, (node.name,), shape=extents, consts=consts)


def _mode(node: Node) -> str:
    mode = str(node.attribute("mode", "nearest"))
    if mode not in ("nearest", "linear", "bilinear"):
        raise node.refuse("mode must be nearest, linear or cubic", seen=mode)
    return mode


def _tables(axes: list[Axis], mode: str, rounding: str, dtype: str) -> dict[str, np.ndarray]:
    if mode == "nearest":
        return {"rows": axes[0].nearest(rounding), "columns": axes[1].nearest(rounding)}
    whole = _FINE if dtype == "int16" else 2048
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
