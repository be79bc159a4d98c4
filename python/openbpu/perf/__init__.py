"""What an executable would cost on a virtual BPU: an estimate by replaying its instructions, and reports of it."""

from openbpu.perf.disassembly import listing
from openbpu.perf.estimate import estimate, fastest
from openbpu.perf.report import LayerCost, PerfReport

__all__ = ["LayerCost", "PerfReport", "estimate", "fastest", "listing"]
