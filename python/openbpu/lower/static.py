"""Which inputs of a model must be known at compile time, because shapes or parameters of kernels follow from them."""

from __future__ import annotations

import onnx

from openbpu.ir.onnx_graph import reads
from openbpu.lower.cpu.kernels import STATIC

# Operands that views and folded operators take as constants, beside the static operands of the kernels.
_OTHERS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "BlackmanWindow": (0,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "MaxUnpool": (2,),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "STFT": (1, 2, 3),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
_SHAPES_ONLY = ("Shape", "Size")  # their result does not depend on the values of the operand


def static_inputs(model: onnx.ModelProto) -> set[str]:
    """Names of graph inputs from which a static operand is computed."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    wanted: set[str] = set()
    for node in reversed(nodes):
        if node.op_type not in _SHAPES_ONLY and wanted.intersection(node.output):
            wanted.update(reads(node))
        positions = {*STATIC.get(node.op_type, ()), *_OTHERS.get(node.op_type, ())}
        wanted.update(node.input[i] for i in positions if i < len(node.input) and node.input[i])
    return {info.name for info in model.graph.input if info.name in wanted}
