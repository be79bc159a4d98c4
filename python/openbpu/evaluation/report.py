"""An evaluation as data: one row per model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from os import PathLike

from openbpu.evaluation.intervals import Interval
from openbpu.files import write_file


@dataclass(frozen=True)
class Row:
    """A model: `value` of the metric with its interval; the rest is against the first model, None for that itself."""

    model: str
    kind: str
    value: float
    interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    agreement: float | None  # share of samples with the same arg-max of the first output; None if it has no classes
    cosine: float | None  # of all numbers of all float outputs of the same shape
    milliseconds: float  # median of a sample


@dataclass(frozen=True)
class EvaluationReport:
    """All models; `methods` says how the intervals were made, `no_intervals` why there are none."""

    metric: str
    samples: int
    confidence: float
    resamples: int
    methods: dict[str, str]
    no_intervals: str
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """The whole report for programs."""
        return json.dumps(asdict(self), indent=2)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the JSON. Raises OpenBpuError naming the path."""
        write_file(path, self.to_json().encode())

    def __str__(self) -> str:
        """A table in plain text."""
        titles = ("model", self.metric, "difference", "agrees", "cosine", "ms")
        rows = [titles, *(self.cells(row) for row in self.rows)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(titles))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, self.note])

    def cells(self, row: Row) -> tuple[str, ...]:
        """A row as text; empty where there is nothing to say."""
        return (
            row.model,
            f"{row.value:.5g}{_span(row.interval)}",
            "" if row.difference is None else f"{row.difference:+.4g}{_span(row.difference_interval)}",
            "" if row.agreement is None else f"{100 * row.agreement:.2f} %",
            "" if row.cosine is None else f"{row.cosine:.6f}",
            f"{row.milliseconds:.2f}",
        )

    @property
    def note(self) -> str:
        """How many samples, and what the intervals are."""
        text = f"{self.samples} samples; {100 * self.confidence:g} % intervals: {self.methods['interval']}"
        text += f", of differences {self.methods['difference']}"
        text += f" ({self.resamples} resamples)" if not self.no_intervals else f"; no bootstrap: {self.no_intervals}"
        return text


def _span(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval[0]:.4g} .. {interval[1]:.4g})"
