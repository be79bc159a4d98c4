"""Many random models in one go: PYTHONPATH=python:tests python -m graph_fuzz.long [--mode quantised] [--graphs 5000].

A failure does not end the run: its model, feeds and message go to the folder --keep, and the last line counts them. A
seed stands for the same graphs in every run with the same versions of hypothesis, ONNX Runtime and onnx.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, Phase, given, seed, settings

from graph_fuzz.compare import compare
from graph_fuzz.graph import Graph
from graph_fuzz.models import graphs
from graph_fuzz.quantised import compare_quantised, quantised_graph

_BLOCK = 500  # graphs that one seed stands for


class Record:
    """What came of the graphs so far."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.compared = self.failed = 0
        self.operators: Counter[str] = Counter()

    def check(self, label: str, graph: Any, nodes: list[onnx.NodeProto], run: Any) -> None:
        self.compared += 1
        self.operators.update(node.op_type for node in nodes)
        try:
            run(graph)
        except Exception as error:  # whatever the compiler raises is a failure of this graph alone
            self.failed += 1
            first = str(error).splitlines()[0] if str(error) else ""
            print(f"{label}: {type(error).__name__}: {first}", flush=True)
            if self.folder is not None:
                self._keep(label, graph)

    def _keep(self, label: str, graph: Any) -> None:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / label
        path.with_suffix(".txt").write_text(traceback.format_exc())
        onnx.save(graph.model(), path.with_suffix(".onnx"))
        np.savez(path.with_suffix(".npz"), **(graph.feeds if isinstance(graph, Graph) else graph.net.feeds))


def _float_block(number: int, count: int, record: Record) -> None:
    places = itertools.count()

    @settings(
        deadline=None,
        phases=[Phase.generate],
        database=None,
        max_examples=count,
        suppress_health_check=list(HealthCheck),
    )
    @seed(number)
    @given(graph=graphs())
    def every(graph: Graph) -> None:
        place = next(places)
        if graph.nodes:
            record.check(f"float-{number}-{place}", graph, graph.nodes, compare)

    every()


def _quantised_block(number: int, count: int, record: Record) -> None:
    for graph_seed in range(number * _BLOCK, number * _BLOCK + count):
        graph = quantised_graph(graph_seed)
        if graph.steps:
            record.check(f"quantised-{graph_seed}", graph, graph.net.nodes, compare_quantised)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("float", "quantised"), default="float")
    parser.add_argument("--graphs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first block of 500 graphs")
    parser.add_argument("--keep", type=Path, help="folder for what fails")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    record, start, number = Record(arguments.keep), time.process_time(), arguments.first
    block = _float_block if arguments.mode == "float" else _quantised_block
    while record.compared < arguments.graphs:
        block(number, min(_BLOCK, arguments.graphs - record.compared), record)
        number += 1
        print(f"{record.compared} graphs, {record.failed} failed", file=sys.stderr, flush=True)
    nodes = sum(record.operators.values())
    print(
        f"{record.compared} {arguments.mode} graphs, {nodes} nodes of {len(record.operators)} operators, "
        f"{record.failed} failed, {time.process_time() - start:.0f} s of processor time"
    )
    return int(record.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
