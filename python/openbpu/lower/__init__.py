"""QDQ ONNX to the integer graph: the op table, fusion by quantisation, requantisation parameters, CPU operators."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from openbpu.ir.graph import Graph
from openbpu.lower import moves, peephole, segments
from openbpu.lower.decisions import decide
from openbpu.lower.importer import Importer
from openbpu.lower.registry import operators

__all__ = ["lower", "operators"]


def lower(
    model: onnx.ModelProto,
    run_on_cpu: Collection[str] = (),
    run_on_bpu: Collection[str] = (),
    apart: Collection[str] = (),
) -> Graph:
    """The integer graph of a QDQ model with static shapes; the model is not changed.

    Every operator between DequantizeLinear and QuantizeLinear becomes integer arithmetic with the parameters that the
    model states; what has no such form, and the nodes named in `run_on_cpu`, become CPU operators. `Graph.decisions`
    says where each node runs, and why; `apart` names nodes that the quantiser left in float because no scale fits all
    parts of what they join. Raises ModelError for a model that contradicts itself, UnsupportedError naming
    the node that has no place at all, or none on the BPU though it is named in `run_on_bpu`; warns (ModelWarning) where
    weights had to be quantised anew.
    """
    importer = Importer(model, run_on_cpu, apart)
    builder = importer.run()
    peephole.drop_dead(builder.graph)
    moves.simplify(builder)
    peephole.turn_operands(builder)
    for rewrite in (peephole.merge_duplicates, peephole.join_clamps, peephole.join_pads, peephole.drop_dead):
        rewrite(builder.graph)
    segments.gather(builder.graph)
    builder.graph.decisions = decide(importer.nodes, builder.graph, run_on_bpu)
    return builder.graph
