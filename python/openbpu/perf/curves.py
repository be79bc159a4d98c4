"""Use of engines and of the DDR port over the run, in equal intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openbpu.perf.report import Event, PerfReport

_VECTOR_LANES = ("VPU", "AAE", "TRANS")


def intervals(report: PerfReport, count: int) -> dict[str, list[float]]:
    """Percent of each interval in which a unit computes, and MB/s of the DDR port, over the makespan."""
    width = report.makespan_us / count if report.makespan_us else 1.0
    ports = [(e.port_start_us, e.port_end_us, e.read_bytes, e.write_bytes) for e in report.events if e.lane != "CPU"]
    units = {
        name: _spread(((e.start_us, e.end_us, e.compute_us) for e in chosen), count, width)
        for name, chosen in _by_unit(report).items()
    }
    percent = {name: [round(min(100 * v / width, 100.0), 2) for v in values] for name, values in units.items()}
    load = _spread(((start, end, read) for start, end, read, _ in ports), count, width)
    store = _spread(((start, end, write) for start, end, _, write in ports), count, width)
    return {**percent, "load": [round(v / width, 1) for v in load], "store": [round(v / width, 1) for v in store]}


def _by_unit(report: PerfReport) -> dict[str, list[Event]]:
    return {
        "mac": [e for e in report.events if e.lane == "TAE"],
        "vector": [e for e in report.events if e.lane in _VECTOR_LANES],
        "cpu": [e for e in report.events if e.lane == "CPU"],
    }


def _spread(pieces: Iterable[tuple[float, float, float]], count: int, width: float) -> list[float]:
    """Amounts, each spread evenly from its start to its end, summed per interval."""
    sums = np.zeros(count)
    for start, end, amount in pieces:
        if amount <= 0:
            continue
        first, last = min(int(start / width), count - 1), min(int(end / width), count - 1)
        if first == last:
            sums[first] += amount
            continue
        rate = amount / (end - start)
        sums[first] += rate * ((first + 1) * width - start)
        sums[first + 1 : last] += rate * width
        sums[last] += rate * (end - last * width)
    return [float(value) for value in sums]
