"""Float networks around single operators: quantised, nothing of them on the CPU, and close to the float model."""

from __future__ import annotations

from collections.abc import Callable

import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu


def log_softmax(net: nets.Net) -> str:
    return net.op("LogSoftmax", net.conv("x", 3, 12), axis=1)


def log_sum_exp(net: nets.Net) -> str:
    return net.op("ReduceLogSumExp", net.conv("x", 3, 12), net.constant(np.array([1])), keepdims=1)


def gather_elements(net: nets.Net) -> str:
    x = net.conv("x", 3, 12)
    best = net.op("ArgMax", x, axis=1, keepdims=1)
    return net.op("GatherElements", x, best, axis=1)


def gather_nd(net: nets.Net) -> str:
    places = net.constant(net.random.integers(0, 12, (9, 2)))
    return net.op(
        "GatherND", net.conv("x", 3, 12), net.op("Unsqueeze", places, net.constant(np.array([0]))), batch_dims=1
    )


def scatter_nd(net: nets.Net) -> str:
    x, y = net.conv("x", 3, 12), net.conv("x", 3, 2)
    places = net.constant(np.array([[[0, 4], [0, 7]]]))
    return net.op("ScatterND", x, places, y, reduction="none")


def scatter_elements(net: nets.Net) -> str:
    """Sums in some channels."""
    x, y = net.conv("x", 3, 12), net.conv("x", 3, 2)
    places = np.broadcast_to(np.array([9, 3]).reshape(1, 2, 1, 1), (1, 2, 16, 16))
    return net.op("ScatterElements", x, net.constant(places), y, axis=1, reduction="add")


def cubic(net: nets.Net) -> str:
    sizes = net.constant(np.array([1, 12, 24, 40]))
    return net.op("Resize", net.conv("x", 3, 12), "", "", sizes, mode="cubic")


def volume(net: nets.Net) -> str:
    x = net.op("Reshape", net.conv("x", 3, 12), net.constant(np.array([1, 3, 4, 16, 16])))
    return net.op("Resize", x, "", "", net.constant(np.array([1, 3, 8, 32, 32])), mode="linear")


def running_sum(net: nets.Net) -> str:
    return net.op("CumSum", net.conv("x", 3, 12), net.constant(np.array(3)))


def triangle(net: nets.Net) -> str:
    return net.op("Trilu", net.conv("x", 3, 12), upper=0)


def product(net: nets.Net) -> str:
    return net.op("ReduceProd", net.op("Sigmoid", net.conv("x", 3, 7)), net.constant(np.array([1])), keepdims=0)


def global_norm(net: nets.Net) -> str:
    return net.op("GlobalLpPool", net.conv("x", 3, 12), p=1)


def local_response(net: nets.Net) -> str:
    return net.op("LRN", net.conv("x", 3, 24), size=5, alpha=0.1, beta=0.75, bias=2.0)


def image_of_columns(net: nets.Net) -> str:
    columns = net.op("Reshape", net.conv("x", 3, 12), net.constant(np.array([1, 12, 256])))
    return net.op("Col2Im", columns, net.constant(np.array([17, 17])), net.constant(np.array([2, 2])))


INDICES = {"Add", "ArgMax", "Mod", "Mul", "Reshape"}  # what the CPU may do: integers, and ArgMax of int16
OPERATORS: dict[str, tuple[Callable[[nets.Net], str], float]] = {  # what it builds, least SQNR in dB
    "log_softmax": (log_softmax, 30),
    "log_sum_exp": (log_sum_exp, 30),
    "gather_elements": (gather_elements, 30),
    "gather_nd": (gather_nd, 30),
    "scatter_nd": (scatter_nd, 30),
    "scatter_elements": (scatter_elements, 30),
    "cubic": (cubic, 30),
    "local_response": (local_response, 30),
    "image_of_columns": (image_of_columns, 30),
    "running_sum": (running_sum, 30),
    "triangle": (triangle, 30),
    "product": (product, 25),
    "global_norm": (global_norm, 30),
    "volume": (volume, 30),
}


def _model(build: Callable[[nets.Net], str]) -> onnx.ModelProto:
    net = nets.Net(21)
    net.op("Identity", build(net), out="y")
    return net.model("y", shape=(1, 3, 16, 16), opset=18)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, bits: int) -> None:
    build, least = OPERATORS[name]
    model, samples = _model(build), nets.samples(8, (1, 3, 16, 16))
    options = {"all_nodes_type": "int16"} if bits == 16 else {}
    qdq = openbpu.quantize(model, samples, **options)
    report = openbpu.check(qdq)
    assert not [d for d in report.decisions if d.where == "CPU" and d.op not in INDICES], report
    session = openbpu.Session(openbpu.compile(qdq))
    for sample in samples[:2]:
        got = session.run({"x": sample})["y"]
        assert nets.sqnr(nets.run(model, sample)[0][0], got) > least + (10 if bits == 16 else 0)
        assert nets.sqnr(nets.run(qdq, sample)[0][0], got) > 40
