"""16-bit activations with a zero point, as ONNX Runtime and AIMET write them by default, held as symmetric int16."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import onnx

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import Value
from openbpu.ir.onnx_graph import array_of
from openbpu.ir.quant import QuantParams
from openbpu.lower.constants import value_of
from openbpu.lower.expressions import Expr, Unary, rescale
from openbpu.lower.node import Node

_TYPES = ("int16", "uint16")


class Grid(NamedTuple):
    """Scale, zero point and type of a 16-bit QuantizeLinear node; what it clips to follows from them."""

    scale: float
    zero: int
    dtype: str

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value."""
        codes = np.iinfo(self.dtype)
        return self.scale * (int(codes.min) - self.zero), self.scale * (int(codes.max) - self.zero)

    @property
    def symmetric(self) -> QuantParams:
        """int16 with zero point 0 that reaches as far; steps are at most twice as large."""
        if (self.zero, self.dtype) == (0, "int16"):
            return QuantParams.per_tensor(self.scale, 0, "int16")
        return QuantParams.per_tensor(max(map(abs, self.limits)) / 32767, 0, "int16")


class Centring:
    """Which 16-bit tensors with a zero point can be held without it: those that only DequantizeLinear reads."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        constants = {tensor.name: tensor for tensor in graph.initializer}
        made = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
        outputs = {info.name for info in graph.output}
        readers = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                readers[name].append(node)

        def array(name: str) -> np.ndarray | None:
            if name in constants:
                return array_of(constants[name])
            return value_of(made[name]) if name in made else None

        def grid(node: onnx.NodeProto) -> Grid | None:
            scale, zero = (array(name) for name in node.input[1:3]) if len(node.input) > 2 else (None, None)
            if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.name not in _TYPES:
                return None
            return Grid(float(scale.ravel()[0]), int(zero.ravel()[0]), zero.dtype.name)

        self._grids: dict[str, Grid] = {}
        self._sharing: dict[QuantParams, set[Grid]] = defaultdict(set)
        for node in graph.node:
            found = grid(node) if node.op_type == "QuantizeLinear" else None
            if found is None or not (np.isfinite(found.scale) and found.scale > 0):
                continue
            self._sharing[found.symmetric].add(found)
            users = readers[node.output[0]]
            plain = (found.zero, found.dtype) == (0, "int16")
            if not plain and node.output[0] not in outputs and all(_reads(user, grid(user), found) for user in users):
                self._grids[node.output[0]] = found

    def grid(self, codes: str) -> Grid | None:
        """What the QuantizeLinear node of `codes` says; None if it is held as it says, or cannot be."""
        return self._grids.get(codes)

    def parameters(self, codes: Iterable[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and zero point with which DequantizeLinear reads the first of `codes` as it is held."""
        found = self.grid(next(iter(codes)))
        return None if found is None else (np.array(found.symmetric.s), np.zeros((), np.int16))

    def quantise(self, operand: Expr, found: Grid, node: Node, name: str) -> Value:
        """The tensor on the symmetric grid, clipped as `found` clips; raises what `Expr.quantise` raises."""
        quant = found.symmetric
        node.warn(
            f"int16 activations have zero point 0 on the BPU: this tensor ({found.dtype}, zero point {found.zero}) is "
            f"held so, in steps of {quant.s:.6g} instead of {found.scale:.6g}"
        )
        moved = isinstance(operand, Unary) and operand.leaf is not None and operand.leaf.quant == quant
        if moved and len(self._sharing[quant]) == 1:
            return operand.quantise(quant, name)
        low, high = found.limits
        try:
            clipped = operand.clamp(low, high, node)
        except UnsupportedError:  # a tensor of the CPU, which is quantised first
            steps = [int(np.clip(np.rint(limit / quant.s), -32768, 32767)) for limit in (low, high)]
            held = operand.quantise(quant)
            return rescale(node.graph, held, quant, (node.name,), name, {"lo": steps[0], "hi": steps[1]})
        return clipped.quantise(quant, name)


def _reads(node: onnx.NodeProto, own: Grid | None, found: Grid) -> bool:
    return node.op_type == "DequantizeLinear" and own == found
