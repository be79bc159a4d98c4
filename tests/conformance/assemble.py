"""Programs as executables: buffers in DDR or SRAM, a port for the first contents of each, one for each output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.case import mnemonic
from conformance.program import CANARY, Box, Program, Step, View
from openbpu.runtime import Executable, Session
from openbpu.target import ProgramBuilder, Ref, packing
from oracle.int16 import RANGE, Scaling

Fields = dict[str, Any]
_SRAM = {"LOAD": ("out",), "STORE": ("in",)}


class Assembler:
    """Turns one program into bytes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = ProgramBuilder(program.name)
        self.regions = self._regions()
        self.bases: list[int] = []
        self.sizes = {"ddr": 0, "sram": 0}
        for (shape, dtype), region in zip(program.buffers, self.regions, strict=True):
            self.bases.append(self.sizes[region])
            self.sizes[region] += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 64) * 64

    def assemble(self) -> bytes:
        for index, (shape, dtype) in enumerate(self.program.buffers):
            port = self.builder.input(f"buffer{index}", shape, dtype)
            source = self.builder.surface("in", shape, dtype, port=port)
            self._move(source, self._whole(index))
        for step in self.program.steps:
            self._step(step)
        for index in self.program.outputs:
            shape, dtype = self.program.buffers[index]
            port = self.builder.output(f"result{index}", shape, dtype)
            self._move(self._whole(index), self.builder.surface("out", shape, dtype, port=port))
        return self.builder.finish(self.sizes["ddr"], sram_bytes=self.sizes["sram"])

    def _regions(self) -> list[str]:
        regions = ["ddr"] * len(self.program.buffers)
        for step in self.program.steps:
            for place in _SRAM.get(step.op, ()):
                view = step.out if place == "out" else step.inputs[0]
                regions[view.buffer] = "sram"
        return regions

    def _whole(self, index: int) -> Ref:
        return self.surface(View(index, 0, self.program.buffers[index][0][3]))

    def surface(self, view: View, scale: float = 0.0, zero_point: int = 0, perm: tuple[int, ...] = (0, 1, 2, 3)) -> Ref:
        (n, h, w, c), dtype = self.program.buffers[view.buffer]
        size = np.dtype(dtype).itemsize
        extents, strides = (n, h, w, view.count), (h * w * c * size, w * c * size, c * size, size)
        return self.builder.surface(
            self.regions[view.buffer],
            [extents[axis] for axis in perm],
            dtype,
            base=self.bases[view.buffer] + view.first * size,
            strides=[strides[axis] for axis in perm],
            scale=scale,
            zero_point=zero_point,
        )

    def _move(self, source: Ref, target: Ref) -> None:
        op = "LOAD" if target.region == "sram" else "STORE" if source.region == "sram" else "COPY"
        self.builder.emit(op, target, source)

    def _step(self, step: Step) -> None:
        fields = FIELDS[step.op](self, step)
        for box in step.boxes or (None,):
            self.builder.emit(mnemonic(step.op), box=None if box is None else _box(box), **fields)


def _box(box: Box) -> tuple[int, ...]:
    return box.y, box.h, box.x, box.w, box.c, box.n


def _clamp(source: Any) -> Fields:
    return {"lo": source.lo, "hi": source.hi}


def _rq8(a: Assembler, rq: Any) -> Fields:
    table = a.builder.const("RQ8", packing.rq8(rq.B, rq.m, rq.s))
    return {"table": table, "L": rq.L, **_clamp(rq)}


def _window(params: Mapping[str, Any], kernel: tuple[int, int]) -> Fields:
    names = ("kernel", "stride", "dilation")
    pairs = (kernel, params.get("stride", (1, 1)), params.get("dilation", (1, 1)))
    aux = {
        f"{name}_{axis}": v for name, pair in zip(names, pairs, strict=True) for axis, v in zip("hw", pair, strict=True)
    }
    top, left, *_ = params.get("pads", (0, 0, 0, 0))
    return {**aux, "pad_top": top, "pad_left": left}


def _conv(a: Assembler, step: Step) -> Fields:
    p, depthwise = step.params, step.op == "DWCONV2D"
    weight, groups = p["weight"], step.out.count if step.op == "DWCONV2D" else p.get("groups", 1)
    if depthwise:
        packed = a.builder.const("DW_WEIGHTS", packing.depthwise_weights(weight))
    else:
        packed = a.builder.const("CONV_WEIGHTS", packing.conv_weights(weight, groups))
    return {
        "out": a.surface(step.out),
        "in0": a.surface(step.inputs[0], zero_point=p["zx"]),
        "weight": packed,
        "aux": {**_window(p, weight.shape[1:3]), "groups": groups},
        **_rq8(a, p["rq"]),
    }


