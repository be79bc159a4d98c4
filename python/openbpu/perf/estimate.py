"""From an executable and a profile to the report."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from openbpu.errors import ConfigError
from openbpu.ir.profile import PROFILES, TargetProfile, profile
from openbpu.perf.cost import Cost
from openbpu.perf.program import Instruction, Layer, Program, read
from openbpu.perf.replay import QUEUES, Slot, Timeline, replay
from openbpu.perf.report import Event, LayerCost, PerfReport
from openbpu.runtime import Executable

_LANES = {"LD": "LOAD", "ST": "STORE", "MAC": "TAE", "CPU": "CPU"}
_AUXILIARY = frozenset({"MAXPOOL", "AVGPOOL", "RESIZE_NN", "RESIZE_BILIN", "GRIDSAMPLE", "ROIRESIZE", "CSC"})
_TRANSFORMS = frozenset({"COPY", "FILL", "GATHER"})
_INSTRUCTION_BYTES = 64
Span = tuple[int, int]


def estimate(executable: Executable | bytes, target: TargetProfile | str | None = None, entry: str = "") -> PerfReport:
    """What one inference of `executable` would take on `target`: a profile, the name of a preset, or the path of TOML.

    Default is the profile that it was compiled for. DDR bytes are exact; times are an estimate
    (docs/performance-estimate.md). Raises ConfigError for an unknown profile and for one whose SRAM is too small for
    the program, ExecutableError for bytes that are no executable and for an unknown entry.
    """
    executable = executable if isinstance(executable, Executable) else Executable.from_bytes(executable)
    program = read(executable, entry)
    machine = _machine(program, target)
    machine = machine.joined(_cores(program, machine))
    if program.sram_bytes > machine.sram_bytes:
        raise ConfigError(
            f"the program needs {program.sram_bytes:,} bytes of SRAM",
            where=f"profile {machine.name}",
            seen=f"{machine.sram_bytes:,}",
            remedy="compile the model for this profile",
        )
    return _report(program, machine, replay(program.instructions, machine))


def fastest(executables: Iterable[Executable], target: TargetProfile | str) -> tuple[int, PerfReport]:
    """Index and report of the executable that runs fastest on `target`, of those whose SRAM fits.

    All are the same model, compiled in several ways. Raises ConfigError if none fits.
    """
    machine = profile(target) if isinstance(target, str) else target
    candidates = [
        (report.latency_us, index, report)
        for index, executable in enumerate(executables)
        if read(executable).sram_bytes <= machine.sram_bytes
        for report in [estimate(executable, machine)]
    ]
    if not candidates:
        raise ConfigError(
            "no program fits the SRAM", where=f"profile {machine.name}", seen=f"{machine.sram_bytes:,} bytes"
        )
    _, index, report = min(candidates, key=lambda c: c[:2])
    return index, report


def _machine(program: Program, target: TargetProfile | str | None) -> TargetProfile:
    if target is None:
        recorded = program.meta.get("profile")
        if isinstance(recorded, dict):
            return TargetProfile.from_dict(recorded, "section META, profile")
        if program.march not in PROFILES:
            raise ConfigError(
                "the file does not say for which profile it was compiled", where="march", remedy="name one"
            )
        return PROFILES[program.march]
    return profile(target) if isinstance(target, str) else target


def _report(program: Program, machine: TargetProfile, timeline: Timeline) -> PerfReport:
    code, costs, slots = program.instructions, timeline.costs, timeline.slots
    us = 1e6 / machine.clock_hz
    idle = _complement(_union(slot.compute for slot in slots), timeline.makespan)
    exposed = [_overlap(slot.port, idle) for slot in slots]
    busy = {q: us * sum(c.compute or c.port for c, i in zip(costs, code, strict=True) if i.queue == q) for q in QUEUES}
    busy["DDR"] = us * sum(c.port for c in costs)
    macs = sum(i.macs for i in code if i.queue == "MAC")
    bounds = {
        "MAC array": busy["MAC"],
        "MACs at peak": 1e6 * macs / machine.macs_per_second,
        "vector unit": busy["VEC"],
        "DDR port": busy["DDR"],
        "CPU": busy["CPU"],
    }
    members = defaultdict(list)
    for k, i in enumerate(code):
        members[i.layer].append(k)
    return PerfReport(
        model=program.name,
        profile=machine,
        versions=_recorded(program, "versions"),
        options=_recorded(program, "options"),
        launch_us=1e6 * machine.launch_seconds,
        makespan_us=us * timeline.makespan,
        macs=program.macs,
        mac_classes=_classes(code),
        convolutions=sum(layer.op in ("conv2d", "dwconv2d", "tconv2d") for layer in program.layers.values()),
        busy_us=busy,
        exposed_us=us * sum(exposed),
        read_bytes=sum(i.read_bytes for i in code),
        write_bytes=sum(i.write_bytes for i in code),
        ideal_bytes=program.ideal_bytes,
        sram_bytes=max((t.base + t.span for i in code for t in i.transfers if t.region == "sram"), default=0),
        ddr_bytes=program.ddr_bytes,
        input_bytes=program.input_bytes,
        output_bytes=program.output_bytes,
        constant_bytes=program.constant_bytes,
        code_bytes=_INSTRUCTION_BYTES * len(code),
        bounds_us=bounds,
        layers=tuple(
            _layer(layer, [(code[k], costs[k], slots[k], exposed[k]) for k in members[layer.id]], machine)
            for layer in program.layers.values()
        ),
        events=tuple(_event(i, c, s, us) for i, c, s in zip(code, costs, slots, strict=True)),
    )


def _cores(program: Program, machine: TargetProfile) -> int:
    """The cores that the program was compiled for."""
    cores = _recorded(program, "options").get("core_num", 1)
    if not isinstance(cores, int) or not 1 <= cores <= machine.cores:
        rule = f"the program was compiled for other cores than the {machine.cores} there are"
        raise ConfigError(
            rule, where=f"profile {machine.name}", seen=cores, remedy="compile the model for this profile"
        )
    return cores


def _recorded(program: Program, key: str) -> dict[str, Any]:
    value = program.meta.get(key)
    return value if isinstance(value, dict) else {}


def _classes(code: Sequence[Instruction]) -> dict[str, int]:
    """MACs by the widths of their operands; two run-time matrices of int16 are a product of int16 by int16."""
    found = {"double int8": 0, "feature int16 weight int8": 0, "feature int8 weight int16": 0, "double int16": 0}
    for i in code:
        if i.queue == "MAC":
            both = "double int16" if i.op == "MATMULD" else "feature int16 weight int8"
            found[both if i.wide else "double int8"] += i.macs
    return found


def _layer(layer: Layer, parts: Sequence[tuple[Instruction, Cost, Slot, int]], machine: TargetProfile) -> LayerCost:
    us = 1e6 / machine.clock_hz
    units = {queue: us * sum(c.compute for i, c, _, _ in parts if i.queue == queue) for queue in ("MAC", "VEC", "CPU")}
    ports = {writes: us * sum(_share(i, c, writes) for i, c, _, _ in parts) for writes in (False, True)}
    issue = us * sum(c.issue for _, c, _, _ in parts)
    exposed = us * sum(e for *_, e in parts)
    computing = us * _length(_union((s.start, s.compute[1]) for i, _, s, _ in parts if i.queue not in ("LD", "ST")))
    macs = sum(i.macs for i, _, _, _ in parts if i.queue == "MAC")
    slots = sum(c.slots for _, c, _, _ in parts)
    needed = sum(i.needed_bytes for i, _, _, _ in parts if i.queue != "CPU")
    rate = machine.ddr_bytes_per_second * machine.ddr_efficiency
    useful = 1e6 * macs / (machine.macs_per_second * machine.mac_efficiency)
    theory = max(useful, 1e6 * needed / rate, units["VEC"])
    loads = {"compute": units["MAC"], "vector": units["VEC"], "memory": sum(ports.values())}
    loads |= {"cpu": units["CPU"], "overhead": issue}
    compute = sum(units.values())
    return LayerCost(
        id=layer.id,
        name=layer.name,
        op=layer.op,
        nodes=layer.nodes,
        instructions=len(parts),
        start_us=us * min(s.start for _, _, s, _ in parts),
        end_us=us * max(s.end for _, _, s, _ in parts),
        time_us=computing + exposed,
        theory_us=theory,
        compute_us=compute,
        mac_us=units["MAC"],
        vector_us=units["VEC"],
        cpu_us=units["CPU"],
        load_us=ports[False],
        store_us=ports[True],
        exposed_us=exposed,
        macs=macs,
        utilisation=1e6 * macs / (units["MAC"] * machine.macs_per_second) if units["MAC"] else 0.0,
        int16=any(i.wide for i, *_ in parts if i.queue == "MAC"),
        padding=1 - min(macs / slots, 1.0) if slots else 0.0,
        read_bytes=sum(i.read_bytes for i, _, _, _ in parts),
        write_bytes=sum(i.write_bytes for i, _, _, _ in parts),
        sram_bytes=_length(
            _union((t.base, t.base + t.span) for i, *_ in parts for t in i.transfers if t.region == "sram")
        ),
        needed_bytes=needed,
        channels=_channels([i for i, *_ in parts if i.queue == "MAC"]),
        bound=max(loads, key=lambda key: loads[key]),
    )


def _channels(products: Sequence[Instruction]) -> tuple[int, int]:
    ways = [(i.depth // i.aux.get("groups", 1), i.box[3]) for i in products]
    return (max(way[0] for way in ways), max(way[1] for way in ways)) if ways else (0, 0)


def _share(i: Instruction, price: Cost, writes: bool) -> float:
    """The part of an instruction's use of the port that reads or writes."""
    total = i.read_bytes + i.write_bytes
    return price.port * (i.write_bytes if writes else i.read_bytes) / total if total else 0.0


