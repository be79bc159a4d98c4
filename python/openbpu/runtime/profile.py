"""What a session says of its steps: which kernel runs each layer and why, and how long it takes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from openbpu import _native

_JOINED = "runs with the instruction before it"  # the engine's words


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
    def joined(self) -> bool:
        """Whether it runs unit by unit with the step before it, whose time includes it."""
        return self.reason == _JOINED

    @property
    def gmac_per_second(self) -> float:
        return self.macs / self.nanoseconds if self.nanoseconds else 0.0


@dataclass(frozen=True)
class _Report:
    isa: str
    threads: int
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def _head(self) -> str:
        return f"{self.isa}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"


@dataclass(frozen=True)
class Explanation(_Report):
    """Which kernel row runs each step, and why it is not one of the ISA asked for. str() is a table."""

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("#", "instruction", "kernel", "layer", "ONNX nodes", "note")]
        rows += [(str(s.instruction), s.op, s.row, s.layer, _brief(s.nodes), s.reason) for s in self.steps]
        return f"{self._head()}\n{_table(rows, right=(0,))}"


@dataclass(frozen=True)
class Profile(_Report):
    """Median time of each step over some runs. str() is a table; chrome_trace() opens in Perfetto."""

    runs: int
    peak_gmac_per_second: float  # of all threads' dot-product instructions, measured beside the runs; 0: not known

    @property
    def total_nanoseconds(self) -> float:
        """Sum of the medians: the time of a run without the steps' own overhead."""
        return sum(step.nanoseconds for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        total = self.total_nanoseconds
        steps = [
            {
                **asdict(s),
                "percent": _percent(s, total),
                "gmac_per_second": s.gmac_per_second,
                "percent_of_peak": self.percent_of_peak(s),
            }
            for s in self.steps
        ]
        return {**asdict(self), "total_nanoseconds": total, "steps": steps}

    def __str__(self) -> str:
        total = self.total_nanoseconds
        rows: list[tuple[str, ...]] = [
            ("us", "%", "GMAC/s", "% peak", "KB", "#", "instruction", "kernel", "layer", "ONNX nodes", "note")
        ]
        for s in sorted(self.steps, key=lambda step: -step.nanoseconds):
            speed = f"{s.gmac_per_second:.1f}" if s.macs else ""
            share = f"{self.percent_of_peak(s):.0f}" if s.macs and self.peak_gmac_per_second else ""
            numbers = (f"{s.nanoseconds / 1e3:.1f}", f"{_percent(s, total):.1f}", speed, share, f"{s.bytes / 1e3:.1f}")
            note = "; ".join(filter(None, (s.reason, self._note(s))))
            rows.append((*numbers, str(s.instruction), s.op, s.row, s.layer, _brief(s.nodes, 40), note))
        head = f"{self._head()}, median of {self.runs} runs: {total / 1e6:.3f} ms"
        if self.peak_gmac_per_second:
            head += f"; peak {self.peak_gmac_per_second:.0f} GMAC/s"
        return f"{head}\n{_table(rows, right=tuple(range(6)))}"

    def _note(self, step: Step) -> str:
        """Which steps the time of a step includes."""
        followers = takewhile(lambda s: s.joined, self.steps[self.steps.index(step) + 1 :])
        numbers = ", ".join(str(s.instruction) for s in followers)
        return f"the time includes {numbers}" if numbers else ""

    def percent_of_peak(self, step: Step) -> float:
        """Share of the instruction peak of all threads that the step reaches; 0 where either is not known."""
        peak = self.peak_gmac_per_second
        return 100 * step.gmac_per_second / peak if peak else 0.0

    def chrome_trace(self) -> dict[str, Any]:
        """Events of the Trace Event format, which Perfetto opens: the steps end to end, BPU and CPU in two lanes.

        A step that runs joined with the one before it has no time of its own: it stands among the arguments of that.
        """
        events = [_metadata("process_name", 0, f"openbpu {self._head()}")]
        events += [_metadata("thread_name", tid, lane) for lane, tid in _LANES.items()]
        queues = {instruction["name"]: instruction["queue"] for instruction in _native.instructions()}
        start = 0.0
        for step in self.steps:
            if step.joined:
                events[-1]["args"]["joined"].append({"op": step.op, "layer": step.layer, **_arguments(step)})
                continue
            speed = {"gmac_per_second": step.gmac_per_second, "percent_of_peak": self.percent_of_peak(step)}
            event = {"name": step.layer or step.op, "cat": step.op, "ph": "X", "pid": 1}
            event |= {"tid": _LANES["CPU" if queues[step.op] == "CPU" else "BPU"]}
            event |= {"ts": start / 1e3, "dur": step.nanoseconds / 1e3}
            events.append({**event, "args": {**_arguments(step), **speed, "joined": []}})
            start += step.nanoseconds
        return {"traceEvents": events, "displayTimeUnit": "ms"}


_LANES = {"BPU": 1, "CPU": 2}


def _metadata(kind: str, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}}


def _arguments(step: Step) -> dict[str, Any]:
    facts = {"instruction": step.instruction, "kernel": step.row, "macs": step.macs, "bytes": step.bytes}
    return {**facts, "nodes": list(step.nodes), "note": step.reason}


def _percent(step: Step, total: float) -> float:
    return 100 * step.nanoseconds / total if total else 0.0


def _brief(nodes: tuple[str, ...], limit: int = 60) -> str:
    text = ", ".join(nodes)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _table(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
