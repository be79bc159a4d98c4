"""Ranges of a quantised ONNX model for a prepared one: training goes on from post-training quantisation.

Names and node structure differ between exporters, so tensors are found by their values: both models compute in float
on the same input, and a site takes the parameters of the pair of QuantizeLinear and DequantizeLinear whose tensor
equals its own. Only the quantisation of weights, far below the limit, keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from os import PathLike
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from openbpu import frontend
from openbpu.errors import ModelError
from openbpu.qat.debugging import in_state
from openbpu.qat.observers import Fixed
from openbpu.qat.preparing import preparation
from openbpu.qat.quantisers import Quantiser
from openbpu.qat.states import State
from openbpu.qat.switching import arguments, call, sites, watched
from openbpu.qat.verification import Runner

_MOST_ERROR = 0.05  # energy of the difference of two tensors that are taken for one, over that of the tensor
_MOST_AXES = 4  # of tensors that are also compared with axes exchanged


@dataclass(frozen=True)
class _Pair:
    """QuantizeLinear and DequantizeLinear with constant parameters for a whole tensor, as signed integers."""

    tensor: str  # what is quantised
    scale: float
    zero: int
    bits: int

    @property
    def range(self) -> tuple[float, float]:
        """The reals of the outermost levels."""
        half = 1 << (self.bits - 1)
        return (-half - self.zero) * self.scale, (half - 1 - self.zero) * self.scale


def load_ranges(
    model: nn.Module, qdq: onnx.ModelProto | str | PathLike[str] | bytes, sample: Any | None = None
) -> list[str]:
    """Takes activation ranges from a QDQ ONNX model of the same network; returns the sites that found none.

    `qdq` comes from `openbpu.quantize`, `export`, or any tool that writes QDQ; types may differ. Sites without a pair
    keep their range, so calibrate first if there are some; fixed ranges stay. `sample` is an input on which the layers
    differ, by default random numbers as large as the example. Raises ModelError if the two are not one network.
    """
    proto = frontend.load(qdq)
    pairs = list(_pairs(proto))
    arrays = _inputs(model, proto, sample)
    values = _float_values(proto, pairs, arrays)
    tensors: dict[str, np.ndarray] = {}
    with in_state(model, State.FLOAT), watched(model, lambda name, x: tensors.__setitem__(name, x.cpu().numpy())):
        call(model, tuple(torch.from_numpy(a).to(_device(model)) for a in arrays))
    found: dict[Quantiser, set[_Pair]] = {}
    left = []
    for name, site in sites(model).items():
        if isinstance(site.quantiser.observer, Fixed):
            continue
        pair = _nearest(tensors[name], pairs, values)
        if pair is None:
            left.append(name)
        else:
            found.setdefault(site.quantiser, set()).add(pair)
    if not found:
        raise ModelError(
            "the quantised model must be of the same network", where="load_ranges",
            seen=f"none of {len(pairs)} quantised tensors equal to one of the prepared model",
            remedy="export the network that was prepared, with the same weights",
        )  # fmt: skip
    for quantiser, chosen in found.items():
        _take(quantiser, chosen)
    return [name for name in left if sites(model)[name].quantiser not in found]


def _take(quantiser: Quantiser, pairs: set[_Pair]) -> None:
    """The parameters as they are if the grid has them, else the range."""
    first, *others = pairs
    grid = quantiser.grid
    if not others and first.bits == (grid.high + 1).bit_length() and (first.zero == 0 or not quantiser.symmetric):
        quantiser.set_parameters(first.scale, first.zero)
        return
    lows, highs = zip(*(pair.range for pair in pairs), strict=True)
    quantiser.cover(min(lows), max(highs))


def _pairs(proto: onnx.ModelProto) -> Iterator[_Pair]:
    constants = {t.name: t for t in proto.graph.initializer}
    read = {node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    for node in proto.graph.node:
        if node.op_type != "QuantizeLinear" or node.output[0] not in read or not {*node.input[1:]} <= constants.keys():
            continue
        scale, *zeros = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
        zero = zeros[0] if zeros else np.zeros((), np.uint8)
        if scale.size == 1 and zero.dtype.kind in "iu" and zero.dtype.itemsize <= 2:
            bits = 8 * zero.dtype.itemsize
            offset = 1 << (bits - 1) if zero.dtype.kind == "u" else 0
            yield _Pair(node.input[0], float(scale.reshape(())), int(zero.reshape(())) - offset, bits)


def _device(model: nn.Module) -> torch.device:
    return next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _inputs(model: nn.Module, proto: onnx.ModelProto, sample: Any | None) -> list[np.ndarray]:
    """What both models compute on, in the shapes of the quantised one."""
    examples = preparation(model).examples if sample is None else arguments(model, sample)
    shapes = [tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in proto.graph.input]
    if len(shapes) != len(examples):
        raise ModelError(
            "the quantised model must have the inputs of the prepared one", where="load_ranges", seen=len(shapes)
        )
    random = np.random.default_rng(0)
    arrays = []
    for example, shape in zip(examples, shapes, strict=True):
        array = np.asarray(example.detach().cpu(), order="C")
        if sample is None and array.dtype.kind == "f":
            reach = float(np.abs(array).max(initial=0)) or 1.0
            array = random.uniform(-reach, reach, array.shape).astype(array.dtype)
        if array.size and shape and shape[0]:  # the batch of the quantised model
            array = np.resize(array, (shape[0], *array.shape[1:]))
        if len(shape) != array.ndim or any(
            want not in (0, have) for want, have in zip(shape, array.shape, strict=True)
        ):
            raise ModelError("the same shape of input", where="load_ranges", seen=f"{shape} and {array.shape}")
        arrays.append(array)
    return arrays


def _float_values(
    proto: onnx.ModelProto, pairs: Sequence[_Pair], arrays: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """What each pair quantises, with no activation quantised."""
    quantised = {pair.tensor for pair in pairs}
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    source = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    source = {name: tensor for name, tensor in source.items() if tensor in quantised}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in source:
            node.CopyFrom(helper.make_node("Identity", [source[node.input[0]]], [node.output[0]], node.name))
    feeds = {i.name: array for i, array in zip(model.graph.input, arrays, strict=True)}
    inner = [name for name in dict.fromkeys(pair.tensor for pair in pairs) if name not in feeds]
    return {**feeds, **Runner(model, inner)(feeds)}


def _nearest(x: np.ndarray, pairs: Sequence[_Pair], values: dict[str, np.ndarray]) -> _Pair | None:
    """The pair whose tensor equals `x`, perhaps in another shape or order of axes."""
    energy = float(np.square(x, dtype=np.float64).sum())
    if not energy:
        return None
    candidates = [(values[pair.tensor].ravel(), pair) for pair in pairs if values[pair.tensor].size == x.size]
    for order in _orders(x):
        moved = x.transpose(order).ravel()
        errors = [float(np.square(moved - y, dtype=np.float64).sum()) / energy for y, _ in candidates]
        if errors and min(errors) < _MOST_ERROR:
            return candidates[int(np.argmin(errors))][1]
    return None


def _orders(x: np.ndarray) -> Iterator[tuple[int, ...]]:
    yield tuple(range(x.ndim))
    if x.ndim <= _MOST_AXES:
        yield from list(permutations(range(x.ndim)))[1:]
