"""Outputs of the graph: the caller's tensors, each written once and never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx

from openbpu.errors import ModelError, UnsupportedError
from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower.builder import GraphBuilder, memory_shape
from openbpu.lower.cpu.emission import alias
from openbpu.lower.cpu.kernels import PORT_TYPES
from openbpu.lower.expressions import Codes, Expr, Unary

REPLACE = "replace it, or cut the model in front of it and compute the rest on the host"


def bind_outputs(builder: GraphBuilder, graph: onnx.GraphProto, tensors: Mapping[str, Expr]) -> None:
    """Makes the outputs of the model ports of the graph under construction."""
    found = {info.name: _tensor(info.name, tensors) for info in graph.output}
    # All CPU tensors are made before the first becomes a port: one of them may read another.
    dense = {name: _dense(name, expr) for name, expr in found.items() if not _is_quantised(expr)}
    read = {value for op in builder.graph.ops for value in op.inputs}
    read |= {value for value, outputs in Counter(dense.values()).items() if outputs > 1}
    kinds = {out: op.kind for op in builder.graph.ops for out in op.outputs}
    for name, expr in found.items():
        if isinstance(expr, Codes):
            out = _port(builder, "write_port", expr.held, name, expr.dtype, expr.held.quant)
        elif isinstance(expr, Unary) and expr.leaf is not None:
            out = _port(builder, "dequantize", expr.leaf, name, "float32", None)
        else:
            value = dense[name]
            if value in read or kinds.get(value, "") not in ("argmax", "cpu", "dequantize"):
                value = alias(builder, value, value.onnx_shape, (), name)
            value.name = name
            out = value
        builder.graph.outputs.append(out)


def _tensor(name: str, tensors: Mapping[str, Expr]) -> Expr:
    expr = tensors.get(name)
    if expr is None:
        raise ModelError("a node must make it", where=f"output '{name}'", remedy="check it with onnx.checker")
    if 0 in expr.shape:
        raise expr.node.refuse(
            "an output must not be empty", seen=f"'{name}' of shape {expr.shape}", remedy="cut that output off"
        )
    return expr


def _is_quantised(expr: Expr) -> bool:
    return isinstance(expr, Codes) or (isinstance(expr, Unary) and expr.leaf is not None)


def _dense(name: str, expr: Expr) -> Value:
    value = expr.dense(f"output '{name}'")
    if value.dtype not in PORT_TYPES:
        raise UnsupportedError(
            "outputs are numbers or bool", where=f"output '{name}'", seen=value.dtype, remedy=REPLACE
        )
    return value


def _port(builder: GraphBuilder, kind: str, value: Value, name: str, dtype: str, quant: QuantParams | None) -> Value:
    shape = value.onnx_shape
    out = builder.emit(kind, [value], shape, quant, (), name=name, dtype=dtype, shape=memory_shape(shape))
    out.name = name  # ports keep their name even if a value inside has it too
    return out
