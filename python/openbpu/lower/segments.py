"""Orders a graph so that CPU operators stand together: each change of side is a barrier."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from openbpu.ir.graph import Graph, Op, Value

_CPU_KINDS = frozenset({"cpu", "alias", "quantize", "dequantize"})


def gather(graph: Graph) -> None:
    """Reorders the ops: as long as one is ready on the side of the last one, it comes next; else the order stays."""
    if not any(op.kind == "cpu" for op in graph.ops):
        return
    waiting: dict[Op, int] = {}
    readers: dict[Value, list[Op]] = defaultdict(list)
    rank = {op: index for index, op in enumerate(graph.ops)}
    made = {out for op in graph.ops for out in op.outputs}
    ready: dict[bool, list[tuple[int, Op]]] = {False: [], True: []}
    for op in graph.ops:
        operands = {value for value in op.inputs if value in made}
        waiting[op] = len(operands)
        for value in operands:
            readers[value].append(op)
        if not operands:
            heappush(ready[op.kind in _CPU_KINDS], (rank[op], op))
    ordered: list[Op] = []
    side = False
    while any(ready.values()):
        if not ready[side]:
            side = not side
        _, op = heappop(ready[side])
        ordered.append(op)
        for out in op.outputs:
            for reader in readers[out]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    heappush(ready[reader.kind in _CPU_KINDS], (rank[reader], reader))
    graph.ops = ordered
