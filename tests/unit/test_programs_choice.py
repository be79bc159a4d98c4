"""Which program is taken: more SRAM and more bandwidth never cost time, and nothing that is left out would have won."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import float_networks
import numpy as np
import onnx
import pytest
import wide_networks

from openbpu import perf, programs, schedule
from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph
from openbpu.ir.profile import PROFILES, TargetProfile
from openbpu.lower import lower
from openbpu.perf.bound import least_cycles
from openbpu.perf.program import read
from openbpu.perf.replay import replay
from openbpu.pipeline import quantize
from openbpu.programs import Aim, chosen
from openbpu.runtime import Executable, Session
from openbpu.schedule import Options, Scheduler
from schedules.drawn import drawn

KIB = 1024
NETWORKS = {**float_networks.NETWORKS, **wide_networks.NETWORKS}
# Rungs of the ladder, sizes between them, and one below all.
SIZES = [200, 256, 300, 511, 512, 1000, 1024, 1400, 1536, 2048, 2900, 4096, 6144, 8192, 12288, 24576]


@cache
def _qdq(name: str, dtype: str = "int8") -> onnx.ModelProto:
    model = NETWORKS[name]()
    random = np.random.default_rng(3)
    shapes = {i.name: tuple(d.dim_value or 1 for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    feed = {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    return quantize(model, [feed], calibration="max", refinement=(), all_nodes_type=dtype)


def _graph(name: str, dtype: str = "int8") -> Graph:
    return lower(prepare_qdq(_qdq(name, dtype)))


def _machine(kib: int = 1024, ddr: float = 1.0, march: str = "nash-e") -> TargetProfile:
    base = PROFILES[march]
    return replace(base, sram_bytes=kib * KIB, ddr_bytes_per_second=base.ddr_bytes_per_second * ddr)


def _time(graph: Graph, machine: TargetProfile, options: Options = Options()) -> float:  # noqa: B008
    return perf.estimate(chosen(graph, machine, options, Aim()), machine).latency_us


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ddr", [0.1, 1.0])
def test_more_sram_is_never_slower(name: str, ddr: float) -> None:
    graph = _graph(name)
    sizes = SIZES if name in wide_networks.NETWORKS else SIZES[1::4]
    times = [_time(graph, _machine(kib, ddr)) for kib in sizes if kib >= 256]
    assert all(later <= earlier for earlier, later in pairwise(times)), times
    assert times[-1] < times[0] or name not in wide_networks.NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_more_bandwidth_is_never_slower(name: str) -> None:
    graph = _graph(name)
    for kib in (256, 1400):
        times = [_time(graph, _machine(kib, ddr)) for ddr in (0.05, 0.2, 0.7, 1.0, 1.5, 8.0)]
        assert all(later <= earlier for earlier, later in pairwise(times)), times
        assert times[-1] < times[0]


@pytest.mark.parametrize("name", wide_networks.NETWORKS)
@pytest.mark.parametrize("mode", ["latency", "bandwidth", "balance"])
def test_what_is_left_out_would_not_have_won(name: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, aim = _graph(name), Aim(mode, 60 if mode == "balance" else None)
    made: list[int] = []
    written = Scheduler.written
    monkeypatch.setattr(Scheduler, "written", lambda self, draft: (made.append(1), written(self, draft))[1])
    for machine in (_machine(3000), _machine(700, 0.2, "nash-b")):
        few, counts = chosen(graph, machine, Options(), aim), len(made)
        with monkeypatch.context() as context:
            context.setattr(programs._Choice, "_is_beaten", lambda *_: False)
            all_of_them = chosen(graph, machine, Options(), aim)
        assert counts <= len(made) - counts
        made.clear()
        assert [few.meta["memory"]["traffic_bytes"], perf.estimate(few, machine).latency_us] == [
            all_of_them.meta["memory"]["traffic_bytes"],
            perf.estimate(all_of_them, machine).latency_us,
        ]


def test_modes_take_what_they_name() -> None:
    graph, machine = _graph("inverted"), _machine(512)
    quick, lean = (chosen(graph, machine, Options(), Aim(mode)) for mode in ("latency", "bandwidth"))
    assert perf.estimate(quick, machine).latency_us <= perf.estimate(lean, machine).latency_us
    assert lean.meta["memory"]["traffic_bytes"] <= quick.meta["memory"]["traffic_bytes"]


@pytest.mark.parametrize("name", ["detector", "attention", "encoder", "bottlenecks"])
@pytest.mark.parametrize("seed", range(3))
def test_no_replay_is_shorter_than_the_bound(name: str, seed: int) -> None:
    """Of any legal schedule, on any machine: the bound is what programs are left out by."""
    scheduler = Scheduler(_graph(name), _machine())
    for draft in (scheduler.draft(Options(partitioner=drawn(seed)), 500 * KIB), scheduler.draft(Options())):
        tasks = list(scheduler.tasks(draft))
        instructions = read(Executable.from_bytes(scheduler.written(draft))).instructions
        for march, ddr in (("nash-e", 1.0), ("nash-b", 0.1), ("nash-p", 10.0)):
            machine = _machine(1024, ddr, march)
            timeline = replay(instructions, machine)
            host = [c.compute for i, c in zip(instructions, timeline.costs, strict=True) if i.queue == "CPU"]
            least = least_cycles(tasks, draft.notes["traffic_bytes"], host, machine)
            assert timeline.makespan * 0.4 < least <= timeline.makespan
            assert least_cycles(tasks, draft.notes["traffic_bytes"], [], machine) < least


@pytest.mark.parametrize("name", NETWORKS)
def test_estimates_against_bounds_and_the_model(name: str) -> None:
    machine = _machine(300, 0.5)
    report = perf.estimate(chosen(_graph(name), machine, Options(), Aim()), machine)
    assert all(bound <= report.makespan_us * (1 + 1e-12) for bound in report.bounds_us.values())
    assert report.macs == _products(NETWORKS[name]())


def _products(model: onnx.ModelProto) -> int:
    """Multiplications of a float model, from the shapes of ONNX alone."""
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 1
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {t.name: list(t.dims) for t in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shapes[value.name] = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    total = 0
    for node in inferred.node:
        a, b = ([*(shapes.get(name, []) for name in node.input), [], []])[:2]
        y = shapes[node.output[0]]
        if node.op_type == "Conv":
            total += math.prod(y) * math.prod(b[1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(a) * math.prod(b[1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(y) * a[-1]
    return total


def test_a_model_below_the_ladder_still_compiles() -> None:
    graph = _graph("encoder")
    report = perf.estimate(chosen(graph, _machine(200), Options(), Aim()), _machine(200))
    assert report.sram_bytes <= 200 * KIB
    plain = schedule.schedule(graph, _machine(200), Options())
    assert report.latency_us <= perf.estimate(plain, _machine(200)).latency_us


@pytest.mark.parametrize(("kernel", "stride", "extra"), [(1, 2, 0), (1, 2, 1), (2, 4, 2)])
@pytest.mark.parametrize("size", [64, 2048], ids="{} KiB".format)
def test_rows_that_see_padding_alone(kernel: int, stride: int, extra: int, size: int) -> None:
    net = float_networks.Net(1)
    x = net.conv(net.conv("x", 8, 16), 16, 16)
    weight, more = net.normal(16, 16, kernel, kernel), [extra, extra]
    x = net.op("ConvTranspose", x, weight, strides=[stride, stride], output_padding=more)
    model = net.model(net.conv(x, 16, 8, out="y"), shape=(1, 8, 64, 64))
    samples = float_networks.samples(2, (1, 8, 64, 64))
    graph = lower(prepare_qdq(quantize(model, samples, calibration="max", refinement=())))
    made = chosen(graph, _machine(size), Options(), Aim())
    wanted = Session(schedule.schedule(graph, _machine(size), Options(optimize_level="O0"))).run(samples[0])["y"]
    for exact in (False, True):
        np.testing.assert_array_equal(Session(made, exact_machine=exact).run(samples[0])["y"], wanted)


def test_where_every_division_has_stripes_of_padding_the_tensors_stay_in_ddr() -> None:
    net = float_networks.Net(1)
    x = net.conv(net.conv("x", 16, 32), 32, 32)
    wide = net.op("Conv", x, net.normal(32, 32, 1, 1), pads=[9, 0, 9, 0])
    model = net.model(net.conv(wide, 32, 16, out="y"), shape=(1, 16, 64, 64))
    samples = float_networks.samples(2, (1, 16, 64, 64))
    graph = lower(prepare_qdq(quantize(model, samples, calibration="max", refinement=())))
    assert Session(chosen(graph, _machine(64), Options(), Aim()), exact_machine=True).run(samples[0])["y"].any()


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("name", ["attention", "unet", "hardswish", "encoder"])
@pytest.mark.parametrize("clock", [1e7, 1e8])
def test_nothing_that_can_be_cut_takes_longer_than_asked_for(name: str, clock: float, dtype: str) -> None:
    machine = replace(_machine(512), clock_hz=clock)
    made = chosen(_graph(name, dtype), machine, Options(max_time_per_fc=1000), Aim())
    events = [event for event in perf.estimate(made, machine).events if event.lane != "CPU"]
    assert {event.op for event in events if event.cycles * 1e6 / clock > 1000} <= {"LDW", "MATMULD"}
