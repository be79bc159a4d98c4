"""The integer graph: what is left of a model when every float operator has become integer arithmetic.

Tensors of rank 4 lie NHWC, whatever their ONNX order (NCHW); tensors of other ranks lie row major. `Value.shape` is the
extent in memory order, padded in front with ones to four: (n, h, w, c). An [M, K] matrix is (1, 1, M, K), a [B, T, C]
tensor (1, B, T, C); ranks above four join their leading dimensions in n. `Value.onnx_shape` keeps the model's own view.

What has no integer form stays float: ops of kind "cpu" work on tensors that lie dense in ONNX order, as those of the
caller do, whatever their extents say. "quantize" and "dequantize" stand at the borders between both worlds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbpu.ir.quant import QuantParams


@dataclass(eq=False)
class Value:
    """A tensor of the graph: assigned once, by one op or as a graph input."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: str  # "int8" or "int16"; ports also "uint8"; ports and CPU tensors "float32", "int64", "int32", "bool"
    quant: QuantParams | None  # None for CPU tensors
    onnx_shape: tuple[int, ...]
    flags: int = 0  # of an input of the graph: Port.flags of docs/isa.md

    @property
    def item_size(self) -> int:
        """Bytes per element."""
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def on_cpu(self) -> bool:
        """Dense in ONNX order, read and written by CPU operators."""
        return self.quant is None


@dataclass(eq=False)
class Op:
    """One integer operator. `kind` is a key of the op table in docs/isa.md's language (see `KINDS`)."""

    kind: str
    inputs: list[Value]
    outputs: list[Value]
    attrs: dict[str, Any] = field(default_factory=dict)
    consts: dict[str, np.ndarray] = field(default_factory=dict)
    origin: tuple[str, ...] = ()  # names of the ONNX nodes that it stands for; kept through every pass


# kind -> (attributes, constants). Every number that an instruction needs is here, derived by lower/ as docs/numerics.md
# says; packings are made by target/. Geometry is in (rows, columns) pairs; pads are (top, left, bottom, right).
# lo, hi clamp the result. B int32, m int16, s uint8 are the RQ8 table per output channel, L its common shift.
#
# The 16-bit forms have int16 inputs and an int16 or int8 result. In place of L, B, m and s, and of the multipliers of
# sums, products and means, they have an RQ16 table (bias int64, m int32, sh uint8), as "rescale" has: per output
# channel, one entry, two for a sum (`negative` subtracts the second operand), or one per divisor.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # weight int8 [co, kh, kw, ci / groups]
    "conv2d": (("stride", "dilation", "pads", "groups", "L", "lo", "hi"), ("weight", "B", "m", "s")),
    # weight int8 [c, kh, kw]
    "dwconv2d": (("stride", "dilation", "pads", "L", "lo", "hi"), ("weight", "B", "m", "s")),
    # weight int8 [co, kh, kw, ci / groups]; tap (ky, kx) as in kernels/tconv/tconv.hpp
    "tconv2d": (("stride", "dilation", "pads", "groups", "L", "lo", "hi"), ("weight", "B", "m", "s")),
    # (n, 1, rows, ci) by weight int8 [co, ci]
    "matmul": (("L", "lo", "hi"), ("weight", "B", "m", "s")),
    # (n, 1, m, k) by (n, 1, k, columns), or (n, 1, columns, k) if transpose_b; one RQ8 entry
    "matmul_dynamic": (("transpose_b", "L", "lo", "hi"), ("B", "m", "s")),
    # extents of the second operand may be 1; mb is negative for a difference
    "add": (("ma", "mb", "C", "sh", "lo", "hi"), ()),
    "mul": (("m", "sh", "lo", "hi"), ()),
    # extents of the second operand may be 1; operands and result have equal parameters
    "extreme": (("largest", "lo", "hi"), ()),
    # extents of the second operand may be 1; relation is a key of RELATIONS; ranks int16 [512]; gives 0 or 1
    "compare": (("relation",), ("ranks",)),
    # a, b, condition: a where the condition is not 0; extents of all may be 1; a, b and result have equal parameters
    "select": ((), ()),
    # extents of the second operand may be 1; ratio int64 [256], index = divisor + 128
    "divide": (("sh", "lo", "hi"), ("ratio",)),
    # (n, h, w, c) to (n, h, w, 1); kind is a key of REDUCTIONS; m and sh are 0 for maximum and minimum
    "reduce": (("kind", "m", "sh", "lo", "hi"), ()),
    "argmax": ((), ()),  # over c, to a CPU tensor int64
    "gather": ((), ()),  # (n, h, w, c) by a CPU tensor of integers, int32 or int64, to (n, h, indices, c)
    # (n, h, w, c) by a CPU tensor [n, oh, ow, 2], float32
    "grid_sample": (("nearest", "border", "align_corners"), ()),
    # image ports to (n, h, w, c), int8 or int16; form "nv12" (luma, chroma), "pixels" (n, h, w, 3) or "planes"
    # (n, 3, h, w); int16 m [c, 3], int32 b, int16 lo, hi
    "csc": (("form", "sh"), ("m", "b", "lo", "hi")),
    "rescale": (("lo", "hi"), ("bias", "m", "sh")),  # int64, int32, uint8; one entry or one per channel
    "lut8": ((), ("table",)),  # int8 [256], index = value + 128
    "lut16": ((), ("table",)),  # int16 [2^k + 1], knots of an interpolation
    "softmax": (("C", "lo", "hi"), ("exp",)),  # over c; exp uint16 [256], of int16 [2^k + 1]
    # over c; zero is the zero point of the input for rmsnorm, None for layernorm; per channel int32 b, int16 g, of
    # int16 int64 b, int32 g
    "norm": (("eps", "F", "zero", "sh", "lo", "hi"), ("b", "g")),
    "maxpool": (("kernel", "stride", "dilation", "pads"), ()),
    # m int32, sh uint8: one entry, or one per number of taps inside the input
    "avgpool": (("kernel", "stride", "dilation", "pads", "count_pad", "lo", "hi"), ("m", "sh")),
    "resize_nearest": ((), ("rows", "columns")),  # int32 source index per output row and column
    # int32 [out, 2] and int16 [out, 2] per axis; weights of an output sum to 2048; for int16 uint32 and 2^20
    "resize_bilinear": ((), ("row_index", "row_weight", "column_index", "column_weight")),
    "constant": ((), ("data",)),  # int8 (n, h, w, c), or a CPU tensor in ONNX order
    # moves: no arithmetic; the scheduler may place them without an instruction
    "concat": (("axis",), ()),  # axis into (n, h, w, c)
    "slice": (("axis", "start", "stop", "step"), ()),  # step >= 1
    "reshape": ((), ()),  # same bytes, other extents or parameters
    "transpose": (("perm",), ()),  # perm of (n, h, w, c): out axis i is in axis perm[i]
    "expand": ((), ()),  # extents of 1 are repeated
    "depth_to_space": (("block", "mode"), ()),  # mode "DCR" or "CRD", on NHWC
    "space_to_depth": (("block",), ()),
    "pad": (("pads", "value"), ()),  # pads ((before, after) x 4), value of the type of the tensor
    # an ONNX operator in float; `operands` are the positions of its inputs, `results` of its outputs in the ONNX node
    "cpu": (("op", "attributes", "operands", "results"), ()),
    "alias": ((), ()),  # a CPU tensor under another shape: the same bytes
    # borders to the caller and to CPU tensors, which are dense in ONNX order, whatever their extents say
    "quantize": ((), ()),  # float32 -> int8 or int16
    "dequantize": ((), ()),  # int8 or int16 -> float32
    # image port (n, h, w, c) and regions int32 [n, 4] to (n, oh, ow, c)
    "roi_resize": (("shift", "source"), ()),  # source: extents of the image
    "read_image": ((), ()),  # uint8 input of one channel -> int8, 128 less
    "read_port": ((), ()),  # int8 or uint8 input -> int8; int16 as it is
    "write_port": ((), ()),  # int8 -> int8 or uint8 output; int16 as it is
}


