"""Golden file of container 1.0, instruction set 1, numerics 1: every instruction but TRAP in one small network.

`python tests/golden/v1.py` prints what tests/golden/v1.json must hold; with `--write` it makes v1.bpux anew, which is
right only for as long as version 1 has not been released: later versions read this very file for ever.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from openbpu.target import ProgramBuilder, Ref, packing

HERE = Path(__file__).parent
FILE = HERE / "v1.bpux"
DIGESTS = HERE / "v1.json"

_IMAGE = (1, 2, 6, 5)
_CLAMP = {"lo": -128, "hi": 127}


def noise(shape: tuple[int, ...], low: int, high: int, seed: int) -> np.ndarray:
    """Integers of low to high inclusive, the same on every host and with every release of numpy (splitmix64)."""
    z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(high - low + 1)).astype(np.int64).reshape(shape) + low


def inputs() -> dict[str, np.ndarray]:
    """The arrays that v1.json's digests are of."""
    return {
        "image": (noise(_IMAGE, -1000, 1000, 11) / 256).astype(np.float32),
        "mask": noise((1, 1, 9, 10), 0, 255, 12).astype(np.uint8),
    }


def digest(outputs: dict[str, np.ndarray]) -> dict[str, str]:
    """SHA-256 of the bytes of each output."""
    return {name: hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest() for name, y in outputs.items()}


