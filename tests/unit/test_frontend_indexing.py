"""Reads and writes by index between quantised tensors, against ONNX Runtime; the CPU computes indices alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from lowering.check import check_model
from lowering.nets import Net, reference
from openbpu import frontend
from openbpu.ir.graph import Graph
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.runtime import Session
from openbpu.schedule import schedule

INTEGERS = {"Cast", "Mod", "Mul", "ReduceSum", "Add", "Reshape", "Expand", "Identity"}


def exact(net: Net, result: str, shape: tuple[int, ...], tolerance: int = 0) -> Graph:
    """`result` quantised as the input is, and the integer graph behind the frontend."""
    scale, zero = (onnx.numpy_helper.to_array(t) for t in net.initializers[:2])
    result = net.quantise(result, float(scale), int(zero))
    model = net._model([result])
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, shape))
    prepared = frontend.prepare_qdq(model)
    graph = lower(prepared)
    there = {decision.op for decision in graph.decisions if decision.where == "CPU"}
    assert there <= INTEGERS, there
    if not there:
        return check_model(prepared, net.feeds, tolerance)
    (want,), session = reference(model, net.feeds), Session(schedule(graph, profile("nash-e")))
    np.testing.assert_allclose(session.run(net.feeds)[result], want, atol=tolerance * float(scale))
    return graph


def net_with_input(*shape: int, dtype: str = "int8", opset: int = 21) -> tuple[Net, str]:
    net = Net(sum(shape), dtype, opset)
    return net, net.input(*shape)


ELEMENTS = [
    ((4, 5), (3, 5), 0), ((4, 5), (4, 9), 1), ((2, 6, 5), (2, 3, 5), 1), ((2, 3, 4, 5), (2, 3, 4, 2), 3),
    ((2, 3, 4, 5), (2, 7, 4, 5), 1), ((1, 3, 2, 4, 5), (1, 3, 6, 4, 5), 2), ((3, 4, 5), (2, 6, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(("shape", "indices", "axis"), ELEMENTS)
@pytest.mark.parametrize("constant", [False, True])
def test_gather_elements(
    shape: tuple[int, ...], indices: tuple[int, ...], axis: int, constant: bool, dtype: str
) -> None:
    net, x = net_with_input(*shape, dtype=dtype)
    extent = shape[axis]
    if constant:
        at = net.constant(net.random.integers(-extent, extent, indices), np.int64)
    else:
        at = net.indices(*indices, low=-extent, high=extent, dtype=("int64", "int32")[axis % 2])
    exact(net, net.node("GatherElements", x, at, axis=axis - len(shape)), indices)


@pytest.mark.parametrize("axis", [1, 2])
def test_equal_lines_of_indices_are_one_look_up(axis: int) -> None:
    """As boxes of the best scores are taken."""
    net, x = net_with_input(1, 30, 40)
    line = net.indices(1, *([6, 1] if axis == 1 else [1, 6]), low=0, high=30)
    shape = (1, 6, 40) if axis == 1 else (1, 30, 6)
    at = net.node("Expand", line, net.constant(shape, np.int64))
    graph = exact(net, net.node("GatherElements", x, at, axis=axis), shape)
    found = [op for op in graph.ops if op.kind == "gather"]
    assert [op.inputs[1].onnx_shape for op in found] == [(6,)]


ROWS = [
    ((4, 5), (3, 1), 0), ((4, 5, 6), (7, 2), 0), ((4, 5, 6), (2, 3, 3), 0), ((2, 6, 5), (2, 1), 1),
    ((2, 6, 5), (2, 4, 1), 1), ((2, 3, 4, 5), (2, 3, 2, 1), 2), ((3, 2, 4, 5), (3, 6, 2), 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(("shape", "indices", "batch"), ROWS)
@pytest.mark.parametrize("constant", [False, True])
def test_gather_nd(shape: tuple[int, ...], indices: tuple[int, ...], batch: int, constant: bool, dtype: str) -> None:
    net, x = net_with_input(*shape, dtype=dtype)
    bounds = np.array(shape[batch : batch + indices[-1]])
    values = net.random.integers(-bounds, bounds, indices)
    if constant:
        at = net.constant(values, np.int64)
    else:
        at = net.indices(*indices, low=0, high=1)
        net.feeds[at] = values
    result = (*indices[:-1], *shape[batch + indices[-1] :])
    exact(net, net.node("GatherND", x, at, batch_dims=batch), result)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize(("shape", "depth", "count"), [((6, 5), 1, 3), ((4, 5, 6), 2, 7), ((3, 4, 5), 3, 20)])
def test_scatter_nd(shape: tuple[int, ...], depth: int, count: int, reduction: str, dtype: str) -> None:
    net, x = net_with_input(*shape, dtype=dtype)
    rows = net.random.permutation(int(np.prod(shape[:depth])))[:count]
    at = net.constant(np.stack(np.unravel_index(rows, shape[:depth]), axis=-1), np.int64)
    updates = net.input(count, *shape[depth:])
    y = net.node("ScatterND", x, at, updates, reduction=reduction)
    exact(net, y, shape, tolerance=1)


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scatter_elements(axis: int, whole: bool, reduction: str) -> None:
    shape = (5, 6, 7)
    net, x = net_with_input(*shape)
    extents = [3 if a == axis else extent - (not whole) for a, extent in enumerate(shape)]
    every = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    if whole:
        lines = np.broadcast_to(net.random.permuted(every, axis=axis), shape)
    else:
        lines = net.random.permuted(np.broadcast_to(every, shape), axis=axis)
    places = net.constant(lines[tuple(map(slice, extents))], np.int64)
    y = net.node("ScatterElements", x, places, net.input(*extents), axis=axis, reduction=reduction)
    exact(net, y, shape, tolerance=1)


@pytest.mark.parametrize("case", ["twice", "product", "run time"])
def test_other_writes_stay(case: str) -> None:
    net, x = net_with_input(6, 5)
    places = (
        net.indices(2, 1, low=0, high=6) if case == "run time" else net.constant([[1], [1 if case == "twice" else 2]])
    )
    reduction = "mul" if case == "product" else "none"
    y = net.node("ScatterND", x, places, net.input(2, 5), reduction=reduction)
    prepared = frontend.prepare_qdq(net.model(net.quantise(y)))
    assert "ScatterND" in {node.op_type for node in prepared.graph.node}


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 5)])
def test_reversed_sequences(shape: tuple[int, ...], time: int, batch: int) -> None:
    net, x = net_with_input(*shape)
    lengths = net.constant(net.random.integers(1, shape[time] + 1, shape[batch]), np.int64)
    exact(net, net.node("ReverseSequence", x, lengths, time_axis=time, batch_axis=batch), shape)
