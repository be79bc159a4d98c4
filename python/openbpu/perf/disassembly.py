"""The program as text by layers of the model: addresses, waits, bytes and estimated cycles of every instruction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbpu.errors import ConfigError
from openbpu.ir.profile import TargetProfile
from openbpu.perf.estimate import estimate
from openbpu.perf.program import Layer, Program, read
from openbpu.perf.report import Event, PerfReport
from openbpu.runtime import Executable

_LINE = re.compile(r"(\d+)\s*L(\d+)\s+(.*?)\s*$")
_HEAD = f"{'#':<6}{'at us':>10}{'cycles':>10}{'read':>10}{'written':>10}  instruction"


def listing(executable: Executable, target: TargetProfile | str | None = None, entry: str = "") -> str:
    """The instructions of an entry in program order, under the layer and the ONNX nodes that they come from.

    Columns: number, start in microseconds, cycles with nothing else on the machine, bytes read from and written to
    DDR; then the operation, `region+address:type[n,h,w,c]` of its operands, constants, parameters and waits. Start and
    cycles are an estimate for `target` (default: the profile that it was compiled for) and left out where none is
    known. Raises what `estimate` raises for a given target.
    """
    program = read(executable, entry)
    try:
        report = estimate(executable, target, entry)
    except ConfigError:
        if target is not None:
            raise
        report = None
    return "\n".join(_lines(executable.disassemble(entry), program, report)) + "\n"


def _lines(text: str, program: Program, report: PerfReport | None) -> Iterator[str]:
    moved = {i.index: (i.read_bytes, i.write_bytes) for i in program.instructions}
    events = {} if report is None else {event.index: event for event in report.events}
    layer, seen = -1, set()
    lines = text.splitlines()
    heads = [line for line in lines if not _LINE.match(line)]
    yield from heads
    if report is not None:
        yield f"; {report.line}"
    for match in filter(None, map(_LINE.match, lines)):
        index, number, rest = int(match[1]), int(match[2]), match[3]
        if number != layer and number in program.layers:
            layer = number
            if layer in seen:
                yield f"; layer {layer}: {program.layers[layer].name}, continued"
            else:
                yield from ("", *_heading(program.layers[layer], report), _HEAD)
            seen.add(layer)
        yield f"{index:<6}{_cost(events.get(index))}{_moved(moved.get(index))}  {rest}"


def _heading(layer: Layer, report: PerfReport | None) -> Iterator[str]:
    title = f"; layer {layer.id}: {layer.name} ({layer.op})"
    yield f"{title} <- {', '.join(layer.nodes)}" if layer.nodes else title
    cost = next((x for x in report.layers if x.id == layer.id), None) if report is not None else None
    if report is not None and cost is not None:
        share = 100 * cost.time_us / report.latency_us
        macs = f"{cost.macs:,} MACs ({100 * cost.utilisation:.0f} % of the array), " if cost.macs else ""
        traffic = f"DDR {cost.read_bytes:,} bytes read, {cost.write_bytes:,} written"
        yield f"; {cost.time_us:.1f} us ({share:.1f} %), {macs}{traffic}, bound by {cost.bound}"


def _cost(event: Event | None) -> str:
    return f"{event.start_us:>10.1f}{event.cycles:>10}" if event is not None else " " * 20


def _moved(moved: tuple[int, int] | None) -> str:
    return "".join(f"{count or '':>10}" for count in moved or (0, 0))
