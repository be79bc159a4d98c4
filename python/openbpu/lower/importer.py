"""The walk over a QDQ model: constants, quantised tensors and expressions, one rule per operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

from openbpu.errors import ModelError, UnsupportedError
from openbpu.ir.graph import Value
from openbpu.ir.quant import QuantParams
from openbpu.lower import constants, qoperator, rules
from openbpu.lower.builder import GraphBuilder, Shape, memory_shape
from openbpu.lower.expressions import Codes, Constant, Expr, Source, Unary
from openbpu.lower.node import Node
from openbpu.lower.registry import RULES

_REGISTERED = rules.__all__  # importing the package fills the table
_INTEGERS: dict[int, str] = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8"}


_NO_PLACE = (
    "this operator has no place on the BPU",
    "",
    "replace it, or cut the model in front of it and compute the rest on the host",
)
_REFUSED = {  # operator -> rule, value seen, remedy
    "ConvInteger": ("results are int8", "an int32 result", "use QLinearConv, or Conv between Q/DQ pairs"),
    "MatMulInteger": ("results are int8", "an int32 result", "use QLinearMatMul, or MatMul between Q/DQ pairs"),
    "DynamicQuantizeLinear": ("scales must be constant", "scales computed at run time", "use static quantisation"),
}


class Importer:
    """Lowers one model; `run` gives its integer graph, still with chains of moves."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = _inferred(qoperator.expand(model))
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self.builder = GraphBuilder(model.graph.name or "model")
        self.tensors: dict[str, Expr] = {}
        self.shapes = _shapes(self.model.graph)

    def run(self) -> GraphBuilder:
        graph = self.model.graph
        if not any(n.op_type in ("QuantizeLinear", "DequantizeLinear", *_REFUSED) for n in graph.node):
            raise ModelError(
                "the model must be quantised",
                where=f"model '{graph.name}'",
                seen="no QuantizeLinear node",
                remedy="quantise it first with openbpu.quantize(model, samples) or `openbpu quantize`",
            )
        for tensor in graph.initializer:
            self._constant(tensor.name, constants.array_of(tensor))
        for info in graph.input:
            if info.name not in self.tensors:
                self._input(info)
        for proto in graph.node:
            self._node(proto)
        for info in graph.output:
            self._output(info)
        return self.builder

    # ---- borders

    def _input(self, info: onnx.ValueInfoProto) -> None:
        shape, kind = self._port_shape(info), info.type.tensor_type.elem_type
        if kind == TensorProto.FLOAT:
            port = self._port(info.name, shape, "float32", None)
            node = self._plain_node(info.name, "input", [])
            self.tensors[info.name] = Source(node=node, shape=shape, origin=(), port=port)
        elif kind in _INTEGERS:
            quant = self._input_parameters(info.name)
            port = self._port(info.name, shape, _INTEGERS[kind], quant)
            held = self.builder.emit("read_port", [port], shape, quant, (), name=f"{info.name}.int8")
            self._hold(info.name, held, kind == TensorProto.UINT8)
        else:
            raise UnsupportedError(
                "inputs are float32, int8 or uint8",
                where=f"input '{info.name}'",
                seen=TensorProto.DataType.Name(kind).lower(),
                remedy="change the type of the input, or make it a constant",
            )

    def _port_shape(self, info: onnx.ValueInfoProto) -> Shape:
        dims = info.type.tensor_type.shape.dim
        shape = tuple(d.dim_value for d in dims)
        if any(extent < 1 for extent in shape):
            named = [d.dim_param or str(d.dim_value) for d in dims]
            raise ModelError(
                "all dimensions must be fixed and positive",
                where=f"port '{info.name}'",
                seen=f"[{', '.join(named)}]",
                remedy="fix them when you load the model (input_shapes)",
            )
        return shape

    def _port(self, name: str, shape: Shape, dtype: str, quant: QuantParams | None) -> Value:
        port = self.builder.value(name, memory_shape(shape), shape, quant, dtype)
        self.builder.graph.inputs.append(port)
        return port

    def _input_parameters(self, name: str) -> QuantParams:
        """Parameters of an integer input: those of the first DequantizeLinear that reads it."""
        for proto in self.model.graph.node:
            if proto.op_type == "DequantizeLinear" and proto.input[0] == name:
                operands = {t.name: t for t in self.model.graph.initializer}
                if all(not i or i in operands for i in proto.input[1:]):
                    arrays = [constants.array_of(operands[i]) for i in proto.input[1:] if i]
                    return _activation_parameters(*arrays)
        return QuantParams.per_tensor(1.0, 0)

    def _output(self, info: onnx.ValueInfoProto) -> None:
        expr = self.tensors.get(info.name)
        if expr is None:
            raise ModelError("a node must make it", where=f"output '{info.name}'", remedy="check it with onnx.checker")
        if isinstance(expr, Codes):
            dtype = "uint8" if expr.unsigned else "int8"
            out = self._emit_port("write_port", expr.held, info.name, dtype, expr.held.quant)
        elif isinstance(expr, Unary) and expr.leaf is not None:
            out = self._emit_port("dequantize", expr.leaf, info.name, "float32", None)
        else:
            raise UnsupportedError(
                "a graph output must come from DequantizeLinear or QuantizeLinear",
                where=expr.node.where,
                seen=f"output '{info.name}' is the float result of this node",
                remedy="put a QuantizeLinear and DequantizeLinear pair behind it, or cut the model in front of it",
            )
        self.builder.graph.outputs.append(out)

    def _emit_port(self, kind: str, value: Value, name: str, dtype: str, quant: QuantParams | None) -> Value:
        shape = value.onnx_shape
        out = self.builder.emit(kind, [value], shape, quant, (), name=name, dtype=dtype, shape=memory_shape(shape))
        out.name = name  # ports keep their name even if a value inside has it too
        return out

    # ---- nodes

    def _node(self, proto: onnx.NodeProto) -> None:
        """Lowers a node; one that ONNX does not allow ends in an error of ours, whatever its rule trips over."""
        try:
            self._lower(proto)
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
            raise ModelError(
                "the node must be well formed",
                where=f"node '{_title(proto)}' ({proto.op_type})",
                seen=error,
                remedy="check the model with onnx.checker",
            ) from error

    def _lower(self, proto: onnx.NodeProto) -> None:
        if proto.op_type == "Constant":
            self._constant(proto.output[0], constants.value_of(proto))
            return
        node = self._wrapped(proto)
        if proto.domain not in ("", "ai.onnx"):
            raise node.refuse("operators of this domain have no place on the BPU", seen=proto.domain)
        if proto.op_type == "QuantizeLinear":
            self._quantize(proto, node)
        elif proto.op_type == "DequantizeLinear":
            self.tensors[proto.output[0]] = self._dequantize(proto, node)
        elif proto.op_type == "Shape":
            start, end = node.attribute("start", 0), node.attribute("end", None)
            self._constant(proto.output[0], np.array(node.operand(0).shape[start:end], np.int64))
        elif all(operand is None or isinstance(operand, Constant) for operand in node.inputs):
            self._store(proto, constants.fold(proto, node, self.opset))
        elif proto.op_type in RULES:
            result = RULES[proto.op_type](node)
            self._store(proto, result if isinstance(result, list) else [result])
        else:
            raise node.refuse(*_REFUSED.get(proto.op_type, _NO_PLACE))

    def _store(self, proto: onnx.NodeProto, results: Sequence[Expr]) -> None:
        for name, result in zip(proto.output, results, strict=False):
            self.tensors[name] = result
            if min(result.shape, default=1) < 1 and not isinstance(result, Constant):
                raise result.node.refuse("its result must not be empty", seen=f"shape {result.shape}")
            known = self.shapes.get(name)
            if known is not None and known != result.shape:
                raise ModelError(
                    "the shapes that the model states must be true",
                    where=f"node '{_title(proto)}' ({proto.op_type})",
                    seen=f"{known} stated, {result.shape} computed",
                    remedy="run onnx.shape_inference on the model anew",
                )

    def _wrapped(self, proto: onnx.NodeProto) -> Node:
        inputs = []
        for name in proto.input:
            if name and name not in self.tensors:
                raise ModelError("a tensor must be made before it is used", where=f"node '{_title(proto)}'", seen=name)
            inputs.append(self.tensors[name] if name else None)
        attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in proto.attribute}
        node = self._plain_node(_title(proto), proto.op_type, inputs)
        node.attributes, node.outputs = attributes, list(proto.output)
        return node

    def _plain_node(self, name: str, op: str, inputs: list[Expr | None]) -> Node:
        return Node(name, op, {}, inputs, [], self.opset, self.builder)

    def _constant(self, name: str, array: np.ndarray) -> None:
        node = self._plain_node(name, "constant", [])
        self.tensors[name] = Constant(node=node, shape=tuple(array.shape), origin=(), numbers=array)

    # ---- quantised tensors

    def _quantize(self, proto: onnx.NodeProto, node: Node) -> None:
        operand, name = node.operand(0), proto.output[0]
        scale, zero, dtype = self._parameters(node, _quantized_type(node))
        if isinstance(operand, Constant):
            axis = int(node.attribute("axis", 1))
            codes = constants.quantized(operand.real, scale, zero, axis, dtype)
            self._constant(name, codes)
            return
        if dtype not in ("int8", "uint8"):
            raise node.refuse("activations are int8 or uint8", seen=dtype, remedy="quantise this tensor to 8 bits")
        if scale.size != 1:
            raise node.refuse("activations have one scale", seen=f"{scale.size} scales", remedy="use per-tensor scales")
        quant = _activation_parameters(scale, zero)
        self._hold(name, operand.quantise(quant, name), dtype == "uint8")

    def _hold(self, name: str, value: Value, unsigned: bool) -> None:
        node = self._plain_node(name, "QuantizeLinear", [])
        self.tensors[name] = Codes(node=node, shape=value.onnx_shape, origin=(), held=value, unsigned=unsigned)

    def _dequantize(self, proto: onnx.NodeProto, node: Node) -> Expr:
        operand = node.operand(0)
        if node.attribute("block_size", 0):
            seen = f"blocks of {node.attribute('block_size')}"
            raise node.refuse("scales are per tensor or per channel", seen, "quantise without blocks")
        if isinstance(operand, Constant):
            if not operand.real.dtype.name.startswith(("int", "uint")):
                raise node.refuse("quantised constants are integers", seen=operand.real.dtype)
            scale, zero, _ = self._parameters(node, operand.real.dtype.name)
            return constants.dequantized(node, operand.real, scale, zero, int(node.attribute("axis", 1)))
        if not isinstance(operand, Codes):
            raise node.refuse("its input must be an integer tensor")
        scale, zero, _ = self._parameters(node, "uint8" if operand.unsigned else "int8")
        if scale.size != 1:
            raise node.refuse("activations have one scale", f"{scale.size} scales", "use per-tensor scales")
        quant = _activation_parameters(scale, zero)
        value = operand.held
        if value.quant != quant:  # the same integers read with other parameters
            value = self.builder.emit("reshape", [value], value.onnx_shape, quant, (node.name,), shape=value.shape)
        return Unary.of(value, node)

    def _parameters(self, node: Node, default: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Scales, zero points and integer type of a QuantizeLinear or DequantizeLinear node."""
        scale, zero = node.operand(1), node.optional(2)
        if not isinstance(scale, Constant) or not (zero is None or isinstance(zero, Constant)):
            raise node.refuse("scale and zero point must be constant", remedy="use static quantisation")
        if not (np.isfinite(scale.real).all() and (scale.real > 0).all()):
            raise ModelError(
                "scales must be positive and finite",
                where=node.where,
                seen=f"{float(np.min(scale.real))} .. {float(np.max(scale.real))}",
                remedy="quantise the model again",
            )
        if zero is None:
            return scale.real, np.zeros(scale.real.shape, default), default
        return scale.real, zero.real, zero.real.dtype.name


def _title(proto: onnx.NodeProto) -> str:
    return proto.name or (proto.output[0] if proto.output else proto.op_type)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes that follow from those of its inputs."""
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, ValueError) as error:
        raise ModelError(
            "shapes must fit together",
            where=f"model '{model.graph.name}'",
            seen=error,
            remedy="check it with onnx.checker",
        ) from error


def _quantized_type(node: Node) -> str:
    """Integer type of a QuantizeLinear node without zero point."""
    code = int(node.attribute("output_dtype", 0))
    return helper.tensor_dtype_to_np_dtype(code).name if code else "uint8"


def _activation_parameters(scale: np.ndarray, zero: np.ndarray | None = None) -> QuantParams:
    """Per-tensor parameters as int8: those of a uint8 tensor lie 128 lower."""
    point = 0 if zero is None else int(zero.ravel()[0])
    shift = 128 if zero is None or zero.dtype == np.uint8 else 0
    return QuantParams.per_tensor(float(np.float32(scale.ravel()[0])), point - shift)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Static shapes that the model states or that follow."""
    shapes = {}
    for info in (*graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        dims = tuple(d.dim_value for d in tensor.shape.dim)
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[info.name] = dims
    return shapes


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
