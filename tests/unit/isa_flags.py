"""Compiler flags and tools of the ISA files, the flags read from CMakeLists.txt so that they stand in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import needs

_SET = re.compile(r"set\(openbpu_flags_(\w+) ([^)]*)\)")
_REFERENCE = re.compile(r"\$\{openbpu_flags_(\w+)\}")


MACHINES = ("x86_64", "aarch64")


def isa_flags(root: Path) -> dict[str, list[str]]:
    """Flags by ISA; a list may contain an earlier one by reference."""
    flags: dict[str, list[str]] = {}
    for isa, value in _SET.findall((root / "CMakeLists.txt").read_text()):
        flags[isa] = _REFERENCE.sub(lambda match: " ".join(flags[match[1]]), value).split()
    return flags


def architecture(isa: str) -> str:
    """The machine, as uname names it, for which files of this ISA are built."""
    return "aarch64" if isa.startswith("neon") else "x86_64"


@dataclass(frozen=True)
class Tools:
    """A C++ compiler for a machine and the binutils beside it."""

    compiler: str
    objdump: str
    nm: str


def tools_for(machine: str) -> Tools:
    """The host's own tools, or Debian's cross tools for aarch64; without them the test is skipped, or fails."""
    if machine == os.uname().machine:
        names = (os.environ.get("CXX", "c++"), "objdump", "nm")
    else:
        names = tuple(f"{machine}-linux-gnu-{tool}" for tool in ("g++", "objdump", "nm"))
    needs.tools(*names)
    return Tools(*names)
