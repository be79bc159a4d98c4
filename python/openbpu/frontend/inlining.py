"""Functions as their nodes: those of the model, and those by which ONNX defines operators that have no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import onnx.inliner
from onnx import defs

from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import DECOMPOSED, STANDARD, infer_shapes, opset_of


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without calls of functions; itself if it has none. Raises ModelError if that cannot be done."""
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model, convert_version=True)
        except (RuntimeError, ValueError) as error:
            raise _refused(model.graph.name, error) from error
    while any(_is_decomposed(node) for node in model.graph.node):
        _decompose(model)
    return model


def _refused(where: str, error: Exception) -> ModelError:
    return ModelError(
        "its functions must be expressible as nodes",
        where=where,
        seen=str(error).strip().splitlines()[0],
        remedy="replace the operator by its parts in the model",
    )


def _is_decomposed(node: onnx.NodeProto) -> bool:
    return node.op_type in DECOMPOSED and node.domain in STANDARD


def _decompose(model: onnx.ModelProto) -> None:
    """Replaces each decomposed operator by the nodes of its function, in place."""
    version = opset_of(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        graph = infer_shapes(copy).graph
        types = {info.name: info.type for info in (*graph.input, *graph.value_info, *graph.output)}
        types |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
        nodes: list[onnx.NodeProto] = []
        for index, node in enumerate(model.graph.node):
            nodes += (
                _body(node, version, types, f"{node.name or node.op_type}_{index}/") if _is_decomposed(node) else [node]
            )
    except (RuntimeError, ValueError, defs.SchemaError, onnx.shape_inference.InferenceError) as error:
        raise _refused(model.graph.name, error) from error
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _body(node: onnx.NodeProto, version: int, types: Mapping[str, onnx.TypeProto], prefix: str) -> list[onnx.NodeProto]:
    """The nodes of the function that defines `node`; tensors inside get `prefix`."""
    schema: Any = defs.get_schema(node.op_type, version, node.domain)
    if schema.has_function:
        function = schema.function_body
    elif schema.has_context_dependent_function:
        operands = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        function = onnx.FunctionProto.FromString(
            schema.get_context_dependent_function(node.SerializeToString(), operands)
        )
    else:
        raise ValueError(f"opset {version} has no function for {node.op_type}")
    names = dict(zip(function.input, [*node.input, *[""] * len(function.input)], strict=False))
    names |= {inner: outer for inner, outer in zip(function.output, node.output, strict=False) if outer}
    given = {a.name: a for a in node.attribute}
    given |= {a.name: a for a in function.attribute_proto if a.name not in given}
    return [renamed(inner, names, given, prefix) for inner in function.node]


def renamed(
    node: onnx.NodeProto, names: dict[str, str], given: Mapping[str, onnx.AttributeProto], prefix: str
) -> onnx.NodeProto:
    """A copy of an inner node with the caller's names, `prefix` before those without one, and the caller's attributes.

    `names` gains what the node defines.
    """

    def outer(name: str) -> str:
        return names.setdefault(name, f"{prefix}{name}") if name else ""

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}{node.name or node.op_type}/{next((o for o in node.output if o), '')}"
    copy.input[:] = [outer(name) for name in node.input]
    while copy.input and not copy.input[-1]:
        copy.input.pop()
    copy.output[:] = [outer(name) for name in node.output]
    del copy.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name and attribute.ref_attr_name not in given:
            continue
        kept = copy.attribute.add()
        kept.CopyFrom(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
        kept.name, kept.ref_attr_name = attribute.name, ""
        if kept.HasField("g"):
            copies = [renamed(inner, names, given, prefix) for inner in kept.g.node]
            del kept.g.node[:]
            kept.g.node.extend(copies)
            for info in (*kept.g.input, *kept.g.output, *kept.g.initializer):
                info.name = outer(info.name)
    return copy
