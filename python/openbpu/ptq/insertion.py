"""Writes the QDQ model: pairs on activations, integer initialisers with DequantizeLinear for weights and biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu.ir.quant import QuantParams
from openbpu.ptq.operators import ARITHMETIC, WEIGHTED
from openbpu.ptq.refinement import Refinements
from openbpu.ptq.weights import quantise_weights


def insert(model: onnx.ModelProto, params: Mapping[str, QuantParams], refinements: Refinements) -> onnx.ModelProto:
    """A QDQ copy of a clean float model; `params` holds the parameters of each tensor that gets a pair."""
    return _Inserter(model, params, refinements).run()


class _Inserter:
    def __init__(self, model: onnx.ModelProto, params: Mapping[str, QuantParams], refinements: Refinements) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.params, self.refinements = params, refinements
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.real = {name: f"{name}/real" for name in params}  # what consumers read

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        outputs = {o.name for o in graph.output}
        # A graph output keeps its name: the float tensor before its pair gets another one.
        before = {name: f"{name}/float" if name in outputs else name for name in self.params}
        self.real.update({name: name for name in self.params if name in outputs})
        for info in graph.input:
            if info.name in self.params:
                self._pair(info.name, info.name)
        for node in graph.node:
            last = self._outputs_scale(node)
            self._weights(node, last)
            node.input[:] = [self.real.get(name, name) for name in node.input]
            made = [name for name in node.output if name in self.params]
            node.output[:] = [before.get(name, name) for name in node.output]
            self.nodes.append(node)
            for name in made:
                self._pair(name, before[name])
        self._finish()
        return self.model

    def _outputs_scale(self, node: onnx.NodeProto) -> float:
        """Scale of the pair behind a node, looking through the clamp that it absorbs."""
        name = node.output[0]
        while name not in self.params:
            following = [n for n in self.model.graph.node if name in n.input]
            if len(following) != 1:
                return 1.0
            name = following[0].output[0]
        return self.params[name].s

    def _pair(self, name: str, source: str) -> None:
        quant = self.params[name]
        scale = self._constant(f"{name}/scale", np.float32(quant.s))
        zero = self._constant(f"{name}/zero_point", np.array(quant.z, np.int8))
        self._node("QuantizeLinear", [source, scale, zero], f"{name}/int8")
        self._node("DequantizeLinear", [f"{name}/int8", scale, zero], self.real[name])

    def _weights(self, node: onnx.NodeProto, output_scale: float) -> None:
        if node.op_type in WEIGHTED and node.input[1] in self.constants and node.input[0] in self.params:
            self._weighted(node, output_scale)
        elif node.op_type in ARITHMETIC:
            for index, name in enumerate(node.input):
                if name in self.constants and np.unique(self.constants[name]).size > 1:
                    node.input[index] = self._operand(node, name)

    def _weighted(self, node: onnx.NodeProto, output_scale: float) -> None:
        weight, axis = self.constants[node.input[1]], _channel_axis(node)
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type == "ConvTranspose" and groups > 1:
            axis = 1  # scales are shared by the groups
        channels = weight.shape[axis] * (groups if node.op_type == "ConvTranspose" else 1)
        given = len(node.input) > 2 and node.input[2] != ""
        bias = self.constants[node.input[2]].reshape(-1) if given else np.zeros(channels, np.float32)
        bias = np.broadcast_to(bias, channels).astype(np.float64) + self.refinements.biases.get(node.name, 0.0)
        input_scale = self.params[node.input[0]].s
        shared = np.abs(bias).reshape(-1, weight.shape[axis]).max(axis=0)
        made = quantise_weights(weight, shared, axis, input_scale, output_scale)
        scale = np.tile(made.scale, channels // weight.shape[axis])
        name = self._constant(f"{node.name}/weight", self.refinements.weights.get(node.name, made.q))
        scale_name = self._constant(f"{node.name}/weight_scale", made.scale.astype(np.float32))
        zero = self._constant(f"{node.name}/weight_zero_point", np.zeros(made.scale.shape, np.int8))
        self._node("DequantizeLinear", [name, scale_name, zero], f"{node.name}/weight_real", axis=axis)
        node.input[1] = f"{node.name}/weight_real"
        if given or np.any(bias):
            self._bias(node, bias, input_scale, scale)

    def _bias(self, node: onnx.NodeProto, bias: np.ndarray, input_scale: float, scale: np.ndarray) -> None:
        grid = (np.float64(input_scale) * scale).astype(np.float32)
        q = np.floor(bias / grid.astype(np.float64) + 0.5).astype(np.int32)
        name = self._constant(f"{node.name}/bias", q)
        scale_name = self._constant(f"{node.name}/bias_scale", grid)
        zero = self._constant(f"{node.name}/bias_zero_point", np.zeros(grid.shape, np.int32))
        self._node("DequantizeLinear", [name, scale_name, zero], f"{node.name}/bias_real", axis=0)
        del node.input[2:]
        node.input.append(f"{node.name}/bias_real")

    def _operand(self, node: onnx.NodeProto, name: str) -> str:
        """A constant tensor operand, symmetric int8."""
        array = self.constants[name]
        scale = np.float32(max(float(np.abs(array).max(initial=0)) / 127, 2.0**-64))
        base = f"{node.name}/{name}"
        q = self._constant(f"{base}/int8", np.clip(np.rint(array / scale), -127, 127).astype(np.int8))
        scale_name = self._constant(f"{base}/scale", scale)
        zero = self._constant(f"{base}/zero_point", np.array(0, np.int8))
        self._node("DequantizeLinear", [q, scale_name, zero], f"{base}/real")
        return f"{base}/real"

    def _constant(self, name: str, array: np.ndarray | np.generic) -> str:
        self.initialisers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def _node(self, op: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def _finish(self) -> None:
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self.initialisers.values()])
        del graph.value_info[:]


def _channel_axis(node: onnx.NodeProto) -> int:
    """Axis of the output channels in the weight of a node."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 1  # ConvTranspose, MatMul
