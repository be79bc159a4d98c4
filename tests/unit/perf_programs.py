"""Small programs for the tests of the cost model: stripes in SRAM, whole tensors in DDR."""

from __future__ import annotations

import numpy as np

from openbpu.target import ProgramBuilder, packing

H = W = 56
C = 64
IMAGE = H * W * C
WEIGHTS = 9 * C * C
TABLE = 7 * C
META = {"layers": {"1": {"name": "conv", "op": "conv2d", "nodes": ["/conv", "/relu"]}}, "march": "nash-e"}
GEOMETRY = {"kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
GEOMETRY |= {"pad_top": 1, "pad_left": 1, "groups": 1}
CLAMP = {"lo": -128, "hi": 127, "layer": 1}


def constants(b: ProgramBuilder, co: int = C, ci: int = C, kernel: int = 3) -> dict[str, int]:
    """Weights and table of a convolution."""
    random = np.random.default_rng(co + ci + kernel)
    weight = packing.conv_weights(random.integers(-127, 128, (co, kernel, kernel, ci), np.int8))
    table = packing.rq8(np.zeros(co, np.int32), np.full(co, 20000), np.full(co, 2))
    return {"weight": b.const("CONV_WEIGHTS", weight), "table": b.const("RQ8", table)}


def ports(b: ProgramBuilder) -> dict[str, int]:
    return {
        "in": b.input("x", (1, H, W, C), "int8", 0.03, 0),
        "out": b.output("y", (1, H, W, C), "int8", 0.05, 0),
    }


def striped() -> bytes:
    """A 3x3 convolution 56x56x64 in two stripes: weights fetched once, every row loaded and stored once."""
    b = ProgramBuilder("striped")
    port = ports(b)
    held = constants(b)
    x0, y0, w0 = 0, IMAGE, 2 * IMAGE

    def row(region: str, base: int, first: int, rows: int, scale: float) -> object:
        place = {"base": base + first * W * C, "port": port.get(region, 0)}
        return b.surface(region, (1, rows, W, C), scale=scale, **place)

    raw = b.surface("sram", (1, 1, 1, WEIGHTS), "uint8", base=w0)
    x, y = b.surface("sram", (1, H, W, C), base=x0, scale=0.03), b.surface("sram", (1, H, W, C), base=y0, scale=0.05)
    b.emit("MARK", layer=1)
    b.emit("LDW", raw, weight=held["weight"], layer=1)
    b.emit("LOAD", row("sram", x0, 0, 29, 0.03), row("in", 0, 0, 29, 0.03), layer=1)
    b.emit("CONV2D", y, x, raw, **held, aux=GEOMETRY, box=(0, 28, 0, W, 0, C), wait=(2, 0, 0, 0), **CLAMP)
    b.emit("LOAD", row("sram", x0, 29, 27, 0.03), row("in", 0, 29, 27, 0.03), layer=1)
    b.emit("STORE", row("out", 0, 0, 28, 0.05), row("sram", y0, 0, 28, 0.05), wait=(0, 0, 1, 0), layer=1)
    b.emit("CONV2D", y, x, raw, **held, aux=GEOMETRY, box=(28, 28, 0, W, 0, C), wait=(3, 0, 0, 0), **CLAMP)
    b.emit("STORE", row("out", 0, 28, 28, 0.05), row("sram", y0, 28, 28, 0.05), wait=(0, 0, 2, 0), layer=1)
    return b.finish(0, META, sram_bytes=w0 + WEIGHTS)


def whole(cores: int = 1) -> bytes:
    """The same convolution as one instruction on DDR, behind and before a copy of the port; compiled for `cores`."""
    b = ProgramBuilder("whole")
    port = ports(b)
    held = constants(b)
    shape = (1, H, W, C)
    x, y = b.surface("ddr", shape, scale=0.03), b.surface("ddr", shape, base=IMAGE, scale=0.05)
    b.emit("COPY", x, b.surface("in", shape, port=port["in"], scale=0.03), layer=1)
    b.emit("CONV2D", y, x, **held, aux=GEOMETRY, wait=(0, 0, 0, 1), **CLAMP)
    b.emit("COPY", b.surface("out", shape, port=port["out"], scale=0.05), y, wait=(0, 0, 1, 0), layer=1)
    return b.finish(2 * IMAGE, META | {"options": {"core_num": cores}})


def random_program(seed: int) -> bytes:
    """Some dozens of instructions of all queues on random pieces of memory, with random waits for earlier ones."""
    random = np.random.default_rng(seed)
    b = ProgramBuilder("random")
    held = {c: constants(b, c, c, 1) for c in (16, 64)}
    one = GEOMETRY | {"kernel_h": 1, "kernel_w": 1, "pad_top": 0, "pad_left": 0}
    counts = [0, 0, 0, 0]
    places = 16

    def surface(region: str, h: int, c: int, place: int) -> object:
        return b.surface(region, (1, h, 32, c), base=place * 64 * 32 * 64, scale=0.05)

    for layer in range(1, 61):
        h, c = int(random.integers(1, 65)), int(random.choice([16, 64]))
        queue = int(random.integers(0, 4))
        near, far = (int(k) for k in random.choice(places, 2, replace=False))
        wait = tuple(int(random.integers(0, n + 1)) if q != queue else 0 for q, n in enumerate(counts))
        inside = random.random() < 0.7
        kind = "sram" if inside else "ddr"
        more = {"layer": layer, "wait": wait}
        if queue == 0:
            b.emit("LOAD", surface("sram", h, c, near), surface("ddr", h, c, far), **more)
        elif queue == 1:
            b.emit("STORE", surface("ddr", h, c, near), surface("sram", h, c, far), **more)
        elif queue == 2:
            clamp = {"lo": -128, "hi": 127}
            b.emit("CONV2D", surface(kind, h, c, near), surface(kind, h, c, far), **held[c], aux=one, **clamp, **more)
        else:
            b.emit("COPY", surface(kind, h, c, near), surface(kind, h, c, far), **more)
        counts[queue] += 1
    size = places * 64 * 32 * 64
    return b.finish(size, {"march": "nash-e"}, sram_bytes=size)
