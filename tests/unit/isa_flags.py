"""Compiler flags of the ISA files, read from CMakeLists.txt so that they stand in one place."""

from __future__ import annotations

import re
from pathlib import Path

_SET = re.compile(r"set\(openbpu_flags_(\w+) ([^)]*)\)")
_REFERENCE = re.compile(r"\$\{openbpu_flags_(\w+)\}")


def isa_flags(root: Path) -> dict[str, list[str]]:
    """Flags by ISA; a list may contain an earlier one by reference."""
    flags: dict[str, list[str]] = {}
    for isa, value in _SET.findall((root / "CMakeLists.txt").read_text()):
        flags[isa] = _REFERENCE.sub(lambda match: " ".join(flags[match[1]]), value).split()
    return flags
