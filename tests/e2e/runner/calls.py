"""Calls of bpux-run, and what it prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

from unit import runtime_programs as programs


class Runner:
    """Calls the binary in a folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.binary), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)

    def ok(self, *arguments: object) -> str:
        result = self.call(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def error(self, *arguments: object) -> str:
        """The error line of a call that fails as it should, leaving nothing behind."""
        before = sorted(self.folder.rglob("*"))
        result = self.call(*arguments)
        assert result.returncode == 1, result.stdout + result.stderr
        lines = [line for line in result.stderr.splitlines() if not line.startswith(f"{self.binary.name}: note:")]
        assert len(lines) == 1 and lines[0].startswith(f"{self.binary.name}: error: "), result.stderr
        assert sorted(self.folder.rglob("*")) == before, "something half-written stayed behind"
        return lines[0]


def small(tmp_path: Path, runner: Path, dtype: str, x: np.ndarray) -> Runner:
    """A folder with a program that copies input a to output y."""
    (tmp_path / "copy.bpux").write_bytes(programs.copies(("a", "y", dtype)))
    np.save(tmp_path / "a.npy", x)
    return Runner(runner / "bpux-run", tmp_path)


def figures(out: str) -> dict[str, float]:
    """What perf has printed."""
    keys = ("threads", "frames", "run time", "latency", "throughput")
    return {key: float(re.search(rf"^{key} +([\d.]+)", out, re.MULTILINE)[1]) for key in keys}  # type: ignore[index]
