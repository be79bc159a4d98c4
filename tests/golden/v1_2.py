"""Golden file of container 1.2: its instructions and 16-bit forms, each on buffers of its own, from conformance cases.

`python tests/golden/v1_2.py` prints what tests/golden/v1_2.json must hold; with `--write` it makes v1_2.bpux and the
inputs v1_2.npz anew, which is right only for as long as version 1.2 has not been released: later versions read these
very files for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conformance.assemble import Assembler  # noqa: E402
from conformance.case import Case  # noqa: E402
from conformance.draws import DRAWS, draw  # noqa: E402
from conformance.program import Program, Step  # noqa: E402
from golden.v1 import digest  # noqa: E402

FILE = HERE / "v1_2.bpux"
INPUTS = HERE / "v1_2.npz"
DIGESTS = HERE / "v1_2.json"

_NEW = {
    "LAYERNORM", "RMSNORM", "LUT16", "MAX", "MIN", "CMP", "SELECT", "REDUCE", "ARGMAX", "DIV", "GATHER", "GRIDSAMPLE",
}  # fmt: skip
_LATER = {"LAYERNORM/16", "RMSNORM/16", "GATHER/16"}
OPERATIONS = tuple(op for op in DRAWS if op in _NEW or (op.endswith("/16") and op not in _LATER))


def program(name: str, cases: Iterable[Case]) -> Program:
    """Conformance cases side by side."""
    result = Program(name)
    for case in cases:
        inputs = tuple(result.input(x) for x in case.inputs)
        y = case.expected()
        out = result.buffer(y.shape, y.dtype.name)
        result.steps.append(Step(case.op, inputs, out, case.params))
        result.outputs.append(out.buffer)
    return result


def inputs(path: Path = INPUTS) -> dict[str, np.ndarray]:
    """The arrays that the digests are of."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def archive(made: Program) -> bytes:
    """First contents of every buffer as .npz, without the time of day."""
    data = {index: np.zeros(shape, dtype) for index, (shape, dtype) in enumerate(made.buffers)}
    data |= {view.buffer: x for x, view in made.inputs}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, array in data.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(zipfile.ZipInfo(f"buffer{index}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def main() -> None:
    from openbpu.runtime import Session

    if "--write" in sys.argv:
        made = program("v1_2", (draw(op, 0) for op in OPERATIONS))
        FILE.write_bytes(Assembler(made).assemble())
        INPUTS.write_bytes(archive(made))
    data = FILE.read_bytes()
    outputs = Session(data, isa="scalar").run(inputs())
    print(json.dumps({"file": hashlib.sha256(data).hexdigest(), "outputs": digest(outputs)}, indent=1))


if __name__ == "__main__":
    main()
