"""Cases for the 16-bit forms. Their names end in /16: the mnemonic, and which oracle defines them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from conformance import cases
from conformance.case import Case
from conformance.draw import CHANNELS, ZEROS, pick, scale, weights
from oracle import derive, int16
from oracle.int16 import Scaling

EXTREMES = np.array([-32768, -32767, -129, -128, -1, 0, 1, 127, 128, 32766, 32767], np.int16)
Generator = np.random.Generator


def activations(rng: Generator, shape: Any) -> np.ndarray:
    """int16, mostly uniform; sometimes extremes only, or one constant, so that sums reach their borders."""
    kind = rng.integers(8)
    if kind == 0:
        return rng.choice(EXTREMES, tuple(shape))
    if kind == 1:
        return np.full(tuple(shape), pick(rng, (-32768, 32767)), np.int16)
    return rng.integers(-32768, 32768, tuple(shape)).astype(np.int16)


def result(rng: Generator) -> tuple[str, int]:
    """Type and zero point of a result."""
    return ("int8", pick(rng, ZEROS)) if rng.integers(3) == 0 else ("int16", 0)


def clamped(rng: Generator, p: Scaling) -> Scaling:
    """Now and then with limits inside the type."""
    low, high = int16.RANGE[p.dtype]
    if rng.integers(4):
        return replace(p, lo=low, hi=high)
    lo, hi = sorted(rng.integers(low, high + 1, 2).tolist())
    return replace(p, lo=lo, hi=hi)


def linear(rng: Generator, weight: np.ndarray) -> tuple[Scaling, np.ndarray]:
    """Scales for which results use their type, and real biases."""
    dtype, zp = result(rng)
    channels, k = weight.shape[0], weight[0].size
    sx, sw = scale(rng, 1e-5, 1e-3), [scale(rng, 0.001, 0.03) for _ in range(channels)]
    steps = 25000 if dtype == "int16" else 100
    spread = sx * float(np.mean(sw)) * 19000 * 45 * np.sqrt(k)
    sy = float(np.float32(spread / steps * rng.choice([0.25, 1, 1, 4, 1e5])))
    bias = rng.normal(0, spread, channels) * pick(rng, (0, 1))
    p, kept = int16.linear(sx, sw, sy, zp, weight, bias.tolist(), dtype)
    return clamped(rng, p), kept


def convolution(rng: Generator, case: Case, op: str) -> Case:
    """The geometry and weights of an int8 case with int16 activations."""
    p, kept = linear(rng, case.params["weight"])
    params = {key: value for key, value in case.params.items() if key not in ("rq", "zx")}
    return Case(case.name, op, (activations(rng, case.inputs[0].shape),), {**params, "weight": kept, "p": p})


def conv(rng: Generator, name: str) -> Case:
    return convolution(rng, cases.conv(rng, name), "CONV2D/16")


def gconv(rng: Generator, name: str) -> Case:
    return convolution(rng, cases.gconv(rng, name), "GCONV2D/16")


def tconv(rng: Generator, name: str) -> Case:
    return convolution(rng, cases.tconv(rng, name), "TCONV2D/16")


def dwconv(rng: Generator, name: str) -> Case:
    return convolution(rng, cases.dwconv(rng, name), "DWCONV2D/16")


def matmul(rng: Generator, name: str) -> Case:
    m, k, n = int(rng.integers(1, 20)), pick(rng, (*CHANNELS, 129, 300, 1500)), pick(rng, CHANNELS)
    p, kept = linear(rng, weights(rng, (n, k)))
    x = activations(rng, (pick(rng, (1, 1, 3)), 1, m, k))
    return Case(f"{name}-{x.shape[0]}x{m}x{k}x{n}", "MATMUL/16", (x,), {"weight": kept, "p": p})


def matmuld(rng: Generator, name: str) -> Case:
    case = cases.matmuld(rng, name)
    a, b = (activations(rng, x.shape) for x in case.inputs)
    k, (dtype, zp) = a.shape[3], result(rng)
    ratio = float((30000 if dtype == "int16" else 100) / (19000.0**2 * np.sqrt(k)) * rng.choice([0.3, 1, 3]))
    p = int16.scaling([int16.entry(ratio, 0, zp, k << 30)], dtype)
    return Case(case.name, "MATMULD/16", (a, b), {"p": clamped(rng, p), "transpose_b": case.params["transpose_b"]})


def add(rng: Generator, name: str, sign: int = 1) -> Case:
    a, b, label = cases.operands(rng)
    sa, sb, (dtype, zp) = scale(rng, 1e-5, 1e-2), scale(rng, 1e-5, 1e-2), result(rng)
    sy = float(np.float32(max(sa, sb) * rng.choice([0.001, 0.5, 1, 1.5, 100]) * (1 if dtype == "int16" else 256)))
    p = clamped(rng, int16.sum_of_two(sa, sb, sy, zp, dtype))
    inputs = (activations(rng, a.shape), activations(rng, b.shape))
    return Case(f"{name}-{label}", "ADD/16" if sign > 0 else "SUB/16", inputs, {"p": p, "sign": sign})


def sub(rng: Generator, name: str) -> Case:
    return add(rng, name, -1)


def mul(rng: Generator, name: str) -> Case:
    a, b, label = cases.operands(rng)
    dtype, zp = result(rng)
    ratio = float(2.0 ** rng.choice([-40, -24, -17, -16, -15, -14, -3, 20]) * rng.uniform(0.5, 1))
    p = clamped(rng, int16.scaling([int16.entry(ratio, 0, zp, 1 << 30)], dtype))
    return Case(f"{name}-{label}", "MUL/16", (activations(rng, a.shape), activations(rng, b.shape)), {"p": p})


def rescale(rng: Generator, name: str) -> Case:
    """int8 to int16, int16 to int8, int16 to int16."""
    shape = cases.shape4(rng)
    narrow = rng.integers(3) == 0
    dtype, zp = ("int16", 0) if narrow else result(rng)
    x = cases.activations(rng, shape) if narrow else activations(rng, shape)
    zx, most = (pick(rng, ZEROS), 128) if narrow else (0, 1 << 15)
    widest = {"int8": 128.0, "int16": 32768.0}
    ratios = rng.uniform(0.5, 2, pick(rng, (1, shape[3]))) * widest[dtype] / widest[x.dtype.name]
    p = int16.scaling([int16.entry(float(r), -zx, zp, most) for r in ratios], dtype)
    label = f"{name}-{'x'.join(map(str, shape))}-{x.dtype}-{dtype}-of{len(ratios)}"
    return Case(label, "RESCALE/16", (x,), {"p": clamped(rng, p)})


def lut16(rng: Generator, name: str) -> Case:
    shape, k = cases.shape4(rng), pick(rng, (9, 9, 10, 12, 16))
    table = rng.integers(-32768, 32768, (1 << k) + 1).astype(np.int16)
    return Case(f"{name}-{'x'.join(map(str, shape))}-k{k}", "LUT16", (activations(rng, shape),), {"table": table})


def softmax(rng: Generator, name: str) -> Case:
    x = activations(rng, (*cases.shape4(rng)[:3], pick(rng, (*CHANNELS, 197))))
    dtype, zp, step = [("int16", 0, 1 / 32768), ("int16", 0, 1e-4), ("int8", -128, 1 / 256)][rng.integers(3)]
    _, C = derive.softmax(1.0, float(np.float32(step)))
    exp = int16.exponentials(scale(rng, 1e-5, 1e-3), pick(rng, (9, 12, 16)))
    label = f"{name}-{'x'.join(map(str, x.shape))}-{dtype}"
    return Case(label, "SOFTMAX/16", (x,), {"exp": exp, "C": C, "zp": zp, "dtype": dtype})


def layernorm(rng: Generator, name: str, op: str = "LAYERNORM/16") -> Case:
    """Rows of any spread, also almost constant ones; gains of both signs, some too large for the row kernels."""
    n = pick(rng, (*CHANNELS, 129, 192, 384, 1000))
    x = activations(rng, (*cases.shape4(rng)[:3], n))
    if rng.integers(3) == 0:
        spread = rng.choice([0.3, 3, 300, 9000])
        x = np.clip(rng.normal(rng.uniform(-20000, 20000), spread, x.shape).round(), -32768, 32767).astype(np.int16)
    dtype, zp = result(rng)
    gamma = rng.normal(0, 1, n) * rng.choice([0.05, 1, 40])
    beta = rng.normal(0, 1, n) * rng.choice([0, 1, 40])
    eps, sx = float(rng.choice([1e-12, 1e-5, 1.0])), scale(rng, 1e-5, 1e-2)
    sy = scale(rng, 1e-4, 1e-3) if dtype == "int16" else scale(rng, 0.01, 0.1)
    if rng.integers(8) == 0:
        gamma, sy = gamma * 1e5, sy / 64
    p = int16.norm_parameters(sx, op == "LAYERNORM/16", eps, gamma.tolist(), beta.tolist(), sy, zp, dtype)
    if rng.integers(4) == 0:
        lo, hi = sorted(rng.integers(*int16.RANGE[dtype], 2).tolist())
        p = replace(p, lo=lo, hi=hi)
    return Case(f"{name}-{'x'.join(map(str, x.shape))}-{dtype}", op, (x,), {"p": p})


def rmsnorm(rng: Generator, name: str) -> Case:
    return layernorm(rng, name, "RMSNORM/16")


def maxpool(rng: Generator, name: str) -> Case:
    case = cases.maxpool(rng, name)
    return Case(case.name, "MAXPOOL/16", (activations(rng, case.inputs[0].shape),), case.params)


def avgpool(rng: Generator, name: str) -> Case:
    x, geometry = cases.pooled(rng)
    taps, (dtype, zp) = geometry["kernel"][0] * geometry["kernel"][1], result(rng)
    ratio = float(rng.uniform(0.5, 2) * (1 if dtype == "int16" else 1 / 256))
    counts = [taps] if rng.integers(2) else range(1, taps + 1)
    p = int16.scaling([int16.entry(ratio / n, 0, zp, n << 15) for n in counts], dtype)
    return Case(f"{name}-of{len(p.m)}", "AVGPOOL/16", (activations(rng, x.shape),), {**geometry, "p": clamped(rng, p)})


def resize(rng: Generator, name: str) -> Case:
    case = cases.resize(rng, name, whole=1 << 20)
    return Case(case.name, "RESIZE_BILIN/16", (activations(rng, case.inputs[0].shape),), case.params)


def resize_nearest(rng: Generator, name: str) -> Case:
    case = cases.resize_nearest(rng, name)
    return Case(case.name, "RESIZE_NN/16", (activations(rng, case.inputs[0].shape),), case.params)


def gather(rng: Generator, name: str) -> Case:
    case = cases.gather(rng, name)
    return Case(case.name, "GATHER/16", (activations(rng, case.inputs[0].shape), case.inputs[1]), case.params)


def copy(rng: Generator, name: str) -> Case:
    case = cases.copy(rng, name)
    return Case(case.name, "COPY/16", (activations(rng, case.inputs[0].shape),), case.params)


def fill(rng: Generator, name: str) -> Case:
    shape, value = cases.shape4(rng), pick(rng, (-32768, -300, 0, 32767))
    return Case(f"{name}-{'x'.join(map(str, shape))}", "FILL/16", (), {"shape": shape, "value": value})


def quantize(rng: Generator, name: str) -> Case:
    case = cases.quantize(rng, name)
    s = float(np.float32(case.params["scale"] / 128))
    return Case(case.name, "QUANTIZE/16", case.inputs, {"scale": s})


def dequantize(rng: Generator, name: str) -> Case:
    shape = cases.shape4(rng)
    label = f"{name}-{'x'.join(map(str, shape))}"
    return Case(label, "DEQUANTIZE/16", (activations(rng, shape),), {"scale": scale(rng, 1e-6, 1e-2)})


DRAWS = {
    "CONV2D/16": (conv, 30),
    "GCONV2D/16": (gconv, 10),
    "DWCONV2D/16": (dwconv, 24),
    "TCONV2D/16": (tconv, 12),
    "MATMUL/16": (matmul, 16),
    "MATMULD/16": (matmuld, 16),
    "ADD/16": (add, 20),
    "SUB/16": (sub, 8),
    "MUL/16": (mul, 16),
    "RESCALE/16": (rescale, 24),
    "LUT16": (lut16, 12),
    "SOFTMAX/16": (softmax, 12),
    "LAYERNORM/16": (layernorm, 30),
    "RMSNORM/16": (rmsnorm, 16),
    "MAXPOOL/16": (maxpool, 10),
    "AVGPOOL/16": (avgpool, 16),
    "RESIZE_NN/16": (resize_nearest, 6),
    "RESIZE_BILIN/16": (resize, 10),
    "GATHER/16": (gather, 8),
    "COPY/16": (copy, 8),
    "FILL/16": (fill, 4),
    "QUANTIZE/16": (quantize, 10),
    "DEQUANTIZE/16": (dequantize, 6),
}
