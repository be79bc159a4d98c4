"""`prepare`: from a float module to one that trains with fake-quantisation."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from openbpu.errors import ConfigError, UnsupportedError
from openbpu.qat.capture import capture, place_of
from openbpu.qat.config import Config, Settings
from openbpu.qat.expanding import expand_modules
from openbpu.qat.grids import activation_grid, weight_grid
from openbpu.qat.kinds import Kind, name_of
from openbpu.qat.laws import Forms, Law, function_law, law_of
from openbpu.qat.normalising import normalise, set_module, unfused_norms
from openbpu.qat.observers import Fixed
from openbpu.qat.placing import (
    SOFTMAX_RANGE,
    WIDE_SOFTMAX_RANGE,
    Plan,
    gain_of,
    place,
    result_site,
    site_settings,
)
from openbpu.qat.quantisers import Quantiser, Site
from openbpu.qat.weighted import ConstantQuantiser, Weighted

_META = "openbpu.qat"
_WITH_LAW = (Kind.COMPUTING, Kind.SOFTMAX, Kind.ARITHMETIC, Kind.RESIZE)


@dataclass(frozen=True)
class Row:
    """What `prepare` did to one operator."""

    name: str
    operator: str
    result: str  # type of the result; "" if it only passes on, or joins another operator
    weight: str
    note: str
    place: str


@dataclass(frozen=True)
class Preparation:
    """What a prepared model knows of itself."""

    rows: tuple[Row, ...]
    examples: tuple[Tensor, ...]  # of batch 1 where there is a batch
    config: Config
    shared: tuple[tuple[str, ...], ...] = field(default=())  # names of the sites of modules with several calls

    def table(self) -> str:
        """The rows as text."""
        columns = ("name", "operator", "result", "weight", "note")
        lines = [columns, *(tuple(getattr(row, c) for c in columns) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def preparation(model: nn.Module) -> Preparation:
    """What `prepare` did to a model. Raises ConfigError if it was not prepared."""
    found = getattr(model, "meta", {}).get(_META) if isinstance(model, fx.GraphModule) else None
    if not isinstance(found, Preparation):
        raise ConfigError("the model must come from openbpu.qat.prepare", where="model", seen=type(model).__name__)
    return found


def prepare(
    model: nn.Module, example_inputs: Tensor | Sequence[Any] | Mapping[str, Any], config: Config | None = None
) -> fx.GraphModule:
    """A copy of `model` with fake-quantisation where the compiler quantises; it starts in state float.

    `example_inputs` is a tensor, the positional arguments, or {argument: tensor}; a batch of two or more shows which
    extents follow the batch. Parameters keep their names. The table of what was done: `preparation(model).table()`.
    Raises UnsupportedError naming module and line, ConfigError for a setting that does not exist.
    """
    config = config or Config()
    root = _copied(model)
    device = next((t.device for t in (*root.parameters(), *root.buffers())), torch.device("cpu"))
    known = {name for name, _ in root.named_modules()}
    expand_modules(root)
    examples = _ordered(model, example_inputs)
    graph = capture(root, examples, config.leaves)
    normalise(root, graph)
    plan = place(root, graph, config)
    config.check_paths(known | {label.partition("#")[0] for label in plan.labels.values()})
    notes = _notes(root, graph, plan)
    inserter = _Inserter(root, graph, plan, config)
    inserter.run()
    for calls in plan.shared:
        for node in calls:
            root.get_submodule(inserter.names[node]).watched = True
    prepared = fx.GraphModule(root, graph, f"Prepared{type(model).__name__}").to(device).eval()
    if not any(hasattr(module, "state") for module in prepared.modules()):
        raise UnsupportedError(
            "a model has something to quantise", where=f"the model ({type(model).__name__})", seen="no such operator",
            remedy="compile its ONNX export as it is",
        )  # fmt: skip
    prepared.meta[_META] = Preparation(
        tuple(_rows(root, plan, notes, config)),
        _of_one_batch(prepared, examples),
        config,
        tuple(tuple(inserter.names[n] for n in calls) for calls in plan.shared),
    )
    for node in graph.nodes:
        node.meta = {key: node.meta[key] for key in ("place",) if key in node.meta}
    return prepared


def _copied(model: nn.Module) -> nn.Module:
    """A copy of the model in eval mode, if it is one that can be traced."""
    where = f"the model ({type(model).__name__})"
    if not isinstance(model, nn.Module):
        raise ConfigError("a module of torch.nn", where="model", seen=type(model).__name__)
    if isinstance(model, fx.GraphModule) and _META in model.meta:
        raise ConfigError("a float model", where="model", seen="one that was prepared already")
    if isinstance(model, torch.jit.ScriptModule | torch._dynamo.eval_frame.OptimizedModule):
        raise UnsupportedError("plain modules of Python", where=where, remedy="prepare first, then script or compile")
    if any(isinstance(t, nn.parameter.UninitializedTensorMixin) for t in (*model.parameters(), *model.buffers())):
        raise UnsupportedError("parameters with shapes", where=where, remedy="run a lazy module once, then prepare it")
    try:
        return copy.deepcopy(model).eval()
    except RuntimeError as error:  # of tensors that were computed
        raise UnsupportedError(
            "a model can be copied: its tensors are parameters and buffers", where=where, seen=str(error)[:90],
            remedy="remove computed weights (torch.nn.utils.remove_weight_norm), detach tensors that the model holds",
        ) from error  # fmt: skip


def _ordered(model: nn.Module, inputs: Tensor | Sequence[Any] | Mapping[str, Any]) -> list[Tensor]:
    found = _listed(model, inputs)
    if not found or not all(isinstance(x, Tensor) for x in found):
        raise ConfigError(
            "inputs are tensors", where="example_inputs", seen=", ".join(type(x).__name__ for x in found) or "none",
            remedy="bind other arguments in a module around the model",
        )  # fmt: skip
    return found


def _listed(model: nn.Module, inputs: Tensor | Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    if isinstance(inputs, Tensor):
        return [inputs]
    if isinstance(inputs, Mapping):
        names = list(inspect.signature(model.forward).parameters)
        given = names[: len(inputs)]
        if set(given) != set(inputs):
            raise ConfigError(
                "the first arguments of forward", where="example_inputs", seen=", ".join(inputs), remedy=f"{given}"
            )
        return [inputs[name] for name in given]
    return list(inputs)


def _of_one_batch(prepared: nn.Module, examples: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The examples with batch 1; as they are if the first axis turns out to be no batch."""
    shortened = tuple(e[:1].detach().clone() if e.dim() > 1 else e for e in examples)
    try:
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # fx prints where it failed
            prepared(*shortened)
    except Exception:  # of any operator
        return tuple(e.detach().clone() for e in examples)
    return shortened


