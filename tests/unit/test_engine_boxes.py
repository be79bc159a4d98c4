"""An operator cut into boxes gives the bytes of the whole: pads, tables and weights move with the output box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from conformance.assemble import Assembler, run
from conformance.draws import draw
from conformance.program import Box as Part
from conformance.program import single
from openbpu import _native
from openbpu.runtime import Executable
from openbpu.target import ProgramBuilder, packing

Extents = tuple[int, int, int, int]
Box = tuple[int, int, int, int, int, int]  # y, h, x, w, c, n
_CLAMP = {"lo": -120, "hi": 119}


@dataclass
class Op:
    """An operator on random inputs; `emit` gets the builder, a random source and a function from constant to id."""

    name: str
    inputs: tuple[Extents, ...]
    out: Extents
    constants: Callable[[ProgramBuilder, np.random.Generator], dict[str, Any]]
    channel_step: int = 1  # boxes start at its multiples; 0: all channels only
    rows: bool = True  # may be cut along h
    zero_points: tuple[int, ...] = (-9, 4)
    same_parameters: bool = False


def _window(
    kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int], dilation: int = 1
) -> dict[str, int]:
    return {
        **dict(zip(("kernel_h", "kernel_w"), kernel, strict=True)),
        **dict(zip(("stride_h", "stride_w"), stride, strict=True)),
        **{"dilation_h": dilation, "dilation_w": dilation},
        **dict(zip(("pad_top", "pad_left"), pads, strict=True)),
    }


def _rq8(b: ProgramBuilder, random: np.random.Generator, channels: int) -> int:
    B, m = random.integers(-3000, 3000, channels), random.integers(16384, 32767, channels)
    return b.const("RQ8", packing.rq8(B, m, np.full(channels, 3)))


def _conv(co: int, ci: int, window: dict[str, int], groups: int = 1) -> Callable[..., dict[str, Any]]:
    def constants(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
        shape = (co, window["kernel_h"], window["kernel_w"], ci // groups)
        weight = packing.conv_weights(random.integers(-128, 128, shape, np.int8), groups)
        aux = {**window, "groups": groups}
        return {"weight": b.const("CONV_WEIGHTS", weight), "table": _rq8(b, random, co), "aux": aux, **_CLAMP}

    return constants


def _depthwise(c: int, window: dict[str, int]) -> Callable[..., dict[str, Any]]:
    def constants(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
        weight = random.integers(-128, 128, (c, window["kernel_h"], window["kernel_w"]), np.int8)
        weight_id = b.const("DW_WEIGHTS", packing.depthwise_weights(weight))
        return {"weight": weight_id, "table": _rq8(b, random, c), "aux": {**window, "groups": c}, **_CLAMP}

    return constants


def _matmul(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    weight = packing.conv_weights(random.integers(-128, 128, (40, 1, 1, 21), np.int8))
    return {"weight": b.const("CONV_WEIGHTS", weight), "table": _rq8(b, random, 40), **_CLAMP}


def _add(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {"ma": 20000, "mb": -15000, "C": 90000, "sh": 15, **_CLAMP}


def _mul(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {"C": 20001, "sh": 21, **_CLAMP}


def _nothing(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {}


def _clamped(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {**_CLAMP}


def _div(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    ratio = b.const("RATIO", packing.ratio(random.integers(-(1 << 20), 1 << 20, 256)))
    return {"table": ratio, "sh": 20, **_CLAMP}


def _reduce(kind: int) -> Callable[..., dict[str, Any]]:
    numbers = {"C": 20000, "sh": 19} if kind > 1 else {}
    return lambda b, random: {"aux": {"kind": kind}, **numbers, **_CLAMP}


def _rescale(entries: int) -> Callable[..., dict[str, Any]]:
    def constants(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
        m = random.integers(1 << 29, 1 << 30, entries)
        bias = (1 << 29) + random.integers(-30, 30, entries) * (1 << 30)
        return {"table": b.const("RQ16", packing.rq16(bias, m, np.full(entries, 30))), **_CLAMP}

    return constants


def _lut(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {"table": b.const("LUT8", packing.lut8(random.integers(-128, 128, 256, np.int8)))}


def _softmax(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    table = np.round(65535 * np.exp(-0.05 * np.arange(256))).astype(np.uint16)
    return {"table": b.const("EXP", packing.exp(table)), "aux": {"C": 256 << 38}, "lo": -128, "hi": 127}


def _norm(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    table = b.const("NORM", packing.norm(random.integers(-(1 << 24), 1 << 24, 40), random.integers(-32767, 32767, 40)))
    return {"table": table, "aux": {"eps": 7, "F": 11}, "sh": 18, **_CLAMP}


def _maxpool(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
    return {"aux": _window((3, 3), (2, 1), (1, 1))}


def _avgpool(flags: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    def constants(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
        table = b.const("POOL", packing.pool(16384 + 1700 * np.arange(1, 10), np.full(9, 18)))
        return {"aux": _window((3, 3), (2, 1), (1, 1)), "table": table, "flags": flags, **_CLAMP}

    return constants


def _resize(h: tuple[int, int], w: tuple[int, int]) -> Callable[..., dict[str, Any]]:
    def axis(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
        first = np.arange(size_out) * size_in // size_out
        weight = np.arange(size_out) * 37 % 2049
        return np.stack([first, np.minimum(first + 1, size_in - 1)], 1), np.stack([2048 - weight, weight], 1)

    def constants(b: ProgramBuilder, random: np.random.Generator) -> dict[str, Any]:
        rows, columns = b.const("RESIZE", packing.resize(*axis(*h))), b.const("RESIZE", packing.resize(*axis(*w)))
        return {"aux": {"rows": rows, "columns": columns}}

    return constants


_FULL = (2, 9, 11, 40)
OPS = [
    Op("CONV2D", ((2, 19, 13, 21),), _FULL, _conv(40, 21, _window((3, 5), (2, 1), (1, 1))), 16),
    Op("CONV2D", ((2, 9, 11, 21),), _FULL, _conv(40, 21, _window((3, 3), (1, 1), (2, 2), 2)), 16),
    Op("GCONV2D", ((2, 9, 11, 24),), _FULL, _conv(40, 24, _window((3, 3), (1, 1), (1, 1)), 4), 0),
    Op("DWCONV2D", ((2, 18, 11, 40),), _FULL, _depthwise(40, _window((3, 3), (2, 1), (1, 1))), 16),
    Op("TCONV2D", ((2, 5, 6, 21),), _FULL, _conv(40, 21, _window((3, 3), (2, 2), (1, 1))), 16),
    Op("MATMUL", ((2, 1, 17, 21),), (2, 1, 17, 40), _matmul, 16, rows=False),
    Op("ADD", (_FULL, _FULL), _FULL, _add),
    Op("ADD", (_FULL, (2, 1, 1, 40)), _FULL, _add),
    Op("SUB", (_FULL, (1, 9, 11, 1)), _FULL, _add),
    Op("MUL", (_FULL, _FULL), _FULL, _mul),
    Op("MUL", (_FULL, (2, 9, 1, 40)), _FULL, _mul),
    Op("MAX", (_FULL, (2, 9, 1, 40)), _FULL, _clamped, zero_points=(-9, -9), same_parameters=True),
    Op("MIN", (_FULL, _FULL), _FULL, _clamped, zero_points=(-9, -9), same_parameters=True),
    Op("SELECT", (_FULL, (2, 9, 11, 1), (1, 9, 1, 40)), _FULL, _nothing, zero_points=(-9,) * 3, same_parameters=True),
    Op("DIV", (_FULL, (2, 1, 11, 40)), _FULL, _div),
    Op("REDUCE", ((2, 9, 11, 40),), (2, 9, 11, 1), _reduce(2)),
    Op("REDUCE", ((2, 9, 11, 3),), (2, 9, 11, 1), _reduce(0), same_parameters=True),
    Op("RESCALE", (_FULL,), _FULL, _rescale(40)),
    Op("RESCALE", (_FULL,), _FULL, _rescale(1)),
    Op("LUT8", (_FULL,), _FULL, _lut),
    Op("SOFTMAX", (_FULL,), _FULL, _softmax, 0),
    Op("LAYERNORM", (_FULL,), _FULL, _norm, 0),
    Op("RMSNORM", (_FULL,), _FULL, _norm, 0),
    Op("MAXPOOL", ((2, 18, 11, 40),), _FULL, _maxpool, same_parameters=True),
    Op("AVGPOOL", ((2, 18, 11, 40),), _FULL, _avgpool(())),
    Op("AVGPOOL", ((2, 18, 11, 40),), _FULL, _avgpool(("COUNT_PAD",))),
    Op("RESIZE_NN", ((2, 4, 23, 40),), _FULL, _resize((4, 9), (23, 11)), same_parameters=True),
    Op("RESIZE_BILIN", ((2, 4, 23, 40),), _FULL, _resize((4, 9), (23, 11)), same_parameters=True),
    Op("COPY", (_FULL,), _FULL, _nothing),
]


def _cut(op: Op, random: np.random.Generator) -> list[Box]:
    """Boxes that cover the output once: random cuts along each axis that may be cut."""

    def pieces(size: int, step: int) -> list[tuple[int, int]]:
        places = np.arange(step, size, step) if step else np.array([], int)
        chosen = sorted(random.choice(places, min(2, len(places)), replace=False).tolist())
        ends = [0, *chosen, size]
        return [(a, z - a) for a, z in pairwise(ends)]

    _, h, w, c = op.out
    return [(*y, *x, *z) for y in pieces(h, int(op.rows)) for x in pieces(w, 1) for z in pieces(c, op.channel_step)]


def _program(op: Op, boxes: list[Box | None]) -> bytes:
    """Inputs at odd places of DDR, the operator in boxes, the output to its port."""
    b, base, operands = ProgramBuilder(op.name), 5, []
    for k, extents in enumerate(op.inputs):
        port = b.input(f"x{k}", extents, "int8")
        operand = b.surface("ddr", extents, base=base, zero_point=op.zero_points[k])
        b.emit("COPY", operand, b.surface("in", extents, port=port))
        operands.append(operand)
        base += int(np.prod(extents)) + 3
    zero_point = op.zero_points[0] if op.same_parameters else 11
    out = b.surface("ddr", op.out, base=base, zero_point=zero_point)
    arguments = op.constants(b, np.random.default_rng(3))
    for box in boxes:
        b.emit(op.name, out, *operands, box=box, **arguments)
    b.emit("COPY", b.surface("out", op.out, port=b.output("y", op.out, "int8")), out)
    return b.finish(base + int(np.prod(op.out)))


def _run(data: bytes, inputs: list[np.ndarray], isa: str, threads: int, flip: int | None = None) -> bytes:
    program = _native.Program.from_bytes(data)
    return _native.Engine(program, isa=isa, threads=threads, flip=flip).run(inputs)[0].tobytes()


@pytest.mark.parametrize("op", OPS, ids=[f"{op.name}-{k}" for k, op in enumerate(OPS)])
def test_boxes_give_the_whole(op: Op) -> None:
    random = np.random.default_rng(17)
    inputs = [random.integers(-128, 128, extents, np.int8) for extents in op.inputs]
    whole = _run(_program(op, [None]), inputs, "scalar", 1)
    assert len(set(whole)) > 20, "the operator computes something"
    for repeat in range(3):
        boxes: list[Box | None] = [*_cut(op, random)]
        data = _program(op, boxes)
        for isa in _native.available_isas():
            got = _run(data, inputs, isa, 1 + repeat)
            assert got == whole, f"{isa}, {1 + repeat} threads, boxes {boxes}"
        assert _run(data, inputs, "scalar", 1, flip=128) == whole, f"scalar, flipped, boxes {boxes}"


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("op", ["ARGMAX", "CMP", "GATHER"])
def test_boxes_of_other_types(op: str, index: int) -> None:
    """Results or indices are no int8, or too few different values come out."""
    case = draw(op, index)
    want = case.expected()
    _, h, w, c = want.shape
    rows, columns = ([(0, e // 2), (e // 2, e - e // 2)] if e > 1 else [(0, 1)] for e in (h, w))
    boxes = tuple(Part(y, dy, x, dx, 0, c) for y, dy in rows for x, dx in columns)
    program = single(case, before=2, after=1, boxes=boxes)
    executable = Executable.from_bytes(Assembler(program).assemble())
    for isa in _native.available_isas():
        (got,) = run(program, executable, isa, 2)
        np.testing.assert_array_equal(got[..., 2 : 2 + c], want, f"{program}, {isa}")
