"""Every instruction of the set through the cost model: bytes inside memory, MACs and bounds, whole and in boxes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from conformance.assemble import Assembler
from conformance.draws import DRAWS, draw
from conformance.graphs import random_program
from conformance.program import single
from lowering.nets import Net
from openbpu.ir.profile import PROFILES
from openbpu.lower import lower
from openbpu.perf import estimate, listing
from openbpu.perf.program import Program, read
from openbpu.runtime import Executable
from openbpu.schedule import schedule
from openbpu.target.cycles import _VECTOR_PASSES
from openbpu.target.records import INSTRUCTIONS

GOLDEN = Path(__file__).parents[1] / "golden"


def _check(executable: Executable) -> Program:
    program = read(executable)
    sizes = {"ddr": program.ddr_bytes, "sram": program.sram_bytes, "const": executable.summary()["constant_bytes"]}
    ports = [math.prod(p.shape) * np.dtype(p.dtype).itemsize for p in executable.ports()]
    sizes |= dict.fromkeys(("in", "out"), max(ports, default=0))
    for i in program.instructions:
        for t in i.transfers:
            assert min(t.base + 1, t.run, t.runs) > 0 and t.run <= t.span, (i.op, t)
            assert t.base + t.span <= sizes[t.region], (i.op, t, "inside its region")
            assert t.bytes <= t.burst_bytes(64) <= t.bytes + 126 * t.runs, (i.op, t)
    for name in ("nash-b-lite", "nash-p"):
        report = estimate(executable, PROFILES[name])
        assert report.macs == executable.summary()["entries"][0]["macs"] == sum(i.macs for i in program.instructions)
        assert all(bound <= report.makespan_us * (1 + 1e-12) for bound in report.bounds_us.values())
        assert all(layer.utilisation <= 1 and 0 <= layer.padding <= 1 for layer in report.layers)
        report.to_json()
    assert listing(executable, "nash-m")
    return program


@pytest.mark.parametrize("op", list(DRAWS))
def test_every_instruction(op: str) -> None:
    for index in range(0, DRAWS[op][1], 3):
        for before, after in ((0, 0), (3, 5)):
            _check(Executable.from_bytes(Assembler(single(draw(op, index), before=before, after=after)).assemble()))


@pytest.mark.parametrize("index", range(6))
def test_random_programs(index: int) -> None:
    _check(Executable.from_bytes(Assembler(random_program(index)).assemble()))


@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.glob("*.bpux")))
def test_golden_files(name: str) -> None:
    _check(Executable.load(GOLDEN / name))


def test_boxes_write_the_whole_result_once() -> None:
    for op in DRAWS:
        program = single(draw(op, 0))
        executable = Executable.from_bytes(Assembler(program).assemble())
        found = [i for i in read(executable).instructions if i.op not in ("LOAD", "STORE", "COPY", "CPUCALL")]
        extents, dtype = program.buffers[program.outputs[0]]
        if found:
            written = sum(t.bytes for i in found for t in i.transfers if t.writes)
            assert written == math.prod(extents) * np.dtype(dtype).itemsize, op


def test_every_vector_instruction_has_a_price() -> None:
    names = {name for name, info in INSTRUCTIONS.items() if info["queue"] == "VEC"}
    assert names - {"MAXPOOL", "AVGPOOL"} <= set(_VECTOR_PASSES)


def test_a_look_up_on_the_cpu_reads_what_it_takes() -> None:
    net = Net(1)
    table = net.constant(net.random.standard_normal((5000, 64)), np.float32)
    net.output(net.node("Gather", table, net.indices(4, low=0, high=5000)))
    executable = Executable.from_bytes(schedule(lower(net.model()), PROFILES["nash-e"]))
    (call,) = (i for i in read(executable).instructions if i.kernel == "Gather")
    assert sum(t.bytes for t in call.transfers) == 4 * 8 + 2 * 4 * 64 * 4
