"""What nodes cost: the estimated time that they take of a compiled program."""

from __future__ import annotations

from collections import defaultdict

from openbpu.perf import PerfReport


def node_times(report: PerfReport) -> dict[str, float]:
    """Estimated microseconds by node: a layer's time in equal parts for the nodes that it was made from."""
    times: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        for node in layer.nodes:
            times[node] += layer.time_us / len(layer.nodes)
    return dict(times)
