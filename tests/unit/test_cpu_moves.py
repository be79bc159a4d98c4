"""Moves, choices of the largest and casts of random geometry: the values of numpy or ONNX Runtime on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from cpu_operators import one_node
from graph_fuzz.reference import node_runner
from openbpu import _native

_TYPES = (np.float32, np.int8, np.float16, np.int64)


def _check(op: str, operands: list[np.ndarray], wanted: list[np.ndarray] | None = None, **attributes: Any) -> None:
    names = [f"x{k}" for k in range(len(operands))]
    if wanted is None:
        node = helper.make_node(op, names, ["y0"], **attributes)
        wanted = node_runner(node, 19)(operands)
    results = [f"y{k}" for k in range(len(wanted))]
    node = helper.make_node(op, names, results, **attributes)
    inputs = dict(zip(names, operands, strict=True))
    data = one_node.program(node, inputs, dict(zip(results, wanted, strict=True)))
    for isa in _native.available_isas():
        for got, want in zip(one_node.run(data, inputs, isa, threads=2), wanted, strict=True):
            assert got.tobytes() == want.tobytes(), f"{op} {attributes} of {operands[0].shape} on {isa}"


def _random(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    dtype = _TYPES[int(random.integers(len(_TYPES)))]
    return random.integers(-100, 100, shape).astype(dtype)


def _shape(random: np.random.Generator, low: int = 1, high: int = 5) -> tuple[int, ...]:
    return tuple(int(random.choice([1, 2, 3, 7, 20])) for _ in range(random.integers(low, high)))


def test_tiles() -> None:
    random = np.random.default_rng(1)
    for _ in range(40):
        x = _random(random, _shape(random))
        repeats = random.integers(1, 5, x.ndim)
        _check("Tile", [x, repeats], [np.tile(x, repeats)])
    x = random.standard_normal((2, 3, 5000)).astype(np.float32)  # more than is written in one go
    _check("Tile", [x, np.array([2, 3, 2])], [np.tile(x, (2, 3, 2))])
    x = random.standard_normal((40000, 1)).astype(np.float32)
    _check("Tile", [x, np.array([3, 2])], [np.tile(x, (3, 2))])


def test_expansions() -> None:
    random = np.random.default_rng(2)
    for _ in range(40):
        shape = _shape(random)
        x = _random(random, tuple(1 if random.integers(2) else extent for extent in shape))
        _check("Expand", [x, np.array(shape)], [np.broadcast_to(x, shape).copy()])


def test_transpositions() -> None:
    random = np.random.default_rng(3)
    for _ in range(60):
        x = _random(random, _shape(random, 2))
        perm = [int(axis) for axis in random.permutation(x.ndim)]
        _check("Transpose", [x], [np.ascontiguousarray(x.transpose(perm))], perm=perm)
    for rows, columns in ((16, 16), (17, 33), (64, 300), (300, 5), (1000, 16)):
        for dtype in _TYPES:
            x = random.integers(-100, 100, (2, rows, columns)).astype(dtype)
            _check("Transpose", [x], [np.ascontiguousarray(x.transpose(0, 2, 1))], perm=[0, 2, 1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pads(mode: str) -> None:
    random = np.random.default_rng(4)
    for _ in range(30):
        x = _random(random, tuple(int(random.integers(4, 12)) for _ in range(random.integers(1, 5))))
        pads = random.integers(0, 4, (2, x.ndim))
        how: dict[str, Any] = {"constant_values": 3} if mode == "constant" else {}
        wanted = np.pad(x, pads.T, mode, **how)
        operands = [x, pads.ravel(), *([np.array(3, x.dtype)] if mode == "constant" else [])]
        _check("Pad", operands, [wanted], mode=mode)
    cut = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    _check("Pad", [cut, np.array([0, -1, -2, 1, 2, -1])], mode="constant")
    _check("Pad", [cut, np.array([-1, 0, 2, -1, -3, -4])], mode="constant")


@pytest.mark.parametrize("k", [1, 5, 32, 33, 90])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_largest(k: int, largest: int) -> None:
    """Equal values in the order of their indices, -0 as 0; not-a-number counts as largest."""
    random = np.random.default_rng(5)
    for axis in (0, 1, 2):
        shape = (3, 100, 4) if axis == 1 else (100, 3, 2) if axis == 0 else (2, 7, 100)
        x = np.rint(random.standard_normal(shape) * 4).astype(np.float32)
        x.ravel()[random.integers(0, x.size, 12)] = np.nan
        x.ravel()[random.integers(0, x.size, 12)] = -0.0
        key = np.where(np.isnan(x), np.inf, x)
        order = np.argsort(-key if largest else key, axis=axis, kind="stable").take(range(k), axis=axis)
        _check("TopK", [x, np.array([k])], [np.take_along_axis(x, order, axis), order], axis=axis, largest=largest)


def test_casts_to_int32_saturate() -> None:
    edges = np.float32([2147483648, 2147483520, -2147483648, -2147483904, np.inf, -np.inf, np.nan, 1.9, -1.9, -0.0])
    wanted = np.array([2147483647, 2147483520, -2147483648, -2147483648, 2147483647, -2147483648, 0, 1, -1, 0])
    for size in (1, 15, 16, 17, 47, 40001):
        x, y = np.resize(edges, size), np.resize(wanted, size).astype(np.int32)
        _check("Cast", [x], [y], to=TensorProto.INT32)


def test_transposed_convolutions_whose_taps_do_not_overlap() -> None:
    random = np.random.default_rng(6)
    for kernel, size in (((2, 2), (9, 40)), ((3, 2), (4, 5)), ((1, 4), (3, 7)), ((2,), (33,)), ((2, 3, 2), (2, 3, 5))):
        x = random.integers(-3, 4, (2, 5, *size)).astype(np.float32)  # sums of whole numbers are exact
        w = random.integers(-3, 4, (5, 4, *kernel)).astype(np.float32)
        for more in ({}, {"output_padding": [1] * len(kernel)}):
            if more and min(kernel) == 1:
                continue
            _check("ConvTranspose", [x, w, np.arange(4, dtype=np.float32)], strides=list(kernel), **more)
