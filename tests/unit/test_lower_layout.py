"""Pools, resizes and rearrangements of QDQ models against ONNX Runtime, the oracle and the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net

POOLS: list[tuple[str, dict[str, Any]]] = [
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 3], "strides": [2, 1], "ceil_mode": 1}),
    ("MaxPool", {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 0, 2, 1]}),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("MaxPool", {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1, "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", {"kernel_shape": [3, 2], "auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    ("GlobalAveragePool", {}),
    ("GlobalMaxPool", {}),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", range(len(POOLS)))
def test_pool(case: int, dtype: str) -> None:
    op, attributes = POOLS[case]
    net = Net(case, dtype)
    x = net.input(2, 5, 9, 7)
    net.output(net.quantise(net.node(op, x, **attributes)))
    check(net)


@pytest.mark.parametrize(
    ("op", "opset"), [("ReduceMean", 17), ("ReduceMean", 18), ("ReduceSum", 17), ("ReduceMax", 18)]
)
@pytest.mark.parametrize("axes", [[2, 3], [1], [-1], [0, 2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction(op: str, opset: int, axes: list[int], keepdims: int) -> None:
    net = Net(20, opset=opset)
    x = net.input(2, 5, 4, 3)
    if opset >= 18 or op == "ReduceSum":
        y = net.node(op, x, net.constant(axes, np.int64), keepdims=keepdims)
    else:
        y = net.node(op, x, axes=axes, keepdims=keepdims)
    net.output(net.quantise(y))
    check(net)


NEAREST = [
    (coordinates, rounding)
    for coordinates in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric")
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
]


@pytest.mark.parametrize(("coordinates", "rounding"), NEAREST)
def test_resize_nearest(coordinates: str, rounding: str) -> None:
    net = Net(30, opset=19)
    modes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    for scales in ((2, 2), (0.5, 1.5), (4, 3)):
        scale = net.constant([1, 1, *scales], np.float32)
        net.output(_resized(net, net.input(1, 3, 6, 4), "", scale, mode="nearest", **modes))
    sizes = net.constant([1, 3, 9, 8], np.int64)
    net.output(_resized(net, net.input(1, 3, 6, 4), "", "", sizes, mode="nearest", **modes))
    check(net, tolerance=0)


@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"])
def test_resize_bilinear(coordinates: str) -> None:
    net = Net(31)
    modes = {"coordinate_transformation_mode": coordinates, "mode": "linear"}
    for sizes in ((12, 8), (9, 5), (3, 2), (1, 1)):
        y = net.node("Resize", net.input(1, 3, 6, 4), "", "", net.constant([1, 3, *sizes], np.int64), **modes)
        net.output(y)
    for index, y in enumerate(net.outputs):  # the grid of the input, and another one
        made = next(n for n in net.nodes if n.output[0] == y)
        source = next(n for n in net.nodes if n.output[0] == made.input[0])
        scale, zero = (next(t for t in net.initializers if t.name == name).raw_data for name in source.input[1:])
        parameters = (float(np.frombuffer(scale, np.float32)[0]), int(np.frombuffer(zero, np.int8)[0]))
        net.outputs[index] = net.quantise(y, *(parameters if index else (0.04, -3)))
    check(net)


def _resized(net: Net, x: str, *operands: str, **attributes: Any) -> str:
    """A resize on the grid of its input, which is dequantised by the node that made `x`."""
    y = net.node("Resize", x, *operands, **attributes)
    dequantize = next(n for n in net.nodes if n.output[0] == x)
    q = net.node("QuantizeLinear", y, *dequantize.input[1:])
    return net.node("DequantizeLinear", q, *dequantize.input[1:])


def _slice(net: Net, x: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> str:
    return net.node("Slice", x, *(net.constant(v, np.int64) for v in (starts, ends, axes, steps)))


def _integers(net: Net, *values: int) -> str:
    return net.constant(values, np.int64)


def _channel_shuffle(net: Net, x: str) -> str:
    y = net.node("Reshape", x, _integers(net, 2, 2, 4, 6, 4))
    return net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 1, 3, 4]), _integers(net, 2, 8, 6, 4))


def _focus(net: Net, x: str) -> str:
    parts = [_slice(net, x, [y, z], [99, 99], [2, 3], [2, 2]) for z in (0, 1) for y in (0, 1)]
    return net.node("Concat", *parts, axis=1)


def _split(net: Net, x: str) -> str:
    a, b, c = net.node("Split", x, _integers(net, 2, 5, 1), axis=1, outputs=3)
    return net.node("Concat", c, a, b, a, axis=1)


def _pixel_shuffle(net: Net, x: str) -> str:
    y = net.node("Reshape", x, _integers(net, 2, 2, 2, 2, 6, 4))
    return net.node("Reshape", net.node("Transpose", y, perm=[0, 1, 4, 2, 5, 3]), _integers(net, 2, 2, 12, 8))


MOVES: dict[str, Callable[[Net, str], str]] = {
    "flatten": lambda n, x: n.node("Flatten", x, axis=1),
    "reshape": lambda n, x: n.node("Reshape", x, _integers(n, 0, 4, -1)),
    "squeeze": lambda n, x: n.node("Squeeze", n.node("Unsqueeze", x, _integers(n, 0)), _integers(n, 0)),
    "to rows": lambda n, x: n.node("Transpose", n.node("Reshape", x, _integers(n, 2, 8, 24)), perm=[0, 2, 1]),
    "channels last": lambda n, x: n.node("Transpose", x, perm=[0, 2, 3, 1]),
    "transpose": lambda n, x: n.node("Transpose", x, perm=[1, 3, 0, 2]),
    "rows and columns": lambda n, x: n.node("Transpose", x, perm=[0, 1, 3, 2]),
    "shuffle": _channel_shuffle,
    "pixel shuffle": _pixel_shuffle,
    "depth to space": lambda n, x: n.node("DepthToSpace", x, blocksize=2),
    "depth to space, CRD": lambda n, x: n.node("DepthToSpace", x, blocksize=2, mode="CRD"),
    "space to depth": lambda n, x: n.node("SpaceToDepth", x, blocksize=2),
    "focus": _focus,
    "split": _split,
    "slice": lambda n, x: _slice(n, x, [1, -3], [8, -1], [1, 2], [2, 1]),
    "reversed": lambda n, x: _slice(n, x, [-1, -1], [-99, -99], [3, 2], [-1, -2]),
    "gather": lambda n, x: n.node("Gather", x, n.constant(3, np.int64), axis=1),
    "gather rows": lambda n, x: n.node("Gather", x, _integers(n, 0, 5, 2, 2), axis=2),
    "gather channels": lambda n, x: n.node("Gather", x, _integers(n, 7, 0, 1, -2), axis=1),
    "expand": lambda n, x: n.node("Expand", n.node("GlobalMaxPool", x), _integers(n, 2, 8, 3, 2)),
    "concat of rows": lambda n, x: n.node("Concat", x, n.node("Relu", x), axis=2),
    "concat of images": lambda n, x: n.node("Concat", x, x, axis=0),
    "pad": lambda n, x: n.node("Pad", x, _integers(n, 0, 1, 0, 2, 0, 0, 3, 1)),
    "pad with a value": lambda n, x: n.node(
        "Pad", x, _integers(n, 0, 0, 1, 0, 1, 0, 0, 2), n.constant(0.7, np.float32)
    ),
    "reflect": lambda n, x: n.node("Pad", x, _integers(n, 0, 0, 2, 1, 0, 0, 1, 3), mode="reflect"),
    "edge": lambda n, x: n.node("Pad", x, _integers(n, 0, 0, 2, 0, 0, 0, 1, 0), mode="edge"),
    "identity": lambda n, x: n.node("Dropout", n.node("Cast", n.node("Identity", x), to=1)),
    "high rank": lambda n, x: n.node("Concat", *[n.node("Reshape", x, _integers(n, 2, 2, 4, 2, 3, 4))] * 2, axis=2),
}


@pytest.mark.parametrize("name", MOVES)
def test_move(name: str) -> None:
    """Exact on the grid of the input; with another grid behind it, one rescale."""
    net = Net(40)
    scale, zero = 0.021, -5
    x = net.quantise(net.input(2, 8, 6, 4, quantised=False), scale, zero)
    y = MOVES[name](net, x)
    net.output(net.quantise(y, scale, zero))
    check(net, tolerance=0)
    net.output(net.quantise(y, scale * 1.7, zero + 20))
    check(net, tolerance=1)


@pytest.mark.parametrize("name", ["flatten", "channels last", "focus", "shuffle", "reversed", "pad"])
def test_move_in_front_of_the_quantisation(name: str) -> None:
    net = Net(41)
    x = net.input(2, 5, 6, 4)
    y = net.node("Conv", x, net.weight(net.random.standard_normal((8, 5, 3, 3))), pads=[1, 1, 1, 1])
    net.output(net.quantise(net.node("Relu", MOVES[name](net, y)) if name != "pad" else MOVES[name](net, y)))
    check(net)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", ["flatten", "channels last", "focus", "split"])
def test_move_of_integers(name: str, dtype: str) -> None:
    """Moves between QuantizeLinear and DequantizeLinear, as optimisers leave them; also behind them all."""
    net = Net(42, dtype)
    operands = net.constant(0.03, np.float32), net.constant(4, dtype)
    q = net.node("QuantizeLinear", net.input(2, 8, 6, 4, quantised=False), *operands)
    y = MOVES[name](net, q)
    net.output(y)
    net.output(net.node("DequantizeLinear", y, *operands))
    check(net, tolerance=0)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_pad_of_integers(dtype: str) -> None:
    net = Net(45, dtype)
    operands = net.constant(0.03, np.float32), net.constant(4, dtype)
    q = net.node("QuantizeLinear", net.input(1, 3, 4, 4, quantised=False), *operands)
    y = net.node("Pad", q, _integers(net, 0, 0, 1, 2, 0, 0, 0, 1), net.constant(9, dtype))
    net.output(net.node("DequantizeLinear", y, *operands))
    check(net, tolerance=0)


def test_border_waits_for_the_grid_of_the_result() -> None:
    """A border beyond the range of the input is kept where the result can hold it."""
    net = Net(46)
    x = net.quantise(net.input(1, 3, 4, 4, quantised=False), 0.01, 100)
    y = net.node("Pad", x, _integers(net, 0, 0, 1, 1, 0, 0, 1, 1), net.constant(2.5, np.float32))
    net.output(net.quantise(y, 0.03, 0))
    check(net)


def test_max_pool_in_front_of_the_quantisation() -> None:
    net = Net(43)
    y = net.node("Conv", net.input(1, 5, 6, 4), net.weight(net.random.standard_normal((8, 5, 3, 3))))
    net.output(net.quantise(net.node("Relu", net.node("MaxPool", y, kernel_shape=[2, 2]))))
    check(net, kinds=("conv2d", "maxpool"))


def test_concat_with_other_parameters_rescales_its_parts() -> None:
    net = Net(44)
    a, b = net.input(1, 3, 4, 4), net.input(1, 5, 4, 4, spread=3.0)
    c = net.node("Conv", a, net.weight(net.random.standard_normal((2, 3, 1, 1))))
    net.output(net.quantise(net.node("Concat", a, b, c, axis=1)))
    check(net, kinds=("rescale", "rescale", "conv2d", "concat"))
