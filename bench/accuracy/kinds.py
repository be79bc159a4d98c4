"""Networks of the common kinds with seeded random weights: detectors, transformers, segmenter, audio."""

from __future__ import annotations

import numpy as np
import onnx
from bench.models.network import Network
from bench.models.networks import yolov5s
from onnx import TensorProto, helper, numpy_helper


class Wide(Network):
    """`Network` with the operators of transformers and recurrent nets."""

    def constant(self, array: np.ndarray) -> str:
        name = super().constant(array)
        self.channels[name] = 0  # a constant may come first
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self.random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        bias = self.constant((self.random.standard_normal(outputs) * 0.1).astype(np.float32))
        return self.op("Add", self.op("MatMul", x, self.weight(inputs, outputs)), bias)

    def norm(self, x: str, width: int) -> str:
        gain = self.constant((1 + 0.1 * self.random.standard_normal(width)).astype(np.float32))
        return self.op("LayerNormalization", x, gain, self.constant(np.zeros(width, np.float32)), axis=-1)

    def gelu(self, x: str) -> str:
        inner = self.op("Erf", self.op("Div", x, self.constant(np.float32(np.sqrt(2)))))
        half = self.op("Mul", x, self.constant(np.float32(0.5)))
        return self.op("Mul", half, self.op("Add", inner, self.constant(np.float32(1))))

    def attention(self, x: str, tokens: int, width: int, heads: int, mask: str = "") -> str:
        """Multi-head self-attention as exporters write it."""
        size = width // heads

        def split(y: str, perm: list[int]) -> str:
            return self.op("Transpose", self.op("Reshape", y, self.numbers(1, tokens, heads, size)), perm=perm)

        q, k, v = (split(self.linear(x, width, width), perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = self.op("Div", self.op("MatMul", q, k), self.constant(np.float32(np.sqrt(size))))
        if mask:
            scores = self.op("Add", scores, mask)
        y = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        y = self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), self.numbers(1, tokens, width))
        return self.linear(y, width, width)

    def block(self, x: str, tokens: int, width: int, heads: int, mask: str = "", after: bool = False) -> str:
        """A transformer block; the normalisation stands in front, or `after` the residual sum."""
        inner = x if after else self.norm(x, width)
        x = self.op("Add", x, self.attention(inner, tokens, width, heads, mask))
        x = self.norm(x, width) if after else x
        inner = x if after else self.norm(x, width)
        y = self.linear(self.gelu(self.linear(inner, width, 4 * width)), 4 * width, width)
        x = self.op("Add", x, y)
        return self.norm(x, width) if after else x


