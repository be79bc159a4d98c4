"""What the vendor's hb_analyzer says, computed from the report: key indicators, times by operator, what to look at."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbpu.files import write_file

if TYPE_CHECKING:
    from openbpu.perf.report import LayerCost, PerfReport

_TOP = 10
_DDR_BOUND = 3.0  # load over compute, above which a layer waits for DDR rather than for units


def analyze(report: PerfReport) -> dict[str, Any]:
    """Key indicators and tables under the vendor's names, numbers in microseconds and bytes."""
    slowest = sorted(report.layers, key=lambda x: (-x.time_us, x.id))
    return {
        "hbm_key_indicators": _indicators(report),
        "hbm_op_time_by_type": _times(report),
        "hbm_block_time": _blocks(report),
        "hbm_top_layers_by_total_time": [_top(layer, report) for layer in slowest[:_TOP]],
        "hbm_ddr_bytes_per_run": {"loaded": report.read_bytes, "stored": report.write_bytes},
        "bc_quantized_model_cpu_ops": dict(Counter(x.op for x in report.layers if x.cpu_us > 0)),
        "ddr_bound_layers": [x.name for x in report.layers if _ratio(x) > _DDR_BOUND],
    }


def write(report: PerfReport, folder: str | PathLike[str]) -> list[Path]:
    """Writes <model>.json, analysis_summary.json and hb_analyzer_report.html; returns their paths.

    Raises OpenBpuError naming a path that cannot be written.
    """
    name = re.sub(r"[^\w.-]+", "_", report.model).strip("._") or "model"
    root = Path(folder)
    texts = {
        root / f"{name}.json": report.to_json(),
        root / "analysis_summary.json": json.dumps(analyze(report), indent=2),
        root / "hb_analyzer_report.html": report.to_html(),
    }
    for path, text in texts.items():
        write_file(path, text.encode())
    return list(texts)


def _indicators(report: PerfReport) -> list[dict[str, Any]]:
    total = report.latency_us or 1.0
    hidden = report.busy_us["DDR"] - report.exposed_us
    cover = 100 * hidden / report.busy_us["DDR"] if report.busy_us["DDR"] else 100.0
    rows = [
        ("latency", report.latency_us, "us"),
        ("FPS", report.fps, ""),
        ("TAE idle", 100 * (1 - report.busy_us["MAC"] / total), "%"),
        ("TAE utilisation", 100 * report.utilisation, "%"),
        ("pipeline cover rate", cover, "%"),
        ("DDR per run", (report.read_bytes + report.write_bytes) / 1e6, "MB"),
        ("DDR over ideal", report.traffic_ratio, ""),
        ("CPU", report.busy_us["CPU"], "us"),
    ]
    return [{"title": title, "value": round(value, 3), "unit": unit} for title, value, unit in rows]


def _times(report: PerfReport) -> dict[str, float]:
    """Time by operator type, longest first."""
    sums: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        sums[layer.op] += layer.time_us
    return {op: round(time, 3) for op, time in sorted(sums.items(), key=lambda item: -item[1])}


def _blocks(report: PerfReport) -> dict[str, float]:
    """Time by block: what stands before the last dot or slash of the names that nodes have, in their order."""
    sums: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        node = (layer.nodes[0] if layer.nodes else layer.name).strip("/")
        sums[re.split(r"[/.](?=[^/.]*$)", node)[0]] += layer.time_us
    return {block: round(time, 3) for block, time in sums.items()}


def _top(layer: LayerCost, report: PerfReport) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "op": layer.op,
        "time": round(layer.time_us, 3),
        "percent": round(100 * layer.time_us / report.latency_us, 2),
        "load over compute": round(_ratio(layer), 2),
        "bound": layer.bound,
        "origin ops": list(layer.nodes),
    }


def _ratio(layer: LayerCost) -> float:
    """Loading over computing: above 3 the vendor calls a layer bound by DDR."""
    return layer.load_us / layer.compute_us if layer.compute_us else 0.0
