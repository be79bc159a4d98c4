"""Types and places of nodes, after the priorities: node over subgraph over operator type over model over int8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from openbpu.config import Config, ConfigMistakes, Mistake
from openbpu.config.groups import SET_NODE
from openbpu.config.mistakes import choose
from openbpu.config.quant_config import QuantConfig, SubgraphConfig
from openbpu.errors import did_you_mean

# How wide a type is here; a node whose operands and result shall differ gets the widest.
_OURS = {
    "int8": "int8",
    "int16": "int16",
    "dual-int16": "int16",
    "int16-ec": "int16",
    "float16": "float",
    "float32": "float",
    "float": "float",
}
_WIDTH = ("int8", "int16", "float")
_LISTED = "see the nodes with `hb_compile -m MODEL --march MARCH`"


@dataclass
class NodeChoices:
    """What quantising gets: types by node, the type of all others, and nodes that are placed by hand."""

    node_types: dict[str, str] = field(default_factory=dict)
    all_nodes_type: str = "int8"
    run_on_cpu: set[str] = field(default_factory=set)
    run_on_bpu: set[str] = field(default_factory=set)


def choices(config: Config, model: onnx.ModelProto) -> NodeChoices:
    """The choices of a configuration for the nodes of a clean model. Raises ConfigMistakes for unknown names."""
    calibration = config.calibration_parameters
    quant = calibration.quant
    nodes = {node.name: node for node in model.graph.node}
    _check_names(config, quant, model)
    result = NodeChoices(all_nodes_type=_all_nodes(config, quant))
    _outputs(config, quant, model, result)
    by_operator = {node.op_type: [] for node in nodes.values()}  # type: dict[str, list[str]]
    for name, node in nodes.items():
        by_operator[node.op_type].append(name)
    for op, choice in quant.op_config.items():
        _place(result, by_operator.get(op, []), choice.types, choice.ON)
    for subgraph in quant.subgraph_config.values():
        _place(result, _between(model, subgraph), subgraph.types, subgraph.ON)
    for item in calibration.optimization:
        if (match := SET_NODE.match(item)) and match[1] != "model":
            _place(result, by_operator.get(match[1], [match[1]]), (match[3],), None)
    _place(result, calibration.run_on_cpu, (), "CPU")
    _place(result, calibration.run_on_bpu, (), "BPU")
    for name, one in quant.node_config.items():
        _place(result, [name], one.types, one.ON)
    for name, info in config.model_parameters.node_info.items():
        _place(result, [name], info.types, info.ON)
    return result


def widest(types: Iterable[str]) -> str:
    """Our type for a set of the vendor's."""
    return max((_OURS[kind] for kind in types), key=_WIDTH.index)


def _place(result: NodeChoices, names: Iterable[str], types: tuple[str, ...], place: str | None) -> None:
    for name in names:
        if types:
            result.node_types[name] = widest(types)
        if place or types:
            result.run_on_cpu.discard(name)
            result.run_on_bpu.discard(name)
        if place == "CPU":
            result.run_on_cpu.add(name)
        if place == "BPU":
            result.run_on_bpu.add(name)


def _all_nodes(config: Config, quant: QuantConfig) -> str:
    if "set_all_nodes_int16" in config.calibration_parameters.optimization:
        return "int16"
    return widest([quant.model.all_node_type])


def _outputs(config: Config, quant: QuantConfig, model: onnx.ModelProto, result: NodeChoices) -> None:
    """The nodes that make the outputs of the model get the type of outputs."""
    wanted = [quant.model.model_output_type] if quant.model.model_output_type else []
    wanted += [
        item.rpartition("_")[2]
        for item in config.calibration_parameters.optimization
        if item.startswith("set_model_output_")
    ]
    if not wanted:
        return
    outputs = {info.name for info in model.graph.output}
    _place(result, [n.name for n in model.graph.node if outputs.intersection(n.output)], (wanted[-1],), None)


def _between(model: onnx.ModelProto, subgraph: SubgraphConfig) -> list[str]:
    """The nodes on the ways from the first to the last ones, both included, in the order of the model."""
    nodes = list(model.graph.node)
    first = {n.name for n in nodes if n.name in subgraph.inputs or set(n.input) & set(subgraph.inputs)}
    last = {n.name for n in nodes if n.name in subgraph.outputs or set(n.output) & set(subgraph.outputs)}
    reached = _spread(nodes, first, lambda n: (n.input, n.output))
    led = _spread(reversed(nodes), last, lambda n: (n.output, n.input))
    return [n.name for n in nodes if n.name in reached & led]


def _spread(nodes: Iterable[onnx.NodeProto], start: set[str], ends: object) -> set[str]:
    """Names of `start` and of what is connected to it, walking in the order of `nodes`."""
    found, tensors = set(), set()  # type: set[str], set[str]
    for node in nodes:
        near, far = ends(node)  # type: ignore[operator]
        if node.name in start or tensors.intersection(near):
            found.add(node.name)
            tensors.update(far)
    return found


def _check_names(config: Config, quant: QuantConfig, model: onnx.ModelProto) -> None:
    nodes = [node.name for node in model.graph.node]
    tensors = [name for node in model.graph.node for name in (*node.input, *node.output)]
    operators = sorted({node.op_type for node in model.graph.node})
    if found := list(_unknown(config, quant, set(nodes), {*nodes, *tensors}, operators)):
        raise ConfigMistakes(found)


def _unknown(
    config: Config, quant: QuantConfig, nodes: set[str], anything: set[str], operators: list[str]
) -> Iterator[Mistake]:
    calibration = config.calibration_parameters
    key = "calibration_parameters.quant_config"
    named: Mapping[str, Iterable[str]] = {
        "model_parameters.node_info": config.model_parameters.node_info,
        "calibration_parameters.run_on_cpu": calibration.run_on_cpu,
        "calibration_parameters.run_on_bpu": calibration.run_on_bpu,
        f"{key}.node_config": quant.node_config,
    }
    for path, names in named.items():
        for name in names:
            if name not in nodes:
                yield Mistake(path, "the simplified model has no such node", name, did_you_mean(name, nodes, _LISTED))
    for name in quant.op_config:
        if name not in operators:
            yield Mistake(f"{key}.op_config", "the model has no such operator", name, choose(name, operators))
    for title, subgraph in quant.subgraph_config.items():
        for end in ("inputs", "outputs"):
            for name in getattr(subgraph, end):
                if name not in anything:
                    path, near = f"{key}.subgraph_config.{title}.{end}", did_you_mean(name, anything, _LISTED)
                    yield Mistake(path, "the model has no such node or tensor", name, near)
