"""Plots as SVG for pages that need no other file, and as files: every plot is a matplotlib figure."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from openbpu.files import write_file

_COLOURS = ("#2f6f9f", "#c8451b", "#3b8f5a", "#8a5aa8", "#b58a1b", "#5a6570")
_SVG: Any = {"svg.hashsalt": "openbpu", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
Draw = Callable[[Any], None]  # on a matplotlib Axes


def svg(draw: Draw, height: float = 2.6) -> Markup:
    """A plot as an <svg> element, 10 by `height` inches; the same bytes for the same data."""
    text = _rendered(draw, height, "svg").decode()
    return Markup(text[text.index("<svg") :])


def save(draw: Draw, path: str | PathLike[str], height: float = 4.0) -> None:
    """Writes a plot as .svg or .png. Raises OpenBpuError naming the path."""
    write_file(path, _rendered(draw, height, Path(path).suffix.lstrip(".") or "png"))


def _rendered(draw: Draw, height: float, kind: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_SVG):
        figure = Figure(figsize=(10, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def curves(series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, x: Sequence[int] = ()) -> Draw:
    """One line per name over 1, 2, ... or `x`; values that are not finite leave a gap."""

    def draw(axes: Any) -> None:
        for index, (name, values) in enumerate(series.items()):
            y = [v if math.isfinite(v) else math.nan for v in values]
            style = {"color": _COLOURS[index % len(_COLOURS)], "marker": "." if len(y) < 150 else ""}
            axes.plot(x or range(1, len(y) + 1), y, label=name, linewidth=1.2, **style)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
        if len(series) > 1:
            axes.legend(frameon=False)

    return draw


def bars(values: Sequence[float], names: Sequence[str], ylabel: str) -> Draw:
    """One bar per name, named below if there are few; values that are not finite get none."""

    def draw(axes: Any) -> None:
        heights = [v if math.isfinite(v) else 0.0 for v in values]
        axes.bar(range(1, len(heights) + 1), heights, color=_COLOURS[0], width=0.8)
        if len(names) <= 40:
            labels = [name if len(name) <= 24 else f"...{name[-21:]}" for name in names]
            axes.set_xticks(range(1, len(names) + 1), labels, rotation=40, ha="right", fontsize=7)
        else:
            axes.set_xlabel("place in the table")
        axes.set_ylabel(ylabel)
        axes.grid(axis="y", alpha=0.3)
        axes.margins(x=0.01)

    return draw


def histograms(
    counts: Mapping[str, Sequence[int]], span: Sequence[float], limits: Sequence[float], title: str = ""
) -> Draw:
    """Counts of equal bins over `span` on a logarithmic axis, one outline per name; lines at the quantised range."""

    def draw(axes: Any) -> None:
        for index, (name, values) in enumerate(counts.items()):
            edges = np.linspace(span[0], span[1], len(values) + 1)
            colour = _COLOURS[index % len(_COLOURS)]
            axes.stairs(values, edges, fill=index == 0, alpha=0.45 if index == 0 else 1.0, color=colour, label=name)
        for place, limit in enumerate(limits):
            label = "quantised range" if place == 0 else None
            axes.axvline(limit, color=_COLOURS[3], linestyle="--", linewidth=1, label=label)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("value")
        axes.set_ylabel("count")
        if title:
            axes.set_title(title, fontsize=9)
        axes.legend(frameon=False)

    return draw


def boxes(rows: Sequence[Mapping[str, float]], limits: Sequence[float], xlabel: str, title: str = "") -> Draw:
    """A box per channel: extremes, quartiles and median; lines at the quantised range."""

    def draw(axes: Any) -> None:
        stats = [
            {"whislo": r["min"], "q1": r["q1"], "med": r["median"], "q3": r["q3"], "whishi": r["max"], "fliers": []}
            for r in rows
        ]
        style = {"boxprops": {"facecolor": "#9dc3dd", "linewidth": 0.5}, "whiskerprops": {"linewidth": 0.6}}
        axes.bxp(
            stats,
            showfliers=False,
            showcaps=len(rows) <= 64,
            patch_artist=True,
            widths=0.7,
            medianprops={"color": _COLOURS[1]},
            **style,
        )
        for limit in limits:
            axes.axhline(limit, color=_COLOURS[3], linestyle="--", linewidth=1)
        step = max(1, len(rows) // 16)
        axes.set_xticks(range(1, len(rows) + 1, step), [str(k) for k in range(0, len(rows), step)])
        axes.set_xlabel(xlabel)
        axes.set_ylabel("value")
        if title:
            axes.set_title(title, fontsize=9)

    return draw
