"""An ONNX node as a lowering rule sees it: operands, attributes, result shapes, and how to refuse it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from openbpu.errors import ModelWarning, UnsupportedError
from openbpu.lower.builder import GraphBuilder, Shape

if TYPE_CHECKING:
    from openbpu.ir.graph import Value
    from openbpu.lower.expressions import Expr

QUANTISE_BETWEEN = "put a QuantizeLinear and DequantizeLinear pair in front of this node"
QUANTISE_BEHIND = "put a QuantizeLinear and DequantizeLinear pair behind this node"
CPU_INTEGERS = "nothing: numbers that are not quantised floats are computed on the CPU"


@dataclass(frozen=True)
class TensorInfo:
    """Shape and numpy type of a tensor."""

    shape: Shape
    dtype: str


@dataclass(eq=False)
class Node:
    """One node. `inputs` has None for an operand left out, `infos` None for a result of unknown shape.

    `run` computes all its results on the CPU; the refusal says why it is not on the BPU.
    """

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: list[Expr | None]
    outputs: Sequence[str]
    opset: int
    graph: GraphBuilder
    infos: Sequence[TensorInfo | None] = ()
    run: Callable[[Node], dict[int, Value]] | None = None
    refusal: UnsupportedError | None = None  # why it runs on the CPU

    @cached_property
    def _on_cpu(self) -> dict[int, Value]:
        assert self.run is not None
        return self.run(self)

    @property
    def count(self) -> Value:
        """The number of valid rows of a result whose extent depends on the data: the last result of its operator."""
        return self._on_cpu[max(self._on_cpu)]

    def on_cpu(self, index: int, why: UnsupportedError) -> Value:
        """Result `index`, computed by a CPU operator; raises `why`, with more to it, if there is none."""
        if self.refusal is None:
            self.refusal = why
        return self._on_cpu[index]

    @property
    def where(self) -> str:
        return f"node '{self.name}' ({self.op})"

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def operand(self, index: int) -> Expr:
        """Operand `index`, which the operator demands."""
        operand = self.optional(index)
        if operand is None:
            raise self.refuse(f"operand {index} is missing")
        return operand

    def optional(self, index: int) -> Expr | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def refuse(self, rule: str, seen: object = "", remedy: str = "") -> UnsupportedError:
        return UnsupportedError(rule, where=self.where, seen=seen, remedy=remedy)

    def warn(self, text: str) -> None:
        warnings.warn(f"{self.where}: {text}", ModelWarning, stacklevel=2)
