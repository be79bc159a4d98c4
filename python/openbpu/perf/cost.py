"""What one instruction costs: cycles of its unit, cycles of the DDR port, cells of the MAC array that it keeps busy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openbpu.ir.profile import TargetProfile
from openbpu.perf.program import Instruction

# Passes of the vector unit over its elements; windows take one per tap.
_VECTOR_PASSES = {
    "COPY": 1, "FILL": 1, "ADD": 2, "SUB": 2, "MUL": 2, "MAX": 2, "MIN": 2, "CMP": 2, "SELECT": 3, "DIV": 4,
    "RESCALE": 2, "LUT8": 1, "LUT16": 2, "REDUCE": 1, "ARGMAX": 2, "SOFTMAX": 6, "LAYERNORM": 8, "RMSNORM": 6,
    "RESIZE_NN": 1, "RESIZE_BILIN": 4, "GATHER": 2, "GRIDSAMPLE": 8, "CSC": 4, "ROIRESIZE": 6,
}  # fmt: skip
# Over what lies in front of the reduction instead of what comes out.
_PER_INPUT = frozenset({"REDUCE", "ARGMAX"})

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
    array = _array_cycles(instruction, profile) if instruction.queue == "MAC" else 0
    cycles = unit_cycles(instruction, profile)
    moved = sum(t.bytes for t in instruction.transfers)
    cycles = max(cycles, math.ceil(moved / profile.sram_bytes_per_cycle))
    slots = int(array / (profile.int16_factor if instruction.wide else 1)) * profile.macs_per_cycle
    return Cost(profile.instruction_cycles, cycles, port, latency, slots)


def unit_cycles(instruction: Instruction, profile: TargetProfile) -> int:
    """Cycles of the array or the vector unit when the SRAM holds them up in nothing."""
    if instruction.queue == "MAC":
        return math.ceil(_array_cycles(instruction, profile) / profile.mac_efficiency)
    return _vector_cycles(instruction, profile)


def _array_cycles(i: Instruction, p: TargetProfile) -> int:
    """Cycles of the MAC array with its operands ready: whole granules of channels and pixels, taps one by one."""
    n, h, w, channels = i.box
    taps = i.aux.get("kernel_h", 1) * i.aux.get("kernel_w", 1)
    groups = i.aux.get("groups", 1)
    factor = p.int16_factor if i.wide else 1
    pixels = -(-(h * w) // p.mac_pixels) * n
    if i.op == "DWCONV2D":
        return math.ceil(-(-channels // p.mac_columns) * pixels * taps * p.depthwise_penalty * factor)
    if i.op == "TCONV2D":  # each output sees the taps of its phase
        taps = math.prod(-(-i.aux[f"kernel_{a}"] // i.aux[f"stride_{a}"]) for a in "hw")
    if i.op == "MATMUL":
        pixels = -(-(n * h * w) // p.mac_pixels)
    blocks = groups * -(-channels // groups // p.mac_columns)
    fill = blocks * (p.mac_rows + p.mac_columns)
    return math.ceil((pixels * blocks * -(-i.depth // groups // p.mac_rows) * taps + fill) * factor)


def _vector_cycles(i: Instruction, p: TargetProfile) -> int:
    pooling = i.op in ("MAXPOOL", "AVGPOOL")
    passes = i.aux["kernel_h"] * i.aux["kernel_w"] if pooling else _VECTOR_PASSES[i.op]
    elements = math.prod(i.box) * (i.depth if i.op in _PER_INPUT else 1)
    return math.ceil(-(-elements // p.vector_lanes) * passes * (p.int16_factor if i.wide else 1))


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
