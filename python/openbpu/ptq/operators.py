"""How each ONNX operator takes part in quantisation: the one table that placement reads."""

from __future__ import annotations

# Multiply-accumulate with constant weights, or of two tensors: their result is quantised with parameters of its own.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# Normalisations; their constant gain and offset stay float in the model and become part of the instruction.
NORMALISING = frozenset({"LayerNormalization", "LpNormalization", "RMSNormalization"})

# Other operators whose result has parameters of its own.
COMPUTING = WEIGHTED | NORMALISING | {
    "AveragePool", "CumSum", "GlobalAveragePool", "GlobalLpPool", "LRN", "LogSoftmax", "ReduceL1",
    "ReduceL2", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax", "Where",
}  # fmt: skip

# Arithmetic of two tensors; of functions of one tensor, or with a number, it belongs to that tensor's chain.
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"})

# Clamps, which a computing operator before them absorbs.
CLAMPS = frozenset({"Relu", "Clip"})

# Functions of one tensor: a chain of them becomes one table, quantised at its two ends only.
FUNCTIONS = CLAMPS | {
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Round",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
    "ThresholdedRelu",
}  # fmt: skip

# No number changes: input (its first, or all of Concat) and output share one set of parameters.
SHARING = frozenset(
    {
        "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "GridSample", "Identity",
        "MaxPool", "Pad", "ReduceMax", "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze",
        "Tile", "Transpose", "Trilu", "Unsqueeze", "Upsample",
    }
)  # fmt: skip

# Read float tensors and give none: on the BPU if what they read is there.
TESTING = frozenset({"ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

# Ends of classifiers that are 0 or 1 for most samples, whatever was lost on the way to them.
SATURATING = frozenset({"HardSigmoid", "LogSoftmax", "Sigmoid", "Softmax", "Tanh"})

QUANTISABLE = COMPUTING | ARITHMETIC | FUNCTIONS | SHARING | TESTING
