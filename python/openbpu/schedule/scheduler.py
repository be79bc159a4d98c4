"""The scheduler: an integer graph to an executable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from openbpu.ir.graph import Graph, Op, Value
from openbpu.ir.profile import TargetProfile
from openbpu.schedule import arena, striped, waits
from openbpu.schedule.emit import Emitter
from openbpu.schedule.flow import Flow
from openbpu.schedule.limits import limited
from openbpu.schedule.options import Options
from openbpu.schedule.partition import Partitioner
from openbpu.schedule.placement import Placement
from openbpu.schedule.program import QUEUES, Call, Instruction, Operand, task_of
from openbpu.schedule.stripes import covering
from openbpu.target import CpuTensor, ProgramBuilder
from openbpu.target.cycles import Task
from openbpu.target.records import NO_ID, VERSIONS

_DEFAULT = Options()


def schedule(graph: Graph, profile: TargetProfile, options: Options = _DEFAULT) -> bytes:
    """The bytes of an executable for `profile` that computes `graph`; what Scheduler says."""
    scheduler = Scheduler(graph, profile)
    return scheduler.written(scheduler.draft(options))


@dataclass(eq=False)
class Draft:
    """A program that is divided and has its place in SRAM; `written` makes a file of it."""

    options: Options
    code: list[Instruction]
    sram: arena.Plan
    notes: dict[str, Any]
    waits: bool = False  # whether instructions have theirs

    @property
    def likeness(self) -> tuple[Any, ...]:
        """Equal for drafts of one graph that become the same instructions."""
        return tuple((i.op, i.layer, i.box, *(_whereabouts(o) for o in (*i.reads, *i.writes))) for i in self.code)


class Scheduler:
    """A graph that becomes programs for a machine, in as many ways as are asked for.

    Operators keep their order; concatenations, slices, reshapes and some transpositions become views; buffers are
    shared by lifetime. docs/scheduling.md says how the rest is decided. The same arguments give the same bytes. Raises
    UnsupportedError for a tensor beyond the limits of an instruction.
    """

    def __init__(self, graph: Graph, profile: TargetProfile) -> None:
        self.graph, self.profile = graph, profile
        self._builder = ProgramBuilder(graph.name)
        for value in graph.inputs:
            self._builder.input(value.name, value.onnx_shape, value.dtype, *_port_parameters(value), flags=value.flags)
        for value in graph.outputs:
            self._builder.output(value.name, value.onnx_shape, value.dtype, *_port_parameters(value))
        emitter = Emitter(self._builder, Placement(graph))
        self._layers: dict[str, dict[str, Any]] = {}
        self._code: list[Instruction] = []
        for op in graph.ops:
            found = emitter.instructions(op, len(self._layers) + 1)
            if found:
                self._layers[str(len(self._layers) + 1)] = _layer(op)
                self._code += found
        arena.reuse_in_place(self._code)
        weights = [self._builder.const_size(i.weight) if i.weight is not None else 0 for i in self._code]
        self._partitioner = Partitioner(Flow(self._code, weights))

    def draft(self, options: Options, sram_bytes: int | None = None) -> Draft:
        """The program for so much SRAM, default all that the profile has.

        Raises UnsupportedError for a layer that does not fit into it in any split.
        """
        options.check(self.profile)
        room = self.profile.sram_bytes * options.core_num if sram_bytes is None else sram_bytes
        code, sram = list(self._code), arena.Plan(0, 0)
        notes: dict[str, Any] = {}
        if options.optimize_level != "O0":
            code, sram, notes = striped.striped(self._partitioner, room, options)
        if options.max_time_per_fc:
            code = limited(code, self.profile, options.max_time_per_fc)
        return Draft(options, code, sram, notes)

    def tasks(self, draft: Draft) -> Iterator[Task]:
        """The instructions as the estimate of their time needs them (openbpu.perf.bound)."""
        self._ordered(draft)
        yield from map(task_of, draft.code)

    def _ordered(self, draft: Draft) -> arena.Plan:
        """Gives buffers in DDR their addresses, and instructions their waits."""
        memory = arena.plan(arena.lifetimes(draft.code))
        if not draft.waits:
            waits.insert(draft.code, QUEUES)
            draft.waits = True
        return memory

    def written(self, draft: Draft) -> bytes:
        """The file."""
        options, sram = draft.options, draft.sram
        memory = self._ordered(draft)
        builder = self._builder.copy()
        _write(builder, draft.code)
        meta = {
            "layers": self._layers,
            "march": self.profile.name,
            **({} if self.profile.preset else {"profile": self.profile.to_dict()}),
            "options": {
                "optimize_level": options.optimize_level,
                "core_num": options.core_num,
                "max_time_per_fc": options.max_time_per_fc,
            },
            "versions": VERSIONS,
            "split": _split(self.graph),
            **self.graph.notes,
            "memory": {
                "ddr_bytes": memory.bytes,
                "lower_bound_bytes": memory.lower_bound,
                "over_percent": memory.over_percent,
                "sram_bytes": sram.bytes,
                "sram_lower_bound_bytes": sram.lower_bound,
                "sram_over_percent": sram.over_percent,
                **draft.notes,
            },
        }
        return builder.finish(memory.bytes, meta, sram.bytes)


def _whereabouts(operand: Operand) -> tuple[Any, ...]:
    root = operand.place.memory.root
    where = root.address if root.region == "sram" else id(root)  # others get their addresses when they are written
    return root.region, where, operand.place.offset, operand.place.strides, operand.roll


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
