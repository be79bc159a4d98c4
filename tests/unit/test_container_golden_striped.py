"""The golden file of container 1.3: read for ever, the recorded outputs on every ISA and on the exact machine."""

from __future__ import annotations

import hashlib
import json

import pytest

from golden import v1_3
from golden.v1 import digest
from openbpu import _native
from openbpu.runtime import Executable, Session

_DATA = v1_3.FILE.read_bytes()
_RECORDED = json.loads(v1_3.DIGESTS.read_text())


def test_the_file_is_the_recorded_one() -> None:
    assert hashlib.sha256(_DATA).hexdigest() == _RECORDED["file"]
    assert _native.Program.from_bytes(_DATA).to_bytes() == _DATA


def test_it_holds_what_version_1_3_brought() -> None:
    executable = Executable.from_bytes(_DATA)
    assert executable.entries == list(v1_3.MODELS)
    listing = "".join(map(executable.disassemble, executable.entries))
    assert all(op in listing for op in ("CSC", "ROIRESIZE", "LOAD", "STORE", "LDW"))
    assert {port.flags for port in executable.ports("camera")} > {0}
    surfaces = executable.tables("stripes")["surfaces"]
    assert surfaces != b"" and _native.Engine(executable.native, entry="stripes").joined


@pytest.mark.parametrize("model", v1_3.MODELS)
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_outputs(isa: str, exact: bool, model: str) -> None:
    session = Session(_DATA, entry=model, isa=isa, exact_machine=exact)
    assert digest(session.run(v1_3.inputs(model))) == _RECORDED["outputs"][model]
