"""Which nodes on constants are evaluated when a model is prepared."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from openbpu.ir.onnx_graph import STANDARD, UNFOLDED

LARGEST_WEIGHT = 1 << 26  # elements
_LARGEST = 1 << 18  # elements of a result that is no larger than what it is made from only by chance
_MOST_EXTENTS = 64  # of a shape
_ON_WEIGHTS = frozenset(
    {
        "Abs", "Add", "Cast", "Clip", "Div", "Exp", "Flatten", "Identity", "Log", "Max", "Min", "Mul", "Neg", "Pow",
        "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Reshape",
        "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def should_fold(node: ir.Node) -> bool | None:
    """False for what must not be evaluated, True for arithmetic of weights and shapes, None where onnxscript decides.

    Weights that are normalised or standardised in the graph are constants, whatever their size.
    """
    if node.op_type in UNFOLDED:
        return False
    if node.domain in STANDARD and node.op_type in _ON_WEIGHTS:
        return True
    if node.domain in STANDARD and node.op_type == "ConstantOfShape":
        extents = node.inputs[0].const_value if node.inputs and node.inputs[0] is not None else None
        small = extents is not None and prod(int(e) for e in extents.numpy().ravel()) <= _MOST_EXTENTS
        return True if small else None
    shape = node.outputs[0].shape if node.outputs else None
    large = shape is not None and shape.is_static() and prod(shape.numpy()) > _LARGEST
    return False if large else None
