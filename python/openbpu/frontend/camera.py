"""Inputs of a model replaced by what arrives at run time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from openbpu.errors import ConfigError, did_you_mean
from openbpu.ir.onnx_graph import Names
from openbpu.preprocess import InputSpec, PortSpec

_DOMAIN, _OPERATOR = "openbpu", "CameraInput"  # lower/camera.py computes it
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def insert_inputs(model: onnx.ModelProto, inputs: Mapping[str, InputSpec]) -> None:
    """Replaces inputs of a model with static shapes by the ports of their specs, and nodes that convert those.

    Changes `model`. Raises ConfigError for an input that the model lacks, or that cannot be such an image.
    """
    known = {info.name: info for info in model.graph.input}
    for name, spec in inputs.items():
        if name not in known:
            hint = did_you_mean(name, known, f"the inputs are {', '.join(known)}")
            raise ConfigError("the model has no such input", where="inputs", seen=name, remedy=hint)
        tensor = known[name].type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        spec.checked(name, shape)
        if spec.identity:
            continue
        if tensor.elem_type != TensorProto.FLOAT:
            kind = TensorProto.DataType.Name(tensor.elem_type).lower()
            raise ConfigError("an image input of the model is float32", where=f"input '{name}'", seen=kind)
        _replace(model, name, spec, shape)


def _replace(model: onnx.ModelProto, name: str, spec: InputSpec, shape: list[int]) -> None:
    graph, names = model.graph, Names(model.graph)
    ports = spec.ports(name, shape)
    others = {info.name for info in graph.input} - {name}
    for port in ports:
        if port.name in others:
            raise ConfigError("its ports need names of their own", where=f"input '{name}'", seen=port.name)
    seen = names.fresh(f"{name}.pixels")  # what the network sees
    _rename(graph, name, seen)
    images = shape[0] if spec.separate_batch else 1
    each = len(ports) // images
    made = []
    for i in range(images):
        single = seen if images == 1 else names.fresh(f"{seen}_{i}")
        made.append(_node(spec, ports[i * each : (i + 1) * each], single))
        graph.value_info.append(
            helper.make_tensor_value_info(single, TensorProto.FLOAT, [shape[0] // images, *shape[1:]])
        )
    if images > 1:
        joined = [node.output[0] for node in made]
        made.append(helper.make_node("Concat", joined, [seen], name=f"{name}.batch", axis=0))
    at = next(i for i, other in enumerate(graph.input) if other.name == name)
    kept = [*graph.input[:at], *map(_info, ports), *graph.input[at + 1 :]]
    del graph.input[:]
    graph.input.extend(kept)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *rest])
    if all(opset.domain != _DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _node(spec: InputSpec, ports: Sequence[PortSpec], output: str) -> onnx.NodeProto:
    title = f"{ports[0].name}.convert"
    if spec.type_rt == "featuremap":
        if spec.runtime_layout == spec.layout_train:
            return helper.make_node("Identity", [ports[0].name], [output], name=title)
        perm = _TO_NCHW if spec.layout_train == "NCHW" else _TO_NHWC
        return helper.make_node("Transpose", [ports[0].name], [output], name=title, perm=perm)
    inputs = [port.name for port in ports]
    record = json.dumps(spec.to_dict(), sort_keys=True)
    return helper.make_node(_OPERATOR, inputs, [output], name=title, domain=_DOMAIN, spec=record)


def _info(port: PortSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, getattr(TensorProto, _TYPES[port.dtype]), port.shape)


_TYPES = {"uint8": "UINT8", "int8": "INT8", "int32": "INT32", "float32": "FLOAT"}


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """The tensor under another name wherever it is read, in sub-graphs too."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, old, new)
    for output in graph.output:
        if output.name == old:
            raise ConfigError("an image input is no output of the model", where=f"input '{old}'")
