"""A program as boxes and links: its layers, and which reads what another wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from openbpu.artefacts.drawing import Box, Link
from openbpu.artefacts.model_drawing import cut
from openbpu.errors import ConfigError
from openbpu.perf.estimate import estimate
from openbpu.perf.program import Instruction, Program, Transfer, read
from openbpu.perf.report import LayerCost
from openbpu.runtime import Executable, Port
from openbpu.target.records import DTYPES, INSTRUCTIONS, NO_ID, RECORDS, REGIONS

_MOVES = ("LOAD", "STORE", "LDW")
_TYPES = {number: name for name, number in DTYPES.items()}
_CALL = INSTRUCTIONS["CPUCALL"]["opcode"]
_INFOS = {info["opcode"]: info for info in INSTRUCTIONS.values()}
_UNITS = {"MAC": "tae", "VEC": "vpu"}


@dataclass
class _Memory:
    """Who wrote which bytes last, in program order."""

    written: dict[str, list[tuple[int, int, bool, int]]] = field(
        default_factory=dict
    )  # region: first, end, dense, layer

    def write(self, t: Transfer, layer: int) -> None:
        end, dense = t.base + t.span, t.bytes == t.span
        pieces = []
        for first, last, was_dense, owner in self.written.get(t.region, ()):
            if last <= t.base or first >= end or not (dense or was_dense or first == t.base):
                pieces.append((first, last, was_dense, owner))  # channels of several layers may lie side by side
                continue
            if first < t.base:
                pieces.append((first, t.base, was_dense, owner))
            if last > end:
                pieces.append((end, last, was_dense, owner))
        self.written[t.region] = [*pieces, (t.base, end, dense, layer)]

    def writers(self, t: Transfer) -> set[int]:
        end = t.base + t.span
        return {owner for first, last, _, owner in self.written.get(t.region, ()) if first < end and last > t.base}


def drawn(executable: Executable, entry: str = "") -> tuple[list[Box], list[Link]]:
    """Inputs, layers in the order of the program, outputs. Times are estimates, if a profile is known."""
    program = read(executable, entry)
    ports = executable.ports(entry)
    inputs = [p for p in ports if p.direction == "input"]
    outputs = [p for p in ports if p.direction == "output"]
    try:
        costs = {x.id: x for x in estimate(executable, None, entry).layers}
    except ConfigError:
        costs = {}
    working = [i.layer for i in program.instructions if i.op not in _MOVES]  # weights are fetched ahead
    order = list(dict.fromkeys([*working, *(i.layer for i in program.instructions)]))
    place = {layer: len(inputs) + k for k, layer in enumerate(order)}
    results = _results(executable, entry, program)
    boxes = [_port(p) for p in inputs]
    boxes += [_layer(program, layer, results.get(layer, ("", "")), costs.get(layer)) for layer in order]
    boxes += [_port(p) for p in outputs]
    texts = {place[layer]: shape for layer, (shape, _) in results.items() if layer in place}
    pairs: dict[tuple[int, int], None] = {}
    memory = _Memory()
    doors = _doors(executable, entry)
    for instruction in program.instructions:
        own = place[instruction.layer]
        for transfer in instruction.transfers:
            if not transfer.writes:
                pairs |= {(place[w], own): None for w in memory.writers(transfer) if place[w] != own}
        for transfer in instruction.transfers:
            if transfer.writes and transfer.region in ("ddr", "sram"):
                memory.write(transfer, instruction.layer)
        for direction, port in doors[instruction.index]:
            pairs[(port, own) if direction == "in" else (own, len(inputs) + len(order) + port)] = None
    return boxes, [Link(a, b, texts.get(a, "")) for a, b in pairs]


def _port(port: Port) -> Box:
    scale = (f"scale {port.scale:.6g}, zero point {port.zero_point}",) if port.scale else ()
    return Box((cut(port.name), f"{port.dtype} {port.extents}", *scale), "port")


def _layer(program: Program, layer: int, result: tuple[str, str], cost: LayerCost | None) -> Box:
    known = program.layers[layer]
    own = [i for i in program.instructions if i.layer == layer]
    unit = next((_UNITS.get(i.queue, "") for i in own if i.op not in _MOVES and i.op != "CPUCALL"), "")
    where = "CPU" if any(i.op == "CPUCALL" for i in own) else "BPU"
    macs = sum(i.macs for i in own)
    lines = [f"{known.op} · {where}", cut(known.name), *filter(None, result)]
    if macs or cost is not None:
        parts = [f"{_count(macs)} MACs"] if macs else []
        lines.append(", ".join([*parts, f"{cost.time_us:.1f} µs"] if cost is not None else parts))
    details = [
        ("layer", known.name),
        ("operator", known.op),
        ("runs on", where),
        ("ONNX nodes", ", ".join(known.nodes)),
        ("result", " ".join(filter(None, result))),
        ("MACs", f"{macs:,}"),
        ("DDR read, written", f"{sum(i.read_bytes for i in own):,}, {sum(i.write_bytes for i in own):,} bytes"),
        ("instructions", _counts(own)),
    ]
    if cost is not None:
        details.append(("estimated", f"{cost.time_us:.2f} µs, bound by {cost.bound}"))
    return Box(tuple(lines), "cpu" if where == "CPU" else unit or "node", tuple(details))


def _counts(own: list[Instruction]) -> str:
    kinds = dict.fromkeys(i.op for i in own)
    return ", ".join(f"{sum(i.op == op for i in own)} {op}" for op in kinds)


def _count(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _results(executable: Executable, entry: str, program: Program) -> dict[int, tuple[str, str]]:
    """Type, shape and scale of the largest tensor that each layer computes."""
    tables = executable.tables(entry)
    code = np.frombuffer(tables["code"], RECORDS["Instruction"])
    surfaces = np.frombuffer(tables["surfaces"], RECORDS["Surface"])
    found: dict[int, tuple[int, tuple[str, str]]] = {}
    for instruction in program.instructions:
        out = int(code[instruction.index]["out"])
        if instruction.op in _MOVES or instruction.op == "CPUCALL" or out == NO_ID or out >= len(surfaces):
            continue
        s = surfaces[out]
        extents = [int(s[axis]) for axis in "nhwc"]
        size = int(np.prod(extents))
        if size > found.get(instruction.layer, (-1,))[0]:
            text = f"{_TYPES.get(int(s['dtype']), '?')} {'x'.join(map(str, extents))}"
            scale = f"scale {float(s['scale']):.6g}, zero point {int(s['zero_point'])}" if s["scale"] else ""
            found[instruction.layer] = (size, (text, scale))
    return {layer: texts for layer, (_, texts) in found.items()}


def _doors(executable: Executable, entry: str) -> list[set[tuple[str, int]]]:
    """The ports that each instruction reads ("in") and writes ("out")."""
    tables = executable.tables(entry)
    code = np.frombuffer(tables["code"], RECORDS["Instruction"])
    surfaces = np.frombuffer(tables["surfaces"], RECORDS["Surface"])
    names = {REGIONS[name]: name for name in ("in", "out")}
    calls = {k for k, i in enumerate(code) if int(i["op"]) == _CALL}
    found: list[set[tuple[str, int]]] = []
    for index, word in enumerate(code):
        records = _operands(tables["aux"], int(word["aux"])) if index in calls else _surfaces(word, surfaces)
        found.append({(names[int(r["region"])], int(r["port"])) for r in records if int(r["region"]) in names})
    return found


def _surfaces(word: np.void, surfaces: np.ndarray) -> Iterator[np.void]:
    info = _INFOS[int(word["op"])]
    if info["queue"] == "CTRL":
        return
    for letter, name in (("A", "in0"), ("B", "in1"), ("M", "in2"), ("", "out")):
        if letter in info["operands"] and int(word[name]) < len(surfaces):
            yield surfaces[int(word[name])]


def _operands(aux: bytes, at: int) -> np.ndarray:
    (head,) = np.frombuffer(aux, RECORDS["CpuCallAux"], 1, at)
    count = int(head["inputs"]) + int(head["outputs"])
    tensors = np.frombuffer(aux, RECORDS["CpuTensor"], count, at + RECORDS["CpuCallAux"].itemsize)
    return np.asarray(tensors[tensors["dtype"] != 0])
