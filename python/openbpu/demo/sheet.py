"""The contact sheet: each photograph with what the float and the int8 network see in it."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from openbpu.demo.experiment import Result
from openbpu.zoo import imagenet_labels

_COLUMNS = 3


def write_contact_sheet(result: Result, path: Path) -> None:
    """Writes a PNG with one tile per photograph and the totals in the title."""
    labels = imagenet_labels()
    rows = -(-len(result.photographs) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3.4 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"EfficientNet-Lite0: int8 against float, cosine {result.cosine:.4f}, SQNR {result.sqnr_db:.1f} dB, "
        f"same class {result.agreement:.0%}"
    )
    for index, axes in enumerate(figure.subplots(rows, _COLUMNS).flat):
        axes.set_axis_off()
        if index >= len(result.photographs):
            continue
        row = result.photographs[index]
        axes.imshow(row.pixels)
        axes.set_title(
            f"float: {labels[row.float_class]} ({row.float_probability:.0%})\n"
            f"int8: {labels[row.int8_class]} ({row.int8_probability:.0%})",
            fontsize=10,
            color="black" if row.float_class == row.int8_class else "firebrick",
        )
    figure.savefig(path, dpi=100, metadata={"Software": None})
