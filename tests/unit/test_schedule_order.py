"""The order of operators by live bytes: against all orders of small graphs, and what it saves where branches grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import float_networks
import numpy as np
import onnx
import pytest
import wide_networks

from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph, Op, QuantParams, Value
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.pipeline import quantize
from openbpu.programs import Aim, chosen
from openbpu.runtime import Executable
from openbpu.schedule import Options, frugal, schedule


def _value(name: str, channels: int) -> Value:
    return Value(name, (1, 8, 8, channels), "int8", QuantParams((0.1,), (0,), "int8"), (1, channels, 8, 8))


def _drawn(seed: int) -> Graph:
    """Up to nine operators on earlier results, now and then a view; the ends are joined in an output."""
    random = np.random.default_rng(seed)
    first = _value("x", 4)
    values, ops = [first], []
    for k in range(int(random.integers(5, 9))):
        sources = [values[int(random.integers(max(0, len(values) - 4), len(values)))] for _ in range(1 + k % 2)]
        view = random.random() < 0.2
        channels = sum(s.shape[3] for s in sources) if view else int(random.integers(1, 40))
        values.append(_value(f"v{k}", channels))
        ops.append(Op("concat" if view else "any", sources, [values[-1]]))
    read = {v for op in ops for v in op.inputs}
    ends = [v for v in values if v not in read and v is not first]
    out = _value("y", 2)
    return Graph("drawn", [first], [out], [*ops, Op("any", ends, [out])])


def _peak(graph: Graph, ops: list[Op]) -> int:
    """The most bytes that live at one time, counted from scratch at each operator."""
    shown: dict[Value, set[Value]] = {}
    for op in graph.ops:
        sources = set().union(*(shown.get(v, {v}) for v in op.inputs))
        shown |= dict.fromkeys(op.outputs, sources if op.kind == "concat" else set(op.outputs))
    ports = {*graph.inputs, *graph.outputs}
    worst = 0
    for at in range(len(ops)):
        made = {v for op in ops[: at + 1] for v in op.outputs if op.kind != "concat"}
        needed = {root for op in ops[at:] for v in op.inputs for root in shown.get(v, {v})} | set(ops[at].outputs)
        worst = max(worst, sum(prod(v.shape) for v in (made & needed) - ports))
    return worst


def _orders(ops: list[Op], done: tuple[Op, ...] = ()) -> Iterator[list[Op]]:
    if len(done) == len(ops):
        yield list(done)
    made = {v for op in done for v in op.outputs}
    inner = {v for op in ops for v in op.outputs}
    for op in ops:
        if op not in done and all(v in made or v not in inner for v in op.inputs):
            yield from _orders(ops, (*done, op))


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_a_small_graph_has_a_lower_peak(seed: int) -> None:
    graph = _drawn(seed)
    least = min(_peak(graph, ops) for ops in _orders(graph.ops))
    before = _peak(graph, graph.ops)
    found = frugal(graph)
    if found is None:
        assert least > 0.95 * before
        return
    assert found.ops in list(_orders(graph.ops))
    assert _peak(graph, found.ops) == least < before


def test_chains_keep_their_order() -> None:
    for model, shape in ((float_networks.residual(), (1, 3, 32, 32)), (wide_networks.inverted(), (1, 3, 112, 112))):
        qdq = quantize(model, float_networks.samples(1, shape), calibration="max", refinement=())
        assert frugal(lower(prepare_qdq(qdq))) is None


def _breadth_first() -> onnx.ModelProto:
    samples = float_networks.samples(1, (1, 3, 48, 48))
    return quantize(wide_networks.breadth_first(), samples, calibration="max", refinement=())


def test_branches_one_after_the_other_save_traffic() -> None:
    graph = lower(prepare_qdq(_breadth_first()))
    assert frugal(graph) is not None
    for kib, share in ((256, 0.5), (512, 0.5)):
        machine = replace(profile("nash-e"), sram_bytes=kib << 10)
        as_it_is = _traffic(schedule(graph, machine, Options()))
        taken = chosen(graph, machine, Options(), Aim("bandwidth")).meta["memory"]["traffic_bytes"]
        assert taken < share * as_it_is


def _traffic(data: bytes) -> int:
    return int(Executable.from_bytes(data).meta["memory"]["traffic_bytes"])
