"""An ONNX node as a lowering rule sees it: operands, attributes, result shapes, and how to refuse it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openbpu.errors import ModelWarning, UnsupportedError
from openbpu.lower.builder import GraphBuilder

if TYPE_CHECKING:
    from openbpu.lower.expressions import Expr

QUANTISE_BETWEEN = "put a QuantizeLinear and DequantizeLinear pair in front of this node"


@dataclass(eq=False)
class Node:
    """One node. `inputs` has None for an operand left out."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: list[Expr | None]
    outputs: Sequence[str]
    opset: int
    graph: GraphBuilder

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