def _mantissa(ratio: float) -> tuple[int, int]:
    """(m, sh) with m / 2^sh nearest to the ratio and 2^14 <= m < 2^15."""
    f, e = math.frexp(ratio)
    m = math.floor(f * 2**15 + 0.5)
    return (m, 15 - e) if m < 2**15 else (m // 2, 14 - e)


class _Network:
    """The builder with an arena that never reuses a byte."""

    def __init__(self) -> None:
        self.b = ProgramBuilder("v1")
        self.top = {"ddr": 0, "sram": 0}
        self.bases: dict[int, int] = {}
        self.seed = 100

    def tensor(self, *extents: int, region: str = "ddr", **fields: Any) -> Ref:
        base = self.top[region]
        self.top[region] += -(-math.prod(extents) // 64) * 64
        ref = self.b.surface(region, extents, base=base, **fields)
        self.bases[ref.id] = base
        return ref

    def view(self, of: Ref, *extents: int, offset: int = 0, **fields: Any) -> Ref:
        """Another surface on the bytes of a tensor."""
        return self.b.surface(of.region, extents, base=self.bases[of.id] + offset, **fields)

    def noise(self, *shape: int, low: int = -127, high: int = 127) -> np.ndarray:
        self.seed += 1
        return noise(shape, low, high, self.seed)

    def rq8(self, channels: int, terms: int) -> int:
        """Parameters that spread sums of random products over int8."""
        s = max(0, round(math.log2(math.sqrt(terms) * 5400 / 210 / 40)))
        B = self.noise(channels, low=-2000, high=2000)
        m = self.noise(channels, low=16384, high=32767)
        return self.b.const("RQ8", packing.rq8(B, m, np.full(channels, s)))

    def conv(self, op: str, x: Ref, extents: tuple[int, ...], kernel: int, stride: int, groups: int = 1) -> Ref:
        y = self.tensor(*extents, zero_point=-5)
        ci, co = x.extents[3] // groups, extents[3]
        if op == "DWCONV2D":
            weight = self.b.const("DW_WEIGHTS", packing.depthwise_weights(self.noise(co, kernel, kernel)))
        else:
            weight = self.b.const("CONV_WEIGHTS", packing.conv_weights(self.noise(co, kernel, kernel, ci), groups))
        aux = _window(kernel, stride, kernel // 2) | {"groups": groups}
        table = self.rq8(co, kernel * kernel * ci // (stride * stride if op == "TCONV2D" else 1))
        self.b.emit(op, y, x, weight=weight, table=table, aux=aux, **_CLAMP)
        return y


def _window(kernel: int, stride: int, pad: int) -> dict[str, int]:
    names = ("kernel", "stride", "dilation")
    aux = {f"{name}_{axis}": v for name, v in zip(names, (kernel, stride, 1), strict=True) for axis in "hw"}
    return aux | {"pad_top": pad, "pad_left": pad}


def _convolutions(net: _Network, x: Ref) -> tuple[Ref, Ref]:
    """All four convolutions; the wide first result and the last one."""
    wide = net.conv("CONV2D", x, (1, 6, 5, 20), 3, 1)
    thin = net.conv("DWCONV2D", wide, (1, 3, 3, 20), 3, 2, groups=20)
    grouped = net.conv("GCONV2D", thin, (1, 3, 3, 12), 3, 1, groups=2)
    return wide, net.conv("TCONV2D", grouped, (1, 6, 5, 8), 3, 2)


def _elementwise(net: _Network, wide: Ref, y: Ref) -> Ref:
    """In place on y: a channel slice added, a constant subtracted, a gate multiplied; then RESCALE per channel."""
    b = net.b
    part = net.view(wide, 1, 6, 5, 8, offset=4, strides=(600, 100, 20, 1), zero_point=-5)  # channels 4 .. 11
    b.emit("ADD", y, y, part, layer=3, sh=15, ma=20000, mb=14000, C=1 << 14, **_CLAMP)
    raw = net.noise(8).astype(np.int8).tobytes()
    offset = b.const_offset(b.const("RAW", (raw, (len(raw),))))
    b.emit(
        "SUB", y, y, b.surface("const", (1, 1, 1, 8), base=offset), layer=3, sh=14, ma=16000, mb=-3000, C=0, **_CLAMP
    )
    mean = net.tensor(1, 1, 1, 8, zero_point=-5)
    m, sh = _mantissa(4 / 30)
    b.emit(
        "AVGPOOL",
        mean,
        y,
        table=b.const("POOL", packing.pool(np.array([m]), np.array([sh]))),
        aux=_window(1, 1, 0) | {"kernel_h": 6, "kernel_w": 5},
        layer=4,
        **_CLAMP,
    )
    gate = net.tensor(1, 1, 1, 8, zero_point=-128)
    curve = np.floor(255 / (1 + np.exp(-np.arange(-128, 128) / 24)) + 0.5) - 128
    b.emit("LUT8", gate, mean, table=b.const("LUT8", packing.lut8(curve.astype(np.int8))), layer=4)
    b.emit("MUL", y, y, gate, layer=4, C=20000, sh=22, **_CLAMP)
    scales = {"bias": net.noise(8, low=-(1 << 30), high=1 << 30), "m": net.noise(8, low=1 << 30, high=(1 << 31) - 1)}
    b.emit("RESCALE", y, y, table=b.const("RQ16", packing.rq16(sh=np.full(8, 30), **scales)), layer=4, **_CLAMP)
    return y


def _pools_and_resizes(net: _Network, x: Ref) -> tuple[Ref, Ref]:
    """The maximum over 2x2, and 16 channels of it and of a mean, enlarged by both rules."""
    b = net.b
    top, mean = net.tensor(1, 3, 3, 8, zero_point=-5), net.tensor(1, 3, 3, 8, zero_point=-5)
    b.emit("MAXPOOL", top, x, aux=_window(2, 2, 0), layer=5)
    entries = np.array([_mantissa(1.5 / n) for n in range(1, 10)])
    table = b.const("POOL", packing.pool(entries[:, 0], entries[:, 1]))
    b.emit("AVGPOOL", mean, x, table=table, aux=_window(3, 2, 1), layer=5, **_CLAMP)
    both = net.tensor(1, 6, 5, 16, zero_point=-5)
    halves = [net.view(both, 1, 6, 5, 8, offset=8 * k, strides=(480, 80, 16, 1), zero_point=-5) for k in range(2)]
    nearest = {"rows": _axis(b, [0, 0, 1, 1, 2, 2]), "columns": _axis(b, [0, 0, 1, 2, 2])}
    linear = {
        "rows": _axis(b, [0, 0, 0, 1, 1, 2], [0, 512, 1536, 512, 1536, 0]),
        "columns": _axis(b, [0, 0, 1, 1, 2], [0, 900, 0, 1100, 0]),
    }
    b.emit("RESIZE_NN", halves[0], top, aux=nearest, layer=6)
    b.emit("RESIZE_BILIN", halves[1], mean, aux=linear, layer=6)
    return top, both


def _axis(b: ProgramBuilder, first: list[int], weight: list[int] | None = None) -> int:
    w1 = np.array(weight or [0] * len(first))
    i0 = np.array(first)
    return b.const("RESIZE", packing.resize(np.stack([i0, np.minimum(i0 + 1, 2)], 1), np.stack([2048 - w1, w1], 1)))


def _attention(net: _Network, x: Ref, mask: int) -> Ref:
    """Rows of x through MATMUL, the mask added, SOFTMAX, and the product of two run-time matrices."""
    b = net.b
    rows = net.view(x, 1, 1, 9, 8, zero_point=-5)
    y, bias = net.tensor(1, 1, 9, 10, region="sram"), net.tensor(1, 1, 9, 10, region="sram")
    weight = b.const("CONV_WEIGHTS", packing.conv_weights(net.noise(10, 1, 1, 8)))
    b.emit("LOAD", bias, b.surface("in", (1, 1, 9, 10), "uint8", port=mask), layer=7)
    b.emit("MATMUL", y, rows, weight=weight, table=net.rq8(10, 8), layer=7, **_CLAMP)
    b.emit("ADD", y, y, bias, layer=7, sh=4, ma=12, mb=3, C=8, **_CLAMP, wait=(1, 0, 5, 0))
    weights = net.tensor(1, 1, 9, 10, region="sram", zero_point=-128)
    table = b.const("EXP", packing.exp(np.floor(65535 * np.exp(-np.arange(256) / 40) + 0.5).astype(np.int64)))
    b.emit("SOFTMAX", weights, y, table=table, aux={"C": 1 << 46}, layer=8, **_CLAMP)
    product = net.tensor(1, 1, 9, 9, region="sram")
    b.emit("MATMULD", product, weights, y, table=net.rq8(1, 4), aux={"transpose_b": 1}, layer=8, **_CLAMP)
    return product


def build() -> bytes:
    """The file."""
    net = _Network()
    b = net.b
    image, mask = b.input("image", _IMAGE), b.input("mask", (1, 1, 9, 10), "uint8")
    codes = b.output("codes", (1, 1, 9, 9), "int8", 1 / 16)
    frame = b.output("frame", (1, 8, 7, 16), "uint8", 1 / 32, 123)
    real = b.output("real", (1, 16, 6, 5))
    weights = b.output("weights", (64,), "int8")

    b.emit("MARK", layer=1)
    pixels = b.surface("in", (1, 6, 5, 2), "float32", strides=(240, 20, 4, 120), port=image)
    x = net.tensor(1, 6, 5, 2, scale=0.03125, zero_point=-3)
    b.emit("QUANTIZE", x, pixels, layer=1)
    wide, y = _convolutions(net, x)
    y = _elementwise(net, wide, y)
    top, both = _pools_and_resizes(net, y)
    product = _attention(net, top, mask)
    b.emit("STORE", b.surface("out", (1, 1, 9, 9), port=codes), product, layer=9)

    border = net.tensor(1, 8, 7, 16, zero_point=-5)
    b.emit("FILL", border, C=-5, layer=10)
    interior = {"offset": 7 * 16 + 16, "strides": (896, 112, 16, 1), "zero_point": -5}
    b.emit("COPY", net.view(border, 1, 6, 5, 16, **interior), both, layer=10)
    b.emit("COPY", b.surface("out", (1, 8, 7, 16), "uint8", port=frame), border, layer=10)
    scaled = net.view(border, 1, 6, 5, 16, scale=0.0625, **interior)
    planes = b.surface("out", (1, 6, 5, 16), "float32", strides=(1920, 20, 4, 120), port=real)
    b.emit("DEQUANTIZE", planes, scaled, layer=11)

    bytes64 = net.tensor(1, 1, 1, 64, region="sram")
    raw = b.const("RAW", (net.noise(64).astype(np.int8).tobytes(), (64,)))
    b.emit("LDW", bytes64, weight=raw, layer=12)
    b.emit("STORE", b.surface("out", (1, 1, 1, 64), port=weights), bytes64, layer=12)
    b.emit("NOP")
    return b.finish(net.top["ddr"], {"golden": 1}, net.top["sram"])


def _main() -> None:
    from openbpu.runtime import Session

    if "--write" in sys.argv[1:]:
        FILE.write_bytes(build())
    found = digest(Session(FILE.read_bytes(), isa="scalar").run(inputs()))
    print(json.dumps({"file": hashlib.sha256(FILE.read_bytes()).hexdigest(), "outputs": found}, indent=2))


if __name__ == "__main__":
    _main()