def detector() -> onnx.ModelProto:
    """YOLO-like: SiLU backbone, two scales, decode head with distribution of distances, non-max suppression, top-k."""
    net = Wide("detector", (1, 3, 160, 160))
    x = net.conv("image", 16, 3, 2, act="silu")
    x = net.conv(x, 32, 3, 2, act="silu")
    x = net.op("Add", x, net.conv(net.conv(x, 32, 3, act="silu"), 32, 3, act="silu"))
    middle = net.conv(x, 48, 3, 2, act="silu")
    deep = net.conv(middle, 64, 3, 2, act="silu")
    up = net.op("Resize", deep, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest", channels=64)
    middle = net.conv(net.op("Concat", middle, up, axis=1, channels=112), 48, 3, act="silu")
    boxes, scores, anchors, strides = [], [], [], []
    for level, stride, side in ((middle, 8, 20), (deep, 16, 10)):
        box, score = net.conv(level, 64, 1, act=None), net.conv(level, 12, 1, act=None)
        boxes.append(net.op("Reshape", box, net.numbers(1, 64, side * side)))
        scores.append(net.op("Reshape", score, net.numbers(1, 12, side * side)))
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), 0).reshape(2, -1) + 0.5
        anchors.append(grid)
        strides.append(np.full(side * side, stride))
    count = 500
    box = net.op("Concat", *boxes, axis=2)
    box = net.op("Reshape", box, net.numbers(1, 4, 16, count))
    box = net.op("Softmax", net.op("Transpose", box, perm=[0, 2, 1, 3]), axis=1)
    box = net.op("Conv", box, net.constant(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)))
    box = net.op("Reshape", box, net.numbers(1, 4, count))
    points = net.constant(np.concatenate(anchors, 1)[None].astype(np.float32))
    near = net.op("Slice", box, net.numbers(0), net.numbers(2), net.numbers(1))
    far = net.op("Slice", box, net.numbers(2), net.numbers(4), net.numbers(1))
    corners = net.op("Concat", net.op("Sub", points, near), net.op("Add", points, far), axis=1)
    corners = net.op("Mul", corners, net.constant(np.concatenate(strides).reshape(1, 1, -1).astype(np.float32)))
    score = net.op("Sigmoid", net.op("Concat", *scores, axis=2))
    corners = net.op("Transpose", corners, perm=[0, 2, 1])
    limits = [net.constant(np.array([v], t)) for v, t in ((20, np.int64), (0.5, np.float32), (0.4, np.float32))]
    chosen = net.op("NonMaxSuppression", corners, score, *limits)
    best = net.op("ReduceMax", score, axes=[1], keepdims=0)
    name = f"topk_{len(net.nodes)}"
    net.nodes.append(helper.make_node("TopK", [best, net.numbers(50)], [name, f"{name}_index"], name=name, axis=1))
    model = net.finish(corners, score, name)
    model.graph.output.append(helper.make_tensor_value_info(chosen, TensorProto.INT64, ["rows", 3]))
    return model


_ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))


def yolov5s_decoded(size: int) -> onnx.ModelProto:
    """YOLOv5s with its decode head: boxes in pixels, objectness and 80 classes of all places."""
    model = yolov5s(size)
    graph = model.graph

    def op(kind: str, *inputs: str, **attributes: object) -> str:
        name = f"decode_{kind.lower()}_{len(graph.node)}"
        graph.node.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(array: object, kind: type) -> str:
        name = f"decode_constant_{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def part(x: str, first: int, last: int) -> str:
        return op("Slice", x, *(constant([n], np.int64) for n in (first, last, 4)))

    levels = []
    for head, stride, anchors in zip([o.name for o in graph.output], (8, 16, 32), _ANCHORS, strict=True):
        side = size // stride
        x = op("Reshape", head, constant([1, 3, 85, side, side], np.int64))
        x = op("Sigmoid", op("Transpose", x, perm=[0, 1, 3, 4, 2]))
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(1, 1, side, side, 2) - 0.5
        two = constant(2, np.float32)
        centre = op("Add", op("Mul", part(x, 0, 2), two), constant(grid, np.float32))
        centre = op("Mul", centre, constant(stride, np.float32))
        extent = op("Pow", op("Mul", part(x, 2, 4), two), two)
        extent = op("Mul", extent, constant(np.reshape(anchors, (1, 3, 1, 1, 2)), np.float32))
        whole = op("Concat", centre, extent, part(x, 4, 85), axis=4)
        levels.append(op("Reshape", whole, constant([1, 3 * side * side, 85], np.int64)))
    result = op("Concat", *levels, axis=1)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(model)


