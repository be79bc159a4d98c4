"""Small plots as SVG, for pages that need no other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

_WIDTH, _HEIGHT = 960, 160


def bars(values: Sequence[float], titles: Sequence[str]) -> Markup:
    """One bar per value, the highest over all the height; infinite values get no bar. Titles show on hover."""
    finite = [v for v in values if math.isfinite(v)]
    top, low = max(finite, default=1.0), min(0.0, *finite) if finite else 0.0
    step = _WIDTH / max(len(values), 1)
    shapes = []
    for index, (value, title) in enumerate(zip(values, titles, strict=True)):
        height = _HEIGHT * (value - low) / max(top - low, 1e-9) if math.isfinite(value) else 0.0
        shapes.append(
            f'<rect x="{index * step:.2f}" y="{_HEIGHT - height:.2f}" width="{max(step - 1, 0.5):.2f}" '
            f'height="{height:.2f}"><title>{escape(title)}</title></rect>'
        )
    return _svg(shapes, f"{len(values)} bars, highest {top:.1f}")


def histogram(counts: Sequence[int], span: Sequence[float], limits: Sequence[float]) -> Markup:
    """Counts of equal bins over `span`, logarithmic, with a line at each of the two limits of the quantised range."""
    most = math.log1p(max(counts, default=1) or 1)
    step = _WIDTH / max(len(counts), 1)
    shapes = []
    for index, count in enumerate(counts):
        height = _HEIGHT * math.log1p(count) / most
        shapes.append(
            f'<rect x="{index * step:.2f}" y="{_HEIGHT - height:.2f}" width="{step:.2f}" height="{height:.2f}"/>'
        )
    for limit in limits:
        x = _WIDTH * (limit - span[0]) / max(span[1] - span[0], 1e-300)
        shapes.append(f'<line x1="{x:.2f}" y1="0" x2="{x:.2f}" y2="{_HEIGHT}"><title>limit {limit:.6g}</title></line>')
    return _svg(shapes, f"histogram from {span[0]:.4g} to {span[1]:.4g}, limits {limits[0]:.4g} and {limits[1]:.4g}")


def _svg(shapes: Sequence[str], label: str) -> Markup:
    body = "".join(shapes)
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="none">{body}</svg>'
    )
