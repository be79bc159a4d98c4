"""Cases for every instruction: chosen edges and random draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.case import Case
from conformance.draw import CHANNELS, ZEROS, activations, pick, requantisation, scale, weights
from oracle import camera, derive, tables
from oracle.mac import extent

Draw = Callable[[np.random.Generator, str], Case]


def pair(rng: np.random.Generator, *options: int) -> tuple[int, int]:
    return pick(rng, options), pick(rng, options)


def window(rng: np.random.Generator, kernels: tuple[int, ...], dilations: tuple[int, ...]) -> dict[str, Any]:
    """Kernel, stride, dilation and asymmetric pads smaller than the kernel's reach."""
    kernel, stride, dilation = pair(rng, *kernels), pair(rng, 1, 1, 2, 3), pair(rng, *dilations)
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    pads = [int(rng.integers(0, reach[i % 2] + 1)) for i in range(4)]
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "pads": tuple(pads)}


def image(rng: np.random.Generator, geometry: dict[str, Any], largest: int = 14) -> tuple[int, int]:
    """Height and width for which the window has at least one position."""
    sizes = []
    for axis in range(2):
        before, after = geometry["pads"][axis], geometry["pads"][axis + 2]
        least = max(1, geometry["dilation"][axis] * (geometry["kernel"][axis] - 1) + 1 - before - after)
        sizes.append(int(rng.integers(least, least + largest)))
    return sizes[0], sizes[1]


def describe(x: np.ndarray, co: int, geometry: dict[str, Any]) -> str:
    def plain(pair: tuple[int, int]) -> str:
        return f"{pair[0]}x{pair[1]}"

    g = geometry
    pads = ".".join(map(str, g["pads"]))
    shape = "x".join(map(str, x.shape))
    return f"{shape}-to{co}-k{plain(g['kernel'])}-s{plain(g['stride'])}-d{plain(g['dilation'])}-p{pads}"


def split(geometry: dict[str, Any]) -> dict[str, Any]:
    """The oracle's arguments: the kernel extents of a convolution are those of its weights."""
    return {key: value for key, value in geometry.items() if key != "kernel"}


def conv(rng: np.random.Generator, name: str) -> Case:
    geometry = window(rng, (1, 1, 2, 3, 3, 5), (1, 1, 2))
    h, w = image(rng, geometry)
    ci, co, zx = pick(rng, CHANNELS), pick(rng, CHANNELS), pick(rng, ZEROS)
    return conv_case(rng, name, "CONV2D", (pick(rng, (1, 1, 2)), h, w, ci), co, geometry, zx, 1)


def gconv(rng: np.random.Generator, name: str) -> Case:
    geometry = window(rng, (1, 3), (1, 2))
    h, w = image(rng, geometry, 8)
    groups, ci, co = pick(rng, (2, 3, 4, 8)), pick(rng, (1, 3, 4, 8, 17)), pick(rng, (1, 2, 5, 16, 17))
    return conv_case(rng, name, "GCONV2D", (1, h, w, groups * ci), groups * co, geometry, pick(rng, ZEROS), groups)


def tconv(rng: np.random.Generator, name: str) -> Case:
    geometry = window(rng, (1, 2, 3, 4, 5), (1, 1, 2))
    ci, groups = pick(rng, (1, 3, 4, 16, 17, 33)), pick(rng, (1, 1, 1, 2))
    co = pick(rng, (1, 3, 15, 16, 17, 33))
    h, w = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    pads = list(geometry["pads"])
    for axis, size in enumerate((h, w)):  # at least one output; now and then an output padding
        full = (size - 1) * geometry["stride"][axis] + geometry["dilation"][axis] * (geometry["kernel"][axis] - 1) + 1
        pads[axis] = min(pads[axis], full - 1)
        pads[axis + 2] = min(pads[axis + 2], full - 1 - pads[axis])
        if geometry["stride"][axis] > 1 and rng.integers(3) == 0:
            pads[axis + 2] -= 1
    geometry["pads"] = tuple(pads)
    shape = (pick(rng, (1, 2)), h, w, ci * groups)
    return conv_case(rng, name, "TCONV2D", shape, co * groups, geometry, pick(rng, ZEROS), groups)


def conv_case(
    rng: np.random.Generator,
    name: str,
    op: str,
    shape: tuple[int, int, int, int],
    co: int,
    geometry: dict[str, Any],
    zx: int,
    groups: int,
) -> Case:
    x = activations(rng, shape)
    label = f"{name}-{describe(x, co, geometry)}" + ("" if op == "CONV2D" else f"-g{groups}")
    return Case(label, op, (x,), conv_params(rng, op, shape[3], co, geometry, zx, groups))