def mobilenet_v3() -> onnx.ModelProto:
    """MobileNetV3-like: hard-swish, depthwise convolutions, squeeze and excitation."""
    net = Wide("mobilenet_v3", (1, 3, 160, 160))
    x = net.op("HardSwish", net.conv("image", 16, 3, 2, act=None))
    for out, stride, hidden in ((24, 2, 64), (40, 2, 96), (40, 1, 120), (80, 2, 200)):
        y = net.op("HardSwish", net.conv(x, hidden, act=None))
        y = net.op("HardSwish", net.conv(y, hidden, 5, stride, hidden, act=None))
        gate = net.conv(net.conv(net.op("GlobalAveragePool", y), hidden // 4), hidden, act=None)
        y = net.conv(net.op("Mul", y, net.op("HardSigmoid", gate, alpha=1 / 6)), out, act=None)
        x = net.op("Add", x, y) if stride == 1 else y
    return net.finish(net.classifier(net.op("HardSwish", net.conv(x, 480, act=None))))


def text_encoder() -> onnx.ModelProto:
    """MiniLM-like: token ids and mask in, embeddings, 3 blocks of width 192, mean over the tokens that count."""
    net = Wide("text_encoder", (1, 32))
    net.input = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 32])
    net.channels["ids"] = 32
    x = net.op("Gather", net.weight(1000, 192), "ids", axis=0)
    x = net.norm(net.op("Add", x, net.weight(1, 32, 192)), 192)
    counted = net.op("Greater", "ids", net.numbers(0))
    mask = net.op("Reshape", net.op("Cast", counted, to=TensorProto.FLOAT), net.numbers(1, 1, 1, 32))
    bias = net.op("Mul", net.op("Sub", net.constant(np.float32(1)), mask), net.constant(np.float32(-30)))
    for _ in range(3):
        x = net.block(x, 32, 192, 3, bias, after=True)
    return net.finish(net.op("ReduceMean", x, axes=[1], keepdims=0))


def segmenter() -> onnx.ModelProto:
    """U-Net-like: two levels down and up, transposed convolutions, skip connections, bilinear resize, arg-max."""
    net = Wide("segmenter", (1, 3, 96, 96))
    first = net.conv(net.conv("image", 16, 3), 16, 3)
    second = net.conv(net.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 32, 3)
    deep = net.conv(net.op("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2]), 64, 3)
    up = net.op("ConvTranspose", deep, net.weight(64, 32, 2, 2), strides=[2, 2], channels=32)
    x = net.conv(net.op("Concat", up, second, axis=1, channels=64), 32, 3)
    x = net.op("Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    x = net.conv(net.op("Concat", x, first, axis=1, channels=48), 8, 3, act=None)
    return net.finish(x)


def atrous_segmenter() -> onnx.ModelProto:
    """DeepLabV3-like: dilated convolutions side by side, pooled context resized back, bilinear logits."""
    net = Wide("atrous", (1, 3, 128, 128))
    x = net.conv(net.conv(net.conv("image", 16, 3, 2), 32, 3, 2), 48, 3, 2)
    branches = [net.conv(x, 32)]
    for rate in (2, 4, 6):
        weight, bias = net.weight(32, 48, 3, 3), net.constant(np.zeros(32, np.float32))
        y = net.op("Conv", x, weight, bias, pads=[rate] * 4, dilations=[rate] * 2, channels=32)
        branches.append(net.op("Relu", y))
    context = net.conv(net.op("GlobalAveragePool", x), 32)
    sixteen = net.constant(np.array([1, 1, 16, 16], np.float32))
    branches.append(net.op("Resize", context, "", sixteen, mode="linear"))
    x = net.conv(net.op("Concat", *branches, axis=1, channels=160), 48)
    x = net.conv(x, 21, act=None)
    eight = net.constant(np.array([1, 1, 8, 8], np.float32))
    return net.finish(net.op("Resize", x, "", eight, mode="linear"))


def audio() -> onnx.ModelProto:
    """Keyword-spotting-like: 1-D convolutions over a spectrogram, a GRU, a classifier."""
    net = Wide("audio", (1, 40, 98))
    x = "image"
    for inputs, out, stride in ((40, 64, 2), (64, 64, 1)):
        bias = net.constant(np.zeros(out, np.float32))
        x = net.op("Conv", x, net.weight(out, inputs, 3), bias, pads=[1, 1], strides=[stride], channels=out)
        x = net.op("Relu", x)
    x = net.op("Transpose", x, perm=[2, 0, 1])
    name = f"gru_{len(net.nodes)}"
    weights = [net.constant((net.random.standard_normal((1, 96, n)) * 0.2).astype(np.float32)) for n in (64, 32)]
    net.nodes.append(helper.make_node("GRU", [x, *weights], ["", name], name=name, hidden_size=32))
    net.channels[name] = 32
    x = net.op("Reshape", name, net.numbers(1, 32))
    return net.finish(net.linear(x, 32, 12))
