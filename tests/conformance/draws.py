"""All cases: of the 8-bit and of the 16-bit forms."""

from __future__ import annotations

from conformance import cases, cases16
from conformance.case import Case
from conformance.draw import generator
from oracle.derive import Infeasible

DRAWS = {**cases.DRAWS, **cases16.DRAWS}


def draw(op: str, index: int) -> Case:
    """Case `index` of an instruction; scales without parameters are drawn again."""
    make, _ = DRAWS[op]
    rng = generator(f"{op}-{index}")
    while True:
        try:
            return make(rng, f"{index:02}")
        except Infeasible:
            continue
