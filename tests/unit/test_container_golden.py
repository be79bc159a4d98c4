"""Golden files are read for ever, give the recorded outputs on every ISA, and the writer still makes the same bytes."""

from __future__ import annotations

import hashlib
import json

import pytest

from golden import v1
from openbpu import _native
from openbpu.runtime import Session

_DATA = v1.FILE.read_bytes()
_LATER = {  # instructions of later containers, in files of their own
    "CPUCALL", "LAYERNORM", "RMSNORM", "LUT16", "MAX", "MIN", "CMP", "SELECT", "REDUCE", "ARGMAX", "DIV", "GATHER",
    "GRIDSAMPLE", "CSC", "ROIRESIZE",
}  # fmt: skip
_RECORDED = json.loads(v1.DIGESTS.read_text())


def test_the_file_is_the_recorded_one() -> None:
    assert hashlib.sha256(_DATA).hexdigest() == _RECORDED["file"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_outputs(isa: str, threads: int) -> None:
    session = Session(_DATA, isa=isa, threads=threads)
    for repeat in range(2):
        assert v1.digest(session.run(v1.inputs())) == _RECORDED["outputs"], f"run {repeat}"


@pytest.mark.parametrize("flip", [0, 128])
def test_outputs_do_not_depend_on_storage(flip: int) -> None:
    program = _native.Program.from_bytes(_DATA)
    names = [port["name"] for port in program.ports() if port["direction"] == "output"]
    outputs = _native.Engine(program, isa="scalar", flip=flip).run(list(v1.inputs().values()))
    assert v1.digest(dict(zip(names, outputs, strict=True))) == _RECORDED["outputs"]


def test_it_holds_every_instruction() -> None:
    words = _native.Program.from_bytes(_DATA).disassemble().split()
    missing = {info["name"] for info in _native.instructions()} - set(words)
    assert missing == {"TRAP", *_LATER}


def test_the_writer_makes_the_same_bytes() -> None:
    assert v1.build() == _DATA
    assert _native.Program.from_bytes(_DATA).to_bytes() == _DATA
