"""The walk over a model: constants, quantised tensors and expressions, one rule per operator.

A node whose rule refuses it runs on the CPU, in float, with the refusal as the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from openbpu.errors import ModelError, UnsupportedError
from openbpu.ir.graph import Value
from openbpu.ir.onnx_graph import STANDARD, UNFOLDED, array_of, opset_of
from openbpu.ir.quant import QuantParams
from openbpu.lower import camera, constants, cpu, qoperator, rules
from openbpu.lower.builder import MAX_EXTENT, GraphBuilder, Shape, memory_shape
from openbpu.lower.centring import Centring
from openbpu.lower.cpu.emission import alias
from openbpu.lower.cpu.kernels import PORT_TYPES
from openbpu.lower.expressions import Codes, Constant, Expr, Plain, Unary
from openbpu.lower.node import Node, TensorInfo
from openbpu.lower.ports import REPLACE, bind_outputs
from openbpu.lower.registry import RULES
from openbpu.lower.shapes import DATA_DEPENDENT, inferred, infos_of, results_of

_REGISTERED = rules.__all__  # importing the package fills the table
_INTEGERS: dict[int, str] = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8", TensorProto.INT16: "int16"}

_NO_PLACE = (
    "this operator has no form on the BPU",
    "",
    "nothing; cut the model in front of it to leave it to the host",
)
_SMALLER = "quantise this tensor to 8 bits, or to int16 with zero point 0"
_STEPS = (
    "the number of its steps must be known at compile time",
    "",
    "unroll it when exporting, or fix its trip count",
)
_REFUSED = {  # operator -> rule, value seen, remedy
    "Loop": _STEPS,
    "Scan": _STEPS,
    "ConvInteger": ("results are int8", "an int32 result", "use QLinearConv, or Conv between Q/DQ pairs"),
    "MatMulInteger": ("results are int8", "an int32 result", "use QLinearMatMul, or MatMul between Q/DQ pairs"),
    "DynamicQuantizeLinear": ("scales must be constant", "scales computed at run time", "use static quantisation"),
}
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


class Importer:
    """Lowers one model; `run` gives its integer graph, still with chains of moves.

    Nodes named in `run_on_cpu` or `apart` run there whether the BPU could take them or not.
    """

    def __init__(self, model: onnx.ModelProto, run_on_cpu: Collection[str] = (), apart: Collection[str] = ()) -> None:
        self.model = inferred(qoperator.expand(model))
        self.opset = opset_of(model, 1)
        self.builder = GraphBuilder(model.graph.name or "model")
        self.tensors: dict[str, Expr] = {}
        self.infos = infos_of(self.model.graph)
        self.centring = Centring(self.model.graph)
        self.images = {name for node in self.model.graph.node if node.domain == camera.DOMAIN for name in node.input}
        self.forced, self.apart = frozenset(run_on_cpu), frozenset(apart)
        self.nodes: list[Node] = []  # in the order of the model

    def run(self) -> GraphBuilder:
        graph = self.model.graph
        for tensor in graph.initializer:
            self._constant(tensor.name, array_of(tensor))
        for info in graph.input:
            if info.name not in self.tensors:
                self._input(info)
        for proto in graph.node:
            self._node(proto)
        bind_outputs(self.builder, graph, self.tensors)
        self._count_rows({info.name for info in graph.output})
        return self.builder

    # ---- borders

    def _input(self, info: onnx.ValueInfoProto) -> None:
        if not info.type.HasField("tensor_type"):
            raise UnsupportedError(
                "inputs are tensors", where=f"input '{info.name}'", seen=info.type.WhichOneof("value"), remedy=REPLACE
            )
        shape, kind = self._port_shape(info), info.type.tensor_type.elem_type
        if kind in _INTEGERS and info.name not in self.images:
            quant = self._input_parameters(info.name, _INTEGERS[kind])
            port = self._port(info.name, shape, _INTEGERS[kind], quant)
            held = self.builder.emit("read_port", [port], shape, quant, (), name=f"{info.name}.{quant.dtype}")
            self._hold(info.name, held, kind == TensorProto.UINT8, port)
            return
        dtype = _type_name(kind)
        if dtype not in PORT_TYPES:
            raise UnsupportedError(
                "inputs are numbers or bool",
                where=f"input '{info.name}'",
                seen=TensorProto.DataType.Name(kind).lower(),
                remedy="change the type of the input, or make it a constant",
            )
        port = self._port(info.name, shape, dtype, None)
        node = self._plain_node(info.name, "input", [])
        self.tensors[info.name] = Plain(node=node, shape=shape, origin=(), held=port)

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

    def _input_parameters(self, name: str, dtype: str) -> QuantParams:
        """Parameters of an integer input: those of the first DequantizeLinear that reads it."""
        for proto in self.model.graph.node:
            if proto.op_type == "DequantizeLinear" and proto.input[0] == name:
                operands = {t.name: t for t in self.model.graph.initializer}
                if all(not i or i in operands for i in proto.input[1:]):
                    arrays = [array_of(operands[i]) for i in proto.input[1:] if i]
                    return _activation_parameters(*arrays, dtype=dtype)
        return QuantParams.per_tensor(1.0, 0, "int16" if dtype == "int16" else "int8")

    def _count_rows(self, outputs: set[str]) -> None:
        """An output whose extent depends on the data brings its count of valid rows as one more output."""
        copies = {node.output[0]: node.input[0] for node in self.model.graph.node if node.op_type == "Identity"}
        for node in self.nodes:
            if node.refusal is None or node.op not in DATA_DEPENDENT:
                continue
            first = next(name for name in node.outputs if name)
            # Equal nodes became one, whose results the other's outputs copy: each has its count.
            names = [name for name in sorted(outputs) if copies.get(name) == first]
            if outputs.intersection(node.outputs):
                names.insert(0, first)
            counts = [node.count] if names == [first] else [self._copy_of_count(node, name) for name in names]
            self.builder.graph.outputs += counts

    def _copy_of_count(self, node: Node, name: str) -> Value:
        copy = alias(self.builder, node.count, node.count.onnx_shape, (node.name,), f"{name}.count")
        copy.name = f"{name}.count"  # as a port; the name may be that of what is copied
        return copy

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
        if proto.op_type == "Constant" and proto.domain in STANDARD:
            self._constant(proto.output[0], constants.value_of(proto))
            return
        node = self._wrapped(proto)
        self.nodes.append(node)
        standard = proto.domain in STANDARD
        if standard and proto.op_type == "If":
            self._branch(proto, node)
        elif standard and proto.op_type in _OF_SHAPES:
            self._constant(proto.output[0], _OF_SHAPES[proto.op_type](node))
        elif all(_is_empty(info) for info in node.infos):
            self._store(proto, node, [_empty(node, info) for info in node.infos])
        elif standard and (folded := self._folded(proto, node)) is not None:
            self._store(proto, node, folded)
        else:
            results: Sequence[Expr | None]
            try:
                results = _within_limits(self._on_bpu(proto, node), node)
            except UnsupportedError as refusal:
                if refusal.where != node.where:  # an operand was needed in a form that it cannot have
                    refusal = node.refuse(refusal.rule, refusal.seen, refusal.remedy)
                results = self._on_cpu(node, refusal)
            self._store(proto, node, results)

    def _folded(self, proto: onnx.NodeProto, node: Node) -> list[Expr] | None:
        """The results of a node on constants, unless the compiler cannot compute it: then it runs like others."""
        if proto.op_type in _UNFOLDED or not all(o is None or isinstance(o, Constant) for o in node.inputs):
            return None
        try:
            return constants.fold(proto, node, self.opset)
        except ModelError:
            return None

    def _on_bpu(self, proto: onnx.NodeProto, node: Node) -> list[Expr]:
        """The results by the rule of the operator; UnsupportedError if the BPU has no form for it."""
        if (proto.domain, proto.op_type) == (camera.DOMAIN, camera.OPERATOR):
            return [camera.picture(node)]
        if proto.domain not in STANDARD:
            raise node.refuse("operators of this domain have no form on the BPU", seen=proto.domain)
        if node.name in self.apart:
            raise node.refuse(
                "what it joins or passes on has parts too different in range for one scale",
                remedy="ask for a type (node_types), or quantise without the step wide-tails",
            )
        if node.name in self.forced:
            raise node.refuse("it is asked to run on the CPU", remedy="take it out of run_on_cpu")
        if proto.op_type == "QuantizeLinear":
            return [self._quantize(proto, node)]
        if proto.op_type == "DequantizeLinear":
            return [self._dequantize(proto, node)]
        if proto.op_type not in RULES:
            raise node.refuse(*_REFUSED.get(proto.op_type, _NO_PLACE))
        result = RULES[proto.op_type](node)
        return result if isinstance(result, list) else [result]

    def _on_cpu(self, node: Node, refusal: UnsupportedError) -> list[Expr | None]:
        """The results as CPU tensors; None for those that are not wanted."""
        if node.op in _RANDOM:
            raise node.refuse("results must follow from the inputs", seen="random numbers", remedy=REPLACE)
        results: list[Expr | None] = []
        for index, name in enumerate(node.outputs):
            held = node.on_cpu(index, refusal) if name and not _is_empty(node.infos[index]) else None
            plain = None if held is None else Plain(node=node, shape=held.onnx_shape, origin=(), held=held)
            results.append(plain)
        return results

    def _branch(self, proto: onnx.NodeProto, node: Node) -> None:
        """An If whose condition is known: the nodes of the branch that is taken."""
        condition = node.operand(0)
        if not isinstance(condition, Constant):
            raise node.refuse(
                "its condition must be known at compile time", seen="computed at run time", remedy=REPLACE
            )
        taken = node.attributes["then_branch" if bool(np.ravel(condition.real)[0]) else "else_branch"]
        self.infos.update(infos_of(taken))
        for tensor in taken.initializer:
            self._constant(tensor.name, array_of(tensor))
        for inner in taken.node:
            self._node(inner)
        for name, output in zip(proto.output, taken.output, strict=True):
            self.tensors[name] = self.tensors[output.name]

    def _store(self, proto: onnx.NodeProto, node: Node, results: Sequence[Expr | None]) -> None:
        for index, (name, result) in enumerate(zip(proto.output, results, strict=False)):
            if not name:
                continue
            if result is None or _is_empty(node.infos[index]):
                result = _empty(node, node.infos[index])
            self.tensors[name] = result
            if result.node is node:
                result.index = index
            if min(result.shape, default=1) < 1 and not isinstance(result, Constant):
                raise result.node.refuse("its result must not be empty", seen=f"shape {result.shape}")
            info = self.infos.get(name)
            known = None if info is None else info.shape
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
        node.run = cpu.run
        node.infos = [self.infos.get(name) for name in proto.output]
        if any(name and info is None for name, info in zip(proto.output, node.infos, strict=True)):
            stated = node.infos
            node.infos = [a or b for a, b in zip(stated, results_of(proto, node), strict=True)]
        return node

    def _plain_node(self, name: str, op: str, inputs: list[Expr | None]) -> Node:
        return Node(name, op, {}, inputs, [], self.opset, self.builder)

    def _constant(self, name: str, array: np.ndarray) -> None:
        node = self._plain_node(name, "constant", [])
        self.tensors[name] = Constant(node=node, shape=tuple(array.shape), origin=(), numbers=array)

    # ---- quantised tensors

    def _quantize(self, proto: onnx.NodeProto, node: Node) -> Expr:
        operand, name = node.operand(0), proto.output[0]
        scale, zero, dtype = self._parameters(node, _quantized_type(node))
        if isinstance(operand, Constant):
            axis = int(node.attribute("axis", 1))
            codes = constants.quantized(operand.real, scale, zero, axis, dtype)
            return Constant(node=node, shape=tuple(codes.shape), origin=(), numbers=codes)
        grid = self.centring.grid(name)
        if dtype not in _INTEGERS.values() and grid is None:
            raise node.refuse("activations are int8, uint8 or int16", seen=dtype, remedy=_SMALLER)
        if scale.size != 1:
            raise node.refuse("activations have one scale", seen=f"{scale.size} scales", remedy="use per-tensor scales")
        if dtype == "int16" and zero.any() and grid is None:
            raise node.refuse("int16 activations have zero point 0", seen=int(zero.ravel()[0]), remedy=_SMALLER)
        quant = grid.symmetric if grid else _activation_parameters(scale, zero)
        try:
            value = self.centring.quantise(operand, grid, node, name) if grid else operand.quantise(quant, name)
        except UnsupportedError as refusal:  # the scales around the operator have no integer form
            held = operand.node.on_cpu(operand.index, refusal)
            value = self.builder.emit("quantize", [held], operand.shape, quant, (), name=name)
        return self._held(value, dtype == "uint8")

    def _hold(self, name: str, value: Value, unsigned: bool, port: Value) -> None:
        self.tensors[name] = self._held(value, unsigned, port)

    def _held(self, value: Value, unsigned: bool, port: Value | None = None) -> Codes:
        node = self._plain_node(value.name, "QuantizeLinear", [])
        return Codes(node=node, shape=value.onnx_shape, origin=(), held=value, unsigned=unsigned, port=port)

    def _dequantize(self, proto: onnx.NodeProto, node: Node) -> Expr:
        operand, block = node.operand(0), int(node.attribute("block_size", 0))
        if isinstance(operand, Constant):
            if not operand.real.dtype.name.startswith(("int", "uint")):
                raise node.refuse("quantised constants are integers", seen=operand.real.dtype)
            scale, zero, _ = self._parameters(node, operand.real.dtype.name, signed=True)
            return constants.dequantized(node, operand.real, scale, zero, int(node.attribute("axis", 1)), block)
        if block:
            raise node.refuse("activations have one scale", f"blocks of {block}", "use per-tensor scales")
        if not isinstance(operand, Codes):
            raise node.refuse(
                "its input must be an integer tensor of the BPU",
                seen=f"the result of {operand.node.where}",
                remedy="the reason of that node says what would move both",
            )
        scale, zero = self.centring.parameters(proto.input) or self._parameters(node, operand.dtype)[:2]
        if operand.dtype == "int16" and zero.any():
            raise node.refuse("int16 activations have zero point 0", seen=int(zero.ravel()[0]), remedy=_SMALLER)
        if scale.size != 1:
            raise node.refuse("activations have one scale", f"{scale.size} scales", "use per-tensor scales")
        quant = _activation_parameters(scale, zero, dtype=operand.dtype)
        value = operand.held
        if value.quant != quant:  # the same integers read with other parameters
            value = self.builder.emit("reshape", [value], value.onnx_shape, quant, (node.name,), shape=value.shape)
        return Unary.of(value, node)

    def _parameters(self, node: Node, default: str, signed: bool = False) -> tuple[np.ndarray, np.ndarray, str]:
        """Scales, zero points and integer type of a QuantizeLinear or DequantizeLinear node; `signed`: of any sign."""
        scale, zero = node.operand(1), node.optional(2)
        if not isinstance(scale, Constant) or not (zero is None or isinstance(zero, Constant)):
            raise node.refuse("scale and zero point must be constant", remedy="use static quantisation")
        if not (np.isfinite(scale.real).all() and (signed or (scale.real > 0).all())):
            raise ModelError(
                "scales must be finite" if signed else "scales must be positive and finite",
                where=node.where,
                seen=f"{float(np.min(scale.real))} .. {float(np.max(scale.real))}",
                remedy="quantise the model again",
            )
        if zero is None:
            return scale.real, np.zeros(scale.real.shape, default), default
        return scale.real, zero.real, zero.real.dtype.name


def _title(proto: onnx.NodeProto) -> str:
    return proto.name or (proto.output[0] if proto.output else proto.op_type)


def _within_limits(results: list[Expr], node: Node) -> list[Expr]:
    """The results of a rule; refused if no surface can hold them."""
    for result in results:
        if not isinstance(result, Plain | Constant) and max(memory_shape(result.shape)) > MAX_EXTENT:
            raise node.refuse(
                f"extents of a tensor on the BPU are at most {MAX_EXTENT}",
                seen=f"shape {result.shape}",
                remedy="split the tensor, or keep it in more dimensions",
            )
    return results


def _is_empty(info: TensorInfo | None) -> bool:
    return info is not None and 0 in info.shape


def _empty(node: Node, info: TensorInfo | None) -> Constant:
    """A tensor without elements, which is known at compile time."""
    assert info is not None
    return Constant(node=node, shape=info.shape, origin=(), numbers=np.zeros(info.shape, info.dtype))


def _eye(node: Node) -> np.ndarray:
    rows, columns = node.operand(0).shape
    info = node.infos[0]
    assert info is not None
    return np.eye(rows, columns, int(node.attribute("k", 0)), np.dtype(info.dtype))


_OF_SHAPES: dict[str, Callable[[Node], np.ndarray]] = {  # results that follow from the shape of the operand
    "Shape": lambda node: np.array(
        node.operand(0).shape[node.attribute("start", 0) : node.attribute("end", None)], np.int64
    ),
    "Size": lambda node: np.array(prod(node.operand(0).shape), np.int64),
    "EyeLike": _eye,
}
_UNFOLDED = ("QuantizeLinear", "DequantizeLinear", *_RANDOM, *UNFOLDED)


def _quantized_type(node: Node) -> str:
    """Integer type of a QuantizeLinear node without zero point."""
    code = int(node.attribute("output_dtype", 0))
    return helper.tensor_dtype_to_np_dtype(code).name if code else "uint8"


def _activation_parameters(scale: np.ndarray, zero: np.ndarray | None = None, *, dtype: str = "") -> QuantParams:
    """Per-tensor parameters as int8 or int16: those of a uint8 tensor lie 128 lower. `dtype` is that of the tensor."""
    point = 0 if zero is None else int(zero.ravel()[0])
    name = dtype or ("uint8" if zero is None else zero.dtype.name)
    shift = 128 if name == "uint8" else 0
    held = "int16" if name == "int16" else "int8"
    return QuantParams.per_tensor(float(np.float32(scale.ravel()[0])), point - shift, held)


def _type_name(kind: int) -> str:
    return helper.tensor_dtype_to_np_dtype(kind).name if kind != TensorProto.STRING else "string"


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
