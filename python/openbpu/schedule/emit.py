"""Ops to instructions: one function per kind of ir.graph.KINDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import REDUCTIONS, RELATIONS, Op, Value
from openbpu.schedule.memory import Extents, Place, dense_strides, reshaped
from openbpu.schedule.placement import Placement
from openbpu.schedule.program import MAX_EXTENT, Call, Instruction, Operand
from openbpu.target import ProgramBuilder, packing

_Emitter = Callable[["Emitter", Op], Iterator[Instruction]]
_EMITTERS: dict[str, _Emitter] = {}
_T = TypeVar("_T")


def _emits(*kinds: str) -> Callable[[_Emitter], _Emitter]:
    def register(function: _Emitter) -> _Emitter:
        _EMITTERS.update(dict.fromkeys(kinds, function))
        return function

    return register


class Emitter:
    """Turns the ops of a placed graph into instructions of one layer each; constants go to the builder at once."""

    def __init__(self, builder: ProgramBuilder, placement: Placement) -> None:
        self.builder = builder
        self.placement = placement
        self.layer = 0

    def instructions(self, op: Op, layer: int) -> list[Instruction]:
        """The instructions of `op`; none if it is a view."""
        self.layer = layer
        if op in self.placement.views:
            return []
        found = list(_EMITTERS[op.kind](self, op))
        for instruction in found:
            instruction.name = op.origin[-1] if op.origin else op.outputs[0].name
            if instruction.call is None:
                _check_extents(instruction, op)
        return found

    def operand(self, value: Value, place: Place | None = None) -> Operand:
        return Operand(value, self.placement.places[value] if place is None else place, value.shape)

    def dense(self, value: Value, extents: Extents) -> Operand:
        """A CPU tensor as an operand of an instruction: its elements in order, under these extents."""
        constant = self.placement.constants.get(value)
        if constant is None:
            held = self.placement.places[value]
        else:
            data = np.ascontiguousarray(constant).tobytes()
            item = self.builder.const("RAW", (data, (len(data),)))
            held = Placement.constant(value, self.builder.const_offset(item))
        return Operand(value, replace(held, strides=dense_strides(extents, value.item_size)), extents)

    def pixels(self, value: Value, extents: Extents) -> Operand:
        """An image under these extents: an input of the graph, dense, or what lies in memory as NHWC."""
        return self.dense(value, extents) if value.on_cpu else self.operand(value)

    def cpu_operand(self, value: Value) -> Operand | np.ndarray:
        """A CPU tensor; the array itself if it is constant."""
        constant = self.placement.constants.get(value)
        return self.operand(value) if constant is None else constant

    def binary(self, name: str, op: Op, **options: object) -> Instruction:
        """An instruction with the operands of `op`; `fields` are those of the instruction word."""
        inputs = [self.operand(value) for value in op.inputs]
        return Instruction(name, self.layer, self.operand(op.outputs[0]), *inputs, **options)  # type: ignore[arg-type]

    def copy(self, out: Operand, source: Operand) -> Instruction:
        return Instruction("COPY", self.layer, out, source)

    def reserve(self, op: Op) -> None:
        """Makes the constant of an op whose result stays in region "const"."""
        place = self.placement.places[op.outputs[0]]
        data = np.ascontiguousarray(op.consts["data"], op.outputs[0].dtype).tobytes()
        item = self.builder.const("RAW", (data, (len(data),)))
        place.memory.address = self.builder.const_offset(item)


def _check_extents(instruction: Instruction, op: Op) -> None:
    for operand in (instruction.out, *instruction.reads):
        if max(operand.extents) > MAX_EXTENT:
            raise UnsupportedError(
                f"extents of an instruction are at most {MAX_EXTENT}",
                where=f"node '{op.origin[-1] if op.origin else op.outputs[0].name}'",
                seen=f"{operand.extents} (n, h, w, c)",
                remedy="split the tensor, or move reshapes behind this node",
            )


def _clamp(op: Op) -> dict[str, int]:
    return {"lo": op.attrs["lo"], "hi": op.attrs["hi"]}


def _geometry(op: Op, kernel: tuple[int, int]) -> dict[str, int]:
    """The fields that ConvAux and PoolAux share."""
    values = {"kernel": kernel, "stride": op.attrs["stride"], "dilation": op.attrs["dilation"]}
    aux = {f"{name}_{axis}": pair[i] for name, pair in values.items() for i, axis in enumerate("hw")}
    return {**aux, "pad_top": op.attrs["pads"][0], "pad_left": op.attrs["pads"][1]}


# ---- multiply-accumulate


@_emits("conv2d", "dwconv2d", "tconv2d")
def _convolution(e: Emitter, op: Op) -> Iterator[Instruction]:
    weight = op.consts["weight"]
    if op.kind == "dwconv2d":
        name, groups = "DWCONV2D", len(weight)
        packed = e.builder.const("DW_WEIGHTS", packing.depthwise_weights(weight))
    else:
        groups = op.attrs["groups"]
        name = "TCONV2D" if op.kind == "tconv2d" else "CONV2D" if groups == 1 else "GCONV2D"
        packed = e.builder.const("CONV_WEIGHTS", packing.conv_weights(weight, groups))
    aux = {**_geometry(op, weight.shape[1:3]), "groups": groups}
    yield e.binary(name, op, weight=packed, **_scaled(e, op), aux=aux)


@_emits("matmul")
def _matmul(e: Emitter, op: Op) -> Iterator[Instruction]:
    weight = op.consts["weight"]
    packed = e.builder.const("CONV_WEIGHTS", packing.conv_weights(weight[:, None, None, :]))
    yield e.binary("MATMUL", op, weight=packed, **_scaled(e, op))


@_emits("matmul_dynamic")
def _matmul_dynamic(e: Emitter, op: Op) -> Iterator[Instruction]:
    aux = {"transpose_b": int(op.attrs["transpose_b"])}
    yield e.binary("MATMULD", op, **_scaled(e, op), aux=aux)


def _is_wide(op: Op) -> bool:
    """A 16-bit form, which ends in an RQ16 table."""
    return op.inputs[0].dtype == "int16"


def _scaled(e: Emitter, op: Op) -> dict[str, Any]:
    """The requantisation of a sum of products: table and fields."""
    if _is_wide(op):
        return _rq16(e, op)
    table = e.builder.const("RQ8", packing.rq8(op.consts["B"], op.consts["m"], op.consts["s"]))
    return {"table": table, "fields": {"L": op.attrs["L"], **_clamp(op)}}


def _rq16(e: Emitter, op: Op) -> dict[str, Any]:
    table = e.builder.const("RQ16", packing.rq16(op.consts["bias"], op.consts["m"], op.consts["sh"]))
    return {"table": table, "fields": _clamp(op)}


# ---- element-wise


@_emits("add")
def _add(e: Emitter, op: Op) -> Iterator[Instruction]:
    if _is_wide(op):
        yield e.binary("SUB" if op.attrs["negative"] else "ADD", op, **_rq16(e, op))
        return
    fields = {name: op.attrs[name] for name in ("ma", "mb", "C", "sh", "lo", "hi")}
    yield e.binary("SUB" if fields["mb"] < 0 else "ADD", op, fields=fields)


@_emits("mul")
def _mul(e: Emitter, op: Op) -> Iterator[Instruction]:
    scaled = {"fields": {"C": op.attrs["m"], "sh": op.attrs["sh"], **_clamp(op)}} if not _is_wide(op) else _rq16(e, op)
    yield e.binary("MUL", op, **scaled)


@_emits("extreme")
def _extreme(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("MAX" if op.attrs["largest"] else "MIN", op, fields=_clamp(op))


@_emits("compare")
def _compare(e: Emitter, op: Op) -> Iterator[Instruction]:
    ranks = op.consts["ranks"]
    table = e.builder.const("RANKS", packing.ranks(ranks[:256], ranks[256:]))
    yield e.binary("CMP", op, table=table, aux={"relation": RELATIONS[op.attrs["relation"]]})


@_emits("select")
def _select(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("SELECT", op)


@_emits("divide")
def _divide(e: Emitter, op: Op) -> Iterator[Instruction]:
    table = e.builder.const("RATIO", packing.ratio(op.consts["ratio"]))
    yield e.binary("DIV", op, table=table, fields={"sh": op.attrs["sh"], **_clamp(op)})


@_emits("reduce")
def _reduce(e: Emitter, op: Op) -> Iterator[Instruction]:
    fields = {"C": op.attrs["m"], "sh": op.attrs["sh"], **_clamp(op)}
    yield e.binary("REDUCE", op, aux={"kind": REDUCTIONS[op.attrs["kind"]]}, fields=fields)


@_emits("argmax")
def _argmax(e: Emitter, op: Op) -> Iterator[Instruction]:
    """Indices lie dense in the order of the pixels, as a CPU tensor."""
    source, value = e.operand(op.inputs[0]), op.outputs[0]
    yield Instruction("ARGMAX", e.layer, e.dense(value, (*source.extents[:3], 1)), source)


@_emits("gather")
def _gather(e: Emitter, op: Op) -> Iterator[Instruction]:
    out = e.operand(op.outputs[0])
    indices = e.dense(op.inputs[1], (1, 1, out.extents[2], 1))
    yield Instruction("GATHER", e.layer, out, e.operand(op.inputs[0]), indices)


@_emits("grid_sample")
def _grid_sample(e: Emitter, op: Op) -> Iterator[Instruction]:
    out = e.operand(op.outputs[0])
    grid = e.dense(op.inputs[1], (*out.extents[:3], 2))
    aux = {"mode": int(op.attrs["nearest"]), "padding": int(op.attrs["border"])}
    aux["align_corners"] = int(op.attrs["align_corners"])
    yield Instruction("GRIDSAMPLE", e.layer, out, e.operand(op.inputs[0]), grid, aux=aux)


@_emits("csc")
def _csc(e: Emitter, op: Op) -> Iterator[Instruction]:
    """Luma and chroma of a colour image; of whole pixels, their first channel and the two behind it."""
    n, h, w, _ = op.outputs[0].shape
    source, form = op.inputs[0], op.attrs["form"]
    if form == "nv12":
        luma, chroma = e.pixels(source, (n, h, w, 1)), e.pixels(op.inputs[1], (n, h // 2, w // 2, 2))
    else:
        whole = e.pixels(source, (n, h, w, 3)) if form == "pixels" else e.operand(source)
        luma = Operand(source, whole.place.part(3, 0), (n, h, w, 1))
        chroma = Operand(source, whole.place.part(3, 1), (n, h, w, 2))
    table = e.builder.const("CSC", packing.csc(*(op.consts[name] for name in ("m", "b", "lo", "hi"))))
    fields = {"sh": op.attrs["sh"]}
    yield Instruction("CSC", e.layer, e.operand(op.outputs[0]), luma, chroma, table=table, fields=fields)


@_emits("roi_resize")
def _roi_resize(e: Emitter, op: Op) -> Iterator[Instruction]:
    out, (image, regions) = e.operand(op.outputs[0]), op.inputs
    roi = e.dense(regions, (out.extents[0], 1, 1, 4))
    aux = {"shift": op.attrs["shift"]}
    yield Instruction("ROIRESIZE", e.layer, out, e.dense(image, op.attrs["source"]), roi, aux=aux)


@_emits("read_image")
def _read_image(e: Emitter, op: Op) -> Iterator[Instruction]:
    out = e.operand(op.outputs[0])
    yield e.copy(out, e.pixels(op.inputs[0], out.extents))


@_emits("rescale")
def _rescale(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("RESCALE", op, **_rq16(e, op))


@_emits("lut8")
def _lut8(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("LUT8", op, table=e.builder.const("LUT8", packing.lut8(op.consts["table"])))


@_emits("lut16")
def _lut16(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("LUT16", op, table=e.builder.const("LUT16", packing.lut16(op.consts["table"])))


@_emits("softmax")
def _softmax(e: Emitter, op: Op) -> Iterator[Instruction]:
    packed = packing.exp16 if _is_wide(op) else packing.exp
    table = e.builder.const("EXP16" if _is_wide(op) else "EXP", packed(op.consts["exp"]))
    yield e.binary("SOFTMAX", op, table=table, aux={"C": op.attrs["C"]}, fields=_clamp(op))


@_emits("norm")
def _norm(e: Emitter, op: Op) -> Iterator[Instruction]:
    packed = packing.norm16 if _is_wide(op) else packing.norm
    table = e.builder.const("NORM16" if _is_wide(op) else "NORM", packed(op.consts["b"], op.consts["g"]))
    name = "LAYERNORM" if op.attrs["zero"] is None else "RMSNORM"
    aux = {"eps": op.attrs["eps"], "F": op.attrs["F"]}
    yield e.binary(name, op, table=table, aux=aux, fields={"sh": op.attrs["sh"], **_clamp(op)})


# ---- windows


@_emits("maxpool")
def _maxpool(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("MAXPOOL", op, aux=_geometry(op, op.attrs["kernel"]))


@_emits("avgpool")
def _avgpool(e: Emitter, op: Op) -> Iterator[Instruction]:
    flags = ("COUNT_PAD",) if op.attrs["count_pad"] else ()
    if _is_wide(op):
        scaled = _rq16(e, op)
    else:
        table = e.builder.const("POOL", packing.pool(op.consts["m"], op.consts["sh"]))
        scaled = {"table": table, "fields": _clamp(op)}
    yield e.binary("AVGPOOL", op, **scaled, aux=_geometry(op, op.attrs["kernel"]), flags=flags)


@_emits("resize_nearest")
def _resize_nearest(e: Emitter, op: Op) -> Iterator[Instruction]:
    aux = {}
    for name in ("rows", "columns"):
        index = np.repeat(op.consts[name][:, None], 2, axis=1)
        weight = np.tile(np.array([2048, 0], np.int16), (len(index), 1))
        aux[name] = e.builder.const("RESIZE", packing.resize(index, weight))
    yield e.binary("RESIZE_NN", op, aux=aux, row_taps=op.consts["rows"][:, None])


@_emits("resize_bilinear")
def _resize_bilinear(e: Emitter, op: Op) -> Iterator[Instruction]:
    name, pack = ("RESIZE16", packing.resize16) if _is_wide(op) else ("RESIZE", packing.resize)
    tables = [pack(op.consts[f"{axis}_index"], op.consts[f"{axis}_weight"]) for axis in ("row", "column")]
    rows, columns = (e.builder.const(name, table) for table in tables)
    aux = {"rows": rows, "columns": columns}
    yield e.binary("RESIZE_BILIN", op, aux=aux, row_taps=op.consts["row_index"])


# ---- moves


@_emits("constant")
def _constant(e: Emitter, op: Op) -> Iterator[Instruction]:
    """Only constants that are part of a concatenation are moved; others are read where they are."""
    out = e.operand(op.outputs[0])
    if out.place.memory.region == "const":
        e.reserve(op)
        return
    data = np.ascontiguousarray(op.consts["data"], op.outputs[0].dtype).tobytes()
    item = e.builder.const("RAW", (data, (len(data),)))
    yield e.copy(out, replace(out, place=Placement.constant(op.outputs[0], e.builder.const_offset(item))))


@_emits("concat")
def _concat(e: Emitter, op: Op) -> Iterator[Instruction]:
    for index, part in enumerate(op.inputs):
        target = e.placement.copies.get((op, index))
        if target is not None:
            yield e.copy(e.operand(part, target), e.operand(part))


@_emits("slice")
def _slice(e: Emitter, op: Op) -> Iterator[Instruction]:
    value, out = op.inputs[0], e.operand(op.outputs[0])
    place = e.placement.places[value].part(op.attrs["axis"], op.attrs["start"], op.attrs["step"])
    yield e.copy(out, Operand(value, place, out.extents))


@_emits("reshape")
def _reshape(e: Emitter, op: Op) -> Iterator[Instruction]:
    """A copy of elements in order: under the extents of the input, with the bytes of the result."""
    value, out = op.inputs[0], op.outputs[0]
    target = reshaped(e.placement.places[out], out.shape, value.shape, out.item_size)
    assert target is not None, "a reshape that is no view has a dense buffer of its own"
    yield e.copy(e.operand(value, target), e.operand(value))


@_emits("transpose")
def _transpose(e: Emitter, op: Op) -> Iterator[Instruction]:
    value, out = op.inputs[0], e.operand(op.outputs[0])
    yield e.copy(out, Operand(value, e.placement.places[value].permuted(op.attrs["perm"]), out.extents))


@_emits("expand")
def _expand(e: Emitter, op: Op) -> Iterator[Instruction]:
    value, out = op.inputs[0], e.operand(op.outputs[0])
    place = e.placement.places[value]
    strides = [s if have == want else 0 for s, have, want in zip(place.strides, value.shape, out.extents, strict=True)]
    yield e.copy(out, Operand(value, place.with_strides(strides), out.extents))


@_emits("pad")
def _pad(e: Emitter, op: Op) -> Iterator[Instruction]:
    out = e.operand(op.outputs[0])
    yield Instruction("FILL", e.layer, out, fields={"C": op.attrs["value"]})
    inner = out.place
    for axis, (before, _) in enumerate(op.attrs["pads"]):
        inner = inner.part(axis, before)
    source = e.operand(op.inputs[0])
    yield e.copy(Operand(op.outputs[0], inner, source.extents), source)


@_emits("depth_to_space")
def _depth_to_space(e: Emitter, op: Op) -> Iterator[Instruction]:
    block, source, out = op.attrs["block"], e.operand(op.inputs[0]), e.operand(op.outputs[0])
    n, h, w, c = out.extents
    extents = (n, h // block, w // block, c)
    for by in range(block):
        for bx in range(block):
            position = by * block + bx
            dcr = op.attrs["mode"] == "DCR"
            channels = source.place.part(3, position * c) if dcr else source.place.part(3, position, block * block)
            target = out.place.part(1, by, block).part(2, bx, block)
            yield e.copy(Operand(out.value, target, extents), Operand(source.value, channels, extents))


@_emits("space_to_depth")
def _space_to_depth(e: Emitter, op: Op) -> Iterator[Instruction]:
    block, source, out = op.attrs["block"], e.operand(op.inputs[0]), e.operand(op.outputs[0])
    n, h, w, _ = out.extents
    c = source.extents[3]
    for by in range(block):
        for bx in range(block):
            pixels = source.place.part(1, by, block).part(2, bx, block)
            target = out.place.part(3, (by * block + bx) * c)
            yield e.copy(Operand(out.value, target, (n, h, w, c)), Operand(source.value, pixels, (n, h, w, c)))


# ---- CPU operators


@_emits("cpu")
def _cpu(e: Emitter, op: Op) -> Iterator[Instruction]:
    inputs = _positioned(op.attrs["operands"], [e.cpu_operand(value) for value in op.inputs])
    outputs = _positioned(op.attrs["results"], [e.operand(value) for value in op.outputs])
    call = Call(op.attrs["op"], inputs, outputs, op.attrs["attributes"])
    yield Instruction("CPUCALL", e.layer, call.writes[0], call=call)


@_emits("alias")
def _alias(e: Emitter, op: Op) -> Iterator[Instruction]:
    """Another shape of a tensor that is a port: a copy."""
    out = e.operand(op.outputs[0])
    yield Instruction("CPUCALL", e.layer, out, call=Call("Identity", (e.cpu_operand(op.inputs[0]),), (out,), {}))


def _positioned(positions: Sequence[int], items: Sequence[_T]) -> tuple[_T | None, ...]:
    placed: list[_T | None] = [None] * (max(positions) + 1)
    for position, item in zip(positions, items, strict=True):
        placed[position] = item
    return tuple(placed)


# ---- borders of the graph


@_emits("quantize")
def _quantize(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("QUANTIZE", op)


@_emits("dequantize")
def _dequantize(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("DEQUANTIZE", op)


@_emits("read_port", "write_port")
def _port(e: Emitter, op: Op) -> Iterator[Instruction]:
    yield e.binary("COPY", op)
