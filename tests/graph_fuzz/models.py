"""Random models over the whole op table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from onnx import defs

from graph_fuzz import elementwise, images, moves, products
from graph_fuzz.graph import Discarded, Draw, Graph
from graph_fuzz.registry import GENERATORS

_REGISTERED = (elementwise, images, moves, products)  # importing them fills the table
OPSETS = range(13, 24)
MOST_NODES = 8


def append(g: Graph, operator: str) -> bool:
    """A node of this operator, with those that it needs; False if it has no place in the graph."""
    try:
        schema = defs.get_schema(operator, g.opset, "")
    except defs.SchemaError:
        return False
    if schema.deprecated:
        return False
    try:
        GENERATORS[operator](g, operator)
    except Discarded:
        return False
    return True


@st.composite
def graphs(
    draw: Draw, operators: Sequence[str] = tuple(sorted(GENERATORS)), most: int = MOST_NODES, least: int = OPSETS[0]
) -> Any:
    """Graphs of up to `most` drawn operators, of opset `least` or newer."""
    g = Graph(draw, draw(st.sampled_from([opset for opset in OPSETS if opset >= least])))
    for operator in draw(st.lists(st.sampled_from(list(operators)), min_size=1, max_size=most)):
        append(g, operator)
    return g
