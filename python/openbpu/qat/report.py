"""One HTML page about a prepared model: what was done, what it costs and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any

from torch import nn

from openbpu.analyze.plots import bars, svg
from openbpu.files import write_file
from openbpu.qat.debugging import (
    Finding,
    Loss,
    Similarity,
    Statistics,
    compare_weights,
    findings,
    sensitivity,
    similarity,
    statistics,
)
from openbpu.qat.preparing import Row, preparation
from openbpu.qat.verification import Comparison, Verification


@dataclass(frozen=True)
class _Table:
    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class _Chart:
    title: str
    text: str
    drawing: Any  # SVG


def report(
    model: nn.Module, samples: Iterable[Any], path: str | PathLike[str], verification: Verification | None = None
) -> None:
    """Writes the page to `path`; it needs no other file. `verification` adds what `verify` found.

    Raises ConfigError if the model was not calibrated or there is no sample, OpenBpuError naming a path that cannot
    be written.
    """
    from jinja2 import Environment, PackageLoader

    found = list(samples)
    layers, weights = similarity(model, found), compare_weights(model)
    losses, numbers = sensitivity(model, found), statistics(model, found)
    tables = [
        _table("Findings", "Legal, and probably not meant.", Finding, findings(model)),
        _table("Layers", "Each tensor in float against the same tensor quantised; errors add up.", Similarity, layers),
        _table("Sensitivity", "What quantising one tensor alone costs the outputs.", Loss, losses),
        _table("Weights", "Folded weights against their integers.", Similarity, weights),
        _table("Ranges", "Values in float, and the share beyond the range.", Statistics, numbers),
        _table("What was done", "One row for each operator.", Row, preparation(model).rows),
    ]
    if verification is not None:
        tables.insert(0, _compared("Outputs: PyTorch against the executable", verification.outputs))
        tables.insert(1, _compared("Layers: PyTorch against the executable", verification.layers))
    charts = [
        _bars("Along the network", "Signal to noise of each tensor, in decibels.", layers),
        _bars("The most sensitive", "Signal to noise of the outputs if this tensor alone is quantised.", losses),
    ]
    environment = Environment(loader=PackageLoader("openbpu.qat"), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html").render(
        name=type(model).__name__.removeprefix("Prepared"),
        tables=tables,
        charts=charts,
        verdict=None if verification is None else verification.ok,
    )
    write_file(path, page.encode())


def _table(title: str, text: str, kind: type[Any], rows: Sequence[Any]) -> _Table:
    columns = [field.name for field in fields(kind)]
    return _Table(title, text, columns, [list(asdict(row).values()) for row in rows])


def _compared(title: str, rows: Sequence[Comparison]) -> _Table:
    columns = (
        "name",
        "elements",
        "equal %",
        "within a step %",
        "largest, steps",
        "same maximum %",
        "ONNX Runtime, steps",
    )
    cells = []
    for row in rows:
        d = row.executable
        shares = [100 * a / max(b, 1) for a, b in ((d.equal, d.elements), (d.within, d.elements), (d.agreeing, d.rows))]
        cells.append([row.name, d.elements, shares[0], shares[1], d.largest, shares[2], row.onnxruntime.largest])
    return _Table(title, "In steps of the grid of each tensor.", columns, cells)


def _bars(title: str, text: str, rows: Sequence[Similarity] | Sequence[Loss]) -> _Chart:
    drawing = bars([row.sqnr for row in rows], [row.name for row in rows], "SQNR, dB")
    return _Chart(title, text, svg(drawing))
