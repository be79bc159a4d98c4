"""A float ONNX network in the making, with seeded random weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """Writes an NCHW network node by node; methods take and return value names."""

    def __init__(self, name: str, shape: Sequence[int], seed: int = 0) -> None:
        self.name, self.random = name, np.random.default_rng(seed)
        self.input = helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []
        self.channels = {"image": shape[1]}

    def op(self, kind: str, *inputs: str, channels: int | None = None, **attributes: object) -> str:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        self.channels[output] = self.channels[inputs[0]] if channels is None else channels
        return output

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(array, name))
        return name

    def conv(
        self,
        x: str,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: str | None = "relu",
        padding: int | None = None,
    ) -> str:
        fan_in = self.channels[x] // groups * kernel * kernel
        weight = self.random.standard_normal((out, self.channels[x] // groups, kernel, kernel)) * np.sqrt(2 / fan_in)
        bias = self.random.standard_normal(out) * 0.1
        parameters = (self.constant(a.astype(np.float32)) for a in (weight, bias))
        y = self.op(
            "Conv",
            x,
            *parameters,
            channels=out,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2 if padding is None else padding] * 4,
            group=groups,
        )
        return self.activate(y, act)

    def activate(self, x: str, act: str | None) -> str:
        if act == "relu6":
            return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))
        if act == "silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        return self.op("Relu", x) if act == "relu" else x

    def classifier(self, x: str, classes: int = 1000) -> str:
        x = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        weight = self.random.standard_normal((classes, self.channels[x])) / np.sqrt(self.channels[x])
        bias = self.random.standard_normal(classes) * 0.1
        return self.op("Gemm", x, *(self.constant(a.astype(np.float32)) for a in (weight, bias)), transB=1)

    def finish(self, *outputs: str) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, self.name, [self.input], values, self.initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
