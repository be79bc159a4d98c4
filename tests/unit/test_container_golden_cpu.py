"""The golden file of container 1.1: read for ever, the recorded outputs everywhere, the same bytes from the writer."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from golden import v1_1
from golden.v1 import digest
from openbpu import _native
from openbpu.runtime import Session

_DATA = v1_1.FILE.read_bytes()
_RECORDED = json.loads(v1_1.DIGESTS.read_text())


def test_the_file_is_the_recorded_one() -> None:
    assert hashlib.sha256(_DATA).hexdigest() == _RECORDED["file"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_outputs(isa: str, threads: int) -> None:
    outputs = Session(_DATA, isa=isa, threads=threads).run(v1_1.inputs())
    assert digest(v1_1.exact(outputs)) == _RECORDED["outputs"]
    assert len(v1_1.exact(outputs)) < len(outputs)
    assert all(np.isfinite(y).all() for y in v1_1.exact(outputs).values() if y.dtype.kind == "f")


def test_the_writer_makes_the_same_bytes() -> None:
    assert v1_1.build() == _DATA
    assert _native.Program.from_bytes(_DATA).to_bytes() == _DATA
