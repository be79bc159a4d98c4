"""The placement report: where each node of a model runs, why, and what would move it to the BPU."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from openbpu.files import write_file
from openbpu.ir.graph import Decision

_WHERE = {"BPU": "on the BPU", "CPU": "on the CPU", "none": "without an operator of its own"}


@dataclass(frozen=True)
class PlacementReport:
    """One decision per node, in the order of the model."""

    model: str
    march: str
    decisions: tuple[Decision, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Nodes per place: "BPU", "CPU" and "none" (folded, a view, or not needed)."""
        found = Counter(decision.where for decision in self.decisions)
        return {where: found[where] for where in _WHERE}

    @property
    def on_cpu(self) -> tuple[Decision, ...]:
        """The nodes that run on the CPU."""
        return tuple(decision for decision in self.decisions if decision.where == "CPU")

    @property
    def line(self) -> str:
        """The split in one line."""
        return split_line(self.counts["BPU"], Counter(decision.op for decision in self.on_cpu))

    def to_json(self) -> str:
        """The whole report for programs."""
        data: dict[str, Any] = {"model": self.model, "march": self.march, "counts": self.counts}
        return json.dumps({**data, "nodes": [asdict(decision) for decision in self.decisions]}, indent=2)

    def to_html(self) -> str:
        """The whole report as one page that needs no other file."""
        from jinja2 import Environment, PackageLoader

        environment = Environment(loader=PackageLoader("openbpu.analyze"), autoescape=True, trim_blocks=True)
        return environment.get_template("placement.html").render(report=self, where=_WHERE)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes JSON, or HTML if the name ends so. Raises OpenBpuError naming the path."""
        text = self.to_html() if str(path).endswith((".html", ".htm")) else self.to_json()
        write_file(path, text.encode())


def split_line(bpu: int, cpu: Counter[str], segments: int = 0) -> str:
    """How many nodes run where, and which operators are on the CPU."""
    if not cpu:
        return f"BPU {bpu} nodes, CPU none"
    names = ", ".join(op if count == 1 else f"{count} {op}" for op, count in sorted(cpu.items()))
    where = f" in {segments} segment{'s' if segments > 1 else ''}" if segments else ""
    return f"BPU {bpu} nodes, CPU {cpu.total()}{where} ({names})"
