"""One operator at a time through the Python API: `python -m pytest bench`.

The timed call is `Session.run`, so it holds what a caller pays: the float border, the kernel, the result arrays. What
the kernel alone does stands in the extra columns (--benchmark-json has them all): its row, GMAC/s and the share of the
instruction peak measured in the same session. For kernels of a few microseconds Python would hide everything: those are
in the C++ benchmarks beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import openbpu
from bench.models.engines import samples
from bench.models.networks import Network
from openbpu import _native

pytest.importorskip("pytest_benchmark", reason="pip install 'openbpu[bench]'")

SIMD = [isa for isa in _native.available_isas() if isa != "scalar"]


def conv(channels: int, size: int, out: int, kernel: int = 1, stride: int = 1) -> onnx.ModelProto:
    net = Network("conv", (1, channels, size, size))
    return net.finish(net.conv("image", out, kernel, stride, act=None))


def depthwise(channels: int, size: int, kernel: int = 3, stride: int = 1) -> onnx.ModelProto:
    net = Network("depthwise", (1, channels, size, size))
    return net.finish(net.conv("image", channels, kernel, stride, groups=channels, act=None))


def single(channels: int, size: int, kind: str, *inputs: str, **attributes: Any) -> onnx.ModelProto:
    net = Network(kind.lower(), (1, channels, size, size))
    return net.finish(net.op(kind, "image", *inputs, **attributes))


def addition(channels: int, size: int) -> onnx.ModelProto:
    net = Network("add", (1, channels, size, size))
    pooled = net.op("MaxPool", "image", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    return net.finish(net.op("Add", "image", pooled))  # of two tensors: a function of one would become a table


def classifier(channels: int, classes: int) -> onnx.ModelProto:
    net = Network("classifier", (1, channels, 1, 1))
    return net.finish(net.classifier("image", classes))


SHAPES: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "1x1 56x56 64to256": ("CONV2D", lambda: conv(64, 56, 256)),
    "1x1 14x14 1024to256": ("CONV2D", lambda: conv(1024, 14, 256)),
    "1x1 112x112 16to96 (thin)": ("CONV2D", lambda: conv(16, 112, 96)),
    "1x1 56x56 24to144 (thin)": ("CONV2D", lambda: conv(24, 56, 144)),
    "3x3 56x56 64to64": ("CONV2D", lambda: conv(64, 56, 64, 3)),
    "3x3 7x7 512to512": ("CONV2D", lambda: conv(512, 7, 512, 3)),
    "7x7 s2 224x224 3to64 (stem)": ("CONV2D", lambda: conv(3, 224, 64, 7, 2)),
    "3x3 s2 224x224 3to32 (stem)": ("CONV2D", lambda: conv(3, 224, 32, 3, 2)),
    "depthwise 3x3 112x112 32": ("DWCONV2D", lambda: depthwise(32, 112)),
    "depthwise 3x3 s2 112x112 96": ("DWCONV2D", lambda: depthwise(96, 112, 3, 2)),
    "depthwise 5x5 28x28 240": ("DWCONV2D", lambda: depthwise(240, 28, 5)),
    "matrix-vector 1280to1000": ("MATMUL", lambda: classifier(1280, 1000)),
    "max pool 3x3 s2 112x112 64": (
        "MAXPOOL",
        lambda: single(64, 112, "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ),
    "global mean 7x7 1280": ("AVGPOOL", lambda: single(1280, 7, "GlobalAveragePool")),
    "add 56x56 256": ("ADD", lambda: addition(256, 56)),
    "table 80x80 64": ("LUT8", lambda: single(64, 80, "Sigmoid")),
    "quantise 224x224 3": ("QUANTIZE", lambda: single(3, 224, "Relu")),
    "dequantise 40x40 255": ("DEQUANTIZE", lambda: single(255, 40, "Relu")),
}


@pytest.fixture(scope="session")
def peaks() -> dict[str, float]:
    return {isa: max(_native.peak_gmacs(isa) for _ in range(5)) for isa in SIMD}


@pytest.mark.parametrize("isa", SIMD)
@pytest.mark.parametrize("shape", SHAPES)
def test_operator(benchmark: Any, peaks: dict[str, float], shape: str, isa: str) -> None:
    operation, make = SHAPES[shape]
    model = make()
    extents = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    executable = openbpu.build(model, samples(extents, 2), calibration="max", refinement=())
    session = openbpu.Session(executable, isa=isa)
    feed = {"image": samples(extents, 1)[0]}
    output = benchmark(session.run, feed)
    assert all(np.any(array) for array in output.values())
    step = max((s for s in session.profile(feed, runs=30).steps if s.op == operation), key=lambda s: s.nanoseconds)
    rate = step.gmac_per_second
    # Products with the padding count, and kernels leave out kernel rows in the padding: a tenth of a 7 x 7 image.
    assert rate <= 1.15 * peaks[isa], "faster than the instruction peak: the measurement is void"
    benchmark.extra_info.update(
        row=step.row,
        kernel_us=round(step.nanoseconds / 1e3, 2),
        gmac_per_second=round(rate, 1),
        percent_of_peak=round(100 * rate / peaks[isa], 1),
        gigabytes_per_second=round(step.bytes / step.nanoseconds, 1),
    )
