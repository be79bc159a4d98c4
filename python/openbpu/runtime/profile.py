"""What a session says of its steps: which kernel runs each layer and why, and how long it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One instruction: `nodes` are the ONNX nodes that it came from; nanoseconds is a median, 0 before profiling."""

    instruction: int
    op: str
    layer: str
    nodes: tuple[str, ...]
    row: str
    reason: str
    macs: int
    bytes: int
    nanoseconds: float = 0.0

    @property
    def gmac_per_second(self) -> float:
        return self.macs / self.nanoseconds if self.nanoseconds else 0.0


@dataclass(frozen=True)
class Explanation:
    """Which kernel row runs each step, and why it is not a faster one. str() is a table."""

    isa: str
    threads: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        rows = [("step", "instruction", "kernel", "layer", "note")]
        rows += [(str(s.instruction), s.op, s.row, s.layer, s.reason) for s in self.steps]
        return f"{self.isa}, {self.threads} threads\n{_table(rows, right=(0,))}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Profile:
    """Median time of each step over some runs. str() is a table; chrome_trace() opens in Perfetto."""

    isa: str
    threads: int
    runs: int
    steps: tuple[Step, ...]

    @property
    def total_nanoseconds(self) -> float:
        return sum(step.nanoseconds for step in self.steps)

    def __str__(self) -> str:
        total = self.total_nanoseconds or 1.0
        rows: list[tuple[str, ...]] = [("us", "%", "GMAC/s", "instruction", "kernel", "layer")]
        for s in sorted(self.steps, key=lambda step: -step.nanoseconds):
            speed = f"{s.gmac_per_second:.1f}" if s.macs else ""
            rows.append(
                (f"{s.nanoseconds / 1e3:.1f}", f"{100 * s.nanoseconds / total:.1f}", speed, s.op, s.row, s.layer)
            )
        head = f"{self.isa}, {self.threads} threads, median of {self.runs} runs: {total / 1e6:.3f} ms"
        return f"{head}\n{_table(rows, right=(0, 1, 2))}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def chrome_trace(self) -> dict[str, Any]:
        """One complete event per step, end to end, in the Trace Event format."""
        events, start = [], 0.0
        for s in self.steps:
            events.append(
                {
                    "name": s.layer or s.op,
                    "cat": s.op,
                    "ph": "X",
                    "pid": 1,
                    "tid": 1,
                    "ts": start / 1e3,
                    "dur": s.nanoseconds / 1e3,
                    "args": {"kernel": s.row, "macs": s.macs, "bytes": s.bytes, "nodes": list(s.nodes)},
                }
            )
            start += s.nanoseconds
        return {"traceEvents": events, "displayTimeUnit": "ms"}


def _table(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
