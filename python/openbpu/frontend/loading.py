"""Reads ONNX models; every way in which a file can be bad ends in one ModelError."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from openbpu.errors import ModelError

LARGEST_MESSAGE = (2 << 30) - (64 << 20)  # bytes of weights that a protobuf message can hold beside the rest
_SMALL = 1024  # bytes


def load(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """A model from a path, from bytes, or a copy of a proto; external data is read into memory.

    Raises ModelError naming the file and the cause: missing, empty, truncated, not ONNX, external data missing.
    """
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return _checked(copy, "model")
    if isinstance(model, bytes | bytearray | memoryview):
        return _checked(_parse(bytes(model), "model"), "model")
    if not isinstance(model, str | os.PathLike):
        raise ModelError("a model is a path, bytes or an onnx.ModelProto", where="model", seen=type(model).__name__)
    path = Path(model)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError("the model file must be readable", where=str(path), seen=error.strerror) from error
    proto = _parse(data, str(path))
    _load_external(proto, path)
    return _checked(proto, str(path))


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelError("must be an ONNX model", where=where, seen="no bytes")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError(
            "must be an ONNX model",
            where=where,
            seen=f"{len(data)} bytes that are damaged, truncated or of another format",
        ) from error
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    try:
        for tensor in model.graph.initializer:
            if uses_external_data(tensor):
                _check_beside(tensor.name, ExternalDataInfo(tensor).location, path)
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, TypeError, OverflowError, onnx.checker.ValidationError) as error:
        raise ModelError("external data must be readable", where=str(path), seen=error) from error


def _check_beside(name: str, location: str, path: Path) -> None:
    if not (path.parent / location).is_file():
        raise ModelError(
            f"the external data of tensor {name} must be beside the model",
            where=str(path),
            seen=f"no file {location}",
            remedy="keep the files of the model together, or save it in one file",
        )


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name in the graph. Protobuf gives one that is not UTF-8 as bytes, or raises UnicodeDecodeError."""
    graph = model.graph
    yield graph.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))
    for named in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        yield named.name


def _checked(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        damaged = next((text for text in _texts(model) if not isinstance(text, str)), None)
    except UnicodeDecodeError as error:
        damaged = error.object
    if damaged is not None:
        raise ModelError("names must be UTF-8", where=where, seen=repr(damaged))
    if not model.graph.node and not model.graph.output:
        raise ModelError("must hold a graph", where=where, seen="none")
    external = [t.name for t in model.graph.initializer if uses_external_data(t)]
    if external:
        raise ModelError(
            "a model with external data is loaded from its path", where=where, seen=f"tensor {external[0]}"
        )
    try:
        if any(not o.type.tensor_type.HasField("shape") for o in model.graph.output):
            model = onnx.shape_inference.infer_shapes(model)  # common in exported files, refused by the checker
        return _check(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError("must be a valid ONNX model", where=where, seen=first) from error


def _check(model: onnx.ModelProto) -> onnx.ModelProto:
    """The checked model; nodes in the wrong order, which some converters leave, are sorted."""
    try:
        onnx.checker.check_model(_checkable(model))
    except onnx.checker.ValidationError as error:
        if "topologically sorted" not in str(error):
            raise
        model = _sorted(model)
        onnx.checker.check_model(_checkable(model))
    return model


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its nodes in order; ValueError if there is a cycle, or damage that the checker did not come to."""
    try:
        graph = ir.from_proto(model)
        graph.graph.sort()
        return ir.to_proto(graph)
    except Exception as error:  # onnx-ir raises errors of many kinds on damaged models
        raise ValueError(f"its nodes cannot be sorted: {str(error).strip().splitlines()[0]}") from error


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the checker can take it: without its weights, as inputs, if they are too many for protobuf."""
    sizes = {tensor.name: len(tensor.raw_data) for tensor in model.graph.initializer}
    if sum(sizes.values()) <= LARGEST_MESSAGE:
        return model
    skeleton = onnx.ModelProto(ir_version=model.ir_version)
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(graph, name).extend(getattr(model.graph, name))
    inputs = {info.name for info in graph.input}
    for tensor in model.graph.initializer:
        if sizes[tensor.name] > _SMALL and tensor.name in inputs:
            continue
        if sizes[tensor.name] > _SMALL:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    return skeleton
