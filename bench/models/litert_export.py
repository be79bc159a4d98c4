"""Writes an integer graph as a .tflite file, so that LiteRT (XNNPACK) runs the very parameters that openbpu runs.

LiteRT has no look-up-table operator: SiLU becomes LOGISTIC and MUL, as its own converters write it. Padding that is not
SAME becomes a PAD operator, likewise.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from flatbuffers import Builder

from openbpu.ir.graph import Graph, Op, Value
from openbpu.ir.quant import QuantParams

_SAME, _VALID = tfl.Padding.SAME, tfl.Padding.VALID


def export(graph: Graph) -> bytes:
    """The bytes of a .tflite model with int8 NHWC inputs and outputs. Raises ValueError for an op without a twin."""
    return _Writer(graph).bytes()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.buffers: list[tfl.BufferT] = [tfl.BufferT()]
        self.tensors: list[tfl.TensorT] = []
        self.operators: list[tfl.OperatorT] = []
        self.codes: list[int] = []
        self.ids: dict[Value, int] = {}

    def bytes(self) -> bytes:
        inputs, outputs = [], []
        for op in self.graph.ops:
            if op.kind == "quantize":
                inputs.append(self.value(op.outputs[0]))
            elif op.kind == "dequantize":
                outputs.append(self.value(op.inputs[0]))
            else:
                getattr(self, f"_{op.kind}", self._unknown)(op)
        subgraph = tfl.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs, subgraph.outputs = inputs, outputs
        model = tfl.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [subgraph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            entry = tfl.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 3
            model.operatorCodes.append(entry)
        builder = Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def value(self, value: Value) -> int:
        if value not in self.ids:
            shape = value.shape if len(value.onnx_shape) == 4 else value.onnx_shape
            assert value.quant is not None
            self.ids[value] = self.tensor(value.name, shape, tfl.TensorType.INT8, value.quant)
        return self.ids[value]

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        quant: QuantParams | None = None,
        data: np.ndarray | None = None,
    ) -> int:
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if quant is not None:
            tensor.quantization = tfl.QuantizationParametersT()
            tensor.quantization.scale = [float(s) for s in quant.scale]
            tensor.quantization.zeroPoint = [int(z) for z in quant.zero_point]
            tensor.quantization.quantizedDimension = quant.axis or 0
        if data is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray) -> int:
        return self.tensor(name, data.shape, tfl.TensorType.INT32, None, data.astype(np.int32))

    def operator(
        self, code: int, inputs: list[int], outputs: list[int], options: object = None, kind: str = "NONE"
    ) -> None:
        operator = tfl.OperatorT()
        if code not in self.codes:
            self.codes.append(code)
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptions, operator.builtinOptionsType = options, getattr(tfl.BuiltinOptions, kind)
        self.operators.append(operator)

    def _unknown(self, op: Op) -> None:
        raise ValueError(f"{op.kind} has no twin in LiteRT")

    def _weights(self, op: Op, weight: np.ndarray, axis: int) -> tuple[int, int]:
        source = op.inputs[0].quant
        assert source is not None
        scales = np.broadcast_to(op.consts["weight_scale"], weight.shape[axis])
        zeros = (0,) * len(scales)
        name = op.outputs[0].name
        w = self.tensor(
            f"{name}.weight", weight.shape, tfl.TensorType.INT8, QuantParams(tuple(scales), zeros, "int8", axis), weight
        )
        bias_quant = QuantParams(tuple(scales * source.s), zeros, "int32", 0)
        bias = op.consts["bias"].astype(np.int32)
        return w, self.tensor(f"{name}.bias", bias.shape, tfl.TensorType.INT32, bias_quant, bias)

    def _window(self, op: Op, kernel: tuple[int, int]) -> tuple[int, int]:
        """Input tensor and padding of a window operator; a PAD operator stands before it where it must."""
        top, left, bottom, right = op.attrs["pads"]
        source, out = op.inputs[0], op.outputs[0]
        if not any((top, left, bottom, right)):
            return self.value(source), _VALID
        same = [
            max((extent - 1) * stride + dilation * (size - 1) + 1 - width, 0)
            for extent, stride, dilation, size, width in zip(
                out.shape[1:3], op.attrs["stride"], op.attrs["dilation"], kernel, source.shape[1:3], strict=True
            )
        ]
        if (top, bottom, left, right) == (same[0] // 2, -(-same[0] // 2), same[1] // 2, -(-same[1] // 2)):
            return self.value(source), _SAME
        if op.kind == "maxpool":
            raise ValueError("max pooling with padding that is not SAME has no exact twin in LiteRT")
        n, h, w, c = source.shape
        padded = self.tensor(
            f"{out.name}.padded", (n, h + top + bottom, w + left + right, c), tfl.TensorType.INT8, source.quant
        )
        pads = self.constant(f"{out.name}.pads", np.array([[0, 0], [top, bottom], [left, right], [0, 0]]))
        self.operator(tfl.BuiltinOperator.PAD, [self.value(source), pads], [padded], tfl.PadOptionsT(), "PadOptions")
        return padded, _VALID

    def _conv2d(self, op: Op) -> None:
        weight = op.consts["weight"]
        x, padding = self._window(op, weight.shape[1:3])
        options = tfl.Conv2DOptionsT()
        self._geometry(options, op, padding)
        self._mac(tfl.BuiltinOperator.CONV_2D, op, x, self._weights(op, weight, 0), options, "Conv2DOptions")

    def _dwconv2d(self, op: Op) -> None:
        weight = op.consts["weight"]
        x, padding = self._window(op, weight.shape[1:3])
        options = tfl.DepthwiseConv2DOptionsT()
        self._geometry(options, op, padding)
        options.depthMultiplier = 1
        weights = self._weights(op, weight.transpose(1, 2, 0)[None], 3)
        self._mac(tfl.BuiltinOperator.DEPTHWISE_CONV_2D, op, x, weights, options, "DepthwiseConv2DOptions")

    def _matmul(self, op: Op) -> None:
        options = tfl.FullyConnectedOptionsT()
        options.keepNumDims = True
        x = self.value(op.inputs[0])
        weights = self._weights(op, op.consts["weight"], 0)
        self._mac(tfl.BuiltinOperator.FULLY_CONNECTED, op, x, weights, options, "FullyConnectedOptions")

    def _mac(self, code: int, op: Op, x: int, weights: tuple[int, int], options: object, kind: str) -> None:
        self.operator(code, [x, *weights], [self.value(op.outputs[0])], options, kind)

    def _geometry(self, options: object, op: Op, padding: int) -> None:
        options.padding = padding  # type: ignore[attr-defined]
        options.strideH, options.strideW = op.attrs["stride"]  # type: ignore[attr-defined]
        if "kernel" not in op.attrs:
            options.dilationHFactor, options.dilationWFactor = op.attrs["dilation"]  # type: ignore[attr-defined]

    def _add(self, op: Op) -> None:
        inputs = [self.value(v) for v in op.inputs]
        self.operator(tfl.BuiltinOperator.ADD, inputs, [self.value(op.outputs[0])], tfl.AddOptionsT(), "AddOptions")

    def _mul(self, op: Op) -> None:
        inputs = [self.value(v) for v in op.inputs]
        self.operator(tfl.BuiltinOperator.MUL, inputs, [self.value(op.outputs[0])], tfl.MulOptionsT(), "MulOptions")

    def _lut8(self, op: Op) -> None:
        x, out = op.inputs[0], op.outputs[0]
        shape = tuple(self.tensors[self.value(x)].shape)
        gate = self.tensor(f"{out.name}.gate", shape, tfl.TensorType.INT8, QuantParams.per_tensor(1 / 256, -128))
        self.operator(tfl.BuiltinOperator.LOGISTIC, [self.value(x)], [gate])
        inputs = [self.value(x), gate]
        self.operator(tfl.BuiltinOperator.MUL, inputs, [self.value(out)], tfl.MulOptionsT(), "MulOptions")

    def _maxpool(self, op: Op) -> None:
        self._pool(tfl.BuiltinOperator.MAX_POOL_2D, op)

    def _avgpool(self, op: Op) -> None:
        """Global pooling, written as MEAN."""
        if tuple(op.attrs["kernel"]) != op.inputs[0].shape[1:3]:
            self._pool(tfl.BuiltinOperator.AVERAGE_POOL_2D, op)
            return
        options = tfl.ReducerOptionsT()
        options.keepDims = True
        inputs = [self.value(op.inputs[0]), self.constant(f"{op.outputs[0].name}.axes", np.array([1, 2]))]
        self.operator(tfl.BuiltinOperator.MEAN, inputs, [self.value(op.outputs[0])], options, "ReducerOptions")

    def _pool(self, code: int, op: Op) -> None:
        x, padding = self._window(op, op.attrs["kernel"])
        options = tfl.Pool2DOptionsT()
        self._geometry(options, op, padding)
        options.filterHeight, options.filterWidth = op.attrs["kernel"]
        self.operator(code, [x], [self.value(op.outputs[0])], options, "Pool2DOptions")

    def _concat(self, op: Op) -> None:
        options = tfl.ConcatenationOptionsT()
        options.axis = op.attrs["axis"]
        inputs = [self.value(v) for v in op.inputs]
        code = tfl.BuiltinOperator.CONCATENATION
        self.operator(code, inputs, [self.value(op.outputs[0])], options, "ConcatenationOptions")

    def _reshape(self, op: Op) -> None:
        out = self.value(op.outputs[0])
        shape = self.constant(f"{op.outputs[0].name}.shape", np.array(self.tensors[out].shape))
        options = tfl.ReshapeOptionsT()
        options.newShape = list(self.tensors[out].shape)
        self.operator(tfl.BuiltinOperator.RESHAPE, [self.value(op.inputs[0]), shape], [out], options, "ReshapeOptions")

    def _resize_nearest(self, op: Op) -> None:
        size = self.constant(f"{op.outputs[0].name}.size", np.array(op.outputs[0].shape[1:3]))
        options = tfl.ResizeNearestNeighborOptionsT()
        code = tfl.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR
        inputs = [self.value(op.inputs[0]), size]
        self.operator(code, inputs, [self.value(op.outputs[0])], options, "ResizeNearestNeighborOptions")
