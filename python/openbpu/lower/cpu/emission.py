"""Nodes as CPU operators of the graph: operands made dense, types converted where a kernel has only one."""

from __future__ import annotations

from math import prod
from typing import Any

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import Op, Value
from openbpu.lower.builder import GraphBuilder, Shape, memory_shape
from openbpu.lower.cpu import kernels
from openbpu.lower.cpu.form import VIEW, Form, canonical
from openbpu.lower.expressions import Constant, Expr
from openbpu.lower.node import Node, TensorInfo

_STATIC_SHAPE = "fix the input shapes (input_shapes), and fold the shape arithmetic of the model"


def run(node: Node) -> dict[int, Value]:
    """Emits the operators that compute a node on the CPU; its results by position.

    Raises UnsupportedError with both reasons if it has no place there either.
    """
    try:
        form = canonical(node)
        _check(node, form)
        return _view(node, form) if form.op == VIEW else _operator(node, form)
    except UnsupportedError as error:
        if node.refusal is None or error is node.refusal or error.where != node.where:
            raise
        raise UnsupportedError(
            f"{error.rule} (on the CPU); {node.refusal.rule} (on the BPU)",
            where=node.where,
            seen=error.seen or node.refusal.seen,
            remedy=error.remedy or node.refusal.remedy,
        ) from error


def _check(node: Node, form: Form) -> None:
    if form.op != VIEW and form.op not in kernels.KERNELS:
        raise node.refuse("there is no CPU operator of this kind", remedy=NO_OPERATOR)
    for info, name in zip(form.results, node.outputs, strict=False):
        if name and info is None and not _is_empty(node, name):
            raise node.refuse("the shape of its result must be known at compile time", seen=name, remedy=_STATIC_SHAPE)
        if info is not None:
            _check_tensor(node, info)
    for operand in form.operands:
        if operand is not None:
            _check_tensor(node, TensorInfo(operand.shape, operand.dtype))
    if form.op == VIEW:
        return
    unknown = set(form.attributes) - kernels.ATTRIBUTES[form.op]
    if unknown:
        raise node.refuse("its attributes must be those of the newest opset", seen=", ".join(sorted(unknown)))
    for position in kernels.STATIC[form.op]:
        operand = form.operands[position] if position < len(form.operands) else None
        if operand is not None and not isinstance(operand, Constant):
            raise node.refuse(
                f"operand {position} must be known at compile time", seen="computed at run time", remedy=_STATIC_SHAPE
            )


def _is_empty(node: Node, name: str) -> bool:
    info = node.infos[list(node.outputs).index(name)]
    return info is not None and 0 in info.shape


NO_OPERATOR = "replace it, or cut the model in front of it and compute the rest on the host"


def _check_tensor(node: Node, info: TensorInfo) -> None:
    if info.dtype not in kernels.TYPES:
        raise node.refuse(
            "CPU operators have no tensors of this type", seen=info.dtype, remedy="export the model in float32"
        )
    if min(info.shape, default=1) < 1:
        raise node.refuse("tensors must not be empty", seen=f"shape {info.shape}", remedy="cut the empty branch off")
    if len(info.shape) > 8 or prod(info.shape) >= 1 << 31:
        raise node.refuse("at most 8 dimensions and 2^31 elements", seen=f"shape {info.shape}")


def _view(node: Node, form: Form) -> dict[int, Value]:
    info, operand = form.results[0], form.operands[0]
    assert info is not None and operand is not None
    return {0: alias(node.graph, _dense(operand, node), info.shape, (node.name,), node.outputs[0])}


def alias(graph: GraphBuilder, value: Value, shape: Shape, origin: tuple[str, ...], name: str) -> Value:
    """The same bytes under another shape."""
    return graph.emit("alias", [value], shape, None, origin, name=name, dtype=value.dtype)


def _operator(node: Node, form: Form) -> dict[int, Value]:
    graph, origin = node.graph, (node.name,)
    operands = [
        None if operand is None else _operand(node, form, i, operand) for i, operand in enumerate(form.operands)
    ]
    present = [i for i, value in enumerate(operands) if value is not None]
    values = [value for value in operands if value is not None]
    first = next((i for i in form.results if i is not None), None)
    made: dict[int, Value] = {}
    outputs = []
    for index, info in enumerate(form.results):
        if info is None:
            continue
        shape = _flattened(form, info.shape)
        dtype = info.dtype if _keeps_type(form, index) else kernels.working_type(form.op, info.dtype)
        name = node.outputs[index] if index < len(node.outputs) else count_name(node)
        value = graph.value(name, memory_shape(shape), shape, None, dtype)
        outputs.append(value)
        made[index] = value
    assert first is not None
    attrs: dict[str, Any] = {
        "op": form.op,
        "attributes": dict(sorted(form.attributes.items())),
        "operands": tuple(present),
        "results": tuple(made),
    }
    graph.graph.ops.append(Op("cpu", values, outputs, attrs, {}, origin))
    for index, value in made.items():
        info = form.results[index]
        assert info is not None
        if value.onnx_shape != info.shape:
            value = alias(graph, value, info.shape, origin, value.name)
        made[index] = converted(graph, value, info.dtype, origin)
    return made


def count_name(node: Node) -> str:
    """Name of the result that counts the valid rows of the others."""
    return f"{next(name for name in node.outputs if name)}.count"


def _keeps_type(form: Form, index: int) -> bool:
    """Results that are indices or masks have a type of their own."""
    return form.op in ("Cast", "DequantizeLinear", "QuantizeLinear") or (index > 0 and form.op in ("TopK", "MaxPool"))


def _operand(node: Node, form: Form, index: int, operand: Expr) -> Value:
    value = _dense(operand, node)
    if form.flattened is not None and index == 0:
        value = alias(node.graph, value, _flattened(form, value.onnx_shape), (node.name,), f"{value.name}.matrix")
    if index in kernels.STATIC[form.op]:
        return value
    return converted(node.graph, value, kernels.working_type(form.op, value.dtype), (node.name,))


def _flattened(form: Form, shape: Shape) -> Shape:
    if form.flattened is None:
        return shape
    return prod(shape[: form.flattened]), prod(shape[form.flattened :])


def _dense(operand: Expr, node: Node) -> Value:
    return operand.dense(f"{node.where} on the CPU")


def converted(graph: GraphBuilder, value: Value, dtype: str, origin: tuple[str, ...]) -> Value:
    """The tensor in another element type."""
    if value.dtype == dtype:
        return value
    attrs: dict[str, Any] = {"op": "Cast", "attributes": {}, "operands": (0,), "results": (0,)}
    name = f"{value.name}.{dtype}"
    return graph.emit("cpu", [value], value.onnx_shape, None, origin, name=name, attrs=attrs, dtype=dtype)
