"""Writes the float ONNX networks of networks.py as int8 TensorFlow Lite models, for LiteRT (XNNPACK).

Activations are int8 with one scale and zero point per tensor, from the ranges of a float run; weights are int8 per
output channel; float enters and leaves through QUANTIZE and DEQUANTIZE, so that all engines do the same work. Padding
is SAME, which costs nothing at run time. Where that puts the padding elsewhere than the network does (stride 2), the
shapes and the work stay the same but the values do not: `exact_padding` writes a PAD instead, to check the writer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

_Builtin = schema.BuiltinOperator
_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
_FUSED = {"": schema.ActivationFunctionType.NONE, "Relu": schema.ActivationFunctionType.RELU}
_FUSED["Clip"] = schema.ActivationFunctionType.RELU6
# Versions from which operators take int8, and per-channel weights where they have them.
_VERSIONS = {
    _Builtin.CONV_2D: 3,
    _Builtin.DEPTHWISE_CONV_2D: 3,
    _Builtin.FULLY_CONNECTED: 5,
    _Builtin.DEQUANTIZE: 2,
    **dict.fromkeys((_Builtin.ADD, _Builtin.MUL, _Builtin.MEAN, _Builtin.LOGISTIC, _Builtin.PAD), 2),
    **dict.fromkeys((_Builtin.MAX_POOL_2D, _Builtin.CONCATENATION, _Builtin.RESIZE_NEAREST_NEIGHBOR), 2),
}
_SAME_RANGE = ("MaxPool", "Resize", "Concat", "Flatten")  # results on the grid of their inputs


@dataclass(frozen=True)
class Grid:
    """Scale and zero point of an int8 tensor."""

    scale: float
    zero: int

    @staticmethod
    def covering(low: float, high: float) -> Grid:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-6) / 255
        return Grid(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


@dataclass
class _Writer:
    graph: onnx.GraphProto
    grids: Mapping[str, Grid]
    shapes: Mapping[str, tuple[int, ...]]  # NHWC
    exact_padding: bool
    tensors: list[schema.TensorT] = field(default_factory=list)
    buffers: list[schema.BufferT] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[schema.OperatorT] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    def tensor(self, name: str, shape: Sequence[int], kind: int, quantised: Grid | None = None) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), kind, 0
        if quantised is not None:
            t.quantization = _quantisation([quantised.scale], [quantised.zero])
        self.tensors.append(t)
        return len(self.tensors) - 1

    def constant(self, array: np.ndarray, scales: Sequence[float] = (), axis: int = 0) -> int:
        index = self.tensor(f"constant_{len(self.tensors)}", array.shape, _TYPES[array.dtype])
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.tensors[index].buffer = len(self.buffers) - 1
        if len(scales):
            self.tensors[index].quantization = _quantisation(scales, [0] * len(scales), axis)
        return index

    def value(self, name: str) -> int:
        """The int8 tensor of an ONNX value."""
        if name not in self.names:
            self.names[name] = self.tensor(name, self.shapes[name], schema.TensorType.INT8, self.grids[name])
        return self.names[name]

    def add(self, builtin: int, inputs: Sequence[int], outputs: Sequence[int], options: object = None) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault(builtin, len(self.codes))
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.operators.append(operator)

    def padded(self, name: str, pads: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> tuple[int, int]:
        """The input tensor and the padding mode that go with ONNX pads (top, left, bottom, right)."""
        size = self.shapes[name][1:3]
        if not any(pads):
            return self.value(name), schema.Padding.VALID
        same = [max(0, (-(-n // s) - 1) * s + k - n) // 2 for n, k, s in zip(size, kernel, stride, strict=True)]
        if not self.exact_padding or same == list(pads[:2]):
            return self.value(name), schema.Padding.SAME
        n, h, w, c = self.shapes[name]
        shape = (n, h + pads[0] + pads[2], w + pads[1] + pads[3], c)
        target = self.tensor(f"{name}_padded", shape, schema.TensorType.INT8, self.grids[name])
        amounts = np.array([[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]], np.int32)
        self.add(_Builtin.PAD, [self.value(name), self.constant(amounts)], [target], schema.PadOptionsT())
        return target, schema.Padding.VALID


def write(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], exact_padding: bool = False
) -> tuple[bytes, int]:
    """The bytes of a .tflite file and the multiply-accumulates counted in it.

    `ranges` holds minimum and maximum of every value of the graph. Raises ValueError for an operator that is not in
    the benchmark's networks.
    """
    graph = model.graph
    shapes = {v.name: _nhwc(v) for v in [*graph.input, *graph.value_info, *graph.output]}
    ranges = _shared(graph, ranges)
    grids = {name: Grid.covering(*bounds) for name, bounds in ranges.items()}
    writer = _Writer(graph, grids, shapes, exact_padding)
    macs = _write_nodes(writer)
    inputs, outputs = [], []
    for value in graph.input:
        inputs.append(writer.tensor(f"{value.name}_float", shapes[value.name], schema.TensorType.FLOAT32))
        writer.add(_Builtin.QUANTIZE, [inputs[-1]], [writer.value(value.name)], schema.QuantizeOptionsT())
        writer.operators.insert(0, writer.operators.pop())
    for value in graph.output:
        outputs.append(writer.tensor(f"{value.name}_float", shapes[value.name], schema.TensorType.FLOAT32))
        writer.add(_Builtin.DEQUANTIZE, [writer.value(value.name)], [outputs[-1]], schema.DequantizeOptionsT())
    return _pack(writer, inputs, outputs), macs


def _write_nodes(writer: _Writer) -> int:
    graph = writer.graph
    initialisers = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    uses: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    fused: set[str] = set()
    macs = 0
    for node in graph.node:
        if node.output[0] in fused:
            continue
        result, activation = node.output[0], ""
        following = uses.get(result, [])
        if node.op_type in ("Conv", "Add") and len(following) == 1 and following[0].op_type in _FUSED:
            result, activation = following[0].output[0], following[0].op_type
            fused.add(result)
        macs += _EMIT[node.op_type](writer, node, result, activation, initialisers)
    return macs


def _conv(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    a = _attributes(node)
    weight, bias = init[node.input[1]], init[node.input[2]]
    depthwise = a.get("group", 1) > 1
    source, padding = w.padded(node.input[0], a["pads"], a["kernel_shape"], a["strides"])
    scales = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-6) / 127
    integers = np.clip(np.rint(weight / scales[:, None, None, None]), -127, 127).astype(np.int8)
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding, options.fusedActivationFunction = padding, _FUSED[activation]
    options.strideH, options.strideW = a["strides"]
    options.dilationHFactor = options.dilationWFactor = 1
    if depthwise:
        options.depthMultiplier = 1
    filters = w.constant(integers.transpose(order), scales, 3 if depthwise else 0)
    biases = _bias(w, bias, w.grids[node.input[0]].scale * scales)
    builtin = _Builtin.DEPTHWISE_CONV_2D if depthwise else _Builtin.CONV_2D
    w.add(builtin, [source, filters, biases], [w.value(result)], options)
    return int(np.prod(w.shapes[result])) * int(np.prod(weight.shape[1:]))


def _gemm(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    weight, bias = init[node.input[1]], init[node.input[2]]
    scales = np.abs(weight).max(axis=1) / 127
    integers = np.rint(weight / scales[:, None]).astype(np.int8)
    options = schema.FullyConnectedOptionsT()
    inputs = [w.value(node.input[0]), w.constant(integers, scales)]
    inputs.append(_bias(w, bias, w.grids[node.input[0]].scale * scales))
    w.add(_Builtin.FULLY_CONNECTED, inputs, [w.value(result)], options)
    return int(weight.size)


def _bias(w: _Writer, bias: np.ndarray, scales: np.ndarray) -> int:
    return w.constant(np.rint(bias / scales).astype(np.int32), scales)


def _binary(builtin: int, options: type) -> object:
    def emit(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
        o = options()
        o.fusedActivationFunction = _FUSED[activation]
        w.add(builtin, [w.value(i) for i in node.input], [w.value(result)], o)
        return 0

    return emit


def _sigmoid(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    w.names[result] = w.tensor(result, w.shapes[result], schema.TensorType.INT8, Grid(1 / 256, -128))
    w.add(_Builtin.LOGISTIC, [w.value(node.input[0])], [w.names[result]])
    return 0


def _max_pool(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    a = _attributes(node)
    o = schema.Pool2DOptionsT()
    o.padding = schema.Padding.SAME if any(a["pads"]) else schema.Padding.VALID
    (o.filterHeight, o.filterWidth), (o.strideH, o.strideW) = a["kernel_shape"], a["strides"]
    w.add(_Builtin.MAX_POOL_2D, [w.value(node.input[0])], [w.value(result)], o)
    return 0


def _mean(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    o = schema.ReducerOptionsT()
    o.keepDims = True
    w.add(_Builtin.MEAN, [w.value(node.input[0]), w.constant(np.array([1, 2], np.int32))], [w.value(result)], o)
    return 0


def _flatten(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    shape = w.constant(np.array(w.shapes[result], np.int32))
    o = schema.ReshapeOptionsT()
    o.newShape = list(w.shapes[result])
    w.add(_Builtin.RESHAPE, [w.value(node.input[0]), shape], [w.value(result)], o)
    return 0


def _concat(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    o = schema.ConcatenationOptionsT()
    o.axis = 3
    w.add(_Builtin.CONCATENATION, [w.value(i) for i in node.input], [w.value(result)], o)
    return 0


def _resize(w: _Writer, node: onnx.NodeProto, result: str, activation: str, init: Mapping[str, np.ndarray]) -> int:
    size = w.constant(np.array(w.shapes[result][1:3], np.int32))
    o = schema.ResizeNearestNeighborOptionsT()
    w.add(_Builtin.RESIZE_NEAREST_NEIGHBOR, [w.value(node.input[0]), size], [w.value(result)], o)
    return 0


_EMIT = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Add": _binary(_Builtin.ADD, schema.AddOptionsT),
    "Mul": _binary(_Builtin.MUL, schema.MulOptionsT),
    "Sigmoid": _sigmoid,
    "MaxPool": _max_pool,
    "GlobalAveragePool": _mean,
    "Flatten": _flatten,
    "Concat": _concat,
    "Resize": _resize,
}


def _shared(graph: onnx.GraphProto, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Ranges where what is only moved keeps its grid: the union over inputs and result, until nothing changes."""
    ranges = dict(ranges)
    before: dict[str, tuple[float, float]] = {}
    while before != ranges:
        before = dict(ranges)
        for node in graph.node:
            if node.op_type in _SAME_RANGE:
                group = [n for n in (*node.input, *node.output) if n in ranges]
                union = min(ranges[n][0] for n in group), max(ranges[n][1] for n in group)
                ranges.update(dict.fromkeys(group, union))
    return ranges


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _nhwc(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def _quantisation(scales: Sequence[float], zeros: Sequence[int], axis: int = 0) -> schema.QuantizationParametersT:
    q = schema.QuantizationParametersT()
    q.scale, q.zeroPoint = np.asarray(scales, np.float32), np.asarray(zeros, np.int64)
    q.quantizedDimension = axis
    return q


def _pack(writer: _Writer, inputs: list[int], outputs: list[int]) -> bytes:
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = writer.tensors, writer.operators
    subgraph.inputs, subgraph.outputs, subgraph.name = inputs, outputs, writer.graph.name
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [subgraph], writer.buffers
    model.operatorCodes = []
    for builtin in writer.codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = _VERSIONS.get(builtin, 1)
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
