"""What a build says of its nodes and outputs, as rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from openbpu.analyze import AccuracyReport, PlacementReport

_TYPES = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8", TensorProto.INT16: "int16"}
_STEPS = {"int8": 128, "uint8": 128, "int16": 32768}


@dataclass(frozen=True)
class NodeRow:
    """A node: where it runs, in which part, how near its result is, the largest magnitude that it can represent."""

    node: str
    on: str  # BPU, CPU or -- (folded into another node)
    subgraph: str
    type: str
    cosine: str
    threshold: str
    data_type: str


def node_rows(placement: PlacementReport, accuracy: AccuracyReport | None, qdq: onnx.ModelProto) -> list[NodeRow]:
    """One row per node, in the order of the model; numbers are missing where there is none."""
    layers = {layer.node: layer for layer in accuracy.layers} if accuracy else {}
    types = _types_by_scale(qdq)
    rows, part, before = [], -1, ""
    for decision in placement.decisions:
        if decision.op in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if decision.where == "BPU" and before != "BPU":
            part += 1
        before = decision.where if decision.where != "none" else before
        layer = layers.get(decision.node)
        kind = types.get((layer.scale, layer.zero_point), "int8") if layer else ""
        rows.append(
            NodeRow(
                decision.node,
                decision.where if decision.where != "none" else "--",
                f"id({part})" if decision.where == "BPU" else "--",
                decision.op,
                _number(layer.cosine) if layer else "--",
                _number(layer.scale * _STEPS[kind]) if layer else "--",
                kind or ("float" if decision.where == "CPU" else "--"),
            )
        )
    return rows


def output_rows(accuracy: AccuracyReport) -> list[tuple[str, str, str, str, str]]:
    """Per output of the model: name, cosine similarity, L1 and L2 distance, Chebyshev distance."""
    return [(o.name, _number(o.cosine), _number(o.l1), _number(o.l2), _number(o.max)) for o in accuracy.outputs]


def text_table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A plain table, for files and scripts."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*filter(None, [title]), texts[0], "-" * len(texts[0]), *texts[1:]])


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "--"


def _types_by_scale(qdq: onnx.ModelProto) -> dict[tuple[float, int], str]:
    """The type of activations by scale and zero point."""
    from onnx import numpy_helper

    constants = {t.name: t for t in qdq.graph.initializer}
    found = {}
    for node in qdq.graph.node:
        if node.op_type == "QuantizeLinear" and {*node.input[1:3]} <= constants.keys():
            scale, zero = (constants[name] for name in node.input[1:3])
            if numpy_helper.to_array(scale).size == 1:
                key = (float(numpy_helper.to_array(scale)), int(numpy_helper.to_array(zero)))
                found[key] = _TYPES.get(zero.data_type, "int8")
    return found
