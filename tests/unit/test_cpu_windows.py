"""Pools, transposed convolutions, arg-max of random geometry: ONNX Runtime's values, the same bits on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from cpu_operators import one_node
from graph_fuzz.reference import Unsupported, node_runner
from openbpu import _native

_OPSET = 19


def _check(op: str, operands: list[np.ndarray], outputs: int = 1, **attributes: Any) -> bool:
    """False if ONNX Runtime refuses the node."""
    names = [f"x{k}" for k in range(len(operands))]
    results = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    try:
        wanted = node_runner(node, _OPSET)(operands)
    except Unsupported:
        return False
    if any(array.size == 0 for array in wanted):
        return False
    inputs = dict(zip(names, operands, strict=True))
    data = one_node.program(node, inputs, dict(zip(results, wanted, strict=True)))
    seen = one_node.run(data, inputs)
    for got, want in zip(seen, wanted, strict=True):
        if want.dtype.kind == "f":  # sums of some hundred products in another order
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want[np.isfinite(want)]).max()))
        else:
            np.testing.assert_array_equal(got, want)
    for isa in _native.available_isas():
        for first, other in zip(seen, one_node.run(data, inputs, isa, threads=2), strict=True):
            assert first.tobytes() == other.tobytes(), f"{isa} gives other bits"
    return True


def _values(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools(op: str) -> None:
    random = np.random.default_rng(1)
    checked = 0
    for _ in range(60):
        kernel = [int(random.integers(1, 6)) for _ in range(2)]
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": [int(random.integers(1, 5)) for _ in range(2)],
            "pads": [int(random.integers(0, size)) for size in (*kernel, *kernel)],
            "dilations": [int(random.integers(1, 3)) for _ in range(2)],
            "ceil_mode": int(random.integers(2)),
        }
        if op == "AveragePool":
            attributes["count_include_pad"] = int(random.integers(2))
        x = _values(random, int(random.integers(1, 3)), 3, *(int(random.integers(5, 70)) for _ in range(2)))
        checked += _check(op, [x], **attributes)
    assert checked > 30


def test_pools_of_what_is_no_number_or_not_finite() -> None:
    x = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    x[0, 0, 2, 3], x[0, 0, 6, 6] = np.inf, -np.inf
    assert _check("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2])
    assert _check("MaxPool", [x], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])


def test_transposed_convolutions() -> None:
    random = np.random.default_rng(2)
    checked = 0
    for _ in range(60):
        groups, dimensions = int(random.integers(1, 3)), int(random.integers(1, 4))
        kernel = [int(random.integers(1, 5)) for _ in range(dimensions)]
        strides = [int(random.integers(1, 4)) for _ in kernel]
        attributes = {
            "group": groups,
            "strides": strides,
            "pads": [int(random.integers(0, size)) for size in (*kernel, *kernel)],
            "dilations": [int(random.integers(1, 3)) for _ in kernel],
            "output_padding": [int(random.integers(0, stride)) for stride in strides],
        }
        ci, co = groups * int(random.integers(1, 20)), int(random.integers(1, 20))
        x = _values(random, int(random.integers(1, 3)), ci, *(int(random.integers(1, 12)) for _ in kernel))
        checked += _check(
            "ConvTranspose", [x, _values(random, ci, co, *kernel), _values(random, groups * co)], **attributes
        )
    assert checked > 30
    # A kernel of more taps than a unit has rows.
    assert _check("ConvTranspose", [_values(random, 1, 5, 6, 6), _values(random, 5, 3, 12, 12)], strides=[4, 4])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_extremes(op: str) -> None:
    random = np.random.default_rng(3)
    for shape in ((3, 5, 700), (2, 90, 17), (4, 33), (1, 300, 3), (70, 2, 64)):
        for axis in range(len(shape)):
            for last in (0, 1):
                x = np.rint(_values(random, *shape) * 3).astype(np.float32)  # many equal ones
                assert _check(op, [x], axis=axis, select_last_index=last)


def test_extremes_beside_what_is_no_number() -> None:
    """NaN is never larger; as the first element it stays."""
    x = np.arange(200, dtype=np.float32).reshape(4, 50)
    x[0, 0] = x[1, 7] = x[2, 49] = np.nan
    node = helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)
    data = one_node.program(node, {"x": x}, {"y": np.zeros(4, np.int64)})
    for isa in _native.available_isas():
        assert one_node.run(data, {"x": x}, isa)[0].tolist() == [0, 49, 48, 49]
