"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_GENERATIONS = {("25", "17"): "Zen 4", ("26", "2"): "Zen 5"}  # (family, model) of names that do not say it


def processor() -> str:
    """Model name, and the generation or the model number where the name says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    number = facts.get("model", "?")
    known = _GENERATIONS.get((facts.get("cpu family", ""), number), f"model {number}")
    return f"{facts.get('model name', platform.machine())} ({known})"


def usable_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> str:
    """Processor, usable processors, load average."""
    return f"{processor()}, {usable_processors()} of {os.cpu_count()} processors, load average {os.getloadavg()[0]:.2f}"
