"""Every instruction on every ISA and thread count, byte for byte as the oracle says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from conformance.assemble import Assembler, run
from conformance.case import mnemonic
from conformance.draws import DRAWS, draw
from conformance.graphs import random_program
from conformance.program import Program, single
from openbpu import _native
from openbpu.runtime import Executable

# LDW moves weights: tests/cpp/engine_test.cpp. CPUCALL computes in float: tests/unit/test_cpu_onnx_nodes.py.
ELSEWHERE = {"NOP", "END", "TRAP", "MARK", "LDW", "CPUCALL"}
CASES = [(op, index) for op, (_, count) in DRAWS.items() for index in range(count)]


def _check(program: Program) -> None:
    executable = Executable.from_bytes(Assembler(program).assemble())
    expected = program.evaluate()
    for isa in _native.available_isas():
        for threads in (1, 2):
            for number, (got, want) in enumerate(zip(run(program, executable, isa, threads), expected, strict=True)):
                np.testing.assert_array_equal(got, want, f"{program}, {isa}, {threads} threads, output {number}")


def test_every_instruction_has_cases() -> None:
    names = {info["name"] for info in _native.instructions()}
    assert names - ELSEWHERE == {mnemonic(op) for op in DRAWS}


@pytest.mark.parametrize(("op", "index"), CASES, ids=[f"{op}-{index:02}" for op, index in CASES])
def test_dense(op: str, index: int) -> None:
    _check(single(draw(op, index)))


@pytest.mark.parametrize(("op", "index"), CASES[::3], ids=[f"{op}-{index:02}" for op, index in CASES[::3]])
def test_between_other_channels(op: str, index: int) -> None:
    """Operands and result are channel slices of wider buffers; the channels beside the result keep their canary."""
    _check(single(draw(op, index), before=3, after=5))


@pytest.mark.parametrize("index", range(30))
def test_random_programs(index: int) -> None:
    _check(random_program(index))


def test_hash_of_a_fixed_set_of_programs() -> None:
    """One constant for all ISAs and machines: a change of any bit of the numerics shows here."""
    digest = hashlib.sha256()
    for index in range(8):
        program = random_program(index)
        executable = Executable.from_bytes(Assembler(program).assemble())
        for array in run(program, executable, "auto", 1):
            digest.update(array.tobytes())
    assert digest.hexdigest() == "96f43d1a450db0abb5d76535a827cff3525dc38ca16dbfe7b92b8def79d6570b"