def _event(i: Instruction, price: Cost, slot: Slot, us: float) -> Event:
    lane = _LANES.get(i.queue) or ("AAE" if i.op in _AUXILIARY else "TRANS" if i.op in _TRANSFORMS else "VPU")
    start = slot.port[0] if price.port and i.queue in ("LD", "ST") else slot.start  # requests run ahead of transfers
    return Event(
        index=i.index,
        op=i.kernel or i.op,
        lane=lane,
        layer=i.layer,
        start_us=us * start,
        end_us=us * slot.end,
        compute_us=us * price.compute,
        port_start_us=us * slot.port[0],
        port_end_us=us * slot.port[1],
        read_bytes=i.read_bytes,
        write_bytes=i.write_bytes,
        macs=i.macs,
        cycles=price.issue + max(price.compute, price.latency + price.port),
    )


def _union(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(s for s in spans if s[1] > s[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def _complement(spans: Sequence[Span], end: int) -> list[Span]:
    edges = [0, *(edge for span in spans for edge in span), end]
    return [(a, b) for a, b in list(pairwise(edges))[::2] if b > a]


def _overlap(span: Span, others: Sequence[Span]) -> int:
    """Length of what `span` shares with sorted, disjoint spans."""
    total = 0
    for start, end in others[max(bisect_right(others, (span[0], span[0])) - 1, 0) :]:
        if start >= span[1]:
            break
        total += max(0, min(end, span[1]) - max(start, span[0]))
    return total
