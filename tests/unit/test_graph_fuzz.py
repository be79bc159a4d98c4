"""Random models against ONNX Runtime, float ones over the whole op table and quantised ones: 200 of each, or as many as
OPENBPU_FUZZ_GRAPHS says."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from onnx import defs

from graph_fuzz.compare import compare
from graph_fuzz.graph import Graph
from graph_fuzz.models import OPSETS, graphs
from graph_fuzz.quantised import QuantisedGraph, compare_quantised, quantised_graph
from graph_fuzz.registry import GENERATORS
from openbpu.lower.table import table

_GRAPHS = int(os.environ.get("OPENBPU_FUZZ_GRAPHS", "200"))
# Operators of the op table that no graph has, and why.
_LEFT_OUT = {
    **dict.fromkeys(("Loop", "Scan"), "written out before anything else; test_frontend_*"),
    **dict.fromkeys(("Scatter", "Upsample"), "deprecated before opset 13"),
    **dict.fromkeys(
        ("CausalConvWithState", "CumProd", "LinearAttention", "SwiGLU", "Swish"), "newer than the opsets drawn"
    ),
}
_LEAST = {"GroupNormalization": 21}  # the form that its generator draws


_QUIET = settings(
    deadline=None,
    phases=[Phase.generate],  # what fails says its whole model; to make it smaller would take minutes
    derandomize="OPENBPU_FUZZ_GRAPHS" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore")
@settings(_QUIET, max_examples=_GRAPHS)
@given(graph=graphs())
def test_random_graphs(graph: Graph) -> None:
    assume(graph.nodes)
    compare(graph)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", sorted(GENERATORS))
def test_every_operator(operator: str) -> None:
    """At least one graph in some has the operator."""
    seen = set()

    first = min(s.since_version for s in defs.get_all_schemas_with_history() if s.name == operator and not s.domain)
    least = max(_LEAST.get(operator, first), OPSETS[0])

    @settings(_QUIET, max_examples=4)
    @given(graph=graphs((operator,), 2, least))
    def check(graph: Graph) -> None:
        seen.update(node.op_type for node in graph.nodes)
        if graph.nodes:
            compare(graph)

    check()
    assert operator in seen


def test_every_operator_of_the_table_is_drawn() -> None:
    computed = {entry.name for entry in table() if not entry.refused}
    assert computed - set(GENERATORS) == set(_LEFT_OUT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", range(8))
def test_random_quantised_graphs(block: int) -> None:
    """Every step of a graph within its tolerance, for operands that are ours; a seed is a graph."""
    for seed in range(block * _GRAPHS // 8, (block + 1) * _GRAPHS // 8):
        graph = quantised_graph(seed)
        if graph.steps:
            compare_quantised(graph)


def test_a_chain_of_int16_functions_may_be_one_table() -> None:
    """|x|, doubled: the program doubles before it rounds. What is off by more than that fails."""
    graph = QuantisedGraph(4)  # an int16 one
    x = graph.operand(shape=(3, 40))
    graph.result(graph.net.node("Abs", x.name), len(graph.net.nodes) - 1, x)
    y = graph.operands[-1]
    graph.result(graph.net.node("Add", y.name, y.name), len(graph.net.nodes) - 1, y)
    step, scale = graph.steps[-1], graph.scales[y.name]
    values = {o.name: o.value for o in graph.operands}
    wanted = graph.codes(step, values).astype(np.int64)
    moved = graph.moved(step, values, wanted)
    assert moved.max() <= 2 * scale / step.scale + 1 and moved.min() >= 2 * scale / step.scale - 1
    assert not graph.moved(graph.steps[1], values, graph.codes(graph.steps[1], values)).any()  # of an input: no chain
    compare_quantised(graph)


def test_a_graph_gives_its_model_again() -> None:
    """As keeping what failed does."""
    graph = quantised_graph(3)
    assert graph.model().SerializeToString() == graph.model().SerializeToString()
