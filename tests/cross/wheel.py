"""Run by an installed wheel's own interpreter, with tests/ on the path: the golden file on every ISA of the machine.

Prints what runs; ends with an error if an output differs from what v1.json records. Needs numpy alone.
"""

from __future__ import annotations

import json
import platform

from golden import v1
from openbpu import _native
from openbpu.runtime import Session


def main() -> None:
    recorded = json.loads(v1.DIGESTS.read_text())["outputs"]
    for isa in _native.available_isas():
        if v1.digest(Session(v1.FILE.read_bytes(), isa=isa).run(v1.inputs())) != recorded:
            raise SystemExit(f"{isa}: the outputs differ from the recorded ones")
        print(f"{platform.machine()} {isa}: the golden file's outputs are the recorded ones")


if __name__ == "__main__":
    main()
