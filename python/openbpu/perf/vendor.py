"""The report under the keys of the vendor's hb_perf JSON, for scripts that read those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbpu.perf.report import Event, LayerCost, PerfReport

_INTERVALS = 100


def vendor_dict(report: PerfReport) -> dict[str, Any]:
    """summary, coreSummaryGroup and details; the texts with units in them are the vendor's form."""
    names = {layer.id: list(layer.nodes) or [layer.name] for layer in report.layers}
    return {
        "summary": {
            "performance": _performance(report),
            "DDR access data": _memory(report),
            "interval info": _intervals(report),
            "layer details": [_layer(layer, report.latency_us) for layer in report.layers],
            "model info": _model(report),
        },
        "coreSummaryGroup": [
            {
                "core id": 0,
                "latency (us)": round(report.makespan_us, 3),
                "busy time (us)": {engine: round(time, 3) for engine, time in report.busy_us.items()},
            }
        ],
        "details": [[_event(event, names) for event in report.events]],
    }


def _performance(report: PerfReport) -> dict[str, Any]:
    return {
        "FPS": round(report.fps, 2),
        "latency (us)": round(report.latency_us, 3),
        "latency (ms)": round(report.latency_us / 1e3, 6),
        "latency by segments": {"launch": f"{report.launch_us:.1f} us", **_segments(report)},
    }


def _segments(report: PerfReport) -> dict[str, str]:
    """Stretches of the run on one side, BPU or CPU, in their order."""
    found: list[tuple[str, float, float]] = []
    for event in sorted(report.events, key=lambda e: e.start_us):
        side = "CPU" if event.lane == "CPU" else "BPU"
        if found and found[-1][0] == side:
            found[-1] = side, found[-1][1], max(found[-1][2], event.end_us)
        else:
            found.append((side, event.start_us, event.end_us))
    return {f"{side}_segment_{k}": f"{end - start:.1f} us" for k, (side, start, end) in enumerate(found)}


def _memory(report: PerfReport) -> dict[str, Any]:
    static = report.constant_bytes + report.code_bytes
    return {
        "DDR megabytes per run": round((report.read_bytes + report.write_bytes) / 1e6, 6),
        "loaded bytes per run": report.read_bytes,
        "stored bytes per run": report.write_bytes,
        "min memory requirement": report.input_bytes + report.output_bytes + static + report.ddr_bytes,
        "input memory": report.input_bytes,
        "output memory": report.output_bytes,
        "static memory": static,
        "dynamic memory": report.ddr_bytes,
    }


def _intervals(report: PerfReport) -> dict[str, Any]:
    curves = report.intervals(_INTERVALS)
    return {
        "interval number": _INTERVALS,
        "interval time (ms)": round(report.makespan_us / _INTERVALS / 1e3, 9),
        "computing unit utilization": curves["mac"],
        "ddr loading bandwidth (MB/s)": curves["load"],
        "ddr storing bandwidth (MB/s)": curves["store"],
    }


def _layer(layer: LayerCost, latency_us: float) -> dict[str, Any]:
    def share(time_us: float) -> str:
        return f"{time_us:.1f} us ({100 * time_us / latency_us:.1f}% of model)"

    return {
        "layer name": layer.name,
        "active period of time": f"{layer.start_us:.1f} us ~ {layer.end_us:.1f} us",
        "computing cost (no DDR)": share(layer.compute_us),
        "load cost": share(layer.load_us),
        "store cost": share(layer.store_us),
        "origin ops": list(layer.nodes),
    }


def _model(report: PerfReport) -> dict[str, Any]:
    return {
        "BPU march": report.march,
        "BPU core number": report.options.get("core_num", 1),
        "compiling HBDK version": f"openbpu, instruction set {report.versions.get('isa', '?')}",
        "openbpu versions": report.versions,
        "compiling options": report.options,
        "original conv ops": report.convolutions,
        **{f"{name} macs": count for name, count in report.mac_classes.items()},
    }


def _event(event: Event, names: dict[int, list[str]]) -> dict[str, Any]:
    return {
        "inst_type": event.lane,
        "source_layer_names": names[event.layer],
        "start_time (us)": round(event.start_us, 3),
        "working_time (us)": round(event.end_us - event.start_us, 3),
    }
