"""Where each ONNX node ended up, read from the finished graph, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from openbpu.errors import UnsupportedError
from openbpu.ir.graph import Decision, Graph
from openbpu.lower.node import Node
from openbpu.lower.registry import RULES, sentence

_ANOTHER_FORM = "another form of this node, one that keeps the rule"
_QUANTISATION = ("QuantizeLinear", "DequantizeLinear")


def decide(nodes: Sequence[Node], graph: Graph, run_on_bpu: Collection[str] = ()) -> list[Decision]:
    """One decision per node, in the order of the model.

    Raises UnsupportedError, with the reason, for a node of `run_on_bpu` that runs on the CPU.
    """
    cpu = {name for op in graph.ops if op.kind in ("cpu", "alias") for name in op.origin}
    bpu = {name for op in graph.ops if op.kind not in ("cpu", "alias") for name in op.origin}
    made = [_decision(node, node.name in cpu, node.name in bpu) for node in nodes]
    for decision in made:
        if decision.where == "CPU" and decision.node in run_on_bpu:
            raise UnsupportedError(
                f"it is asked to run on the BPU: {decision.reason}",
                where=f"node '{decision.node}' ({decision.op})",
                remedy=decision.remedy,
            )
    return made


def _decision(node: Node, on_cpu: bool, on_bpu: bool) -> Decision:
    outputs = tuple(name for name in node.outputs if name)
    if on_cpu:
        refusal = node.refusal
        reason = "" if refusal is None else refusal.rule + (f"; got {refusal.seen}" if refusal.seen else "")
        if on_bpu:
            reason += "; the BPU computes it too, for readers of the quantised result"
        remedy = (refusal.remedy if refusal else "") or _ANOTHER_FORM
        return Decision(node.name, node.op, "CPU", reason, remedy, outputs)
    if on_bpu:
        return Decision(node.name, node.op, "BPU", sentence(node.op) if node.op in RULES else "", "", outputs)
    reason = "a border between float and integers" if node.op in _QUANTISATION else "folded, a view, or not needed"
    return Decision(node.name, node.op, "none", reason, "", outputs)
