"""The golden file of container 1.2: read for ever, the recorded outputs on every ISA, the same bytes anew."""

from __future__ import annotations

import hashlib
import json

import pytest

from golden import v1_2
from golden.v1 import digest
from openbpu import _native
from openbpu.runtime import Executable, Session

_DATA = v1_2.FILE.read_bytes()
_RECORDED = json.loads(v1_2.DIGESTS.read_text())


def test_the_file_is_the_recorded_one() -> None:
    assert hashlib.sha256(_DATA).hexdigest() == _RECORDED["file"]
    assert _native.Program.from_bytes(_DATA).to_bytes() == _DATA


def test_it_holds_every_operation() -> None:
    listing = Executable.from_bytes(_DATA).disassemble()
    for op in v1_2.OPERATIONS:
        assert op.removesuffix("/16") in listing
    assert len(_RECORDED["outputs"]) == len(v1_2.OPERATIONS)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_outputs(isa: str, threads: int) -> None:
    assert digest(Session(_DATA, isa=isa, threads=threads).run(v1_2.inputs())) == _RECORDED["outputs"]