def conv_params(
    rng: np.random.Generator, op: str, ci: int, co: int, geometry: dict[str, Any], zx: int, groups: int
) -> dict[str, Any]:
    """Arguments of a convolution of ci to co channels; co = ci for DWCONV2D."""
    depth = () if op == "DWCONV2D" else (ci // groups,)
    weight = weights(rng, (co, *geometry["kernel"], *depth))
    rq = requantisation(rng, weight, zx)
    params = {"weight": derive.deployed(weight, rq), "rq": rq, "zx": zx, **split(geometry)}
    return params | ({"groups": groups} if op in ("GCONV2D", "TCONV2D") else {})


def dwconv(rng: np.random.Generator, name: str) -> Case:
    geometry = window(rng, (1, 3, 3, 5, 7), (1, 1, 2))
    h, w = image(rng, geometry)
    c, zx = pick(rng, CHANNELS), pick(rng, ZEROS)
    x = activations(rng, (pick(rng, (1, 1, 2)), h, w, c))
    label = f"{name}-{describe(x, c, geometry)}"
    return Case(label, "DWCONV2D", (x,), conv_params(rng, "DWCONV2D", c, c, geometry, zx, 1))


def matmul(rng: np.random.Generator, name: str) -> Case:
    m, k, n = int(rng.integers(1, 20)), pick(rng, (*CHANNELS, 129, 300)), pick(rng, CHANNELS)
    x, weight = activations(rng, (pick(rng, (1, 1, 3)), 1, m, k)), weights(rng, (n, k))
    rq = requantisation(rng, weight, pick(rng, ZEROS))
    shape = f"{x.shape[0]}x{m}x{k}x{n}"
    return Case(f"{name}-{shape}", "MATMUL", (x,), {"weight": derive.deployed(weight, rq), "rq": rq})


def matmuld(rng: np.random.Generator, name: str) -> Case:
    images, m, k, n = pick(rng, (1, 2, 3)), int(rng.integers(1, 20)), pick(rng, (*CHANNELS, 129)), pick(rng, CHANNELS)
    transposed, za, zb = bool(rng.integers(2)), pick(rng, ZEROS), pick(rng, ZEROS)
    a = activations(rng, (images, 1, m, k))
    b = activations(rng, (images, 1, n, k) if transposed else (images, 1, k, n))
    sa, sb = scale(rng), scale(rng)
    sy = float(np.float32(sa * sb * 75 * 75 * np.sqrt(k) / 50))
    rq = derive.rq8_dynamic(sa, sb, sy, pick(rng, ZEROS), k, za, zb)
    label = f"{name}-{images}x{m}x{k}x{n}" + ("-transposed" if transposed else "")
    return Case(label, "MATMULD", (a, b), {"rq": rq, "za": za, "zb": zb, "transpose_b": transposed})


def operands(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    """Two tensors for an element-wise instruction; each dimension of the second may broadcast."""
    shape = [pick(rng, (1, 2)), int(rng.integers(1, 8)), int(rng.integers(1, 8)), pick(rng, CHANNELS)]
    kind = pick(rng, (0, 0, 0, 1, 2, 3, 4))
    keep = {0: (1, 1, 1, 1), 1: (1, 0, 0, 1), 2: (0, 0, 0, 0), 3: (1, 1, 1, 0), 4: (0, 0, 1, 1)}[kind]
    other = [size if kept else 1 for size, kept in zip(shape, keep, strict=True)]
    label = "x".join(map(str, shape)) + "-with-" + "x".join(map(str, other))
    return activations(rng, shape), activations(rng, other), label


def add(rng: np.random.Generator, name: str, sign: int = 1) -> Case:
    a, b, label = operands(rng)
    return Case(f"{name}-{label}", "ADD" if sign > 0 else "SUB", (a, b), add_params(rng, sign))


def add_params(rng: np.random.Generator, sign: int) -> dict[str, Any]:
    sa, sb = scale(rng, 0.001, 1), scale(rng, 0.001, 1)
    sy = float(np.float32(max(sa, sb) * rng.choice([0.1, 1, 1.5, 100])))
    p = derive.add(sa, pick(rng, ZEROS), sb, pick(rng, ZEROS), sy, pick(rng, ZEROS), sign)
    if rng.integers(3) == 0:
        lo, hi = sorted(rng.integers(-128, 128, 2).tolist())
        p = replace(p, lo=lo, hi=hi)
    return {"p": p}


def sub(rng: np.random.Generator, name: str) -> Case:
    return add(rng, name, -1)


def mul(rng: np.random.Generator, name: str) -> Case:
    a, b, label = operands(rng)
    params = mul_params(rng)
    return Case(f"{name}-{label}-sh{params['sh']}", "MUL", (a, b), params)


def mul_params(rng: np.random.Generator) -> dict[str, Any]:
    m, sh = derive.product(float(2.0 ** rng.choice([-32, -20, -12, -9, -8, -7, -3, 0, 13]) * rng.uniform(0.5, 1)))
    lo, hi = sorted(rng.integers(-128, 128, 2).tolist()) if rng.integers(4) == 0 else (-128, 127)
    zeros = {key: pick(rng, ZEROS) for key in ("za", "zb", "zp")}
    return {"m": m, "sh": sh, **zeros, "lo": lo, "hi": hi}


def limits(rng: np.random.Generator) -> dict[str, int]:
    """A clamp, most often none."""
    lo, hi = sorted(rng.integers(-128, 128, 2).tolist()) if rng.integers(4) == 0 else (-128, 127)
    return {"lo": lo, "hi": hi}


def largest(rng: np.random.Generator, name: str, op: str = "MAX") -> Case:
    a, b, label = operands(rng)
    return Case(f"{name}-{label}", op, (a, b), extreme_params(rng, op))


def extreme_params(rng: np.random.Generator, op: str) -> dict[str, Any]:
    return {"largest": op == "MAX", **limits(rng)}


def smallest(rng: np.random.Generator, name: str) -> Case:
    return largest(rng, name, "MIN")


def compare(rng: np.random.Generator, name: str) -> Case:
    a, b, label = operands(rng)
    sa, za = scale(rng), pick(rng, ZEROS)
    sb, zb = (sa, za) if rng.integers(2) else (float(np.float32(sa * pick(rng, (1, 2, 3)))), pick(rng, ZEROS))
    relation = int(rng.integers(6))
    params = {"ranks": derive.ranks(sa, za, sb, zb), "relation": relation}
    return Case(f"{name}-{label}-relation{relation}", "CMP", (a, b), params)


def select(rng: np.random.Generator, name: str) -> Case:
    shape = shape4(rng)
    kept = rng.integers(0, 3, (3, 4)) > 0
    kept[rng.integers(3)] = True  # the others may broadcast
    shapes = [[size if keep else 1 for size, keep in zip(shape, row, strict=True)] for row in kept]
    a, b = activations(rng, shapes[0]), activations(rng, shapes[1])
    condition = np.where(rng.integers(2, size=shapes[2]) == 1, activations(rng, shapes[2]), 0).astype(np.int8)
    return Case(f"{name}-{'-'.join('x'.join(map(str, s)) for s in shapes)}", "SELECT", (a, b, condition))


def divide(rng: np.random.Generator, name: str) -> Case:
    a, b, label = operands(rng)
    zb = pick(rng, ZEROS)
    table, sh = derive.ratio(scale(rng), scale(rng), zb, scale(rng, 1e-9, 50))
    zeros = {"za": pick(rng, ZEROS), "zp": pick(rng, ZEROS)}
    return Case(f"{name}-{label}-sh{sh}", "DIV", (a, b), {"ratio": table, "sh": sh, **zeros, **limits(rng)})


def reduce(rng: np.random.Generator, name: str) -> Case:
    shape = (*shape4(rng)[:3], pick(rng, (*CHANNELS, 127, 128, 129, 300, 1000)))
    kind = int(rng.integers(6))
    params = {"kind": kind, **limits(rng)}
    if kind > 1:
        sx, zx = scale(rng), pick(rng, ZEROS)
        typical = {2: 20.0 * shape[3], 3: 60.0 * shape[3], 4: 6000.0 * shape[3] * sx, 5: 80 * np.sqrt(shape[3])}[kind]
        sy = float(np.float32(sx * typical / rng.choice([3, 60, 100])))
        m, sh = derive.product(sx * (sx if kind == 4 else 1) / sy / (2**15 if kind == 5 else 1))
        params |= {"m": m, "sh": sh, "zx": zx, "zp": pick(rng, ZEROS)}
    return Case(f"{name}-{'x'.join(map(str, shape))}-kind{kind}", "REDUCE", (activations(rng, shape),), params)


def argmax(rng: np.random.Generator, name: str) -> Case:
    shape = (*shape4(rng)[:3], pick(rng, (*CHANNELS, 127, 129, 300)))
    return Case(f"{name}-{'x'.join(map(str, shape))}", "ARGMAX", (activations(rng, shape),))


def gather(rng: np.random.Generator, name: str) -> Case:
    x, columns = activations(rng, shape4(rng)), int(rng.integers(1, 12))
    dtype = ("int32", "int64")[rng.integers(2)]
    index = rng.integers(-x.shape[2], x.shape[2], (1, 1, columns, 1)).astype(dtype)
    return Case(f"{name}-{'x'.join(map(str, x.shape))}-{columns}-{dtype}", "GATHER", (x, index))


def grid_sample(rng: np.random.Generator, name: str) -> Case:
    x = activations(rng, shape4(rng))
    shape = (x.shape[0], int(rng.integers(1, 7)), int(rng.integers(1, 7)), 2)
    grid = rng.uniform(-1.6, 1.6, shape).astype(np.float32)
    exact = rng.choice(np.array([-1, -0.5, 0, 0.5, 1, 1e30, -np.inf, np.nan], np.float32), shape)
    grid = np.where(rng.integers(6, size=shape) == 0, exact, grid)
    flags = {key: bool(rng.integers(2)) for key in ("nearest", "border", "align_corners")}
    label = "-".join(key for key, value in flags.items() if value)
    params = {"zero": pick(rng, ZEROS), **flags}
    return Case(f"{name}-{'x'.join(map(str, x.shape))}-{label}", "GRIDSAMPLE", (x, grid), params)


def csc(rng: np.random.Generator, name: str) -> Case:
    half = bool(rng.integers(3))
    n, h, w = pick(rng, (1, 1, 2)), int(rng.integers(1, 9)), int(rng.integers(1, 40))
    h, w = (2 * h, 2 * w) if half else (h, w)
    luma = activations(rng, (n, h, w, 1))
    chroma = activations(rng, (n, h // 2, w // 2, 2) if half else (n, h, w, 2))
    dtype, channels = ("int8", "int8", "int16")[rng.integers(3)], pick(rng, (3, 3, 3, 1, 5))
    A, (o, g, h0) = rng.normal(0, 1, (channels, 3)), (rng.normal(0, 100, channels) for _ in range(3))
    g = g / 5000
    sy = float(np.float32(np.abs(g).max() * (1.5 if dtype == "int8" else 0.01)))
    zp = pick(rng, ZEROS) if dtype == "int8" else 0
    p = camera.derive(A.tolist(), o.tolist(), g.tolist(), (h0 / 100).tolist(), sy, zp, dtype)
    return Case(
        f"{name}-{n}x{h}x{w}-{'half' if half else 'whole'}-{dtype}-to{channels}",
        "CSC",
        (luma, chroma),
        {"p": p, "dtype": dtype},
    )


def roi_resize(rng: np.random.Generator, name: str) -> Case:
    x, shift = activations(rng, (*shape4(rng)[:3], pick(rng, (1, 2, 2, 3)))), int(rng.integers(2))
    n, h, w, _ = x.shape
    ends = [np.sort(rng.integers(0, extent, (n, 2)), axis=1) << shift for extent in (w, h)]
    roi = np.stack([ends[0][:, 0], ends[1][:, 0], ends[0][:, 1] + shift, ends[1][:, 1] + shift], 1)
    size = int(rng.integers(1, 12)), int(rng.integers(1, 12))
    params = {"size": size, "shift": shift}
    label = f"{name}-{'x'.join(map(str, x.shape))}-to{size[0]}x{size[1]}-{shift}"
    return Case(label, "ROIRESIZE", (x, roi.astype(np.int32).reshape(n, 1, 1, 4)), params)


def shape4(rng: np.random.Generator) -> tuple[int, int, int, int]:
    return pick(rng, (1, 1, 2)), int(rng.integers(1, 9)), int(rng.integers(1, 9)), pick(rng, CHANNELS)


def rescale(rng: np.random.Generator, name: str) -> Case:
    x = activations(rng, shape4(rng))
    entries = pick(rng, (1, x.shape[3]))
    label = f"{name}-{'x'.join(map(str, x.shape))}-of{entries}"
    return Case(label, "RESCALE", (x,), rescale_params(rng, entries))


def rescale_params(rng: np.random.Generator, entries: int) -> dict[str, Any]:
    sx, sy = ([scale(rng, 0.01, 1) for _ in range(entries)] for _ in range(2))
    zx, zp = ([pick(rng, ZEROS) for _ in range(entries)] for _ in range(2))
    return {"p": derive.rescale(sx, zx, sy, zp)}


def lut8(rng: np.random.Generator, name: str) -> Case:
    x = activations(rng, shape4(rng))
    return Case(f"{name}-{'x'.join(map(str, x.shape))}", "LUT8", (x,), lut8_params(rng))


def lut8_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"table": rng.permutation(np.arange(-128, 128)).astype(np.int8)}


def softmax(rng: np.random.Generator, name: str) -> Case:
    x = activations(rng, (*shape4(rng)[:3], pick(rng, (*CHANNELS, 197, 257))))
    zp, step = [(-128, 1 / 256), (0, 1 / 128), (-100, 0.01)][rng.integers(3)]
    exp, C = derive.softmax(scale(rng, 0.01, 1), float(np.float32(step)))
    return Case(f"{name}-{'x'.join(map(str, x.shape))}", "SOFTMAX", (x,), {"exp": exp, "C": C, "zp": zp})


def layernorm(rng: np.random.Generator, name: str, op: str = "LAYERNORM") -> Case:
    """Rows of any spread, also such of which all elements but one are equal; gains of both signs, some too large."""
    n = pick(rng, (*CHANNELS, 129, 192, 384, 1000))
    x = activations(rng, (*shape4(rng)[:3], n))
    if rng.integers(3) == 0:
        x = np.clip(rng.normal(rng.uniform(-90, 90), rng.choice([0.3, 3, 30]), x.shape).round(), -128, 127)
        x = x.astype(np.int8)
    zx = pick(rng, ZEROS) if op == "RMSNORM" else None
    gamma = rng.normal(0, 1, n) * rng.choice([0.05, 1, 40])
    beta = rng.normal(0, 1, n) * rng.choice([0, 1, 40])
    eps = float(rng.choice([1e-12, 1e-5, 1.0, 1e4]))
    p = derive.norm(scale(rng), zx, eps, gamma.tolist(), beta.tolist(), scale(rng, 0.01, 0.1), pick(rng, ZEROS))
    if rng.integers(4) == 0:
        lo, hi = sorted(rng.integers(-128, 128, 2).tolist())
        p = replace(p, lo=lo, hi=hi)
    return Case(f"{name}-{'x'.join(map(str, x.shape))}", op, (x,), {"p": p})


def rmsnorm(rng: np.random.Generator, name: str) -> Case:
    return layernorm(rng, name, "RMSNORM")


def pooled(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
    """A window in which each position has at least one tap inside."""
    while True:
        geometry = window(rng, (1, 2, 3, 5), (1, 1, 2))
        h, w = image(rng, geometry, 8)
        for axis, size in enumerate((h, w)):
            k, s, d = (geometry[key][axis] for key in ("kernel", "stride", "dilation"))
            before, after = geometry["pads"][axis], geometry["pads"][axis + 2]
            starts = [o * s - before for o in range(extent(size, k, s, d, before, after))]
            if not all(any(0 <= start + d * i < size for i in range(k)) for start in starts):
                break
        else:
            return activations(rng, (pick(rng, (1, 2)), h, w, pick(rng, CHANNELS))), geometry


def maxpool(rng: np.random.Generator, name: str) -> Case:
    x, geometry = pooled(rng)
    return Case(f"{name}-{describe(x, x.shape[3], geometry)}", "MAXPOOL", (x,), geometry)


def avgpool(rng: np.random.Generator, name: str) -> Case:
    x, geometry = pooled(rng)
    params = avgpool_params(rng, geometry)
    entries = len(params["scales"])
    return Case(f"{name}-{describe(x, x.shape[3], geometry)}-of{entries}", "AVGPOOL", (x,), params)


def avgpool_params(rng: np.random.Generator, geometry: dict[str, Any]) -> dict[str, Any]:
    """Padding counts (one entry) or does not (one per number of taps), at random."""
    count_pad, taps = bool(rng.integers(2)), geometry["kernel"][0] * geometry["kernel"][1]
    scales = derive.avgpool(scale(rng, 0.02, 0.1), scale(rng, 0.02, 0.1), taps, count_pad)
    return {**geometry, "scales": scales, "zx": pick(rng, ZEROS), "zp": pick(rng, ZEROS)}


MODES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")


def resize(rng: np.random.Generator, name: str, bilinear: bool = True, whole: int = 2048) -> Case:
    x = activations(rng, shape4(rng))
    mode = MODES[rng.integers(len(MODES))]
    sizes = [pick(rng, (1, size, 2 * size, 2 * size + 1, 3 * size)) for size in x.shape[1:3]]
    axes = list(zip(x.shape[1:3], sizes, strict=True))
    if bilinear:
        table = [tables.bilinear(a, b, None, mode, whole) for a, b in axes]
    else:
        table = [tables.nearest(a, b, None, mode, "round_prefer_floor") for a, b in axes]
    label = f"{name}-{'x'.join(map(str, x.shape))}-to-{sizes[0]}x{sizes[1]}-{mode}"
    return Case(label, "RESIZE_BILIN" if bilinear else "RESIZE_NN", (x,), {"rows": table[0], "columns": table[1]})


def resize_nearest(rng: np.random.Generator, name: str) -> Case:
    return resize(rng, name, bilinear=False)


def copy(rng: np.random.Generator, name: str, op: str = "COPY") -> Case:
    x = activations(rng, shape4(rng))
    perm = tuple(rng.permutation(4).tolist()) if op == "COPY" else (0, 1, 2, 3)
    label = f"{name}-{'x'.join(map(str, x.shape))}-perm{''.join(map(str, perm))}"
    return Case(label, op, (x,), {"perm": perm})


def load(rng: np.random.Generator, name: str) -> Case:
    return copy(rng, name, "LOAD")


def store(rng: np.random.Generator, name: str) -> Case:
    return copy(rng, name, "STORE")


def fill(rng: np.random.Generator, name: str) -> Case:
    shape, value = shape4(rng), pick(rng, (-128, -1, 0, 127))
    return Case(f"{name}-{'x'.join(map(str, shape))}-{value}", "FILL", (), {"shape": shape, "value": value})


def quantize(rng: np.random.Generator, name: str) -> Case:
    shape, s, zero = shape4(rng), scale(rng), pick(rng, ZEROS)
    q = rng.integers(-700, 700, shape) * 0.5
    x = np.where(rng.integers(2, size=shape) == 1, q * s, rng.normal(0, 80 * s, shape)).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, -0.0, 1e-45], np.float32)
    x = np.where(rng.integers(20, size=shape) == 0, rng.choice(special, shape), x)
    return Case(f"{name}-{'x'.join(map(str, shape))}", "QUANTIZE", (x,), {"scale": s, "zero": zero})


def dequantize(rng: np.random.Generator, name: str) -> Case:
    x = activations(rng, shape4(rng))
    return Case(
        f"{name}-{'x'.join(map(str, x.shape))}", "DEQUANTIZE", (x,), {"scale": scale(rng), "zero": pick(rng, ZEROS)}
    )


DRAWS: dict[str, tuple[Draw, int]] = {
    "CONV2D": (conv, 40),
    "GCONV2D": (gconv, 16),
    "DWCONV2D": (dwconv, 32),
    "TCONV2D": (tconv, 24),
    "MATMUL": (matmul, 24),
    "MATMULD": (matmuld, 24),
    "ADD": (add, 24),
    "SUB": (sub, 10),
    "MUL": (mul, 24),
    "MAX": (largest, 16),
    "MIN": (smallest, 10),
    "CMP": (compare, 20),
    "SELECT": (select, 16),
    "DIV": (divide, 20),
    "REDUCE": (reduce, 32),
    "ARGMAX": (argmax, 16),
    "GATHER": (gather, 12),
    "GRIDSAMPLE": (grid_sample, 24),
    "CSC": (csc, 32),
    "ROIRESIZE": (roi_resize, 24),
    "RESCALE": (rescale, 16),
    "LUT8": (lut8, 10),
    "SOFTMAX": (softmax, 16),
    "LAYERNORM": (layernorm, 30),
    "RMSNORM": (rmsnorm, 20),
    "MAXPOOL": (maxpool, 20),
    "AVGPOOL": (avgpool, 24),
    "RESIZE_NN": (resize_nearest, 12),
    "RESIZE_BILIN": (resize, 20),
    "COPY": (copy, 24),
    "LOAD": (load, 6),
    "STORE": (store, 6),
    "FILL": (fill, 6),
    "QUANTIZE": (quantize, 16),
    "DEQUANTIZE": (dequantize, 8),
}
