"""An ONNX graph as boxes and links."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import onnx
from onnx import helper, numpy_helper

from openbpu.artefacts.drawing import Box, Link
from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import infer_shapes

_LONGEST = 34  # characters of a line
_KINDS = {"QuantizeLinear": "quantise", "DequantizeLinear": "quantise"}


def drawn(model: onnx.ModelProto) -> tuple[list[Box], list[Link]]:
    """Inputs, nodes in their order, outputs; constants, also quantised ones, are details of their readers."""
    graph = model.graph
    shapes = _shapes(model)
    constants = {t.name: t for t in graph.initializer}
    folded = {
        n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear" and set(n.input) <= {*constants, ""}
    }
    boxes: list[Box] = []
    links: list[Link] = []
    made: dict[str, int] = {}
    for info in graph.input:
        if info.name not in constants:
            made[info.name] = len(boxes)
            boxes.append(Box((cut(info.name), shapes.get(info.name, "")), "port"))
    for node in graph.node:
        if next(iter(node.output), "") in folded:
            continue
        details = [("operator", node.op_type), ("name", node.name)]
        details += [(a.name, _short(helper.get_attribute_value(a))) for a in node.attribute]
        for name in node.input:
            if name in constants:
                details.append((name, _constant(constants[name])))
            elif name in folded:
                source = folded[name].input
                details.append(
                    (source[0], f"{_constant(constants[source[0]])}, scale {_constant(constants[source[1]])}")
                )
            elif name in made:
                links.append(Link(made[name], len(boxes), shapes.get(name, "")))
        details += [(name, shapes.get(name, "")) for name in node.output]
        lines = [
            node.op_type,
            cut(node.name or next(iter(node.output), "")),
            shapes.get(next(iter(node.output), ""), ""),
        ]
        if node.op_type in _KINDS and len(node.input) > 1 and node.input[1] in constants:
            lines.append(f"scale {_constant(constants[node.input[1]], short=True)}")
        made |= {name: len(boxes) for name in node.output if name}
        boxes.append(Box(tuple(filter(None, lines)), _KINDS.get(node.op_type, "node"), tuple(details)))
    for info in graph.output:
        if info.name in made:
            links.append(Link(made[info.name], len(boxes), shapes.get(info.name, "")))
        boxes.append(Box((cut(info.name), shapes.get(info.name, "")), "port"))
    return boxes, links


def cut(text: str) -> str:
    """A name that fits into a box: its end says most."""
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _shapes(model: onnx.ModelProto) -> dict[str, str]:
    with suppress(ModelError, ValueError, RuntimeError):  # else drawn without the shapes that the file does not say
        model = infer_shapes(model)
    graph = model.graph
    return {i.name: _shape(i) for i in (*graph.value_info, *graph.input, *graph.output)}


def _shape(info: onnx.ValueInfoProto) -> str:
    return "x".join(str(d.dim_value or d.dim_param or "?") for d in info.type.tensor_type.shape.dim)


def _constant(tensor: onnx.TensorProto, short: bool = False) -> str:
    array = numpy_helper.to_array(tensor)
    if array.size == 1:
        value = array.item()
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{array.size} values" if short else f"{array.dtype} {'x'.join(map(str, array.shape))}"


def _short(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
