"""Which nodes run where, and how wide: what users name, made complete by asking the compiler."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from openbpu import frontend, lower, ptq
from openbpu.errors import ConfigError, ModelWarning, did_you_mean
from openbpu.memory import collect, give_back

if TYPE_CHECKING:
    import onnx

    from openbpu.ir.graph import Graph

NODE_TYPES = ("int8", "int16", "float")
_MOST_DRAFTS = 4  # rounds in which a node that moves to the CPU may take others with it


def named(run_on_cpu: Collection[str], run_on_bpu: Collection[str], model: onnx.ModelProto) -> set[str]:
    """`run_on_cpu` as a set; both lists must name nodes of the model, and different ones."""
    known = {node.name for node in model.graph.node}
    for key, names in (("run_on_cpu", run_on_cpu), ("run_on_bpu", run_on_bpu)):
        for name in listed(key, names):
            if name not in known:
                hint = did_you_mean(name, known, "openbpu check lists the nodes")
                raise ConfigError("the simplified model has no such node", where=key, seen=name, remedy=hint)
    if both := set(run_on_cpu) & set(run_on_bpu):
        raise ConfigError("a node runs in one place", where="run_on_cpu, run_on_bpu", seen=", ".join(sorted(both)))
    return set(run_on_cpu)


def listed(key: str, names: Collection[str]) -> Collection[str]:
    """The names; ConfigError if they are one string."""
    if isinstance(names, str):
        raise ConfigError("a list of node names", where=key, seen=f"the string '{names}'", remedy="put it into a list")
    return names


def node_kinds(clean: onnx.ModelProto, node_types: Mapping[str, str], all_nodes_type: str) -> dict[str, str]:
    """The type of each node's activations: by its name, else its operator type, else that of all nodes.

    Raises ConfigError for an unknown type, node or operator.
    """
    for key, kind in (*node_types.items(), ("all_nodes_type", all_nodes_type)):
        if kind not in NODE_TYPES:
            raise ConfigError(f"a type is one of {', '.join(NODE_TYPES)}", where=f"node type of '{key}'", seen=kind)
    known = {name for node in clean.graph.node for name in (node.name, node.op_type)}
    for key in node_types:
        if key not in known:
            hint = did_you_mean(key, known, "openbpu check lists the nodes")
            raise ConfigError(
                "the simplified model has no such node or operator", where="node_types", seen=key, remedy=hint
            )
    return {
        node.name: node_types.get(node.name, node_types.get(node.op_type, all_nodes_type)) for node in clean.graph.node
    }


def drafted(
    clean: onnx.ModelProto, forced: set[str], run_on_bpu: Collection[str], int16: Collection[str] = ()
) -> tuple[set[str], Graph]:
    """The nodes of a clean float model that must stay float, found by compiling it with made-up ranges."""
    own = {node.name for node in clean.graph.node}
    stay_float = set(forced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        for _ in range(_MOST_DRAFTS):
            draft = ptq.draft(clean, stay_float, run_on_bpu, int16)
            give_back()
            draft = frontend.prepare_qdq(draft)
            graph = lower.lower(draft, forced, run_on_bpu)
            found = {d.node for d in graph.decisions if d.where == "CPU" and d.node in own}
            if found <= stay_float:
                break
            stay_float |= found
    del draft
    collect()
    return stay_float, graph


def liftable(
    clean: onnx.ModelProto, types: Mapping[str, str], on_cpu: set[str], run_on_bpu: Collection[str]
) -> dict[str, str]:
    """What each node that would be int8 can be lifted to: "int16", or "float" where there is no such form."""
    forced = named({n for n, kind in types.items() if kind == "float"} - set(run_on_bpu) | on_cpu, run_on_bpu, clean)
    int16 = {name for name, kind in types.items() if kind == "int16"}
    stay_float, _ = drafted(clean, forced, run_on_bpu, int16 - forced)
    free = [name for name, kind in types.items() if kind == "int8" and name not in stay_float]
    without, _ = drafted(clean, forced, (), {*free, *int16} - forced)
    kinds = {name: "float" if name in without else "int16" for name in free}
    return {name: kind for name, kind in kinds.items() if kind == "int16" or name not in run_on_bpu}
