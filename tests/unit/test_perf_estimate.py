"""The cost model: bytes to the last one, times by hand, bounds, and a faster machine is never slower."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from openbpu.errors import ConfigError
from openbpu.ir.profile import PROFILES, TargetProfile
from openbpu.perf import estimate, fastest
from openbpu.perf.program import read
from openbpu.perf.replay import replay
from openbpu.runtime import Executable
from unit.perf_programs import IMAGE, TABLE, WEIGHTS, C, H, W, random_program, striped, whole
from unit.runtime_programs import convolution, trap

# Round figures, so that times can be computed in the head.
PLAIN = TargetProfile(
    "plain", 1 << 20, 16, 16, 64, vector_lanes=64, clock_hz=1e9, ddr_bytes_per_second=16e9, ddr_efficiency=1.0,
    ddr_latency_cycles=100, mac_efficiency=1.0, instruction_cycles=10, launch_seconds=0.0,
)  # fmt: skip
MACS = H * W * C * C * 9


def test_stripes_move_each_byte_once() -> None:
    report = estimate(striped(), "nash-e")
    assert report.read_bytes == WEIGHTS + TABLE + IMAGE
    assert report.write_bytes == IMAGE
    assert report.ideal_bytes == WEIGHTS + TABLE + 2 * IMAGE
    assert report.traffic_ratio == 1.0
    assert report.sram_bytes == 2 * IMAGE + WEIGHTS


def test_operands_in_ddr_are_charged() -> None:
    report = estimate(whole(), "nash-e")
    assert report.read_bytes == 3 * IMAGE + WEIGHTS + TABLE
    assert report.write_bytes == 3 * IMAGE
    assert report.sram_bytes == 0


def test_weights_come_from_where_they_were_brought() -> None:
    program = read(Executable.from_bytes(striped()))
    convolutions = [i for i in program.instructions if i.op == "CONV2D"]
    assert [i.read_bytes for i in convolutions] == [TABLE, 0], "the unit still holds the table"
    assert [sum(t.bytes for t in i.transfers if t.region == "sram") for i in convolutions] == [
        29 * W * C + 28 * W * C + WEIGHTS
    ] * 2


def test_times_by_hand() -> None:
    """A convolution stripe: 28 * 56 pixels in 25 steps of 64, 4 blocks of 16 by 4 of 16, 9 taps, 32 to fill each."""
    report = estimate(striped(), PLAIN)
    array = 25 * 4 * 4 * 9 + 4 * 32
    first, second = (e for e in report.events if e.op == "CONV2D")
    assert first.compute_us * 1e3 == pytest.approx(array)
    loaded = 10 + 100 + WEIGHTS / 16 + 29 * W * C / 16
    assert first.start_us * 1e3 == pytest.approx(loaded)
    # The table of the first stripe, then the rows of the second.
    assert second.start_us == pytest.approx(first.start_us + (10 + 100 + TABLE / 16 + 27 * W * C / 16) / 1e3)
    assert second.end_us - second.start_us == pytest.approx((10 + array) / 1e3)
    assert report.makespan_us == pytest.approx((220 + (WEIGHTS + TABLE + 2 * IMAGE) / 16) / 1e3), "DDR bound"


def test_macs_are_those_of_the_file() -> None:
    for data, macs in ((striped(), MACS), (whole(), MACS)):
        report = estimate(data, "nash-m")
        assert report.macs == macs == sum(layer.macs for layer in report.layers)
        assert report.mac_classes["double int8"] == macs


@pytest.mark.parametrize("seed", range(6))
def test_no_run_is_shorter_than_its_bounds(seed: int) -> None:
    for march in ("nash-b-lite", "nash-e", "nash-p"):
        profile = replace(PROFILES[march], sram_bytes=1 << 24)
        report = estimate(random_program(seed), profile)
        assert all(bound <= report.makespan_us * (1 + 1e-12) for bound in report.bounds_us.values()), report.bounds_us
        assert max(report.bounds_us.values()) > 0
        assert sum(layer.exposed_us for layer in report.layers) == pytest.approx(report.exposed_us)


@pytest.mark.parametrize("seed", range(6))
def test_a_faster_machine_is_never_slower(seed: int) -> None:
    """Any rate: with the orders of the port fixed, every time is a longest path."""
    program = read(Executable.from_bytes(random_program(seed)))
    base = replace(PROFILES["nash-e"], sram_bytes=1 << 24)
    for key, factors in (
        ("ddr_bytes_per_second", [2.0**k for k in range(-6, 7)]),
        ("ddr_efficiency", [0.1, 0.3, 0.5, 0.9, 1.2]),
        ("ddr_latency_cycles", [8, 4, 2, 1, 0]),
        ("mac_pixels", [0.25, 0.5, 1, 2, 4]),
        ("clock_hz", [0.25, 0.5, 1, 2, 4]),
        ("vector_lanes", [1, 2, 4, 8]),
        ("sram_bytes_per_cycle", [1, 2, 4, 8]),
    ):
        value = getattr(base, key)
        times = [
            replay(program.instructions, machine).makespan / machine.clock_hz
            for machine in (replace(base, **{key: type(value)(value * factor)}) for factor in factors)
        ]
        # Cycles are whole: a faster clock may round a transfer up.
        slack = 1e-3 if key == "clock_hz" else 0.0
        assert all(later <= earlier * (1 + slack) for earlier, later in pairwise(times)), (key, times)
        assert times[-1] < times[0] or not key.startswith("ddr")


def test_instructions_wait_for_what_they_name() -> None:
    for seed in range(6):
        program = read(Executable.from_bytes(random_program(seed)))
        timeline = replay(program.instructions, replace(PROFILES["nash-e"], sram_bytes=1 << 24))
        ends: dict[str, list[int]] = {queue: [] for queue in ("LD", "ST", "MAC", "VEC")}
        for i, slot in zip(program.instructions, timeline.slots, strict=True):
            for queue, count in zip(ends, i.waits, strict=True):
                assert count == 0 or slot.start >= ends[queue][count - 1]
            assert i.queue in ("LD", "ST") or not ends[i.queue] or slot.start >= ends[i.queue][-1]
            ends[i.queue].append(slot.end)
        ports = sorted(slot.port for slot in timeline.slots if slot.port[1] > slot.port[0])
        assert all(a[1] <= b[0] for a, b in pairwise(ports)), "the port serves one at a time"


@pytest.mark.parametrize("seed", range(4))
def test_events_of_a_lane_do_not_overlap(seed: int) -> None:
    report = estimate(random_program(seed), replace(PROFILES["nash-e"], sram_bytes=1 << 24))
    slices = [e for e in json.loads(report.to_trace())["traceEvents"] if e["ph"] == "X"]
    for lane in {e["tid"] for e in slices}:
        spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices if e["tid"] == lane)
        assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(spans))


def test_the_host_is_a_barrier() -> None:
    first, second, third = estimate(convolution(), "nash-e").events
    assert (first.lane, second.lane, third.lane) == ("CPU", "TAE", "CPU")
    assert first.end_us <= second.start_us and second.end_us <= third.start_us


def test_more_sram_is_never_slower_for_a_set_of_programs() -> None:
    programs = [Executable.from_bytes(data) for data in (whole(), striped())]
    times = []
    for size in (1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 22):
        index, report = fastest(programs, replace(PROFILES["nash-e"], sram_bytes=size))
        times.append(report.latency_us)
        assert index == (0 if size < 2 * IMAGE + WEIGHTS else 1)
    assert times == sorted(times, reverse=True) and times[-1] < times[0]


def test_a_program_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="438,272 bytes of SRAM"):
        estimate(striped(), replace(PROFILES["nash-e"], sram_bytes=1 << 18))
    with pytest.raises(ConfigError, match="no program fits"):
        fastest([Executable.from_bytes(striped())], replace(PROFILES["nash-e"], sram_bytes=1 << 18))


def test_programs_for_several_cores() -> None:
    one = estimate(whole(), "nash-p")
    for cores in (2, 4):
        report = estimate(whole(cores), "nash-p")
        assert report.busy_us["MAC"] < one.busy_us["MAC"] and report.latency_us <= one.latency_us
        assert report.busy_us["MAC"] > one.busy_us["MAC"] / cores, "some is lost in sharing"
        assert report.profile.sram_bytes == cores * one.profile.sram_bytes and report.utilisation < one.utilisation
    with pytest.raises(ConfigError, match="other cores than the 1"):
        estimate(whole(2), "nash-e")


def test_the_profile_of_the_file_is_the_default() -> None:
    assert estimate(striped()).march == "nash-e"
    with pytest.raises(ConfigError, match="does not say for which profile"):
        estimate(convolution())


@pytest.mark.parametrize("launch", [0.0, 1e-4])
def test_programs_without_work(launch: float) -> None:
    report = estimate(trap(), replace(PROFILES["nash-e"], launch_seconds=launch))
    assert (report.makespan_us, report.layers, report.traffic_ratio) == (0.0, (), 1.0)
    for text in (report.to_json(), report.to_html(), report.to_trace(), report.line):
        assert "trap" in text or "nash-e" in text


def test_json_has_the_keys_of_hb_perf() -> None:
    report = estimate(striped(), "nash-e")
    data = json.loads(report.to_json())
    summary = data["summary"]
    assert set(summary) == {"performance", "DDR access data", "interval info", "layer details", "model info"}
    assert summary["performance"]["latency (us)"] == pytest.approx(report.latency_us, abs=1e-3)
    assert summary["DDR access data"]["loaded bytes per run"] == report.read_bytes
    (layer,) = summary["layer details"]
    assert layer["layer name"] == "conv" and layer["origin ops"] == ["/conv", "/relu"]
    assert layer["computing cost (no DDR)"].endswith("% of model)")
    assert [event["inst_type"] for event in data["details"][0]].count("TAE") == 2
    assert data["openbpu"]["latency_us"] == pytest.approx(report.latency_us)
    intervals = summary["interval info"]
    moved = sum(intervals["ddr loading bandwidth (MB/s)"]) * intervals["interval time (ms)"] * 1e3
    assert moved == pytest.approx(report.read_bytes, rel=1e-3)


def test_the_trace_is_what_perfetto_reads() -> None:
    report = estimate(striped(), "nash-e")
    events = json.loads(report.to_trace())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    slices = [e for e in events if e["ph"] == "X"]
    assert {names[e["tid"]] for e in slices} == {"LOAD", "STORE", "TAE", "DDR"}
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in slices)
    assert {"load", "store"} == {key for e in events if e["ph"] == "C" for key in e["args"]}
