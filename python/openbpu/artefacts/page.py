"""The picture of a graph as one HTML page that needs no other file."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from openbpu import frontend
from openbpu.artefacts import model_drawing, program_drawing
from openbpu.artefacts.drawing import layout
from openbpu.artefacts.stages import PROGRAMS
from openbpu.errors import ConfigError
from openbpu.runtime import Executable


def visualize(path: str | os.PathLike[str], entry: str = "") -> str:
    """HTML with the layers of a .bpux file (`entry`: one of its models), or the nodes of an ONNX model.

    Boxes with shapes, scales, where they run and how much they compute, and links between them; zoom, search, details
    on a click. Raises ExecutableError, ModelError, ConfigError.
    """
    from jinja2 import Environment, PackageLoader

    file = Path(path)
    if file.suffix in PROGRAMS:
        boxes, links = program_drawing.drawn(Executable.load(file), entry)
    elif entry:
        raise ConfigError("an ONNX file holds one model", where="entry", seen=entry, remedy="leave it out")
    else:
        boxes, links = model_drawing.drawn(frontend.load(file))
    environment = Environment(
        loader=PackageLoader("openbpu.artefacts"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    placed = layout(boxes, links)
    return environment.get_template("graph.html").render(
        title=f"{file.name}{f', {entry}' if entry else ''}",
        program=file.suffix in PROGRAMS,
        boxes=list(zip(boxes, placed.corners, strict=True)),
        links=[(link, _curve(points), points[-1]) for link, points in zip(links, placed.paths, strict=True)],
        width=placed.width,
        height=placed.height,
        details=[box.details for box in boxes],
    )


def _curve(points: list[tuple[float, float]]) -> str:
    """Pieces of vertical ends through all points."""
    text = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (ax, ay), (bx, by) in pairwise(points):
        middle = (ay + by) / 2
        text += f"C{ax:.0f} {middle:.0f} {bx:.0f} {middle:.0f} {bx:.0f} {by:.0f}"
    return text
