"""A span of the QDQ model in torch: what is learned of it, and how that becomes numbers of the model again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from openbpu.fake_quantisation import fake_quantize
from openbpu.ir.onnx_graph import STANDARD
from openbpu.ptq.reconstruction.parts import Part
from openbpu.ptq.reconstruction.translation import TABLE, Call, Untranslated, attributes_of
from openbpu.ptq.weights import quantise_bias

_LEVELS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_NEAR = 0.45  # of a step: how far from its integer a latent weight starts
_REACH = 1.0  # steps that a weight may move
_FACTOR = 0.3  # natural logarithm of the most that a scale may change: below what scales and biases have room for


@dataclass(frozen=True)
class _Weight:
    """Integers as latent reals in steps: they are rounded to nearest, and their gradient passes (straight-through)."""

    latent: nn.Parameter
    start: Tensor
    scale: Tensor
    source: str

    def value(self) -> Tensor:
        one, zero = torch.ones(()), torch.zeros((), dtype=torch.int32)
        return fake_quantize(self.latent, one, zero, -1, -127, 127) * self.scale


@dataclass(frozen=True)
class _Bias:
    shift: nn.Parameter  # in `unit`
    unit: float
    start: Tensor
    source: str
    scale: str
    weight: str  # dequantised weight of its operator
    input: str  # dequantised input of its operator

    def value(self) -> Tensor:
        return self.start + self.shift * self.unit


@dataclass(frozen=True)
class _Pair:
    """QuantizeLinear of an activation; `factor`, if its scale is learned, is the logarithm of what scales it."""

    scale: float
    zero: Tensor
    levels: tuple[int, int]
    factor: nn.Parameter | None

    def value(self) -> Tensor:
        scale = torch.tensor(self.scale)
        return scale if self.factor is None else scale * torch.exp(self.factor)


class Network:
    """The part of a QDQ model that a span became."""

    def __init__(
        self,
        part: Part,
        constants: Mapping[str, np.ndarray],
        weights: Mapping[str, np.ndarray],
        scales: Mapping[str, str],
        groups: Mapping[str, str],
    ) -> None:
        """`constants`: initialisers of the QDQ model; `weights`: float weights by the name of their node.

        `scales` names the initialiser with the scale of each tensor that DequantizeLinear makes, `groups` the group of
        the tensors that QuantizeLinear makes, as far as their scales are learned. Raises Untranslated.
        """
        self.part, self.constants, self.scales = part, constants, scales
        self.weights: dict[str, _Weight] = {}
        self.biases: dict[str, _Bias] = {}
        self.pairs: dict[str, _Pair] = {}
        self.fixed: dict[str, Tensor] = {}
        self.factors: dict[str, nn.Parameter] = {}
        self._scales: dict[str, list[str]] = {}  # group -> initialisers of its scale
        self._made = {name: node for node in part.nodes for name in node.output}
        self._attributes = {node.name: attributes_of(node) for node in part.nodes}
        readers = {name: node for node in part.nodes for name in node.input}
        for node in part.nodes:
            if node.op_type == "DequantizeLinear" and node.input[0] in constants:
                self._constant(node, readers.get(node.output[0]), weights)
            elif node.op_type == "QuantizeLinear":
                self._pair(node, groups.get(node.output[0]))
            elif node.op_type != "DequantizeLinear" and not (node.op_type in TABLE and node.domain in STANDARD):
                raise Untranslated(node.op_type)

    # ---- what is learned

    def _constant(self, node: onnx.NodeProto, reader: onnx.NodeProto | None, weights: Mapping[str, np.ndarray]) -> None:
        q, scale = self.constants[node.input[0]], self.constants[node.input[1]]
        shape = [1] * q.ndim
        if scale.ndim:
            shape[self._attributes[node.name].get("axis", 1)] = -1
        along = torch.from_numpy(scale.reshape(shape if scale.ndim else ()).copy())
        integers = torch.from_numpy(q.astype(np.float32))
        owner = reader if reader is not None and reader.input[1:2] == [node.output[0]] else None
        weight = None if owner is None else weights.get(owner.name)
        if q.dtype == np.int8 and weight is not None and weight.shape == q.shape:
            steps = torch.from_numpy(weight.copy()) / along
            latent = nn.Parameter(integers + (steps - integers).clamp(-_NEAR, _NEAR))
            self.weights[node.output[0]] = _Weight(latent, integers, along, node.input[0])
        elif q.dtype == np.int32 and (product := self._product(reader, node.output[0])) is not None:
            bias = torch.from_numpy((q * scale.astype(np.float64)).astype(np.float32))
            unit = max(float(bias.abs().mean()), 1e-6)
            sources = (node.input[0], node.input[1], product.input[1], product.input[0])
            self.biases[node.output[0]] = _Bias(nn.Parameter(torch.zeros_like(bias)), unit, bias, *sources)
        else:
            self.fixed[node.output[0]] = integers * along

    def _product(self, reader: onnx.NodeProto | None, bias: str) -> onnx.NodeProto | None:
        """The operator that a bias belongs to: its reader, or the MatMul in front of the Add that reads it."""
        if reader is None or reader.op_type != "Add":
            return reader
        return self._made.get(next((name for name in reader.input if name != bias), ""))

    def _pair(self, node: onnx.NodeProto, group: str | None) -> None:
        scale, zero = float(self.constants[node.input[1]]), self.constants[node.input[2]]
        factor = None
        if group is not None:
            factor = self.factors.setdefault(group, nn.Parameter(torch.zeros(())))
            self._scales.setdefault(group, []).append(node.input[1])
        levels = _LEVELS[zero.dtype.name]
        self.pairs[node.output[0]] = _Pair(scale, torch.tensor(int(zero), dtype=torch.int32), levels, factor)

    def parameters(self) -> list[nn.Parameter]:
        """Weights, scales and biases, in an order of their own."""
        weights, biases = (w.latent for w in self.weights.values()), (b.shift for b in self.biases.values())
        return [*weights, *self.factors.values(), *biases]

    @torch.no_grad()
    def confine(self) -> None:
        """Takes back what has gone too far."""
        for weight in self.weights.values():
            low, high = (weight.start + reach for reach in (-_REACH, _REACH))
            weight.latent.copy_(weight.latent.clamp(low, high).clamp(-127, 127))
        for factor in self.factors.values():
            factor.clamp_(-_FACTOR, _FACTOR)

    # ---- what it computes

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs of the part."""
        values = {**self.fixed, **inputs}
        for name, weight in self.weights.items():
            values[name] = weight.value()
        for name, bias in self.biases.items():
            values[name] = bias.value()
        for node in self.part.nodes:
            if node.op_type == "QuantizeLinear":
                pair = self.pairs[node.output[0]]
                values[node.output[0]] = fake_quantize(values[node.input[0]], pair.value(), pair.zero, -1, *pair.levels)
            elif node.op_type != "DequantizeLinear":
                self._call(node, values)
            elif node.output[0] not in values:
                values[node.output[0]] = values[node.input[0]]
        return [values[name] for name in self.part.outputs]

    def _call(self, node: onnx.NodeProto, values: dict[str, Tensor]) -> None:
        constants = [self.constants.get(name) for name in node.input]
        arrays = [
            values[name] if name in values else None if c is None else torch.from_numpy(c.copy())
            for name, c in zip(node.input, constants, strict=True)
        ]
        try:
            made = TABLE[node.op_type](Call(node.op_type, self._attributes[node.name], arrays, constants))
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise Untranslated(f"{node.op_type}: {str(error).splitlines()[0]}") from error
        values.update(zip(node.output, [made] if isinstance(made, Tensor) else made, strict=True))

    # ---- back to the model

    @torch.no_grad()
    def result(self) -> dict[str, np.ndarray]:
        """Initialisers of the QDQ model that change: integers of weights and biases, scales."""
        found: dict[str, np.ndarray] = {}
        for weight in self.weights.values():
            found[weight.source] = weight.latent.round().clamp(-127, 127).numpy().astype(np.int8)
        for group, factor in self.factors.items():
            for name in self._scales[group]:
                found[name] = np.asarray((torch.tensor(float(self.constants[name])) * torch.exp(factor)).numpy())
        for bias in self.biases.values():
            name, of_weight = self.scales[bias.input], np.atleast_1d(self.constants[self.scales[bias.weight]])
            of_input = np.float64(found.get(name, self.constants[name]))
            grid = of_input * np.tile(of_weight.astype(np.float64), len(bias.start) // len(of_weight))
            found[bias.scale] = grid.astype(np.float32)
            found[bias.source] = quantise_bias(bias.value().numpy(), found[bias.scale])
        return found


def stacked(arrays: Mapping[str, Sequence[np.ndarray]], indices: Sequence[int]) -> dict[str, Tensor]:
    """Some samples along the batch, or one as it is."""
    return {name: torch.from_numpy(np.concatenate([found[k] for k in indices])) for name, found in arrays.items()}
