"""Load time, peak memory and heap allocations per run of one engine, each in a process of its own.

    python -m bench.models.footprint ENGINE FILE THREADS ISA       (prints JSON; compare.py calls it)

Allocations are counted by a preloaded library (count_allocations.c) over runs after warm-up. What the Python binding
allocates for its result arrays is included, for all engines alike.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RUNS = 20


def measure(engine: str, path: Path, threads: int, isa: str, folder: Path) -> dict[str, float]:
    """Runs this file in a fresh process. Memory in MiB, time in milliseconds."""
    library = folder / "count_allocations.so"
    if not library.exists():
        compiler = os.environ.get("CC", "cc")
        source = HERE / "count_allocations.c"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    command = [sys.executable, "-m", "bench.models.footprint", engine, str(path), str(threads), isa]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=HERE.parents[1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _peak_kib() -> int:
    """Of this process alone: getrusage would count what its parent held before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _report(engine: str, path: Path, threads: int, isa: str) -> dict[str, float]:
    from bench.models.engines import ENGINES

    loaded = ENGINES[engine].load(path, threads, isa)
    for _ in range(5):
        loaded.run()
    count = ctypes.CDLL(None).openbpu_bench_allocations
    count.restype = ctypes.c_ulong
    before = count()
    for _ in range(RUNS):
        loaded.run()
    return {
        "load_ms": loaded.load_ms,
        "peak_mib": _peak_kib() / 1024,
        "allocations": (count() - before) / RUNS,
    }


if __name__ == "__main__":
    print(json.dumps(_report(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
