"""Runs programs on an emulated processor: openbpu_run_manifest (tests/cpp), cross-built, under qemu-user."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cpp_tree
import needs
from cpp_tree import ROOT
from openbpu.runtime import Executable

SYSROOT = "/usr/aarch64-linux-gnu"

# Processors that qemu knows, and the ISAs that the runtime must find on them, best first.
PROCESSORS = {
    "cortex-a53": ("neon", "scalar"),
    "neoverse-n1": ("neondot", "neon", "scalar"),
    "max": ("neoni8mm", "neondot", "neon", "scalar"),
}


@dataclass(frozen=True)
class Job:
    """One run of a program on an ISA (or "auto") with the given inputs, in the order of its ports."""

    executable: Executable
    inputs: Sequence[np.ndarray]
    isa: str = "auto"
    threads: int = 1


def build_runner() -> Path:
    """Cross-builds the runner; without the tools the test is skipped, or fails."""
    needs.tools("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64")
    folder = ROOT / "build" / "aarch64"
    with cpp_tree.alone(folder / "lock"):
        cpp_tree.run("cmake", "--preset", "aarch64", cwd=ROOT)
        cpp_tree.run("cmake", "--build", "--preset", "aarch64", "--target", "openbpu_run_manifest", cwd=ROOT)
    return folder / "tests" / "cpp" / "openbpu_run_manifest"


@dataclass(frozen=True)
class Emulator:
    """The runner and a folder for what goes in and comes out."""

    runner: Path
    folder: Path

    def run(self, processor: str, jobs: Sequence[Job]) -> list[tuple[str, bytes]]:
        """The ISA that ran and the bytes of all outputs, one after another, for each job; one process for all."""
        lines = []
        for number, job in enumerate(jobs):
            program = self.folder / f"{number}.bpux"
            program.write_bytes(job.executable.to_bytes())
            paths = [self.folder / f"{number}.in{k}" for k in range(len(job.inputs))]
            for path, array in zip(paths, job.inputs, strict=True):
                path.write_bytes(np.ascontiguousarray(array).tobytes())
            out = self.folder / f"{number}.out"
            lines.append(" ".join(map(str, (job.isa, job.threads, program, out, *paths))))
        result = subprocess.run(
            ["qemu-aarch64", "-L", SYSROOT, "-cpu", processor, str(self.runner)],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        answers = result.stdout.splitlines()
        assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
        assert len(answers) == len(jobs)
        return [(line.split()[1], (self.folder / f"{n}.out").read_bytes()) for n, line in enumerate(answers)]


def joined(outputs: Sequence[np.ndarray]) -> bytes:
    """The bytes of all outputs as the runner writes them."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in outputs)
