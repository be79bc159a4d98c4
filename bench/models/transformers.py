"""Encoders with seeded random weights, as exporters write them: MatMul and Add, heads by Reshape and Transpose."""

from __future__ import annotations

import numpy as np
import onnx

from bench.models.network import Network


class Encoder(Network):
    """Blocks of attention and two-layer perceptrons on [1, tokens, width]."""

    def linear(self, x: str, out: int, gain: float = 1.0) -> str:
        inner = self.channels[x]
        weight = self.random.standard_normal((inner, out)) * gain / np.sqrt(inner)
        bias = self.random.standard_normal(out) * 0.1
        product = self.op("MatMul", x, self.number(weight), channels=out)
        return self.op("Add", product, self.number(bias))

    def number(self, array: np.ndarray) -> str:
        return self.constant(array.astype(np.float32))

    def norm(self, x: str, epsilon: float) -> str:
        width = self.channels[x]
        gain, offset = 1 + 0.2 * self.random.standard_normal(width), 0.1 * self.random.standard_normal(width)
        return self.op("LayerNormalization", x, self.number(gain), self.number(offset), axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        half = self.op("Div", x, self.number(np.array(np.sqrt(2))))
        one = self.op("Add", self.op("Erf", half), self.number(np.array(1.0)))
        return self.op("Mul", self.op("Mul", x, one), self.number(np.array(0.5)))

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.constant(np.array(shape, np.int64)), channels=shape[-1])

    def attention(self, x: str, tokens: int, heads: int) -> str:
        width = self.channels[x]
        size = width // heads

        def split(y: str, perm: list[int]) -> str:
            return self.op("Transpose", self.reshape(y, 1, tokens, heads, size), perm=perm)

        q, k, v = (self.linear(x, width, gain) for gain in (1.5, 1.5, 1.0))
        scores = self.op("MatMul", split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1]))
        scores = self.op("Softmax", self.op("Div", scores, self.number(np.array(np.sqrt(size)))), axis=-1)
        mixed = self.op("MatMul", scores, split(v, [0, 2, 1, 3]))
        mixed = self.reshape(self.op("Transpose", mixed, perm=[0, 2, 1, 3]), 1, tokens, width)
        return self.linear(mixed, width)

    def perceptron(self, x: str, hidden: int) -> str:
        return self.linear(self.gelu(self.linear(x, hidden)), self.channels[x])


def deit_tiny() -> onnx.ModelProto:
    """Touvron et al. 2021: 12 blocks of width 192 with 3 heads on 197 tokens, 224 x 224."""
    net, width, tokens = Encoder("deit_tiny", (1, 3, 224, 224)), 192, 197
    x = net.conv("image", width, 16, 16, act=None, padding=0)
    x = net.op("Transpose", net.reshape(x, 1, width, tokens - 1), channels=width, perm=[0, 2, 1])
    first = net.number(net.random.standard_normal((1, 1, width)))
    x = net.op("Concat", first, x, channels=width, axis=1)
    x = net.op("Add", x, net.number(0.5 * net.random.standard_normal((1, tokens, width))))
    for _ in range(12):
        x = net.op("Add", x, net.attention(net.norm(x, 1e-6), tokens, 3))
        x = net.op("Add", x, net.perceptron(net.norm(x, 1e-6), 4 * width))
    x = net.op("Gather", net.norm(x, 1e-6), net.constant(np.array(0, np.int64)), axis=1)
    return net.finish(net.linear(x, 1000))


def minilm(tokens: int = 128) -> onnx.ModelProto:
    """Wang et al. 2020, 6 layers of width 384 with 12 heads, from the sum of the embeddings on; no padding tokens."""
    net, width = Encoder("minilm_l6", (1, tokens, 384)), 384
    net.channels["image"] = width
    x = net.norm("image", 1e-12)
    for _ in range(6):
        x = net.norm(net.op("Add", x, net.attention(x, tokens, 12)), 1e-12)
        x = net.norm(net.op("Add", x, net.perceptron(x, 4 * width)), 1e-12)
    return net.finish(x)
