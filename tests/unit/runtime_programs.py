"""Small executables for the tests of the runtime."""

from __future__ import annotations

import numpy as np

from openbpu.target import ProgramBuilder, packing

IMAGE = (1, 3, 20, 24)
META = {"layers": {"1": {"name": "quantize", "nodes": []}, "2": {"name": "features", "nodes": ["/conv", "/relu"]}}}


def convolution(seed: int = 0, channels: int = 32, repeats: int = 1) -> bytes:
    """float32 NCHW "image" -> QUANTIZE -> 3x3 CONV2D -> DEQUANTIZE -> float32 NHWC "features".

    `repeats` computes the convolution that many times, for a run that lasts.
    """
    random = np.random.default_rng(seed)
    n, c, h, w = IMAGE
    b = ProgramBuilder("net")
    image, features = b.input("image", IMAGE), b.output("features", (n, h, w, channels))
    pixels = b.surface("in", (n, h, w, c), "float32", strides=(c * h * w * 4, w * 4, 4, h * w * 4), port=image)
    x = b.surface("ddr", (n, h, w, c), scale=0.03125, zero_point=-3)
    y = b.surface("ddr", (n, h, w, channels), base=2048, scale=0.0625, zero_point=5)
    out = b.surface("out", (n, h, w, channels), "float32", port=features)
    weight = b.const("CONV_WEIGHTS", packing.conv_weights(random.integers(-127, 128, (channels, 3, 3, c), np.int8)))
    offsets = random.integers(-500, 500, channels)
    table = b.const("RQ8", packing.rq8(offsets, np.full(channels, 20000), np.full(channels, 2)))
    b.emit("QUANTIZE", x, pixels, layer=1)
    geometry = {"kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
    geometry |= {"pad_top": 1, "pad_left": 1, "groups": 1}
    for _ in range(repeats):
        b.emit("CONV2D", y, x, weight=weight, table=table, aux=geometry, layer=2, lo=-128, hi=127)
    b.emit("DEQUANTIZE", out, y, layer=3)
    return b.finish(2048 + n * h * w * channels, META)


def copies(*ports: tuple[str, str, str]) -> bytes:
    """Copies each input to its output: tuples of input name, output name and type, all of shape (2, 3)."""
    b = ProgramBuilder("copies")
    for source, target, dtype in ports:
        size = 6 * np.dtype(dtype).itemsize
        scale = {"scale": 0.5, "zero_point": 1} if dtype == "int8" else {}
        a, z = b.input(source, (2, 3), dtype, **scale), b.output(target, (2, 3), dtype, **scale)
        b.emit(
            "COPY",
            b.surface("out", (1, 1, 1, size // np.dtype(dtype).itemsize), dtype, port=z),
            b.surface("in", (1, 1, 1, size // np.dtype(dtype).itemsize), dtype, port=a),
        )
    return b.finish(0)


def identities(*ports: tuple[str, str, str]) -> bytes:
    """The same as `copies` by operators of the CPU, which have more types."""
    b = ProgramBuilder("identities")
    for source, target, dtype in ports:
        a, z = b.input(source, (2, 3), dtype), b.output(target, (2, 3), dtype)
        b.cpucall("Identity", [b.tensor("in", (2, 3), dtype, port=a)], [b.tensor("out", (2, 3), dtype, port=z)])
    return b.finish(0)


def trap(number: int = 7) -> bytes:
    """Stops itself."""
    b = ProgramBuilder("trap")
    b.emit("TRAP", C=number)
    return b.finish(0)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(IMAGE).astype(np.float32)
