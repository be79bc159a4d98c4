"""What nodes cost: multiply-accumulates, and the estimated time that they take of a compiled program."""

from __future__ import annotations

from collections import defaultdict

import onnx

from openbpu.analyze.anatomy import macs_of
from openbpu.perf import PerfReport


def node_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-accumulates of each node of a clean float model, whose shapes are all known."""
    infos = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in infos}
    shapes |= {t.name: tuple(t.dims) for t in model.graph.initializer}
    return {node.name: macs_of(node, shapes) for node in model.graph.node}


def node_times(report: PerfReport) -> dict[str, float]:
    """Estimated microseconds by node: a layer's time in equal parts for the nodes that it was made from."""
    times: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        for node in layer.nodes:
            times[node] += layer.time_us / len(layer.nodes)
    return dict(times)
