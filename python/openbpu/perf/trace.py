"""The timeline as Chrome's Trace Event format, which Perfetto (ui.perfetto.dev) opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbpu.perf.report import Event, PerfReport

LANES = ("LOAD", "STORE", "TAE", "VPU", "AAE", "TRANS", "CPU", "DDR")
_POINTS = 200  # of the bandwidth counter


def trace(report: PerfReport) -> dict[str, Any]:
    """A lane per engine, one of the DDR port, and counters of its bandwidth; timestamps in microseconds."""
    layers = {layer.id: layer for layer in report.layers}
    events = [_metadata("process_name", 0, f"{report.model} on {report.march}, estimate")]
    events += [_metadata("thread_name", tid, lane) for tid, lane in enumerate(LANES, 1)]
    for event in report.events:
        name = layers[event.layer].name
        more = {"nodes": list(layers[event.layer].nodes), "instruction": event.index, "macs": event.macs}
        more |= {"read bytes": event.read_bytes, "write bytes": event.write_bytes}
        events.append(_slice(name, event, event.lane, event.start_us, event.end_us, more))
        if event.port_end_us > event.port_start_us:
            events.append(_slice(name, event, "DDR", event.port_start_us, event.port_end_us, more))
    curves = report.intervals(_POINTS)
    width = report.makespan_us / _POINTS
    events += [
        {"name": "DDR, MB/s", "ph": "C", "pid": 1, "ts": k * width, "args": {"load": load, "store": store}}
        for k, (load, store) in enumerate(zip(curves["load"], curves["store"], strict=True))
    ]
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _slice(name: str, event: Event, lane: str, start: float, end: float, more: dict[str, Any]) -> dict[str, Any]:
    place = {"pid": 1, "tid": LANES.index(lane) + 1, "ts": start, "dur": end - start}
    return {"name": name, "cat": event.op, "ph": "X", **place, "args": more}


def _metadata(kind: str, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}}
