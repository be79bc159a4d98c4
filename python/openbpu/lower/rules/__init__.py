"""Lowering rules, grouped by kind of operator; importing this package fills the op table."""

from openbpu.lower.rules import (
    conditions,
    conv,
    elementwise,
    layout,
    logarithms,
    matmul,
    normalise,
    pad,
    pool,
    products,
    reduce,
    resize,
    triangles,
)

__all__ = [
    "conditions",
    "conv",
    "elementwise",
    "layout",
    "logarithms",
    "matmul",
    "normalise",
    "pad",
    "pool",
    "products",
    "reduce",
    "resize",
    "triangles",
]