class _Inserter:
    """Writes a plan into the graph."""

    def __init__(self, root: nn.Module, graph: fx.Graph, plan: Plan, config: Config) -> None:
        self.root, self.graph, self.plan, self.config = root, graph, plan, config
        self.quantisers: dict[fx.Node, Quantiser] = {}
        self.names: dict[fx.Node, str] = {}
        self.behind: dict[fx.Node, fx.Node] = {}  # call of a site -> the node that it quantises

    def run(self) -> None:
        self._constants()
        weighted = self._weighted()
        self._sites()
        edges = self._edges()
        self._laws()
        for call, node in enumerate_calls(weighted):
            layer = self.root.get_submodule(str(node.target))
            assert isinstance(layer, Weighted)
            source = edges.get(node) or self._quantiser_of(node.args[0])
            result = result_site(self.plan, node)
            layer.calls.append((source, None if result is None else self.quantisers[self.plan.sites[result]]))
            if call:
                node.kwargs = {**node.kwargs, "call": call}
        self.graph.lint()

    def _weighted(self) -> list[fx.Node]:
        """The calls of layers that are quantised; each layer learns how."""
        found = []
        for node, kind in self.plan.kinds.items():
            if kind is not Kind.WEIGHTED:
                continue
            layer = self.root.get_submodule(str(node.target))
            assert isinstance(layer, Weighted)
            if node in self.plan.floats:
                continue
            if layer.grid is None:
                settings = self.plan.settings[node]
                layer.quantise(weight_grid(settings.weight), settings.weight_scale, self.config.batch_norm)
            found.append(node)
        return found

    def _constants(self) -> None:
        for node, constant in self.plan.operands:
            path = self._path(f"fake_quant_constants.{_identifier(self.plan.labels[node])}")
            set_module(self.root, path, ConstantQuantiser(self.plan.labels[node]))
            with self.graph.inserting_before(node):
                call = self.graph.call_module(path, (constant,))
            call.meta = {"value": constant.meta["value"], "place": node.meta.get("place")}
            node.replace_input_with(constant, call)

    def _sites(self) -> None:
        for node, group in self.plan.sites.items():
            if group not in self.quantisers:
                self.quantisers[group] = self._quantiser(group)
            self.names[node] = path = self._path(f"fake_quant.{_identifier(self.plan.labels[node])}")
            set_module(self.root, path, Site(self.plan.labels[node], self.quantisers[group]))
            with self.graph.inserting_after(node):
                call = self.graph.call_module(path, (node,))
            call.meta = {"value": node.meta["value"], "place": node.meta.get("place")}
            self.behind[call] = node
            node.replace_all_uses_with(call, lambda user, node=node, call=call: self._reads_site(user, node, call))

    def _reads_site(self, user: fx.Node, node: fx.Node, call: fx.Node) -> bool:
        if user is call or self.plan.kinds.get(user) is Kind.SHAPE:
            return False
        floats = self.plan.floats
        made_in_float = node in floats or node.op == "placeholder"
        return not (made_in_float and user in floats)

    def _quantiser(self, node: fx.Node) -> Quantiser:
        label, settings = self.plan.labels[node], site_settings(self.plan, node, self.config)
        if self.plan.kinds.get(node) is Kind.SOFTMAX and settings.threshold is None:
            wide = settings.output == "int16"
            limits = Fixed(*(WIDE_SOFTMAX_RANGE if wide else SOFTMAX_RANGE))
            return Quantiser(label, activation_grid(settings.output), limits, "fixed", wide)
        grid = activation_grid(settings.output)
        symmetric = settings.symmetric or grid.name == "int16" or isinstance(settings.threshold, int | float)
        symmetric = symmetric or node in self.plan.symmetric
        return Quantiser(label, grid, settings.new_observer(), settings.ranges, symmetric)

    def _laws(self) -> None:
        """Behind every operator whose instruction is known: what it computes in state validation."""
        for node, kind in list(self.plan.kinds.items()):
            site = result_site(self.plan, node)
            if site is None or node in self.plan.floats:
                continue
            if kind is Kind.FUNCTION:
                self._function_law(node, site)
                continue
            if kind not in _WITH_LAW or self.plan.roots[node] is not node:
                continue  # the latter: inside a chain that becomes one table
            if node in self.plan.absorbed and self.plan.gains.intersection(node.users):
                continue  # the law stands behind the factor
            product = node.all_input_nodes[0] if node in self.plan.gains else node
            data = [n for n in product.all_input_nodes if _has_reals(n)]
            plain = [n for n in data if n in self.plan.constants]
            factor = gain_of(node, self.root) if node in self.plan.gains else None
            forms = law_of(product, self.root, data, plain, 1.0 if factor is None else factor)
            if forms is None:
                continue
            sources = [None if n in plain else self._source_of(n) for n in data]
            self._place_law(node, site, forms, data, sources)

    def _function_law(self, node: fx.Node, site: fx.Node) -> None:
        """Behind a function of a tensor that is no function itself: chains become one table."""
        data = [n for n in node.all_input_nodes if _has_reals(n)]
        root = self.plan.roots.get(node)
        if len(data) != 1 or root is None or self.behind.get(data[0]) is not root:
            return
        forms = function_law(node, self.root, data[0])
        if forms is not None:
            self._place_law(node, site, forms, data, [self._source_of(data[0])])

    def _place_law(
        self,
        node: fx.Node,
        site: fx.Node,
        forms: Forms,
        data: list[fx.Node],
        sources: list[Quantiser | ConstantQuantiser | None],
    ) -> None:
        path = self._path(f"fake_quant_laws.{_identifier(self.plan.labels[node])}")
        law = Law(self.plan.labels[node], forms, sources, self.quantisers[self.plan.sites[site]])
        set_module(self.root, path, law)
        with self.graph.inserting_after(node):
            call = self.graph.call_module(path, (node, *data))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call, lambda user, call=call: user is not call)

    def _source_of(self, node: fx.Node) -> Quantiser | ConstantQuantiser:
        if node.op == "call_module" and isinstance(
            constant := self.root.get_submodule(str(node.target)), ConstantQuantiser
        ):
            return constant
        return self._quantiser_of(node)

    def _path(self, wanted: str) -> str:
        """The path, or the next one that no module has."""
        taken = {name for name, _ in self.root.named_modules()}
        while wanted in taken:
            wanted += "_"
        return wanted

    def _edges(self) -> dict[fx.Node, Quantiser]:
        """Sites on single edges, for operators that want their input in another type."""
        found: dict[fx.Node, Quantiser] = {}
        for node, _ in self.plan.edges:
            operand = node.args[0]
            assert isinstance(operand, fx.Node)
            settings = self.plan.settings[node]
            label = f"{self.plan.labels[node]}.input"
            grid = activation_grid(settings.input or "int8")
            found[node] = Quantiser(label, grid, Settings(observer=settings.observer).new_observer(), settings.ranges,
                                    settings.symmetric or grid.name == "int16")  # fmt: skip
            path = self._path(f"fake_quant.{_identifier(label)}")
            set_module(self.root, path, Site(label, found[node]))
            with self.graph.inserting_before(node):
                call = self.graph.call_module(path, (operand,))
            call.meta = dict(operand.meta)
            node.replace_input_with(operand, call)
        return found

    def _quantiser_of(self, operand: Any) -> Quantiser:
        """The quantiser whose grid an operand lies on."""
        node = operand
        while node not in self.behind:
            node = next(n for n in node.all_input_nodes if isinstance(n.meta.get("value"), Tensor | tuple | list))
        return self.quantisers[self.plan.sites[self.behind[node]]]


