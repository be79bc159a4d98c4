"""The peak of the machine's dot-product instructions, measured when asked: what results are held against."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def _program() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="openbpu-peak-"))
    sources = [str(ROOT / "bench" / "kernels" / name) for name in ("peak.cpp", "peak_main.cpp")]
    compiler = os.environ.get("CXX", "c++")
    program = folder / "peak"
    subprocess.run([compiler, "-std=c++17", "-O2", f"-I{ROOT / 'csrc'}", *sources, "-o", str(program)], check=True)
    return program


def peaks() -> dict[str, float]:
    """GMAC/s of one thread by ISA name; only ISAs that the host has."""
    lines = subprocess.run([str(_program())], check=True, capture_output=True, text=True).stdout.split("\n")
    return {name: float(value) for name, value in (line.split() for line in lines if line)}
