"""What nodes and mixtures cost: estimated time, multiply-accumulates, and being one more, weighed against another."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from openbpu.errors import ConfigError
from openbpu.perf import PerfReport


@dataclass(frozen=True)
class Weights:
    """Of the additional time, of the share of the MACs, and of the share of the nodes that are lifted."""

    time: float
    macs: float
    nodes: float

    def of(self, time: float, macs: float, nodes: float) -> float:
        """The cost of shares of the int8 model's time, of its MACs, of its nodes."""
        return self.time * time + self.macs * macs + self.nodes * nodes


_LITTLE = 0.01  # decides between equals
COSTS = {
    "balanced": Weights(1.0, 0.5, 0.25),
    "time": Weights(1.0, 0.0, _LITTLE),
    "macs": Weights(0.0, 1.0, _LITTLE),
    "nodes": Weights(0.0, _LITTLE, 1.0),
}


def weights_of(cost: str) -> Weights:
    """The weights by name. Raises ConfigError."""
    if cost not in COSTS:
        raise ConfigError(f"one of {', '.join(COSTS)}", where="cost", seen=cost)
    return COSTS[cost]


def node_times(report: PerfReport) -> dict[str, float]:
    """Estimated microseconds by node: a layer's time in equal parts for the nodes that it was made from."""
    times: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        for node in layer.nodes:
            times[node] += layer.time_us / len(layer.nodes)
    return dict(times)