def enumerate_calls(nodes: Sequence[fx.Node]) -> list[tuple[int, fx.Node]]:
    """Each call of a module with its number among the calls of that module."""
    seen: dict[str, int] = {}
    found = []
    for node in nodes:
        call = seen.get(str(node.target), 0)
        seen[str(node.target)] = call + 1
        found.append((call, node))
    return found


def _has_reals(node: fx.Node) -> bool:
    value = node.meta.get("value")
    return isinstance(value, Tensor) and value.is_floating_point()


def _identifier(label: str) -> str:
    return re.sub(r"\W", "_", label)


# ---- the table


def _notes(root: nn.Module, graph: fx.Graph, plan: Plan) -> dict[fx.Node, str]:
    notes = dict.fromkeys(unfused_norms(root, graph), "batch normalisation without a layer to join")
    for node in plan.absorbed:
        notes[node] = f"takes in {' and '.join(plan.labels[u] for u in node.users)}"
    for node, kind in plan.kinds.items():
        sources = node.all_input_nodes
        if kind is Kind.CLAMP and plan.kinds.get(sources[0]) is Kind.WEIGHTED and sources[0] not in plan.absorbed:
            notes[node] = "a table of its own: others read its operand too"
    for node in plan.floats:
        notes[node] = "float, on the CPU"
    for calls in plan.shared:
        for node in calls:
            notes[node] = f"one range for {len(calls)} calls"
    return notes


def _rows(root: nn.Module, plan: Plan, notes: Mapping[fx.Node, str], config: Config) -> list[Row]:
    rows = []
    for node, label in plan.labels.items():
        kind = plan.kinds.get(node)
        if node.op not in ("placeholder",) and kind in (None, Kind.SHAPE):
            continue
        site = plan.sites.get(node)
        module = root.get_submodule(str(node.target)) if kind is Kind.WEIGHTED else None
        parts = [notes.get(node, "")]
        if isinstance(module, Weighted) and module.fused:
            parts.insert(0, f"with {', '.join(module.fused)}")
        if site is not None and site is not node:
            parts.append(f"parameters of {plan.labels[site]}")
        result = "float" if node in plan.floats else ""
        if site is not None and node not in plan.floats:
            result = site_settings(plan, site, config).output
        weight = "" if module is None else "float" if node in plan.floats else plan.settings[node].weight
        operator = name_of(node, root) if node.op.startswith("call") else "input"
        operator = module.product.kind if isinstance(module, Weighted) else operator
        rows.append(Row(label, operator, result, weight, "; ".join(p for p in parts if p), place_of(node)))
    return rows
