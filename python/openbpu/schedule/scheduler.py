"""The scheduler: an integer graph to an executable."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from openbpu.ir.graph import Graph, Op, Value
from openbpu.ir.profile import TargetProfile
from openbpu.schedule import arena, striped, waits
from openbpu.schedule.emit import Emitter
from openbpu.schedule.limits import limited
from openbpu.schedule.options import Options
from openbpu.schedule.placement import Placement
from openbpu.schedule.program import Call, Instruction, Operand
from openbpu.schedule.stripes import covering
from openbpu.target import CpuTensor, ProgramBuilder
from openbpu.target.records import INSTRUCTIONS, NO_ID, VERSIONS

_DEFAULT = Options()


def schedule(graph: Graph, profile: TargetProfile, options: Options = _DEFAULT) -> bytes:
    """The bytes of an executable for `profile` that computes `graph`.

    Operators keep their order; concatenations, slices, reshapes and some transpositions become views; buffers are
    shared by lifetime. docs/scheduling.md says how the rest is decided. The same arguments give the same bytes. Raises
    UnsupportedError for a tensor beyond the limits of an instruction and a layer that does not fit into the SRAM in any
    split.
    """
    builder = ProgramBuilder(graph.name)
    for value in graph.inputs:
        builder.input(value.name, value.onnx_shape, value.dtype, *_port_parameters(value), flags=value.flags)
    for value in graph.outputs:
        builder.output(value.name, value.onnx_shape, value.dtype, *_port_parameters(value))
    placement = Placement(graph)
    emitter = Emitter(builder, placement)
    layers: dict[str, dict[str, Any]] = {}
    code: list[Instruction] = []
    for op in graph.ops:
        found = emitter.instructions(op, len(layers) + 1)
        if found:
            layers[str(len(layers) + 1)] = _layer(op)
            code += found
    arena.reuse_in_place(code)
    sram = arena.Plan(0, 0)
    notes: dict[str, Any] = {}
    options.check(profile)
    if options.optimize_level != "O0":
        code, sram, notes = striped.striped(code, builder, profile.sram_bytes * options.core_num, options)
    if options.max_time_per_fc:
        code = limited(code, profile, options.max_time_per_fc)
    memory = arena.plan(arena.lifetimes(code))
    waits.insert(code, {name: info["queue"] for name, info in INSTRUCTIONS.items()})
    _write(builder, code)
    meta = {
        "layers": layers,
        "march": profile.name,
        **({} if profile.preset else {"profile": profile.to_dict()}),
        "options": {
            "optimize_level": options.optimize_level,
            "core_num": options.core_num,
            "max_time_per_fc": options.max_time_per_fc,
        },
        "versions": VERSIONS,
        "split": _split(graph),
        **graph.notes,
        "memory": {
            "ddr_bytes": memory.bytes,
            "lower_bound_bytes": memory.lower_bound,
            "over_percent": memory.over_percent,
            "sram_bytes": sram.bytes,
            "sram_lower_bound_bytes": sram.lower_bound,
            "sram_over_percent": sram.over_percent,
            **notes,
        },
    }
    return builder.finish(memory.bytes, meta, sram.bytes)


def _port_parameters(value: Value) -> tuple[float, int]:
    if value.quant is None:
        return 0.0, 0
    return value.quant.s, value.quant.z + (128 if value.dtype == "uint8" else 0)


def _layer(op: Op) -> dict[str, Any]:
    return {"name": op.origin[-1] if op.origin else op.outputs[0].name, "op": _kind(op), "nodes": list(op.origin)}


def _kind(op: Op) -> str:
    return str(op.attrs["op"]) if op.kind == "cpu" else op.kind


def _write(builder: ProgramBuilder, code: list[Instruction]) -> None:
    opened: set[int] = set()
    for i in code:
        if i.layer not in opened:  # stripes of several layers take turns
            opened.add(i.layer)
            builder.emit("MARK", layer=i.layer)
        if i.call is not None:
            _write_call(builder, i.layer, i.call)
            continue
        in0, in1, in2 = (None if operand is None else operand.surface(builder) for operand in (i.in0, i.in1, i.in2))
        builder.emit(
            i.op,
            i.out.surface(builder),
            in0,
            in1,
            in2,
            weight=NO_ID if i.weight is None else i.weight,
            table=NO_ID if i.table is None else i.table,
            aux=i.aux,
            box=i.box,
            flags=i.flags,
            wait=i.wait,
            **{"layer": i.layer, **i.fields},
        )


def _write_call(builder: ProgramBuilder, layer: int, call: Call) -> None:
    inputs = [builder.const_tensor(i) if isinstance(i, np.ndarray) else _tensor(builder, i) for i in call.inputs]
    outputs = [_tensor(builder, operand) for operand in call.outputs]
    builder.cpucall(call.kernel, inputs=inputs, outputs=outputs, attributes=dict(call.attributes), layer=layer)


def _tensor(builder: ProgramBuilder, operand: Operand | None) -> CpuTensor | None:
    if operand is None:
        return None
    memory, value = operand.place.memory, operand.value
    port = memory.index if memory.region in ("in", "out") else 0
    base, home = memory.root.address + operand.place.offset, 0
    if operand.home is not None:
        rows, row = covering(memory.root.size)
        start = operand.home.memory.address + operand.home.offset
        home = builder.surface("home", (1, rows, 1, row), "uint8", base=start).id + 1
    return builder.tensor(memory.region, value.onnx_shape, value.dtype, base=base, port=port, home=home)


def _split(graph: Graph) -> dict[str, Any]:
    """How the nodes of the model are divided, with the reason for each on the CPU."""
    counts = Counter(decision.where for decision in graph.decisions)
    sides = [op.kind == "cpu" for op in graph.ops]
    segments = sum(now and not before for before, now in zip([False, *sides], sides, strict=False))
    reasons = [asdict(decision) for decision in graph.decisions if decision.where == "CPU"]
    return {
        "bpu": counts["BPU"],
        "cpu": counts["CPU"],
        "none": counts["none"],
        "segments": segments,
        "reasons": reasons,
    }
