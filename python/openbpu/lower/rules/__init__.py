"""Lowering rules, grouped by kind of operator; importing this package fills the op table."""

from openbpu.lower.rules import conv, elementwise, layout, matmul, normalise, pad, pool, resize

__all__ = ["conv", "elementwise", "layout", "matmul", "normalise", "pad", "pool", "resize"]
