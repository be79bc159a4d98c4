"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Model name, and the model number where the name says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return f"{facts.get('model name', platform.machine())} (model {facts.get('model', '?')})"


def usable_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> str:
    """Processor, usable processors, load average."""
    return f"{processor()}, {usable_processors()} of {os.cpu_count()} processors, load average {os.getloadavg()[0]:.2f}"
