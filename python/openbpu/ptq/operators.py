"""How each ONNX operator takes part in quantisation: the one table that placement reads."""

from __future__ import annotations

# Multiply-accumulate with constant weights, or of two tensors: their result is quantised with parameters of its own.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# Normalisations; their constant gain and offset stay float in the model and become part of the instruction.
NORMALISING = frozenset({"LayerNormalization", "RMSNormalization"})

# Other operators whose result has parameters of its own.
COMPUTING = WEIGHTED | NORMALISING | {"GlobalAveragePool", "AveragePool", "ReduceMean", "Softmax"}

# Arithmetic of two tensors; of functions of one tensor, or with a number, it belongs to that tensor's chain.
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"})

# Clamps, which a computing operator before them absorbs.
CLAMPS = frozenset({"Relu", "Clip"})

# Functions of one tensor: a chain of them becomes one table, quantised at its two ends only.
FUNCTIONS = CLAMPS | {
    "Abs", "Acos", "Asin", "Atan", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
}  # fmt: skip

# No number changes: input (its first, or all of Concat) and output share one set of parameters.
SHARING = frozenset(
    {
        "Concat", "DepthToSpace", "Dropout", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad",
        "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
    }
)  # fmt: skip

QUANTISABLE = COMPUTING | ARITHMETIC | FUNCTIONS | SHARING
