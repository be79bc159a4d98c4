"""ONNX operators as torch functions with gradients: the table of what a span may hold.

Several samples may lie along the batch; whether a span bears that is tried out (`learning.Teacher`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional


class Untranslated(Exception):
    """A node that the table has no form for: which, and why."""


@dataclass(frozen=True)
class Call:
    """One node: its attributes, run-time and constant inputs as tensors, the constants as arrays too."""

    op: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Tensor | None]
    constants: Sequence[np.ndarray | None]

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def tensor(self, index: int) -> Tensor | None:
        """An optional input."""
        return self.inputs[index] if index < len(self.inputs) else None

    def integers(self, index: int, name: str) -> list[int] | None:
        """A list of integers, an attribute of older and a constant input of newer opsets; None if there is none."""
        constant = self.constants[index] if index < len(self.constants) else None
        if constant is not None:
            return [int(v) for v in constant.ravel()]
        if index < len(self.inputs) and self.inputs[index] is not None:
            raise Untranslated(f"{self.op} with {name} that are computed")
        given = self.attributes.get(name)
        return None if given is None else [int(v) for v in np.ravel(given)]

    def number(self, index: int, name: str, default: float) -> float:
        """The same for one number."""
        constant = self.constants[index] if index < len(self.constants) else None
        return float(self.get(name, default)) if constant is None else float(constant.ravel()[0])


Function = Callable[[Call], "Tensor | Sequence[Tensor]"]


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _refuse(call: Call, what: str) -> NoReturn:
    raise Untranslated(f"{call.op} with {what}")


def _padded(call: Call, x: Tensor, rank: int, value: float = 0.0) -> Tensor:
    """With the pads of a window in front of and behind each spatial axis."""
    if call.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        _refuse(call, f"auto_pad {call.get('auto_pad', '')}")
    pads = call.get("pads", [0] * 2 * rank)
    if not any(pads):
        return x
    flat = [p for axis in reversed(range(rank)) for p in (pads[axis], pads[axis + rank])]
    return functional.pad(x, flat, value=value)


def _conv(call: Call) -> Tensor:
    rank = call.x.dim() - 2
    if rank not in (1, 2):
        _refuse(call, f"{rank} spatial axes")
    run, pads = (functional.conv1d, functional.conv2d)[rank - 1], call.get("pads", [0] * 2 * rank)
    even = call.get("auto_pad", "NOTSET") == "NOTSET" and list(pads[:rank]) == list(pads[rank:])
    x, padding = (call.x, list(pads[:rank])) if even else (_padded(call, call.x, rank), [0] * rank)
    strides, dilations = call.get("strides", [1] * rank), call.get("dilations", [1] * rank)
    return run(x, call.inputs[1], call.tensor(2), strides, padding, dilations, call.get("group", 1))


def _conv_transpose(call: Call) -> Tensor:
    rank, pads = call.x.dim() - 2, call.get("pads", [0] * 2 * (call.x.dim() - 2))
    if rank != 2 or pads[:2] != pads[2:] or "output_shape" in call.attributes or "auto_pad" in call.attributes:
        _refuse(call, "uneven borders")
    return functional.conv_transpose2d(
        call.x, call.inputs[1], call.tensor(2), call.get("strides", [1, 1]), pads[:2],
        call.get("output_padding", [0, 0]), call.get("group", 1), call.get("dilations", [1, 1]),
    )  # fmt: skip


def _gemm(call: Call) -> Tensor:
    a = call.x.T if call.get("transA", 0) else call.x
    other: Any = call.inputs[1]
    b = other.T if call.get("transB", 0) else other
    y, c = call.get("alpha", 1.0) * (a @ b), call.tensor(2)
    return y if c is None else y + call.get("beta", 1.0) * c


def _average_pool(call: Call) -> Tensor:
    pads = call.get("pads", [0, 0, 0, 0])
    if call.x.dim() != 4 or list(pads[:2]) != list(pads[2:]) or call.get("ceil_mode", 0):
        _refuse(call, "uneven borders")
    return functional.avg_pool2d(
        call.x, call.get("kernel_shape", None), call.get("strides", [1, 1]), pads[:2], False,
        bool(call.get("count_include_pad", 0)),
    )  # fmt: skip


def _max_pool(call: Call) -> Tensor:
    if call.x.dim() != 4 or call.get("ceil_mode", 0):
        _refuse(call, "ceil_mode")
    x = _padded(call, call.x, 2, -torch.inf)
    return functional.max_pool2d(
        x, call.get("kernel_shape", None), call.get("strides", [1, 1]), 0, call.get("dilations", [1, 1])
    )


def _reduce(function: Callable[..., Tensor]) -> Function:
    def run(call: Call) -> Tensor:
        axes = call.integers(1, "axes") or list(range(call.x.dim()))
        return function(call.x, dim=axes, keepdim=bool(call.get("keepdims", 1)))

    return run


def _layer_norm(call: Call) -> Tensor:
    axis = call.get("axis", -1)
    shape = call.x.shape[axis:]
    return functional.layer_norm(call.x, shape, call.inputs[1], call.tensor(2), call.get("epsilon", 1e-5))


def _clip(call: Call) -> Tensor:
    return call.x.clamp(call.number(1, "min", -math.inf), call.number(2, "max", math.inf))


def _reshape(call: Call) -> Tensor:
    shape = call.integers(1, "shape") or []
    copies = not call.get("allowzero", 0)
    kept = [call.x.shape[i] if extent == 0 and copies else extent for i, extent in enumerate(shape)]
    if kept and kept[0] == 1 and call.x.shape[0] > 1:  # several samples along the batch
        kept[0] = call.x.shape[0]
    return call.x.reshape(kept)


def _flatten(call: Call) -> Tensor:
    axis = call.get("axis", 1)
    return call.x.reshape(math.prod(call.x.shape[:axis]), -1)


def _squeeze(call: Call) -> Tensor:
    axes = call.integers(1, "axes")
    return call.x.squeeze() if axes is None else call.x.squeeze([a % call.x.dim() for a in axes])


def _unsqueeze(call: Call) -> Tensor:
    axes = call.integers(1, "axes") or []
    x = call.x
    for axis in sorted(a % (x.dim() + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> Tensor:
    return call.x.permute(list(call.get("perm", range(call.x.dim())[::-1])))


def _slice(call: Call) -> Tensor:
    starts, ends = call.integers(1, "starts") or [], call.integers(2, "ends") or []
    axes, steps = call.integers(3, "axes") or list(range(len(starts))), call.integers(4, "steps") or [1] * len(starts)
    x = call.x
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            _refuse(call, f"step {step}")
        kept = [slice(None)] * x.dim()
        kept[axis] = slice(start, min(end, x.shape[axis]), step)
        x = x[tuple(kept)]
    return x


def _split(call: Call) -> Sequence[Tensor]:
    axis, sizes = call.get("axis", 0), call.integers(1, "split")
    if sizes is None:
        _refuse(call, "equal parts")
    return torch.split(call.x, sizes, axis)


def _gather(call: Call) -> Tensor:
    indices, axis = call.constants[1], call.get("axis", 0)
    if indices is None or call.constants[0] is not None or indices.ndim > 1:
        _refuse(call, "indices that are not a constant list")
    found = torch.as_tensor(np.atleast_1d(indices) % call.x.shape[axis])
    taken = call.x.index_select(axis, found)
    return taken if np.ndim(indices) else taken.squeeze(axis)


def _resize(call: Call) -> Tensor:
    scales = call.constants[2] if len(call.constants) > 2 else call.constants[1]
    if scales is None or scales.size != 4 or call.x.dim() != 4 or call.get("mode", "nearest") != "nearest":
        _refuse(call, f"mode {call.get('mode', 'nearest')}")
    factors = [int(s) for s in scales]
    if factors[:2] != [1, 1] or list(scales) != factors:
        _refuse(call, "scales that are not whole")
    return call.x.repeat_interleave(factors[2], 2).repeat_interleave(factors[3], 3)


def _hard_sigmoid(call: Call) -> Tensor:
    return (call.x * call.get("alpha", 0.2) + call.get("beta", 0.5)).clamp(0, 1)


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    def run(call: Call) -> Tensor:
        result = call.x
        for other in call.inputs[1:]:
            result = function(result, other)
        return result

    return run


def _elementwise(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda call: function(call.x)


TABLE: dict[str, Function] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": lambda call: torch.matmul(call.x, call.inputs[1]),
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "GlobalAveragePool": lambda call: call.x.mean(list(range(2, call.x.dim())), keepdim=True),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "LayerNormalization": _layer_norm,
    "Softmax": lambda call: torch.softmax(call.x, call.get("axis", -1)),
    "Add": _fold(torch.add),
    "Sub": _fold(torch.sub),
    "Mul": _fold(torch.mul),
    "Div": _fold(torch.div),
    "Max": _fold(torch.maximum),
    "Min": _fold(torch.minimum),
    "Pow": _fold(torch.pow),
    "Clip": _clip,
    "Relu": _elementwise(functional.relu),
    "LeakyRelu": lambda call: functional.leaky_relu(call.x, call.get("alpha", 0.01)),
    "Sigmoid": _elementwise(torch.sigmoid),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _elementwise(functional.hardswish),
    "Tanh": _elementwise(torch.tanh),
    "Erf": _elementwise(torch.erf),
    "Exp": _elementwise(torch.exp),
    "Sqrt": _elementwise(torch.sqrt),
    "Neg": _elementwise(torch.neg),
    "Abs": _elementwise(torch.abs),
    "Softplus": lambda call: functional.softplus(call.x, threshold=1e9),
    "Gelu": lambda call: functional.gelu(call.x, approximate=call.get("approximate", "none")),
    "Concat": lambda call: torch.cat(list(call.inputs), call.get("axis", 0)),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Resize": _resize,
    "Identity": _elementwise(lambda x: x),
    "Dropout": _elementwise(lambda x: x),
}
