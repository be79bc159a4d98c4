"""The op table: which ONNX operators can be lowered, and by which rule."""

from __future__ import annotations

from collections.abc import Callable

from openbpu.lower.expressions import Expr
from openbpu.lower.node import Node

Rule = Callable[[Node], Expr | list[Expr]]
RULES: dict[str, Rule] = {}
INT16: dict[str, str] = {}  # operator -> one sentence on what becomes of it with int16 activations
SAME = "The same, in its 16-bit form."
TABLE = "LUT16, a table with interpolation; RESCALE for what only clamps."


def rule(*ops: str, int16: str = "") -> Callable[[Rule], Rule]:
    """Registers a lowering rule; the first line of its docstring is its entry in the operator documentation.

    `int16` says what becomes of the operators with int16 activations; empty if they then run on the CPU.
    """

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise ValueError(f"two rules for {op}")
            RULES[op] = function
            if int16:
                INT16[op] = int16
        return function

    return register


def operators() -> dict[str, str]:
    """ONNX operator -> one sentence on what becomes of it."""
    return {op: sentence(op) for op in sorted(RULES)}


def sentence(op: str) -> str:
    """What becomes of an operator on the BPU."""
    return (RULES[op].__doc__ or "").strip().splitlines()[0]
