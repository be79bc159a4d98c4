"""Single operators with random shapes, geometry, scales and zero points, each within one step of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lowering.check import check
from lowering.nets import Net
from openbpu.lower import lower


def _draw(net: Net, low: int, high: int) -> int:
    return int(net.random.integers(low, high + 1))


def _geometry(net: Net, kernel: tuple[int, int], dilated: bool = True) -> dict[str, list[int]]:
    pads = [_draw(net, 0, kernel[axis % 2] - 1) for axis in range(4)]
    dilations = [_draw(net, 1, 2) if dilated else 1 for _ in range(2)]
    return {"strides": [_draw(net, 1, 3), _draw(net, 1, 3)], "pads": pads, "dilations": dilations}


def conv(net: Net) -> str:
    kernel = (_draw(net, 1, 4), _draw(net, 1, 4))
    groups = _draw(net, 1, 3)
    ci, co = groups * _draw(net, 1, 9), groups * _draw(net, 1, 9)
    x = net.input(_draw(net, 1, 2), ci, _draw(net, 8, 12), _draw(net, 8, 12))
    weight = net.weight(net.random.standard_normal((co, ci // groups, *kernel)), axis=(0, None)[_draw(net, 0, 1)])
    bias = net.constant(net.random.standard_normal(co), np.float32)
    return net.node("Conv", x, weight, bias, group=groups, **_geometry(net, kernel))


def depthwise(net: Net) -> str:
    channels, kernel = _draw(net, 2, 40), (_draw(net, 1, 5), _draw(net, 1, 5))
    x = net.input(1, channels, 11, 10)
    weight = net.weight(net.random.standard_normal((channels, 1, *kernel)))
    return net.node("Conv", x, weight, group=channels, **_geometry(net, kernel))


def conv_transpose(net: Net) -> str:
    groups, kernel = _draw(net, 1, 2), (_draw(net, 1, 4), _draw(net, 1, 4))
    ci, per_group = groups * _draw(net, 1, 6), _draw(net, 1, 6)
    geometry = _geometry(net, kernel)
    weight = net.weight(net.random.standard_normal((ci, per_group, *kernel)), axis=1)
    extra = [min(1, stride - 1) for stride in geometry["strides"]]
    x = net.input(1, ci, _draw(net, 4, 6), _draw(net, 4, 6))
    return net.node("ConvTranspose", x, weight, group=groups, output_padding=extra, **geometry)


def matmul(net: Net) -> str:
    inner, columns = _draw(net, 1, 300), _draw(net, 1, 40)
    weight = net.weight(net.random.standard_normal((inner, columns)), axis=1)
    return net.node("MatMul", net.input(_draw(net, 1, 9), inner), weight)


def matmul_dynamic(net: Net) -> str:
    batch, rows, inner, columns = (_draw(net, 1, 9) for _ in range(4))
    return net.node("MatMul", net.input(batch, rows, inner), net.input(batch, inner, columns))


def _pair(op: str) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        shape = [_draw(net, 1, 9) for _ in range(_draw(net, 1, 4))]
        other = [1 if net.random.integers(4) == 0 else extent for extent in shape]
        left = net.input(*shape, spread=float(net.random.uniform(0.1, 3)))
        right = net.input(*other, spread=float(net.random.uniform(0.1, 3)))
        return net.node(op, *((left, right) if net.random.integers(2) else (right, left)))

    return build


def _reduction(op: str) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        shape = [_draw(net, 1, 9) for _ in range(_draw(net, 1, 5))]
        axes = [a for a in range(len(shape)) if net.random.integers(2)] or [len(shape) - 1]
        return net.node(
            op, net.input(*shape, spread=float(net.random.uniform(0.1, 3))), axes=axes, keepdims=_draw(net, 0, 1)
        )

    return build


def where(net: Net) -> str:
    shape = [_draw(net, 1, 9) for _ in range(_draw(net, 1, 4))]
    others = [[1 if net.random.integers(4) == 0 else extent for extent in shape] for _ in range(3)]
    parts = [net.input(*other, spread=float(net.random.uniform(0.1, 3))) for other in others]
    test = net.node("Less", net.input(*shape), parts[0])
    return net.node("Where", test, parts[1], parts[2])


def conv_volume(net: Net) -> str:
    kernel, ci = [_draw(net, 1, 3) for _ in range(3)], _draw(net, 1, 6)
    weight = net.weight(net.random.standard_normal((_draw(net, 1, 9), ci, *kernel)))
    pads = [_draw(net, 0, kernel[axis % 3] - 1) for axis in range(6)]
    strides = [_draw(net, 1, 2) for _ in range(3)]
    return net.node("Conv", net.input(_draw(net, 1, 2), ci, 5, 6, 5), weight, strides=strides, pads=pads)


def _pool(op: str) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        kernel = (_draw(net, 1, 4), _draw(net, 1, 4))
        geometry = _geometry(net, kernel, dilated=False)
        del geometry["dilations"]
        x = net.input(_draw(net, 1, 2), _draw(net, 1, 20), _draw(net, 5, 12), _draw(net, 5, 12))
        return net.node(op, x, kernel_shape=list(kernel), **geometry)

    return build


def _function(op: str) -> Callable[[Net], str]:
    return lambda net: net.node(op, net.input(1, _draw(net, 1, 40), _draw(net, 1, 9), spread=4.0))


def concat(net: Net) -> str:
    shape = [_draw(net, 1, 6) for _ in range(4)]
    axis = _draw(net, 0, 3)
    parts = []
    for _ in range(_draw(net, 2, 4)):
        shape[axis] = _draw(net, 1, 6)
        parts.append(net.input(*shape, spread=float(net.random.uniform(0.2, 2))))
    return net.node("Concat", *parts, axis=axis)


def gelu(net: Net) -> str:
    x = net.input(1, _draw(net, 1, 40), _draw(net, 1, 9), spread=3.0)
    half = net.node("Mul", x, net.constant(np.float32(0.5)))
    inner = net.node("Erf", net.node("Mul", x, net.constant(np.float32(0.70710678))))
    return net.node("Mul", half, net.node("Add", inner, net.constant(np.float32(1))))


def resize(net: Net) -> str:
    x = net.input(1, _draw(net, 1, 9), _draw(net, 2, 6), _draw(net, 2, 6))
    mode = ("nearest", "linear")[_draw(net, 0, 1)]
    return net.node("Resize", x, "", net.constant([1, 1, 2, 1.5], np.float32), mode=mode)


def reshape(net: Net) -> str:
    x = net.node("Transpose", net.input(1, 6, 4, 5), perm=[0, 3, 1, 2])
    return net.node("Reshape", x, net.constant([1, 30, 4], np.int64))


def pad(net: Net) -> str:
    x = net.input(1, 6, 4, 5)
    return net.node("Pad", x, net.constant([0, 0, 1, 2, 0, 0, 2, 1], np.int64), net.constant(np.float32(0)))


def global_pool(net: Net) -> str:
    return net.node("GlobalAveragePool", net.input(1, _draw(net, 1, 20), _draw(net, 3, 30), _draw(net, 3, 30)))


def long_sum(net: Net) -> str:
    """Weights whose magnitudes add up to more than an int32 sum of int16 products can hold."""
    weight = net.weight(net.random.choice([-1.0, 1.0], (3000, 5)), axis=1)
    return net.node("MatMul", net.input(3, 3000), weight)


BUILDERS = {
    "conv": conv, "depthwise": depthwise, "conv_transpose": conv_transpose, "matmul": matmul,
    "matmul_dynamic": matmul_dynamic, "add": _pair("Add"), "sub": _pair("Sub"), "mul": _pair("Mul"),
    "max_pool": _pool("MaxPool"), "average_pool": _pool("AveragePool"), "sigmoid": _function("Sigmoid"),
    "hard_swish": _function("HardSwish"), "concat": concat,
}  # fmt: skip

NARROW_BUILDERS = {  # without a 16-bit form
    "max": _pair("Max"), "min": _pair("Min"), "where": where, "reduce_mean": _reduction("ReduceMean"),
    "reduce_max": _reduction("ReduceMax"), "reduce_l2": _reduction("ReduceL2"), "conv_volume": conv_volume,
}  # fmt: skip

WIDE_BUILDERS = {
    "tanh": _function("Tanh"), "exp": _function("Exp"), "gelu": gelu, "relu": _function("Relu"),
    "softmax": _function("Softmax"), "resize": resize, "reshape": reshape, "pad": pad, "global_pool": global_pool,
    "long_sum": long_sum,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", (*BUILDERS, *NARROW_BUILDERS))
def test_random_operator(kind: str, seed: int) -> None:
    """The scale of the result is up to 4 times finer (it saturates) or coarser than the values need."""
    builders = {**BUILDERS, **NARROW_BUILDERS}
    net = Net(1000 * list(builders).index(kind) + seed, ("int8", "uint8")[seed % 2])
    y = builders[kind](net)
    scale, zero = net.parameters(y)
    net.output(net.quantise(y, float(np.float32(scale * 2.0 ** net.random.uniform(-2, 2))), zero))
    check(net)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", (*BUILDERS, *WIDE_BUILDERS))
def test_random_operator_of_int16(kind: str, seed: int) -> None:
    """The same with int16 activations, in the standard domain and in ONNX Runtime's."""
    builders = {**BUILDERS, **WIDE_BUILDERS}
    net = Net(1000 * list(builders).index(kind) + seed, "int16", (17, 21)[seed % 2])
    y = builders[kind](net)
    scale, _ = net.parameters(y)
    net.output(net.quantise(y, float(np.float32(scale * 2.0 ** net.random.uniform(-2, 2)))))
    graph = check(net, tolerance=2 if kind == "softmax" else 1)
    assert not any(op.kind == "cpu" for op in graph.ops)


@pytest.mark.parametrize(("op", "kind"), [("Max", "extreme"), ("Div", "divide")])
def test_what_has_no_int16_form_runs_on_the_cpu_and_says_why(op: str, kind: str) -> None:
    net = Net(1, "int16")
    graph = lower(net.model(net.quantise(net.node(op, net.input(1, 6, 32), net.input(1, 6, 32)))))
    decision = next(d for d in graph.decisions if d.op == op)
    assert decision.where == "CPU" and decision.reason == f"it has no int16 form; got {kind}"
