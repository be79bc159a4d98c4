"""Golden file of container 1.4: norms and look-ups of int16, each on buffers of its own, from conformance cases.

`python tests/golden/v1_4.py` prints what tests/golden/v1_4.json must hold; with `--write` it makes v1_4.bpux and the
inputs v1_4.npz anew, which is right only for as long as version 1.4 has not been released: later versions read these
very files for ever.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conformance.assemble import Assembler  # noqa: E402
from conformance.draws import draw  # noqa: E402
from golden import v1_2  # noqa: E402
from golden.v1 import digest  # noqa: E402

FILE = HERE / "v1_4.bpux"
INPUTS = HERE / "v1_4.npz"
DIGESTS = HERE / "v1_4.json"

OPERATIONS = tuple(op for op in ("LAYERNORM/16", "RMSNORM/16", "GATHER/16") for _ in range(3))


def inputs() -> dict[str, np.ndarray]:
    """The arrays that v1_4.json's digests are of."""
    return v1_2.inputs(INPUTS)


def main() -> None:
    from openbpu.runtime import Session

    if "--write" in sys.argv:
        made = v1_2.program("v1_4", (draw(op, index % 3) for index, op in enumerate(OPERATIONS)))
        FILE.write_bytes(Assembler(made).assemble())
        INPUTS.write_bytes(v1_2.archive(made))
    data = FILE.read_bytes()
    outputs = Session(data, isa="scalar").run(inputs())
    print(json.dumps({"file": hashlib.sha256(data).hexdigest(), "outputs": digest(outputs)}, indent=1))


if __name__ == "__main__":
    main()
