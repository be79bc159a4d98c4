"""QDQ ONNX to the integer graph: the op table, fusion by quantisation, requantisation parameters."""

from __future__ import annotations

import onnx

from openbpu.ir.graph import Graph
from openbpu.lower import moves, peephole
from openbpu.lower.importer import Importer
from openbpu.lower.registry import operators

__all__ = ["lower", "operators"]


def lower(model: onnx.ModelProto) -> Graph:
    """The integer graph of a QDQ model with static shapes; the model is not changed.

    Every operator between DequantizeLinear and QuantizeLinear becomes integer arithmetic with the parameters that the
    model states. Raises ModelError for a model that is not quantised or contradicts itself, UnsupportedError naming the
    node that has no place on the BPU; warns (ModelWarning) where weights had to be quantised anew.
    """
    builder = Importer(model).run()
    moves.simplify(builder)
    for rewrite in (peephole.merge_duplicates, peephole.join_clamps, peephole.join_pads, peephole.drop_dead):
        rewrite(builder.graph)
    return builder.graph