def _matmul(a: Assembler, step: Step) -> Fields:
    weight = step.params["weight"][:, None, None, :]
    packed = a.builder.const("CONV_WEIGHTS", packing.conv_weights(weight))
    return {**_unary(a, step), "weight": packed, **_rq8(a, step.params["rq"])}


def _matmuld(a: Assembler, step: Step) -> Fields:
    p = step.params
    return {
        "out": a.surface(step.out),
        "in0": a.surface(step.inputs[0], zero_point=p["za"]),
        "in1": a.surface(step.inputs[1], zero_point=p["zb"]),
        "aux": {"transpose_b": int(p["transpose_b"])},
        **_rq8(a, p["rq"]),
    }


def _unary(a: Assembler, step: Step) -> Fields:
    return {"out": a.surface(step.out), "in0": a.surface(step.inputs[0])}


def _add(a: Assembler, step: Step) -> Fields:
    p = step.params["p"]
    numbers = {"ma": p.ma, "mb": p.mb, "C": p.C, "sh": p.sh}
    return {**_unary(a, step), "in1": a.surface(step.inputs[1]), **numbers, **_clamp(p)}


def _mul(a: Assembler, step: Step) -> Fields:
    p = step.params
    return {
        "out": a.surface(step.out, zero_point=p["zp"]),
        "in0": a.surface(step.inputs[0], zero_point=p["za"]),
        "in1": a.surface(step.inputs[1], zero_point=p["zb"]),
        **{"C": p["m"], "sh": p["sh"], "lo": p["lo"], "hi": p["hi"]},
    }


def _extreme(a: Assembler, step: Step) -> Fields:
    limits = {name: step.params.get(name, default) for name, default in (("lo", -128), ("hi", 127))}
    return {**_unary(a, step), "in1": a.surface(step.inputs[1]), **limits}


def _cmp(a: Assembler, step: Step) -> Fields:
    ranks = step.params["ranks"]
    table = a.builder.const("RANKS", packing.ranks(ranks[:256], ranks[256:]))
    aux = {"relation": step.params["relation"]}
    return {**_unary(a, step), "in1": a.surface(step.inputs[1]), "table": table, "aux": aux}


def _select(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "in1": a.surface(step.inputs[1]), "in2": a.surface(step.inputs[2])}


def _div(a: Assembler, step: Step) -> Fields:
    p = step.params
    return {
        "out": a.surface(step.out, zero_point=p["zp"]),
        "in0": a.surface(step.inputs[0], zero_point=p["za"]),
        "in1": a.surface(step.inputs[1]),
        "table": a.builder.const("RATIO", packing.ratio(p["ratio"])),
        **{"sh": p["sh"], "lo": p["lo"], "hi": p["hi"]},
    }


def _reduce(a: Assembler, step: Step) -> Fields:
    p = step.params
    return {
        "out": a.surface(step.out, zero_point=p.get("zp", 0)),
        "in0": a.surface(step.inputs[0], zero_point=p.get("zx", 0)),
        "aux": {"kind": p["kind"]},
        **{"C": p.get("m", 0), "sh": p.get("sh", 0), "lo": p["lo"], "hi": p["hi"]},
    }


def _gather(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "in1": a.surface(step.inputs[1])}


def _grid_sample(a: Assembler, step: Step) -> Fields:
    p = step.params
    aux = {"mode": int(p["nearest"]), "padding": int(p["border"]), "align_corners": int(p["align_corners"])}
    out, image = (a.surface(view, zero_point=p["zero"]) for view in (step.out, step.inputs[0]))
    return {"out": out, "in0": image, "in1": a.surface(step.inputs[1]), "aux": aux}


def _csc(a: Assembler, step: Step) -> Fields:
    p = step.params["p"]
    m, b, lo, hi = (np.array(column) for column in (p.m, p.b, p.lo, p.hi))
    return {
        **_unary(a, step),
        "in1": a.surface(step.inputs[1]),
        "table": a.builder.const("CSC", packing.csc(m, b, lo, hi)),
        "sh": p.sh,
    }


def _roi_resize(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "in1": a.surface(step.inputs[1]), "aux": {"shift": step.params["shift"]}}


