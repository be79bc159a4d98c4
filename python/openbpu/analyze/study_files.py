"""Studies as files, each a JSON with the figures beside a plot, in the folders that hmct-debugger uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openbpu.analyze import plots
from openbpu.analyze.accuracy import AccuracyReport, finite
from openbpu.analyze.studies import Curve, Distribution, NodeSensitivity
from openbpu.files import write_file

SENSITIVITY, ACCUMULATED, DISTRIBUTION = "node_sensitivity", "accumulate_error", "data_distribution"
CHANNELS, LIFTING, TENSORS = "channelwise_distribution", "sensitivity_analysis", "tensor_analysis"
_DRAWN = 40


def save_sensitivity(folder: Path, kind: str, metric: str, found: Sequence[NodeSensitivity]) -> list[Path]:
    """sensitivity_of_<kind>.json, node -> {metric: score}, worst first, and bars of the worst."""
    stem = folder / SENSITIVITY / f"sensitivity_of_{kind}"
    worst = found[:_DRAWN]
    drawing = plots.bars([x.scores[metric] for x in worst], [x.node for x in worst], metric)
    return [_json(stem, {x.node: x.scores for x in found}), _plot(stem, drawing)]


def save_curves(folder: Path, name: str, metric: str, found: Sequence[Curve]) -> list[Path]:
    """<name>.json and the curves along the depth."""
    stem = folder / ACCUMULATED / name
    drawing = plots.curves({c.title: c.scores for c in found}, "operator", metric)
    return [_json(stem, {"metric": metric, "curves": [asdict(c) for c in found]}), _plot(stem, drawing)]


def save_distributions(folder: Path, found: Sequence[Distribution]) -> list[Path]:
    """One histogram per tensor, float against quantised, and distribution.json."""
    paths = [_json(folder / DISTRIBUTION / "distribution", [{**asdict(d), "channels": None} for d in found])]
    for d in found:
        counts = {"float": d.counts} | ({"quantised": d.quantised} if any(d.quantised) else {})
        drawing = plots.histograms(counts, d.span, d.range or (), f"{d.kind} {d.tensor} of {d.node}")
        paths.append(_plot(folder / DISTRIBUTION / _file_name(f"{d.node}_{d.kind}_{d.tensor}"), drawing))
    return paths


def save_channels(folder: Path, found: Sequence[Distribution]) -> list[Path]:
    """One box plot per tensor, a box per channel, and channels.json."""
    data = [{"node": d.node, "tensor": d.tensor, "kind": d.kind, "channels": d.channels} for d in found]
    paths = [_json(folder / CHANNELS / "channels", data)]
    for d in found:
        drawing = plots.boxes(d.channels, d.range or (), "channel", f"{d.kind} {d.tensor} of {d.node}")
        paths.append(_plot(folder / CHANNELS / _file_name(f"{d.node}_{d.kind}_{d.tensor}"), drawing))
    return paths


def save_lifting(folder: Path, metric: str, threshold: float, found: Sequence[Curve]) -> list[Path]:
    """What the outputs gain when the nodes below the threshold stay float, one more after the other."""
    stem = folder / LIFTING / "sensitivity_analysis"
    outputs = list(found[0].outputs)
    lifted = [{"title": c.title, "quantised": c.quantised, "outputs": c.outputs} for c in found]
    series = {name: [c.outputs[name] for c in found] for name in outputs}
    most = found[0].quantised
    drawing = plots.curves(series, "nodes that stay float", metric, [most - c.quantised for c in found])
    return [_json(stem, {"metric": metric, "threshold": threshold, "steps": lifted}), _plot(stem, drawing)]


def save_tensors(folder: Path, report: AccuracyReport) -> list[Path]:
    """Extremes, scale, clamped share and errors of each quantised tensor, and the errors along the depth."""
    stem = folder / TENSORS / "tensors"
    depth = {"all error": [x.sqnr_db for x in report.layers], "added here": [x.own_db for x in report.layers]}
    rows = [asdict(layer) for layer in report.layers]
    return [_json(stem, rows), _plot(stem, plots.curves(depth, "layer", "signal over noise, dB"))]


def _json(stem: Path, data: Any) -> Path:
    path = stem.with_name(f"{stem.name}.json")
    write_file(path, json.dumps(finite(data), indent=2).encode())
    return path


def _plot(stem: Path, drawing: plots.Draw) -> Path:
    path = stem.with_name(f"{stem.name}.png")
    plots.save(drawing, path)
    return path


def _file_name(text: str) -> Path:
    return Path("".join(c if c.isalnum() or c in "._-" else "_" for c in text)[:120])
