"""Small float networks with the structures that quantisation has to place rightly, built with onnx alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
IMAGE: Shape = ("batch", 3, 32, 32)


class Net:
    """Collects nodes and initialisers; methods return the name of what they made."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []

    def constant(self, array: object, name: str = "") -> str:
        """float32, unless it is integer."""
        value = np.asarray(array)
        value = value.astype(np.float32) if value.dtype.kind == "f" else value
        name = name or f"c{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(value, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.random.standard_normal(shape) * scale)

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        out = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"{kind}_{len(self.nodes)}", **attributes))
        return out

    def conv(self, x: str, ci: int, co: int, k: int = 3, stride: int = 1, group: int = 1, out: str = "") -> str:
        spread = self.random.uniform(0.3, 2, (co, 1, 1, 1)) * np.sqrt(2 / (ci // group * k * k))
        weight = self.constant(self.random.standard_normal((co, ci // group, k, k)) * spread)
        bias = self.normal(co, scale=0.2)
        return self.op("Conv", x, weight, bias, out=out, strides=[stride] * 2, pads=[k // 2] * 4, group=group)

    def norm(self, x: str, channels: int) -> str:
        gain, variance = (self.constant(self.random.uniform(0.5, 1.5, channels)) for _ in range(2))
        shift, mean = (self.normal(channels, scale=0.2) for _ in range(2))
        return self.op("BatchNormalization", x, gain, shift, mean, variance)

    def relu6(self, x: str) -> str:
        return self.op("Clip", x, self.constant(0.0), self.constant(6.0))

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def hardswish(self, x: str) -> str:
        clipped = self.op("Clip", self.op("Add", x, self.constant(3.0)), self.constant(0.0), self.constant(6.0))
        return self.op("Div", self.op("Mul", x, clipped), self.constant(6.0))

    def gelu(self, x: str) -> str:
        erf = self.op("Erf", self.op("Div", x, self.constant(2**0.5)))
        return self.op("Mul", self.op("Mul", x, self.op("Add", erf, self.constant(1.0))), self.constant(0.5))

    def model(self, *outputs: str, shape: Shape = IMAGE, opset: int = 17, **more_inputs: Shape) -> onnx.ModelProto:
        """A model with the input `x` of the given shape; output types and shapes are inferred."""
        inputs = {"x": shape, **more_inputs}
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            self.initialisers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model)
        return model


def residual() -> onnx.ModelProto:
    """conv-bn-relu6, depthwise, linear projection, add-relu, global pooling, classifier."""
    net = Net(1)
    stem = net.relu6(net.norm(net.conv("x", 3, 16, stride=2), 16))
    deep = net.relu6(net.norm(net.conv(stem, 16, 16, group=16), 16))
    joined = net.op("Relu", net.op("Add", stem, net.norm(net.conv(deep, 16, 16, 1), 16)))
    flat = net.op("Flatten", net.op("GlobalAveragePool", joined))
    return net.model(net.op("Gemm", flat, net.normal(10, 16), net.normal(10), transB=1, out="y"))


def activation(kind: str) -> onnx.ModelProto:
    """Two convolutions, each with an activation that is a method of Net, and a third one."""
    net = Net(2)
    apply: Callable[[str], str] = getattr(net, kind)
    first = apply(net.conv("x", 3, 16, stride=2))
    return net.model(net.conv(apply(net.conv(first, 16, 16)), 16, 8, 1, out="y"))


def squeeze_excite() -> onnx.ModelProto:
    """MobileNetV3-like: hard-swish, a gate from pooled channels."""
    net = Net(3)
    x = net.hardswish(net.conv("x", 3, 16, stride=2))
    pooled = net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    gate = net.op("HardSigmoid", net.conv(net.op("Relu", net.conv(pooled, 16, 4, 1)), 4, 16, 1))
    return net.model(net.conv(net.op("Mul", x, gate), 16, 8, 1, out="y"))


def unet() -> onnx.ModelProto:
    """Encoder, decoder with transposed convolution and bilinear resize, concatenations, sigmoid mask."""
    net = Net(4)
    half: dict[str, object] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    top = net.op("Relu", net.conv("x", 3, 8))
    middle = net.op("Relu", net.conv(net.op("MaxPool", top, **half), 8, 16))
    bottom = net.op("Relu", net.conv(net.op("MaxPool", middle, **half), 16, 16))
    up = net.op("ConvTranspose", bottom, net.normal(16, 16, 2, 2, scale=0.3), net.normal(16), strides=[2, 2])
    joined = net.op("Relu", net.conv(net.op("Concat", up, middle, axis=1), 32, 8))
    sizes = net.constant([1.0, 1.0, 2.0, 2.0])
    wide = net.op("Resize", joined, "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    return net.model(net.op("Sigmoid", net.conv(net.op("Concat", wide, top, axis=1), 16, 4, 1), out="y"))


def mirrored() -> onnx.ModelProto:
    """Reflected borders, whose rows are not in the order of the image, under convolutions."""
    net = Net(7)
    x = net.conv("x", 3, 8)
    for _ in range(2):
        around = net.op("Pad", net.op("Relu", x), net.constant(np.array([0, 0, 3, 2, 0, 0, 4, 2])), mode="reflect")
        x = net.conv(around, 8, 8)
    return net.model(net.op("Relu", x, out="y"))


def detector() -> onnx.ModelProto:
    """YOLO-like: SiLU, split and concat, pyramid of max-pools, nearest resize, two heads of different layout."""
    net = Net(5)
    x = net.silu(net.conv("x", 3, 16, stride=2))
    net.nodes.append(helper.make_node("Split", [x], ["left", "right"], name="split", axis=1))
    deep = net.silu(net.conv(net.silu(net.conv("right", 8, 8, 1)), 8, 8))
    levels = [net.op("Concat", "left", "right", net.op("Add", "right", deep), axis=1)]
    for _ in range(2):
        levels.append(net.op("MaxPool", levels[-1], kernel_shape=[5, 5], pads=[2] * 4))
    z = net.silu(net.conv(net.op("Concat", *levels, axis=1), 72, 16, 1))
    scales = net.constant([1.0, 1.0, 2.0, 2.0])
    wide = net.op(
        "Resize", z, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    net.conv(wide, 16, 6, 1, out="y")
    rows = net.op("Reshape", net.conv(z, 16, 6, 1), net.constant(np.array([1, 6, 256])))
    net.op("Transpose", rows, perm=[0, 2, 1], out="boxes")
    return net.model("y", "boxes", shape=(1, 3, 32, 32))


def attention() -> onnx.ModelProto:
    """One attention head over 20 tokens: products with bias, of two run-time tensors, softmax, residual."""
    net = Net(6)
    query, key, value = (
        net.op("Add", net.op("MatMul", "x", net.normal(32, 32, scale=0.2)), net.normal(32, scale=0.1)) for _ in range(3)
    )
    scores = net.op("Div", net.op("MatMul", query, net.op("Transpose", key, perm=[0, 2, 1])), net.constant(32**0.5))
    mixed = net.op("Add", net.op("MatMul", net.op("Softmax", scores, axis=-1), value), "x")
    return net.model(net.op("MatMul", mixed, net.normal(32, 8), out="y"), shape=(1, 20, 32))


def norms() -> onnx.ModelProto:
    """A convolution with a norm of each of its channels, then a norm of each pixel."""
    net = Net(7)
    x = net.op("InstanceNormalization", net.conv("x", 3, 16), net.normal(16), net.normal(16, scale=0.3))
    x = net.op("Transpose", net.op("Relu", x), perm=[0, 2, 3, 1])
    x = net.op("LayerNormalization", x, net.normal(16), net.normal(16, scale=0.3), axis=-1)
    return net.model(net.op("MatMul", x, net.normal(16, 8), out="y"))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "residual": residual,
    "squeeze_excite": squeeze_excite,
    "unet": unet,
    "mirrored": mirrored,
    "detector": detector,
    "attention": attention,
    "hardswish": lambda: activation("hardswish"),
}


def samples(count: int, shape: Sequence[int] = (1, 3, 32, 32), seed: int = 5) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def run(model: onnx.ModelProto, *feeds: np.ndarray | dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of a model in ONNX Runtime without its optimisations, those of all feeds stacked."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = [session.run(None, feed if isinstance(feed, dict) else {"x": feed}) for feed in feeds]
    return [np.stack(outputs) for outputs in zip(*results, strict=True)]


def sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal to quantisation noise in dB."""
    noise = float(np.sum((reference.astype(np.float64) - other) ** 2))
    return float("inf") if noise == 0 else 10 * float(np.log10(np.sum(reference.astype(np.float64) ** 2) / noise))