def _rescale(a: Assembler, step: Step) -> Fields:
    p = step.params["p"]
    return {**_unary(a, step), "table": a.builder.const("RQ16", packing.rq16(p.bias, p.m, p.sh)), **_clamp(p)}


def _lut8(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "table": a.builder.const("LUT8", packing.lut8(step.params["table"]))}


def _softmax(a: Assembler, step: Step) -> Fields:
    p = step.params
    return {
        "out": a.surface(step.out, zero_point=p["zp"]),
        "in0": a.surface(step.inputs[0]),
        "table": a.builder.const("EXP", packing.exp(p["exp"])),
        "aux": {"C": p["C"]},
        "lo": p.get("lo", -128),
        "hi": p.get("hi", 127),
    }


def _norm(a: Assembler, step: Step) -> Fields:
    p = step.params["p"]
    return {
        "out": a.surface(step.out),
        "in0": a.surface(step.inputs[0], zero_point=p.zx or 0),
        "table": a.builder.const("NORM", packing.norm(p.b, p.g)),
        "aux": {"eps": p.eps, "F": p.F},
        "sh": p.sh,
        **_clamp(p),
    }


def _norm16(a: Assembler, step: Step) -> Fields:
    p = step.params["p"]
    return {
        **_unary(a, step),
        "table": a.builder.const("NORM16", packing.norm16(np.array(p.b), np.array(p.g))),
        "aux": {"eps": p.eps, "F": p.F},
        "sh": p.sh,
        **_clamp(p),
    }


def _maxpool(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "aux": _window(step.params, step.params["kernel"])}


def _avgpool(a: Assembler, step: Step) -> Fields:
    p = step.params
    m, sh = (np.array(column) for column in zip(*p["scales"], strict=True))
    return {
        "out": a.surface(step.out, zero_point=p["zp"]),
        "in0": a.surface(step.inputs[0], zero_point=p["zx"]),
        "table": a.builder.const("POOL", packing.pool(m, sh)),
        "aux": _window(p, p["kernel"]),
        "lo": p.get("lo", -128),
        "hi": p.get("hi", 127),
    }


def _resize(a: Assembler, step: Step) -> Fields:
    aux = {}
    for name in ("rows", "columns"):
        table = np.array([row if isinstance(row, tuple) else (row, row, 2048, 0) for row in step.params[name]])
        wide = step.op == "RESIZE_BILIN/16"
        pack = packing.resize16 if wide else packing.resize
        aux[name] = a.builder.const("RESIZE16" if wide else "RESIZE", pack(table[:, :2], table[:, 2:]))
    return {**_unary(a, step), "aux": aux}


def _copy(a: Assembler, step: Step) -> Fields:
    perm = step.params.get("perm", (0, 1, 2, 3))
    return {"out": a.surface(step.out), "in0": a.surface(step.inputs[0], perm=perm)}


def _fill(a: Assembler, step: Step) -> Fields:
    return {"out": a.surface(step.out), "C": step.params["value"]}


def _quantize(a: Assembler, step: Step) -> Fields:
    out = a.surface(step.out, step.params["scale"], step.params["zero"])
    return {"out": out, "in0": a.surface(step.inputs[0])}


def _dequantize(a: Assembler, step: Step) -> Fields:
    source = a.surface(step.inputs[0], step.params["scale"], step.params["zero"])
    return {"out": a.surface(step.out), "in0": source}


def _rq16(a: Assembler, p: Scaling) -> Fields:
    return {"table": a.builder.const("RQ16", packing.rq16(p.bias, p.m, p.sh)), **_clamp(p)}


def _scaled16(a: Assembler, step: Step) -> Fields:
    """Element-wise forms whose parameters are all in their table."""
    fields = {**_unary(a, step), **_rq16(a, step.params["p"])}
    return fields if len(step.inputs) == 1 else {**fields, "in1": a.surface(step.inputs[1])}


def _conv16(a: Assembler, step: Step) -> Fields:
    p, depthwise = step.params, step.op.startswith("DW")
    weight, groups = p["weight"], step.out.count if depthwise else p.get("groups", 1)
    if depthwise:
        packed = a.builder.const("DW_WEIGHTS", packing.depthwise_weights(weight))
    else:
        packed = a.builder.const("CONV_WEIGHTS", packing.conv_weights(weight, groups))
    aux = {**_window(p, weight.shape[1:3]), "groups": groups}
    return {**_scaled16(a, step), "weight": packed, "aux": aux}


