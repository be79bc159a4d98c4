"""Writes docs/operators.md from the op table: python -m openbpu.lower.operators_page > docs/operators.md"""

from __future__ import annotations

from openbpu.lower.table import table

_HEAD = """\
# Operators

What becomes of each operator of ONNX's standard domain. Generated from the rules and kernels by
`python -m openbpu.lower.operators_page`; what an operator does in integers is defined in [numerics.md](numerics.md).

A node between DequantizeLinear and QuantizeLinear nodes runs on the BPU if a rule takes its form; else it runs on the
CPU in float, and `openbpu check` says why and what would move it. Operators on constants alone are computed by the
compiler. Activations on the BPU are 8-bit (int8 or uint8) or 16-bit, weights 8-bit or less, opset 13 to 23; models
quantised by other tools compile in QDQ form, and in operator form (QLinearConv, QLinearMatMul and their kind).

Results whose extent depends on the data (NonMaxSuppression, NonZero, Compress, Unique) have their largest extent; rows
behind the valid ones hold -1 (indices) or 0.

| operator | BPU, int8 | BPU, int16 | CPU | otherwise |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    lines = []
    for entry in table():
        rest = entry.decomposed or (f"Refused: {entry.refused}." if entry.refused else "")
        cells = (entry.name, entry.int8, entry.int16, entry.cpu.replace("|", "\\|"), rest)
        lines.append("| " + " | ".join(cells) + " |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    print(page(), end="")
