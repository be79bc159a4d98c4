"""Small QDQ models, node by node, with scales that fit the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime with every optimisation off: DequantizeLinear, float operator, QuantizeLinear.

    Operators in integer form on uint8 need one: without VNNI their kernels for int8 weights saturate.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if _integer_form_on_uint8(model):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _integer_form_on_uint8(model: onnx.ModelProto) -> bool:
    nodes = model.graph.node
    constants = [a.t for node in nodes if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    on_uint8 = any(t.data_type == TensorProto.UINT8 for t in (*model.graph.initializer, *constants))
    return on_uint8 and any(n.op_type.startswith("Q") and n.op_type != "QuantizeLinear" for n in nodes)


class Net:
    """A QDQ model under construction; methods return tensor names. `dtype` is the type of all activations."""

    def __init__(self, seed: int, dtype: str = "int8", opset: int = 17) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype, self.opset = dtype, opset
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.feeds: dict[str, np.ndarray] = {}
        self._count = 0

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def constant(self, array: Any, dtype: Any = None) -> str:
        name = self.name("c")
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n_{names[0]}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def input(self, *shape: int, quantised: bool = True, spread: float = 1.0) -> str:
        """A float input with Q/DQ behind it; values have standard deviation `spread`."""
        name = self.name("x")
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = np.asarray(self.random.standard_normal(shape) * spread, np.float32)
        return self.quantise(name) if quantised else name

    def indices(self, *shape: int, low: int, high: int, dtype: str = "int64") -> str:
        """An integer input with values from `low` to below `high`."""
        name = self.name("i")
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        self.feeds[name] = self.random.integers(low, high, shape).astype(dtype)
        return name

    def parameters(self, name: str) -> tuple[float, int]:
        """A scale and zero point that fit the values of a float tensor, a little off on purpose."""
        values = self.values(name)
        if self.dtype == "int16":
            largest = max(float(np.abs(values).max()), 1e-3)
            return float(np.float32(largest / 32767 * self.random.uniform(0.8, 1.3))), 0
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = np.float32(max(high - low, 1e-3) / 255 * self.random.uniform(0.8, 1.3))
        start = -128 if self.dtype == "int8" else 0
        return float(scale), int(np.clip(np.rint(start - low / scale), start, start + 255))

    def quantise(self, name: str, scale: float | None = None, zero: int = 0, shared: int = 1) -> Any:
        """Q and DQ; `shared` DequantizeLinear nodes on one QuantizeLinear."""
        if scale is None:
            scale, zero = self.parameters(name)
        operands = self.constant(np.float32(scale)), self.constant(zero, self.dtype)
        domain = "com.microsoft" if self.dtype == "int16" and self.opset < 21 else ""
        q = self.node("QuantizeLinear", name, *operands, domain=domain)
        found = [self.node("DequantizeLinear", q, *operands, domain=domain) for _ in range(shared)]
        return found[0] if shared == 1 else found

    def weight(self, array: np.ndarray, axis: int | None = 0, dtype: str = "int8", zero: int | None = None) -> str:
        """A dequantised weight, per channel of `axis` or per tensor."""
        others = None if axis is None else tuple(a for a in range(array.ndim) if a != axis)
        scale = np.asarray(np.abs(array).max(axis=others) / 127 + 1e-9, np.float32)
        shape = [1] * array.ndim
        if axis is not None:
            shape[axis] = -1
        point = (0 if dtype == "int8" else 128) if zero is None else zero
        limits = np.iinfo(dtype)
        codes = np.clip(
            np.rint(array / scale.reshape(shape if axis is not None else ())) + point, limits.min, limits.max
        )
        operands = [
            self.constant(codes, dtype),
            self.constant(scale),
            self.constant(np.full(scale.shape, point), dtype),
        ]
        return self.node("DequantizeLinear", *operands, **({} if axis is None else {"axis": axis}))

    def bias(self, array: np.ndarray, x: str, weight: str) -> str:
        """A bias as DequantizeLinear of int32 on the grid of input `x` (a DQ) times `weight` (a DQ)."""
        arrays = {t.name: numpy_helper.to_array(t) for t in self.initializers}
        made = {n.output[0]: n for n in self.nodes}
        sx, sw = (arrays[made[tensor].input[1]] for tensor in (x, weight))
        grid = np.broadcast_to(np.asarray(sx * sw, np.float32), array.shape)
        codes = np.rint(array / grid).astype(np.int32)
        return self.node("DequantizeLinear", self.constant(codes), self.constant(grid), axis=0)

    def values(self, name: str) -> np.ndarray:
        """The tensor as ONNX Runtime computes it."""
        if name in self.feeds:
            return self.feeds[name]
        return reference(self._model([name]), self.feeds)[0]

    def output(self, name: str) -> None:
        self.outputs.append(name)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The checked model; `outputs` join those already named."""
        for name in outputs:
            self.output(name)
        model = self._model(self.outputs)
        if not any(node.domain for node in self.nodes):  # the checker knows no results of other domains
            onnx.checker.check_model(model, full_check=True)
        return model

    def _info(self, name: str) -> onnx.ValueInfoProto:
        """Types and shapes follow, but of results of ONNX Runtime's own domain."""
        private = next((n for n in self.nodes if name in n.output and n.domain), None)
        if private is None or private.op_type != "DequantizeLinear":
            return onnx.ValueInfoProto(name=name)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    def _model(self, outputs: list[str]) -> onnx.ModelProto:
        infos = [self._info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 21 else 10)
        return onnx.shape_inference.infer_shapes(model)
