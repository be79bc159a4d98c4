"""What one instruction costs: cycles of its unit, cycles of the DDR port, cells of the MAC array that it keeps busy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openbpu.ir.profile import TargetProfile
from openbpu.perf.program import Instruction
from openbpu.target.cycles import array_cycles, unit_cycles

# Float operations of the host per element of the largest operand; moves compute nothing.
_CPU_MOVES = frozenset(
    {
        "Identity", "Transpose", "Concat", "Split", "Slice", "Pad", "Expand", "Tile", "Gather", "GatherElements",
        "GatherND", "ScatterElements", "ScatterND", "DepthToSpace", "SpaceToDepth", "Trilu", "ReverseSequence",
    }
)  # fmt: skip
_CPU_FUNCTIONS = frozenset(
    {
        "Sqrt", "Reciprocal", "Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh",
        "Asinh", "Acosh", "Atanh", "Erf", "Sigmoid", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Gelu", "Mish",
        "Swish", "Pow", "Div", "Mod", "Softmax", "LogSoftmax", "LayerNormalization", "TopK", "NonMaxSuppression",
        "Unique", "GridSample",
    }
)  # fmt: skip
_FUNCTION_OPERATIONS, _PLAIN_OPERATIONS = 20, 2


@dataclass(frozen=True)
class Cost:
    """Cycles of an instruction; `slots` are the products that the MAC array had room for in its own cycles."""

    issue: int
    compute: int
    port: int  # of the DDR port; 0: the instruction stays on the chip
    latency: int
    slots: int


def cost(instruction: Instruction, profile: TargetProfile) -> Cost:
    """The cost of an instruction on a machine; monotone in every rate of the profile."""
    external = [t for t in instruction.transfers if t.external]
    port = math.ceil(sum(t.burst_bytes(profile.ddr_burst_bytes) for t in external) / profile.ddr_bytes_per_cycle)
    latency = profile.ddr_latency_cycles if external else 0
    if instruction.queue in ("LD", "ST"):
        return Cost(profile.instruction_cycles, 0, port, latency, 0)
    if instruction.queue == "CPU":
        return Cost(0, math.ceil(cpu_seconds(instruction, profile) * profile.clock_hz), 0, 0, 0)
    array = array_cycles(instruction, profile) if instruction.queue == "MAC" else 0
    cycles = unit_cycles(instruction, profile)
    moved = sum(t.bytes for t in instruction.transfers)
    cycles = max(cycles, math.ceil(moved / profile.sram_bytes_per_cycle))
    slots = int(array / (profile.int16_factor if instruction.wide else 1)) * profile.macs_per_cycle
    return Cost(profile.instruction_cycles, cycles, port, latency, slots)


def cpu_seconds(i: Instruction, p: TargetProfile) -> float:
    """An operator on the host: a fixed part, then the slower of its arithmetic and its memory."""
    moved = sum(t.bytes for t in i.transfers)
    if i.op == "CPUCALL":
        each = (
            0 if i.kernel in _CPU_MOVES else _FUNCTION_OPERATIONS if i.kernel in _CPU_FUNCTIONS else _PLAIN_OPERATIONS
        )
        operations = 2 * i.macs + each * i.elements
    else:  # QUANTIZE, DEQUANTIZE
        operations = _PLAIN_OPERATIONS * math.prod(i.box)
    return p.cpu_call_seconds + max(operations / p.cpu_flops_per_second, moved / p.cpu_bytes_per_second)
