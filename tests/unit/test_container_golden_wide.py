"""The golden files of containers 1.2 and 1.4: read for ever, the recorded outputs on every ISA, the same bytes anew."""

from __future__ import annotations

import hashlib
import json
from types import ModuleType

import pytest

from golden import v1_2, v1_4
from golden.v1 import digest
from openbpu import _native
from openbpu.runtime import Executable, Session

FILES = pytest.mark.parametrize("version", [v1_2, v1_4], ids=["1.2", "1.4"])


@FILES
def test_the_file_is_the_recorded_one(version: ModuleType) -> None:
    data = version.FILE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == json.loads(version.DIGESTS.read_text())["file"]
    assert _native.Program.from_bytes(data).to_bytes() == data
    assert int.from_bytes(data[48:50], "little") == {v1_2: 2, v1_4: 4}[version]  # min_minor


@FILES
def test_it_holds_every_operation(version: ModuleType) -> None:
    listing = Executable.from_bytes(version.FILE.read_bytes()).disassemble()
    for op in version.OPERATIONS:
        assert op.removesuffix("/16") in listing
    assert len(json.loads(version.DIGESTS.read_text())["outputs"]) == len(version.OPERATIONS)


@FILES
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_outputs(isa: str, threads: int, version: ModuleType) -> None:
    outputs = Session(version.FILE.read_bytes(), isa=isa, threads=threads).run(version.inputs())
    assert digest(outputs) == json.loads(version.DIGESTS.read_text())["outputs"]
