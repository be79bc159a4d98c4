"""The integer graph: what is left of a model when every float operator has become integer arithmetic.

Tensors of rank 4 lie NHWC, whatever their ONNX order (NCHW); tensors of other ranks lie row major. `Value.shape` is the
extent in memory order, padded in front with ones to four: (n, h, w, c). An [M, K] matrix is (1, 1, M, K), a [B, T, C]
tensor (1, B, T, C); `Value.onnx_shape` keeps the model's own view.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbpu.ir.quant import QuantParams


@dataclass(eq=False)
class Value:
    """A tensor of the graph: assigned once, by one op or as a graph input."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: str  # "int8", "int16", "int32", "float32"
    quant: QuantParams | None  # None for float32
    onnx_shape: tuple[int, ...]


@dataclass(eq=False)
class Op:
    """One integer operator. `kind` is a key of the op table in docs/isa.md's language (see `KINDS`)."""

    kind: str
    inputs: list[Value]
    outputs: list[Value]
    attrs: dict[str, Any] = field(default_factory=dict)
    consts: dict[str, np.ndarray] = field(default_factory=dict)
    origin: tuple[str, ...] = ()  # names of the ONNX nodes that it stands for; kept through every pass


# kind -> (attributes, constants). Geometry attributes are (rows, columns) pairs; pads are (top, left, bottom, right).
# lo, hi clamp the int8 result. Constants hold model values in plain order; tables and packings are made by target/.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # weight int8 [co, kh, kw, ci/groups]; bias int32 [co] on the grid in_scale * weight_scale; weight_scale f64 [co]
    "conv2d": (("stride", "dilation", "pads", "groups", "lo", "hi"), ("weight", "weight_scale", "bias")),
    # weight int8 [c, kh, kw]
    "dwconv2d": (("stride", "dilation", "pads", "lo", "hi"), ("weight", "weight_scale", "bias")),
    # weight int8 [co, kh, kw, ci/groups], as in the correlation form of kernels/tconv/tconv.hpp
    "tconv2d": (("stride", "dilation", "pads", "groups", "lo", "hi"), ("weight", "weight_scale", "bias")),
    # weight int8 [co, ci] (transposed to rows per output); rows of in are its w
    "matmul": (("lo", "hi"), ("weight", "weight_scale", "bias")),
    "matmul_dynamic": (("transpose_b", "lo", "hi"), ()),
    "add": (("lo", "hi"), ()),
    "sub": (("lo", "hi"), ()),
    "mul": (("lo", "hi"), ()),
    "rescale": (("lo", "hi"), ()),
    "lut8": ((), ("table",)),  # int8 [256], index = value + 128
    "softmax": (("lo", "hi"), ()),  # over c
    "maxpool": (("kernel", "stride", "dilation", "pads"), ()),
    "avgpool": (("kernel", "stride", "dilation", "pads", "count_pad", "lo", "hi"), ()),
    # rows / columns: structured index and weight tables, see kernels/resize/resize.hpp
    "resize_nearest": ((), ("rows", "columns")),  # int32 source indices
    "resize_bilinear": ((), ("row_index", "row_weight", "column_index", "column_weight")),  # int32 [n,2], int16 [n,2]
    # views: no arithmetic; the scheduler may place them without an instruction
    "concat": (("axis",), ()),  # axis into (n, h, w, c)
    "slice": (("axis", "start", "stop", "step"), ()),  # step >= 1
    "reshape": ((), ()),  # same bytes, other extents
    "transpose": (("perm",), ()),  # perm of (n, h, w, c): out axis i is in axis perm[i]
    "depth_to_space": (("block", "mode"), ()),  # mode "DCR" or "CRD", on NHWC
    "space_to_depth": (("block",), ()),
    "pad": (("pads", "value"), ()),  # pads ((before, after) x 4), value int8
    "quantize": ((), ()),  # float32 graph input -> int8; input value keeps ONNX order (see Graph.inputs)
    "dequantize": ((), ()),
}


@dataclass
class Graph:
    """Ops in topological order. Graph inputs and outputs are the caller's tensors, dense in ONNX order."""

    name: str
    inputs: list[Value]
    outputs: list[Value]
    ops: list[Op]

    def consumers(self, value: Value) -> Iterator[Op]:
        return (op for op in self.ops if value in op.inputs)

    def producer(self, value: Value) -> Op | None:
        return next((op for op in self.ops if value in op.outputs), None)

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
