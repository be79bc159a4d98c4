"""The CPU operators that the runtime has, and the element types that they compute in."""

from __future__ import annotations

from typing import Any

from openbpu import _native

KERNELS: dict[str, dict[str, Any]] = {kernel["name"]: kernel for kernel in _native.cpu_kernels()}

# Attributes of a kernel, and positions of the operands that must be constant.
ATTRIBUTES = {name: {a["name"] for a in kernel["attributes"]} for name, kernel in KERNELS.items()}
STATIC = {
    name: {i for i in range(kernel["max_inputs"]) if i < 32 and kernel["statics"] >> i & 1}
    for name, kernel in KERNELS.items()
}

REAL = ("float32", "float64", "float16", "bfloat16")
INTEGER = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
TYPES = (*REAL, *INTEGER, "bool")
PORT_TYPES = tuple(name for name in TYPES if name != "bfloat16")  # numpy has no bfloat16

_MOVES = frozenset(
    {
        "Cast", "Compress", "Concat", "DepthToSpace", "Expand", "Gather", "GatherElements", "GatherND", "Identity",
        "NonZero", "OneHot", "Pad", "ReverseSequence", "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split",
        "Tile", "Transpose", "Trilu", "Where",
    }
)  # fmt: skip
# Heavy kernels exist in float32 only; other real types are converted around them.
_SINGLE = frozenset(
    {
        "AffineGrid", "AveragePool", "BatchNormalization", "Col2Im", "Conv", "ConvTranspose", "DeformConv", "Det",
        "DynamicQuantizeLinear", "Einsum", "GRU", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
        "GridSample", "GroupNormalization", "Hardmax", "InstanceNormalization", "LRN", "LSTM", "LayerNormalization",
        "LogSoftmax", "LpNormalization", "LpPool", "MatMul", "MaxPool", "MaxRoiPool", "MaxUnpool",
        "MeanVarianceNormalization", "NonMaxSuppression", "RMSNormalization", "RNN", "Resize", "RoiAlign", "Softmax",
    }
)  # fmt: skip


def working_type(op: str, dtype: str) -> str:
    """The type in which a kernel computes on operands of a real type."""
    if dtype not in REAL or op in _MOVES:
        return dtype
    if dtype == "float64" and op not in _SINGLE:
        return dtype
    return "float32"
