"""The one table of ONNX operators: what becomes of each on the BPU in int8 and int16 and on the CPU, or why none."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import defs

from openbpu.ir.onnx_graph import DECOMPOSED
from openbpu.lower import rules
from openbpu.lower.cpu.kernels import KERNELS
from openbpu.lower.registry import INT16, RULES, sentence

_REGISTERED = rules.__all__  # importing the package fills the table

_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout")
_RENAMED = {"CastLike": "Cast", "Upsample": "Resize", "Scatter": "ScatterElements"}
_FOLDED = {
    "Constant": "A constant of the model.",
    "ConstantOfShape": "Folded: its shape must be known.",
    "RNN": "The nodes of its steps, up to 64 of them, for constant weights.",
    "Range": "Folded: its limits must be known.",
    "Shape": "Folded: shapes are static.",
    "Size": "Folded: shapes are static.",
    "EyeLike": "Folded: shapes are static.",
    "BlackmanWindow": "Folded: its size must be known.",
    "HammingWindow": "Folded: its size must be known.",
    "HannWindow": "Folded: its size must be known.",
    "MelWeightMatrix": "Folded: its operands must be known.",
    "GRU": "The nodes of its steps, up to 64 of them, for constant weights.",
    "GroupNormalization": "LayerNormalization of groups, for large ones means and squares; gain and offset per "
    "channel, in float models.",
    "InstanceNormalization": "LayerNormalization of channels, for large ones means and squares; gain and offset per "
    "channel, in float models.",
    "GatherElements": "Gather of elements, of slices where lines of indices are equal; run-time indices: by the CPU.",
    "GatherND": "Gather of rows; run-time indices: by the CPU.",
    "ScatterElements": "Concat and Gather (Pad, Gather and Add for reduction add), for constant indices that differ.",
    "ScatterND": "Concat and Gather (Pad, Gather and Add for reduction add), for constant indices that differ.",
    "Col2Im": "ConvTranspose, in two dimensions, in models that are quantised.",
    "ReverseSequence": "Gather of steps, for constant lengths, in models that are quantised.",
    "MeanVarianceNormalization": "LayerNormalization of each image's channels, in models that are quantised.",
    "ReduceProd": "Products of halves, in float models that are quantised.",
    "ReduceLogSum": "ReduceSum and Log, in float models that are quantised.",
    "LSTM": "The nodes of its steps, up to 64 of them, for constant weights.",
    "AveragePool": "Over rows and columns, then over depth, in float models.",
    "ConvTranspose": "In 3-D: images with a channel per step in depth, if these do not overlap, in float models.",
    "Gemm": "MatMul and Add for a bias of run time, in float models.",
    "Einsum": "Transpositions around MatMul, Mul or ReduceSum, for one or two operands, in float models.",
    "QLinearConv": "DequantizeLinear, Conv, QuantizeLinear.",
    "QLinearMatMul": "DequantizeLinear, MatMul, QuantizeLinear.",
    "DFT": "Product with a constant matrix.",
    "STFT": "Convolution with a constant matrix.",
    **dict.fromkeys(
        ("Loop", "Scan"), "The nodes of its steps, up to 64 of them, if their number is known; else refused."
    ),
    "If": "The branch that is taken, if the condition is known; else refused.",
}
_BOUNDS = {"QuantizeLinear": "QUANTIZE at the border, or joined with the operator before it.",
           "DequantizeLinear": "DEQUANTIZE at the border, or joined with the operator behind it."}  # fmt: skip
_SEQUENCES = "sequences and optional values have no tensor form"
_STRINGS = "there are no tensors of strings"
_RANDOM = "results must follow from the inputs"
_REFUSED = {
    **dict.fromkeys(
        ("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
         "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
         "SequenceMap", "SplitToSequence"),
        _SEQUENCES,
    ),
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"), _STRINGS),
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM
    ),
    "ImageDecoder": "decode images before they enter the model",
}  # fmt: skip
_NEWEST_OPSET = 28  # operators that appeared later are not in the table
_NO_FORM = "no operator of the runtime computes it"


@dataclass(frozen=True)
class Entry:
    """One operator; each field is a sentence, or empty."""

    name: str
    int8: str = ""
    int16: str = ""
    cpu: str = ""
    decomposed: str = ""
    refused: str = ""


def table() -> list[Entry]:
    """Every operator of the standard domain, in alphabetical order."""
    history = (s for s in defs.get_all_schemas_with_history() if s.domain == "" and s.since_version <= _NEWEST_OPSET)
    names = {schema.name for schema in history if not schema.deprecated} | set(RULES)
    return [entry(name) for name in sorted(names)]


def entry(name: str) -> Entry:
    """What becomes of one operator."""
    int8 = sentence(name) if name in RULES else _BOUNDS.get(name, "")
    int16 = INT16.get(name, "")
    cpu = _on_cpu(name)
    decomposed = _FOLDED.get(name, "The nodes of its ONNX function." if name in DECOMPOSED else "")
    if int8 or int16 or cpu or decomposed:
        return Entry(name, int8, int16, cpu, decomposed)
    return Entry(name, refused=_REFUSED.get(name, _NO_FORM))


def _on_cpu(name: str) -> str:
    if name in _VIEWS:
        return "A view: the same bytes under another shape."
    kernel = KERNELS.get(_RENAMED.get(name, name))
    return "" if kernel is None else str(kernel["summary"])
