"""Instructions that the kernel rows for 64-bit ARM execute, counted by qemu-user: a count, not a time.

    python -m bench.kernels.instructions [--processor max]

Cross-builds openbpu_count_rows, runs it under qemu-aarch64 with a counting plugin (qemu_counter.c) and prints a table:
instructions per 64 products, or per 64 bytes of output in the vector group. Everything that a run executes counts:
copies of windows, the epilogue, loops; packing does not. How fast instructions retire, and what caches do, it cannot
tell. Needs cmake, g++-aarch64-linux-gnu and qemu-user.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSROOT = "/usr/aarch64-linux-gnu"


@dataclass(frozen=True)
class Count:
    """One run of a row: instructions, and the work done in `unit`."""

    row: str
    shape: str
    work: float
    unit: str
    instructions: int

    @property
    def per_64(self) -> float:
        """Instructions per 64 products or bytes."""
        return self.instructions * 64 / self.work


def build() -> Path:
    """Cross-builds the program that runs the rows."""
    for command in (
        ["cmake", "--preset", "aarch64", "-DOPENBPU_BENCH=ON"],
        ["cmake", "--build", "--preset", "aarch64", "--target", "openbpu_count_rows"],
    ):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build" / "aarch64" / "bench" / "kernels" / "openbpu_count_rows"


def count(program: Path, processor: str = "max") -> list[Count]:
    """Runs it on an emulated processor."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "counter.so"
        source = Path(__file__).with_name("qemu_counter.c")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
        command = ["qemu-aarch64", "-L", SYSROOT, "-cpu", processor, "-plugin", str(plugin), str(program)]
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1200)
    lines, counts = result.stdout.splitlines(), [int(n) for n in result.stderr.split()]
    if len(lines) != len(counts):
        raise RuntimeError(f"{len(lines)} lines, but {len(counts)} counts: {result.stderr[-500:]}")
    found = []
    for begin in range(0, len(lines), 2):
        _, row, shape, work, unit = lines[begin].split()
        found.append(Count(row, shape, float(work), unit, counts[begin + 1] - counts[begin]))
    return found


def table(counts: list[Count]) -> str:
    """Shapes by row, as Markdown, products before bytes."""
    text = []
    for unit in ("products", "bytes"):
        text += [f"| row | shape | instructions per 64 {unit} |", "|---|---|---|"]
        text += [f"| `{c.row}` | {c.shape} | {c.per_64:.1f} |" for c in counts if c.unit == unit]
        text.append("")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processor", default="max", help="as qemu-aarch64 -cpu takes it")
    arguments = parser.parse_args()
    print(table(count(build(), arguments.processor)))


if __name__ == "__main__":
    main()
