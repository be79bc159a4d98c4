"""Programs against one another, layer by layer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from openbpu.artefacts.changes import Change, compared
from openbpu.perf.program import read
from openbpu.runtime import Executable
from openbpu.target.linking import sections
from openbpu.target.records import INSTRUCTIONS, NO_ID, RECORDS

_NAMES = {info["opcode"]: name for name, info in INSTRUCTIONS.items()}
_IDS = ("weight", "table")
_RECORDED = ("versions", "options", "memory", "configuration", "preprocess", "inputs")


def changes(first: Executable, second: Executable) -> list[Change]:
    """Of all models of two files, by name; two files of one model each are compared whatever its name is.

    What no table shows (an address, a scale inside) is said by section.
    """
    if found := list(_changes(first, second)):
        return found
    parts = [sections(executable.to_bytes()) for executable in (first, second)]
    digests = [{k: hashlib.sha256(v).hexdigest()[:8] for k, v in p.items()} for p in parts]
    return list(compared("section", *digests))


def _changes(first: Executable, second: Executable) -> Iterator[Change]:
    names = (first.entries, second.entries)
    yield from compared("model", {n: n for n in names[0]}, {n: n for n in names[1]})
    pairs = [(n, n) for n in names[0] if n in names[1]]
    if not pairs and len(names[0]) == len(names[1]) == 1:
        pairs = [(names[0][0], names[1][0])]
    for a, b in pairs:
        prefix = f"{a}: " if len(pairs) > 1 else ""
        for key, (x, y) in _properties(first, a, second, b).items():
            yield from (Change(c.group, prefix + c.name, c.what, c.before, c.after) for c in compared(key, x, y))
    sizes = [_flat(e.summary(), ("entries", "versions")) for e in (first, second)]
    yield from compared("file", *sizes)


def _properties(first: Executable, a: str, second: Executable, b: str) -> dict[str, Any]:
    sides = [_described(first, a), _described(second, b)]
    return {key: (sides[0][key], sides[1][key]) for key in sides[0]}


def _described(executable: Executable, entry: str) -> dict[str, dict[str, Any]]:
    program = read(executable, entry)
    meta = executable.metadata(entry)
    recorded = {f"{key}.{k}": v for key in _RECORDED for k, v in _flat(meta.get(key) or {}).items()}
    ports = {}
    for port in executable.ports(entry):
        properties = {k: str(v) for k, v in asdict(port).items() if k not in ("name", "direction")}
        ports[f"{port.direction} {port.name}"] = properties
    sizes = {
        "march": program.march,
        "multiply-accumulates": str(program.macs),
        "DDR bytes": str(program.ddr_bytes),
        "SRAM bytes": str(program.sram_bytes),
        "constant bytes": str(program.constant_bytes),
        "instructions": str(len(program.instructions)),
    }
    return {"recorded": recorded, "size": sizes, "port": ports, "layer": _layers(executable, entry)}


def _layers(executable: Executable, entry: str) -> dict[str, dict[str, str]]:
    """Operator, nodes, instructions and the constants that they use, of each layer."""
    tables = executable.tables(entry)
    code = np.frombuffer(tables["code"], RECORDS["Instruction"])
    consts = np.frombuffer(tables["consts"], RECORDS["Const"])
    data = sections(executable.to_bytes())["constants"]
    digests: dict[int, str] = {}
    for const in {int(word[key]) for word in code for key in _IDS} - {NO_ID}:
        start = int(consts[const]["offset"])
        digests[const] = hashlib.sha256(data[start : start + int(consts[const]["size"])]).hexdigest()[:8]
    found: dict[str, dict[str, str]] = {}
    for layer in read(executable, entry).layers.values():
        words = code[code["layer"] == layer.id]
        counts = Counter(_NAMES[int(op)] for op in words["op"])
        used = dict.fromkeys(digests[int(w[key])] for w in words for key in _IDS if int(w[key]) != NO_ID)
        plain = words.copy()  # the instructions without where things lie
        for field in ("in0", "in1", "in2", "out", *_IDS, "aux", "layer", "wait"):
            plain[field] = 0
        name = layer.name if layer.name not in found else f"{layer.name} (layer {layer.id})"
        found[name] = {
            "operator": layer.op,
            "nodes": ", ".join(layer.nodes),
            "instructions": ", ".join(f"{count} {op}" for op, count in sorted(counts.items())),
            "constants": " ".join(used),
            "parameters": hashlib.sha256(plain.tobytes()).hexdigest()[:8],
        }
    return found


def _flat(values: Any, without: tuple[str, ...] = ()) -> dict[str, str]:
    if not isinstance(values, dict):
        return {}
    return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in values.items() if k not in without}
