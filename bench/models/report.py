"""Rows of a comparison as a table, a summary, a JSON document and a chart."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

Rows = list[dict[str, Any]]
DISTURBED = 1.2  # median over minimum above which something else was running
_COLUMNS = ("model", "engine", "median ms", "min ms", "GMAC/s", "% peak", "x ours")
_FOOTPRINT = ("load ms", "peak MiB", "allocations", "of one layer", "cosine")


def show(rows: Rows) -> None:
    table = Table(box=box.SIMPLE, title_justify="left")
    for name in _COLUMNS + _FOOTPRINT:
        table.add_column(name, justify="left" if name in ("model", "engine") else "right", no_wrap=True)
    for r in rows:
        mark = "!" if disturbed(r) else ""
        times = (f"{mark}{r['median_ms']:.3f}", f"{r['min_ms']:.3f}", f"{r['gmacs']:.1f}", f"{100 * r['of_peak']:.0f}")
        sizes = (f"{r['load_ms']:.1f}", f"{r['peak_mib']:.0f}", f"{r['allocations']:.1f}")
        engine = f"{r['engine']} {r['version']}"
        one_layer, cosine = f"{r['allocations_of_one_layer']:.1f}", f"{r['cosine']:.4f}"
        table.add_row(r["model"], engine, *times, f"{r['ratio']:.2f}", *sizes, one_layer, cosine)
    Console(width=160).print(table)


def disturbed(row: dict[str, Any]) -> bool:
    """The engine's median is so far above its best that its rank is chance."""
    return bool(row["median_ms"] > DISTURBED * row["min_ms"])


def best_ratios(rows: Rows) -> dict[str, float]:
    """Best peer over ours, by model."""
    ratios: dict[str, float] = {}
    for row in rows:
        if row["engine"] != "openbpu":
            ratios[row["model"]] = min(ratios.get(row["model"], float("inf")), row["ratio"])
    return ratios


def summary(rows: Rows) -> str:
    ratios = best_ratios(rows)
    if not ratios:
        return "no peer to compare with"
    parts = [f"{model} {ratio:.2f}" for model, ratio in ratios.items()]
    text = f"best peer / ours: {', '.join(parts)}; geometric mean {statistics.geometric_mean(ratios.values()):.2f}"
    suspects = [f"{row['engine']} on {row['model']}" for row in rows if disturbed(row)]
    if suspects:
        text += f"\n! disturbed, not to be quoted: {', '.join(suspects)} (median above {DISTURBED} x minimum)"
    return text


def write_json(rows: Rows, path: Path) -> None:
    ratios = best_ratios(rows)
    mean = statistics.geometric_mean(ratios.values()) if ratios else None
    rows = [{**row, "disturbed": disturbed(row)} for row in rows]
    document = {"best_peer_over_ours": ratios, "geometric_mean": mean, "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n")


def chart(rows: Rows, path: Path) -> None:
    """Bars of each peer's time over ours; one is a tie."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(row["model"] for row in rows))
    peers = [e for e in dict.fromkeys(row["engine"] for row in rows) if e != "openbpu"]
    figure, axes = pyplot.subplots(figsize=(1.6 * len(models) + 2, 4.2), layout="constrained")
    for k, peer in enumerate(peers):
        ratios = {row["model"]: row["ratio"] for row in rows if row["engine"] == peer}
        run = [index for index, model in enumerate(models) if model in ratios]
        places = np.array(run) + (k - (len(peers) - 1) / 2) * 0.8 / len(peers)
        bars = axes.bar(places, [ratios[models[index]] for index in run], 0.76 / len(peers), label=peer)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(models)), models)
    axes.set_ylabel("time over openbpu's")
    axes.set_title(f"{rows[0]['processor']}, {rows[0]['threads']} threads, isa {rows[0]['isa']}", fontsize=10)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
