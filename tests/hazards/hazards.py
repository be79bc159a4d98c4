"""Inputs at which a plausible implementation goes wrong, with the results that docs/numerics.md demands.

The expected values are written out or follow from a closed form given beside them; the oracle is tested against them
like every kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.case import Case, tensor
from oracle import derive, int16, tables


@dataclass(frozen=True)
class Hazard:
    clause: str
    case: Case
    result: np.ndarray

    def __str__(self) -> str:
        return f"{self.clause}-{self.case.name}"


def hazard(clause: str, name: str, op: str, inputs: tuple[np.ndarray, ...], result: Any, **params: Any) -> Hazard:
    expected = np.asarray(result)
    dtype = np.float32 if op == "DEQUANTIZE" else np.int16 if op.endswith("/16") else np.int8
    shape = expected.shape if expected.ndim == 4 else (1, 1, 1, -1)
    return Hazard(clause, Case(name, op, inputs, params), expected.astype(dtype).reshape(shape))


def one_tap(*weights: int) -> np.ndarray:
    """MATMUL weight [columns, 1]: the accumulator of column j is x * weights[j]."""
    return np.array(weights, np.int8).reshape(-1, 1)


def table8(B: int, m: int, s: int, L: int = 0, lo: int = -128, hi: int = 127) -> derive.Rq8:
    return derive.Rq8(np.array([B]), np.array([m]), np.array([s]), L, lo, hi)


def rows(*values: int) -> np.ndarray:
    """A column of one-channel rows: [1, 1, rows, 1]."""
    return np.array(values, np.int8).reshape(1, 1, -1, 1)


def column(values: Any) -> np.ndarray:
    return np.asarray(values).reshape(1, 1, -1, 1)


def rq8_hazards() -> Iterator[Hazard]:
    x = np.arange(-128, 128).astype(np.int8)

    def matmul(name: str, M: float, result: Any, zx: int = 0, zp: int = 0, w: int = 1, **more: int) -> Hazard:
        bias = more.pop("bias", 0)
        rq = derive.rq8(M, [1.0], 1.0, zx, zp, one_tap(w), [bias], **more)
        return hazard("rq8", name, "MATMUL", (rows(*x),), column(result), weight=one_tap(w), rq=rq)

    wide = x.astype(np.int64)
    yield matmul("mantissa-rounds-to-32768", 1 - 2**-17, wide)
    yield matmul("ties-round-up", 0.5, (wide + 1) >> 1)
    yield matmul("ties-round-up-with-weight--128", 2.0**-8, -(wide >> 1), w=-128)
    yield matmul("L-7", 0.5, np.clip(((wide + 1) >> 1) - 100, -128, 127), zp=-100)
    yield matmul("L-15-largest-scale", 255.0, np.clip(wide * 255 + 7, -128, 127), zp=7)
    yield matmul("s-0-has-no-half", 2.0**-8, (wide * 127 + 128) >> 8, w=127)
    yield matmul("saturated-t-is-saturated-y", 100.0, np.clip(wide * 100 + 200, -128, 127), zp=100, bias=1)
    yield matmul("input-zero-point-minus-128", 0.25, (wide + 128 + 2) >> 2, zx=-128)
    yield matmul("relu-clamps-at-the-zero-point", 1.0, np.clip(wide - 50, -50, 10), zp=-50, lo=-50, hi=10)
    yield matmul("constant-channel", 2.0**-10, np.full(256, -13), zx=3, zp=5, bias=-18 * 2**10)
    yield matmul("constant-zero-weights", 1e30, np.full(256, 5), zp=5, w=0)

    # Sum |w| * 128 + |B| = 2^31 - 1: m = 2^14 and s = 22 make t = a >> 22 and y = t >> 8.
    k = 1024
    weight, full = np.full((1, k), -128, np.int8), np.full((1, 1, 1, k), -128, np.int8)
    B = (1 << 31) - 1 - 128 * 128 * k
    yield hazard("rq8", "accumulator-at-the-bound", "MATMUL", (full,), [1], weight=weight, rq=table8(B, 16384, 22))
    low = np.full((1, 1, 1, k), 127, np.int8)
    yield hazard(
        "rq8", "accumulator-at-minus-the-bound", "MATMUL", (low,), [-2], weight=weight, rq=table8(-B, 16384, 22)
    )
    sign = one_tap(1)
    yield hazard(
        "rq8", "s-31", "MATMUL", (rows(-128, -1, 0, 127),), column([-1, -1, 0, 0]), weight=sign, rq=table8(0, 32767, 31)
    )
    # x/2, x/4 and x/256 with ties rounding up
    weight = one_tap(1, 1, 2)
    shared = derive.rq8(1.0, [0.5, 0.25, 2.0**-9], 1.0, 0, 0, weight, [0, 0, 0])
    halves = np.array([[-64, -32, 0], [-1, -1, 0], [1, 1, 0], [64, 32, 0]]).reshape(1, 1, 4, 3)
    yield hazard("rq8", "channels-share-L", "MATMUL", (rows(-128, -3, 2, 127),), halves, weight=weight, rq=shared)


def tconv_hazards() -> Iterator[Hazard]:
    identity = table8((1 << 7) + (-9 << 8), 16384, 0, 8)  # y = acc - 9
    x = np.array([[5, 15]], np.int8).reshape(1, 1, 2, 1)
    ones = np.ones((1, 1, 1, 1), np.int8)
    # zx = 9: every output without an input is exactly real zero, here 9 - 9 = 0.
    yield hazard(
        "tconv", "absent-taps-read-the-zero-point", "TCONV2D", (x,), np.array([[-4, 0, 0, 6]]).reshape(1, 1, 4, 1),
        weight=ones, rq=identity, zx=9, stride=(1, 3),
    )  # fmt: skip
    yield hazard(
        "tconv", "output-padding", "TCONV2D", (x,), np.array([[-4, 0, 6, 0]]).reshape(1, 1, 4, 1),
        weight=ones, rq=identity, zx=9, stride=(1, 2), pads=(0, 0, 0, -1),
    )  # fmt: skip
    framed = np.array([[0, 0, 0, 0], [0, -4, 6, 0], [0, 0, 0, 0]]).reshape(1, 3, 4, 1)
    yield hazard(
        "conv", "padding-reads-the-zero-point", "CONV2D", (x,), framed,
        weight=ones, rq=identity, zx=9, pads=(1, 1, 1, 1),
    )  # fmt: skip


def matmuld_hazards() -> Iterator[Hazard]:
    k = 32800  # 32800 * 255^2 + B is just below 2^31
    rq = derive.rq8_dynamic(2.0**-12, 2.0**-12, 2.0**0, 0, k, -128, -128)
    a, b = np.full((1, 1, 1, k), 127, np.int8), np.full((1, 1, 1, k), 127, np.int8)
    level = (k * 255 * 255 + 2**23) >> 24
    yield hazard("matmul", "longest-sum", "MATMULD", (a, b), [level], rq=rq, za=-128, zb=-128, transpose_b=True)
    rq = derive.rq8_dynamic(0.5, 1.0, 1.0, 3, 2, 4, -7)
    a, b = tensor([5, -128]), tensor([-6, -7])
    yield hazard("matmul", "zero-points", "MATMULD", (a, b), [4], rq=rq, za=4, zb=-7, transpose_b=True)


def eltwise_hazards() -> Iterator[Hazard]:
    def add(
        name: str, sa: float, za: int, sb: float, zb: int, zp: int, a: Any, b: Any, y: Any, sign: int = 1
    ) -> Hazard:
        p = derive.add(sa, za, sb, zb, 1.0, zp, sign)
        return hazard("add", name, "SUB" if sign < 0 else "ADD", (tensor(a), tensor(b)), y, p=p)

    yield add("ties-round-up", 0.5, 0, 0.5, 0, 0, [-3, -2, -1, 0, 1, 2], [0] * 6, [-1, -1, 0, 0, 1, 1])
    yield add("multiplier-32767", 32767 / 32768, 0, 2.0**-12, 0, 0, [-128, -1, 127], [0, 127, -128], [-128, -1, 127])
    yield add("multiplier-rounds-to-32768", 0.99999, 0, 0.99999, 0, 0, [-128, 64, 127], [1, -63, -127], [-127, 1, 0])
    yield add("sh-0", 20000.0, 3, 20000.0, 3, 9, [3, 4, 2], [3, 3, 3], [9, 127, -128])
    yield add(
        "sh-22-extreme-zero-point", 2.0**-14, 127, 2.0**-14, 127, -128, [-128, 127, 0], [-128, 127, 0], [-128] * 3
    )
    yield add("sum-of-extremes", 1.0, -128, 1.0, -128, -128, [127, -128, -1], [127, -128, -128], [127, -128, -1])
    yield add("sub-is-a-minus-b", 1.0, 2, 1.0, -3, 0, [10, -128], [4, 127], [1, -128], sign=-1)
    yield add("sub-ties-round-up", 0.5, 0, 0.5, 0, 0, [0, 0, 0], [1, -1, 3], [0, 1, -1], sign=-1)
    p = derive.add(1.0, 0, 1.0, 0, 1.0, 0)
    p = derive.Add(p.ma, p.mb, p.C, p.sh, 0, 20)
    yield hazard("add", "fused-clamp", "ADD", (tensor([-5, 5, 50]), tensor([0, 0, 0])), [0, 5, 20], p=p)

    def mul(name: str, M: float, za: int, zb: int, zp: int, a: Any, b: Any, y: Any) -> Hazard:
        m, sh = derive.product(M)
        return hazard("mul", name, "MUL", (tensor(a), tensor(b)), y, m=m, sh=sh, za=za, zb=zb, zp=zp)

    yield mul("ties-round-up", 0.5, 0, 0, 0, [1, -1, 3, -3], [1, 1, 1, 1], [1, 0, 2, -1])
    yield mul("sh-46-zero-point-needs-int64", 2.0**-32, -128, -128, -128, [127, -128], [127, 127], [-128, -128])
    yield mul("sh-1-largest-scale", 2.0**13, 0, 0, -100, [0, 1, -1], [1, 1, 1], [-100, 127, -128])
    yield mul("largest-product", 255 / 65025, 127, 127, -128, [-128, -128, 127], [-128, 126, -128], [127, -127, -128])

    x = np.arange(-128, 128).astype(np.int8)
    wide = x.astype(np.int64)

    def rescale(name: str, s: float, zx: int, zp: int, y: Any) -> Hazard:
        return hazard("rq16", name, "RESCALE", (tensor(x),), y, p=derive.rescale([s], [zx], [1.0], [zp]))

    yield rescale("ties-round-up", 0.5, 0, 0, (wide + 1) >> 1)
    yield rescale("zero-point-is-exact", 0.75, -8, 3, ((wide + 8) * 3 + 2 + 12) >> 2)
    yield rescale("mantissa-rounds-to-2^31", 1 - 2.0**-33, 0, -1, np.clip(wide - 1, -128, 127))
    yield rescale("enlarging", 64.0, 5, 1, np.clip((wide - 5) * 64 + 1, -128, 127))
    yield rescale("vanishing", 2.0**-50, 5, -77, np.full(256, -77))


def pool_hazards() -> Iterator[Hazard]:
    low = np.full((1, 2, 2, 3), -128, np.int8)
    yield hazard(
        "pool",
        "max-padding-never-wins",
        "MAXPOOL",
        (low,),
        np.full((1, 3, 3, 3), -128),
        kernel=(2, 2),
        pads=(1, 1, 1, 1),
    )
    x = np.array([[10, 20], [30, 41]], np.int8).reshape(1, 2, 2, 1)
    inside = np.array([[10, 15, 20], [20, 25, 31], [30, 36, 41]]).reshape(1, 3, 3, 1)  # 30.5 and 35.5 round up
    yield hazard(
        "pool", "mean-of-the-taps-inside", "AVGPOOL", (x,), inside,
        scales=derive.avgpool(1.0, 1.0, 4, False), zx=0, zp=0, kernel=(2, 2), pads=(1, 1, 1, 1),
    )  # fmt: skip
    counted = np.array([[3, 8, 5], [10, 25, 15], [8, 18, 10]]).reshape(1, 3, 3, 1)
    yield hazard(
        "pool", "mean-counting-padding", "AVGPOOL", (x,), counted,
        scales=derive.avgpool(1.0, 1.0, 4, True), zx=0, zp=0, kernel=(2, 2), pads=(1, 1, 1, 1),
    )  # fmt: skip
    y = np.array([-1, -2, -3, -4], np.int8).reshape(1, 2, 2, 1)
    yield hazard(
        "pool", "negative-tie-rounds-up", "AVGPOOL", (y,), [-2],
        scales=derive.avgpool(1.0, 1.0, 4, True), zx=0, zp=0, kernel=(2, 2),
    )  # fmt: skip
    z = np.full((1, 4, 4, 1), -128, np.int8)
    yield hazard(
        "pool", "extreme-zero-points", "AVGPOOL", (z,), [-128],
        scales=derive.avgpool(1.0, 1.0, 16, True), zx=127, zp=127, kernel=(4, 4),
    )  # fmt: skip


def table_hazards() -> Iterator[Hazard]:
    x = np.arange(-128, 128).astype(np.int8)
    yield hazard("lut", "index-is-value-plus-128", "LUT8", (tensor(x),), x[::-1], table=x[::-1].copy())
    table, C = derive.softmax(1 / 16, 1 / 256)

    def softmax(name: str, x: Any, y: Any, zp: int = -128, exp: np.ndarray = table, C: int = C) -> Hazard:
        return hazard("softmax", name, "SOFTMAX", (tensor(x),), y, exp=exp, C=C, zp=zp)

    for value in (-128, 0, 127):
        yield softmax(f"equal-row-of-{value}", [value] * 8, [32 - 128] * 8)
    yield softmax("equal-row-of-three", [5, 5, 5], [85 - 128] * 3)
    yield softmax("one-element-saturates", [-77], [127])
    steep, _ = derive.softmax(4.0, 1 / 256)
    yield softmax("one-hot", [-128, 127, -128, 0], [-128, 127, -128, -128], exp=steep)
    yield softmax("long-equal-row", [3] * 65535, [-128] * 65535)
    fine, large = derive.softmax(1 / 16, 2.0**-20)
    yield softmax("large-C-saturates", [0, 0], [127, 127], zp=0, exp=fine, C=large)
    half, coarse = derive.softmax(1 / 16, 1.0)
    # floor in R keeps E * R 32 below the tie
    yield softmax("half-of-a-coarse-step", [0, 0], [0, 0], zp=0, exp=half, C=coarse)


def norm_hazards() -> Iterator[Hazard]:
    def norm(name: str, x: Any, y: Any, zx: int | None = None, eps: int = 1, F: int = 10, **params: Any) -> Hazard:
        """z * 2^-F is the result: a gain of 1 and a shift by F."""
        n = len(x)
        p = derive.Norm(eps, F, np.full(n, 1 << 10), np.full(n, 1 << 19), 20, zx)
        return hazard("norm", name, "LAYERNORM" if zx is None else "RMSNORM", (tensor(x),), y, p=replace(p, **params))

    for value in (-128, 0, 127):
        yield norm(f"equal-row-of-{value}", [value] * 7, [0] * 7)
    yield norm("one-element", [-77], [0], F=14)
    yield norm("negative-mean-is-floored", [-3, -3, -4], [1, 1, -1])
    # (n - 1) / sqrt(n - 1) = 16 deviations
    yield norm("one-outlier", [127, *[126] * 256], [16, *[0] * 256])
    yield norm("whole-range", [-128, 127] * 3, [-1, 1] * 3)
    yield norm("large-eps", [-128, 127], [0, 0], eps=(1 << 60) - 1)
    yield norm("z-saturates", [-128, *[127] * 3000], [-32, *[0] * 3000], F=14)
    yield norm("rms-about-the-zero-point", [127, 127], [1, 1], zx=-128)
    yield norm("rms-of-zeros", [5, 5, 5], [0, 0, 0], zx=5)
    yield norm("rms-centre-is-not-the-mean", [10, -10], [1, -1], zx=0)


def norm16_hazards() -> Iterator[Hazard]:
    def norm(name: str, x: Any, y: Any, centred: bool = True, eps: int = 1, F: int = 20) -> Hazard:
        """1000 z is the result."""
        row = np.array(x, np.int16).reshape(1, 1, 1, -1)
        gain, half = round(1000 * 2.0 ** (30 - F)), 1 << 29
        p = int16.Norm(eps, F, (gain,) * row.size, (half,) * row.size, 30, centred)
        wanted = np.array(y, np.int16).reshape(row.shape)
        return hazard("norm", f"int16-{name}", "LAYERNORM/16" if centred else "RMSNORM/16", (row,), wanted, p=p)

    for value in (-32768, 0, 32767):
        yield norm(f"equal-row-of-{value}", [value] * 7, [0] * 7)
    yield norm("one-element", [-32768], [0], F=24)
    yield norm("one-outlier", [32767, *[32766] * 400], [19975, *[-50] * 400])  # 400 / sqrt(401) deviations
    yield norm("whole-range", [-32768, 32767] * 3, [-1000, 1000] * 3)
    yield norm("widest-sum-of-squares", [-32768] * 65535, [-1000] * 65535, centred=False)
    yield norm("large-eps", [-32768, 32767], [0, 0], eps=(1 << 60) - 1)
    yield norm("rms-of-zeros", [0, 0, 0], [0, 0, 0], centred=False, F=24)
    yield norm("rms-centre-is-not-the-mean", [1000, -1000, 1000], [1000, -1000, 1000], centred=False)


def resize_hazards() -> Iterator[Hazard]:
    for value in (-128, 127, -1):
        x = np.full((1, 3, 5, 2), value, np.int8)
        taps = [tables.bilinear(size, out, None, "half_pixel") for size, out in ((3, 7), (5, 13))]
        yield hazard(
            "resize", f"constant-image-of-{value}", "RESIZE_BILIN", (x,), np.full((1, 7, 13, 2), value),
            rows=taps[0], columns=taps[1],
        )  # fmt: skip
    x = np.array([-128, 127], np.int8).reshape(1, 1, 2, 1)
    row = [(0, 0, 2048, 0)]
    yield hazard(
        "resize", "edges-keep-their-value", "RESIZE_BILIN", (x,), np.array([-128, -64, 63, 127]).reshape(1, 1, 4, 1),
        rows=row, columns=tables.bilinear(2, 4, None, "half_pixel"),
    )  # fmt: skip
    yield hazard(
        "resize", "tie-rounds-up", "RESIZE_BILIN", (x,), np.array([0]).reshape(1, 1, 1, 1),
        rows=row, columns=[(0, 1, 1024, 1024)],
    )  # fmt: skip
    ramp = np.arange(6).astype(np.int8).reshape(1, 1, 6, 1)
    scale = float(np.float32(5 / 6))
    for rounding, middle in (("round_prefer_floor", 2), ("round_prefer_ceil", 3)):
        columns = tables.nearest(6, 5, scale, "half_pixel", rounding)
        yield hazard(
            "resize", f"float32-scale-keeps-the-tie-{rounding}", "RESIZE_NN", (ramp,),
            np.array([0, 1, middle, 4, 5]).reshape(1, 1, 5, 1), rows=[0], columns=columns,
        )  # fmt: skip


def port_hazards() -> Iterator[Hazard]:
    def quantise(name: str, x: Any, scale: float, zero: int, y: Any) -> Hazard:
        values = np.array(x, np.float32).reshape(1, 1, 1, -1)
        return hazard("ports", name, "QUANTIZE", (values,), y, scale=scale, zero=zero)

    inf, nan = float("inf"), float("nan")
    yield quantise("nan-gives-the-zero-point", [nan, -nan, 1.0], 1.0, -7, [-7, -7, -6])
    yield quantise("infinities-saturate", [inf, -inf, 3e38, -3e38], 0.5, 3, [127, -128, 127, -128])
    yield quantise("ties-go-to-even", [0.5, 1.5, 2.5, -0.5, -1.5, -2.5], 1.0, 1, [1, 3, 3, 1, -1, -1])
    yield quantise("zero-point-after-rounding", [0.5, 1.5], 1.0, 100, [100, 102])
    tiny = 2.0**-126
    yield quantise("subnormals-count", [0.75 * tiny, -0.75 * tiny, 0.25 * tiny, 1e-45], tiny, 0, [1, -1, 0, 0])
    yield quantise("signed-zero", [0.0, -0.0], 0.1, 5, [5, 5])
    # The quotients are 116.5 and 111.5; products with the float32 reciprocals round to 117 and 111.
    yield quantise("division-not-reciprocal-7", [815.5, -815.5], 7.0, 0, [116, -116])
    yield quantise("division-not-reciprocal-41", [4571.5, -4571.5], 41.0, 0, [112, -112])
    q = tensor([-128, 127, 0, 3])
    expected = np.array([-131, 124, -3, 0], np.float32) * np.float32(0.1)
    yield hazard("ports", "product-in-float32", "DEQUANTIZE", (q,), expected, scale=0.1, zero=3)


HAZARDS = [
    *rq8_hazards(),
    *tconv_hazards(),
    *matmuld_hazards(),
    *eltwise_hazards(),
    *pool_hazards(),
    *table_hazards(),
    *norm_hazards(),
    *norm16_hazards(),
    *resize_hazards(),
    *port_hazards(),
]
