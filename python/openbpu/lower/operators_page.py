"""Writes docs/operators.md from the op table: python -m openbpu.lower.operators_page > docs/operators.md"""

from __future__ import annotations

from openbpu.lower import operators

_HEAD = """\
# Operators

Which ONNX operators a QDQ model may hold between its DequantizeLinear and QuantizeLinear nodes, and what becomes of
them. Generated from the rules in `python/openbpu/lower/rules` by `python -m openbpu.lower.operators_page`; what an
operator does in integers is defined in [numerics.md](numerics.md).

Anything else, and any form of these that a rule does not take, is refused with the node, the rule and what to do.
Operators on constants alone are computed by the compiler. Activations are 8-bit (int8 or uint8), weights 8-bit or less,
opset 13 to 23; models quantised by other tools compile in QDQ form, and in operator form (QLinearConv, QLinearMatMul
and their kind).

| operator | becomes |
|---|---|
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(f"| {name} | {text} |\n" for name, text in operators().items())


if __name__ == "__main__":
    print(page(), end="")
