"""Resizes beyond bilinear ones of images: cubic, volumes, any axis, against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower

COORDINATES = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]


def resized(net: Net, x: str, sizes: list[int] | None = None, scales: list[float] | None = None, **given: Any) -> str:
    operands = ["", net.constant(sizes, np.int64)] if scales is None else [net.constant(scales, np.float32)]
    return str(net.node("Resize", x, "", *operands, **given))


@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_cubic(dtype: str, coordinates: str, exclude: int) -> None:
    net = Net(10 + exclude, dtype)
    given = {"mode": "cubic", "coordinate_transformation_mode": coordinates, "exclude_outside": exclude}
    for sizes in ([12, 8], [9, 13], [6, 7], [3, 2], [6, 4]):
        y = resized(net, net.input(1, 5, 6, 4), [1, 5, *sizes], **given)
        net.output(net.quantise(y))
    graph = check(net, tolerance=1 if dtype != "int16" else 12)  # four roundings of steps up to four times as large
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("seed", range(6))
def test_cubic_of_random_scales(seed: int) -> None:
    net = Net(seed, ("int8", "uint8")[seed % 2])
    shape = [int(net.random.integers(1, 3)), int(net.random.integers(1, 20)), *net.random.integers(4, 9, 2).tolist()]
    scales = [1.0, 1.0, *net.random.uniform(0.6, 3, 2).tolist()]
    coefficient = float(net.random.uniform(-1, -0.3))
    y = resized(net, net.input(*shape), scales=scales, mode="cubic", cubic_coeff_a=coefficient)
    net.output(net.quantise(y))
    check(net)


def test_a_clamp_joins_a_cubic_resize() -> None:
    net = Net(3)
    y = resized(net, net.input(1, 3, 5, 5), [1, 3, 10, 10], mode="cubic")
    net.output(net.quantise(net.node("Relu", y)))
    assert [op.kind for op in check(net).ops].count("resize_bilinear") == 4


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_linear_over_volumes(dtype: str, coordinates: str) -> None:
    net = Net(20, dtype)
    for sizes in ([6, 10, 4], [3, 9, 7], [5, 5, 4], [2, 3, 2]):
        given = {"mode": "linear", "coordinate_transformation_mode": coordinates}
        net.output(net.quantise(resized(net, net.input(2, 3, 3, 5, 4), [2, 3, *sizes], **given)))
    graph = check(net, tolerance=1 if dtype != "int16" else 2)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((2, 3, 3, 5, 4), (2, 3, 6, 10, 9)), ((2, 3, 4, 5), (4, 3, 8, 5)), ((2, 3, 4, 5), (2, 7, 4, 5)),
     ((4, 6), (9, 5)), ((7,), (20,)), ((2, 3, 4), (3, 3, 9)), ((2, 2, 3, 2, 3, 2), (2, 4, 3, 2, 5, 2))],
)  # fmt: skip
def test_nearest_over_any_axes(shape: tuple[int, ...], sizes: tuple[int, ...], dtype: str) -> None:
    net = Net(30, dtype)
    x = net.input(*shape)
    y = resized(net, x, list(sizes), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    net.output(net.quantise(y))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(("shape", "sizes"), [((4, 6), (9, 5)), ((1, 4, 6, 1), (1, 9, 5, 1))])
def test_linear_over_other_axes(shape: tuple[int, ...], sizes: tuple[int, ...], dtype: str) -> None:
    net = Net(40, dtype)
    net.output(net.quantise(resized(net, net.input(*shape), list(sizes), mode="linear")))
    graph = check(net)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize("given", [{"antialias": 1}, {"keep_aspect_ratio_policy": "not_larger"}])
def test_what_has_no_form_says_why(given: dict[str, Any]) -> None:
    net = Net(50, opset=18)
    net.output(net.quantise(resized(net, net.input(1, 3, 8, 8), [4, 4], mode="linear", axes=[2, 3], **given)))
    decision = next(d for d in lower(net.model()).decisions if d.op == "Resize")
    assert decision.where == "CPU" and next(iter(given)) in decision.reason