RELATIONS = {"Equal": 0, "Less": 1, "LessOrEqual": 2, "Greater": 3, "GreaterOrEqual": 4, "Different": 5}
REDUCTIONS = {"max": 0, "min": 1, "sum": 2, "l1": 3, "square": 4, "l2": 5}
# Kinds that may have int16 values.
INT16_KINDS = frozenset(
    {
        "csc", "conv2d", "dwconv2d", "tconv2d", "matmul", "matmul_dynamic", "add", "mul", "rescale", "lut16", "softmax",
        "norm", "gather", "maxpool", "avgpool", "resize_nearest", "resize_bilinear", "constant", "concat", "slice",
        "reshape", "transpose", "rearrange", "expand", "depth_to_space", "space_to_depth", "pad", "cpu", "alias",
        "quantize", "dequantize", "read_port", "write_port",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """Where an ONNX node runs and why: `where` is "BPU", "CPU" or "none" (folded, a view, or not needed)."""

    node: str
    op: str
    where: str
    reason: str
    remedy: str = ""  # what would move it to the BPU
    outputs: tuple[str, ...] = ()


@dataclass
class Graph:
    """Ops in topological order. Graph inputs and outputs are the caller's tensors, dense in ONNX order."""

    name: str
    inputs: list[Value]
    outputs: list[Value]
    ops: list[Op]
    decisions: list[Decision] = field(default_factory=list)  # one per ONNX node, in the order of the model
    notes: dict[str, Any] = field(default_factory=dict)  # JSON that the executable keeps in its META

    def __str__(self) -> str:
        """Readable text, one line per op: used by --dump and by golden tests."""
        lines = [f"graph {self.name}"]
        lines += [f"  in  {_describe(v)}" for v in self.inputs]
        for op in self.ops:
            attrs = " ".join(f"{k}={v}" for k, v in op.attrs.items())
            left = ", ".join(_describe(v) for v in op.outputs)
            inputs = ", ".join(v.name for v in op.inputs)
            lines.append(f"  {left} = {op.kind}({inputs}) {attrs}  # {', '.join(op.origin)}")
        lines += [f"  out {_describe(v)}" for v in self.outputs]
        return "\n".join(lines) + "\n"


def _describe(value: Value) -> str:
    extent = "x".join(map(str, value.shape))
    if value.quant is None:
        return f"{value.name}:{value.dtype}[{extent}]"
    quant = value.quant
    params = f"{quant.s:.6g},{quant.z}" if quant.axis is None else f"axis {quant.axis}"
    return f"{value.name}:{value.dtype}[{extent}]({params})"