def _matmul16(a: Assembler, step: Step) -> Fields:
    weight = step.params["weight"][:, None, None, :]
    return {**_scaled16(a, step), "weight": a.builder.const("CONV_WEIGHTS", packing.conv_weights(weight))}


def _matmuld16(a: Assembler, step: Step) -> Fields:
    return {**_scaled16(a, step), "aux": {"transpose_b": int(step.params["transpose_b"])}}


def _lut16(a: Assembler, step: Step) -> Fields:
    return {**_unary(a, step), "table": a.builder.const("LUT16", packing.lut16(step.params["table"]))}


def _softmax16(a: Assembler, step: Step) -> Fields:
    p = step.params
    lo, hi = RANGE[p["dtype"]]
    table = a.builder.const("EXP16", packing.exp16(p["exp"]))
    out = a.surface(step.out, zero_point=p["zp"])
    return {"out": out, "in0": a.surface(step.inputs[0]), "table": table, "aux": {"C": p["C"]}, "lo": lo, "hi": hi}


def _avgpool16(a: Assembler, step: Step) -> Fields:
    return {**_scaled16(a, step), "aux": _window(step.params, step.params["kernel"])}


def _quantize16(a: Assembler, step: Step) -> Fields:
    return {"out": a.surface(step.out, step.params["scale"]), "in0": a.surface(step.inputs[0])}


def _dequantize16(a: Assembler, step: Step) -> Fields:
    return {"out": a.surface(step.out), "in0": a.surface(step.inputs[0], step.params["scale"])}


FIELDS: dict[str, Callable[[Assembler, Step], Fields]] = {
    **dict.fromkeys(("CONV2D", "GCONV2D", "DWCONV2D", "TCONV2D"), _conv),
    **dict.fromkeys(("ADD", "SUB"), _add),
    **dict.fromkeys(("RESIZE_NN", "RESIZE_BILIN"), _resize),
    **dict.fromkeys(("COPY", "LOAD", "STORE"), _copy),
    "MATMUL": _matmul,
    "MATMULD": _matmuld,
    "MUL": _mul,
    "MAX": _extreme,
    "MIN": _extreme,
    "CMP": _cmp,
    "SELECT": _select,
    "DIV": _div,
    "REDUCE": _reduce,
    "ARGMAX": _unary,
    **dict.fromkeys(("GATHER", "GATHER/16"), _gather),
    "GRIDSAMPLE": _grid_sample,
    "CSC": _csc,
    "ROIRESIZE": _roi_resize,
    "RESCALE": _rescale,
    "LUT8": _lut8,
    "SOFTMAX": _softmax,
    **dict.fromkeys(("LAYERNORM", "RMSNORM"), _norm),
    "MAXPOOL": _maxpool,
    "AVGPOOL": _avgpool,
    "FILL": _fill,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    **dict.fromkeys(("CONV2D/16", "GCONV2D/16", "DWCONV2D/16", "TCONV2D/16"), _conv16),
    **dict.fromkeys(("ADD/16", "SUB/16", "MUL/16", "RESCALE/16"), _scaled16),
    **dict.fromkeys(("RESIZE_NN/16", "RESIZE_BILIN/16"), _resize),
    "MATMUL/16": _matmul16,
    "MATMULD/16": _matmuld16,
    "LUT16": _lut16,
    "SOFTMAX/16": _softmax16,
    **dict.fromkeys(("LAYERNORM/16", "RMSNORM/16"), _norm16),
    "MAXPOOL/16": _maxpool,
    "AVGPOOL/16": _avgpool16,
    "COPY/16": _copy,
    "FILL/16": _fill,
    "QUANTIZE/16": _quantize16,
    "DEQUANTIZE/16": _dequantize16,
}


def contents(program: Program) -> dict[str, np.ndarray]:
    """What the ports bring: the canary everywhere, inputs in their views."""
    arrays = {f"buffer{i}": np.full(shape, CANARY, dtype) for i, (shape, dtype) in enumerate(program.buffers)}
    for x, view in program.inputs:
        arrays[f"buffer{view.buffer}"][..., view.first : view.first + view.count] = x
    return arrays


def run(program: Program, executable: Executable, isa: str, threads: int) -> list[np.ndarray]:
    """The outputs as the engine computes them."""
    results = Session(executable, isa=isa, threads=threads).run(contents(program))
    return [results[f"result{index}"] for index in program.outputs]
