"""Where fake-quantisation goes in a captured graph: where the compiler quantises.

The rules are those of `ptq/placement.py`, on the operators of PyTorch: behind a product and its clamp, never between
them; at both ends of a chain of functions of one tensor, never inside it; behind every other operator that computes.
Operators that move numbers need nothing: what they give lies on the grid of what they take. Tensors that are joined or
interpolated share parameters. What runs in float has a site only where an int8 operator reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from openbpu.errors import UnsupportedError
from openbpu.qat.capture import place_of
from openbpu.qat.config import Config, Settings
from openbpu.qat.kinds import Kind, kind_of, name_of
from openbpu.qat.weighted import Weighted

SOFTMAX_RANGE = (0.0, 255 / 256)  # int8: scale 1/256, zero point -128
WIDE_SOFTMAX_RANGE = (-1.0, 0.0)  # int16: scale 1/32768, zero point 0
_QUANTISED = (Kind.WEIGHTED, Kind.COMPUTING, Kind.SOFTMAX, Kind.ARITHMETIC, Kind.CLAMP, Kind.FUNCTION)
_SHARING = (Kind.JOIN, Kind.RESIZE)
_MATRIX_PRODUCTS = ("matmul", "bmm", "mm")


@dataclass
class Plan:
    """Sites in the order of the graph, and what is known of every operator."""

    labels: dict[fx.Node, str] = field(default_factory=dict)
    kinds: dict[fx.Node, Kind] = field(default_factory=dict)
    settings: dict[fx.Node, Settings] = field(default_factory=dict)
    floats: set[fx.Node] = field(default_factory=set)  # operators that stay float
    sites: dict[fx.Node, fx.Node] = field(default_factory=dict)  # node -> the one whose quantiser it uses
    constants: set[fx.Node] = field(default_factory=set)  # tensors that follow from parameters alone
    roots: dict[fx.Node, fx.Node] = field(default_factory=dict)  # where the chain of functions begins; else itself
    absorbed: set[fx.Node] = field(default_factory=set)  # results that only the clamp behind them reads
    gains: set[fx.Node] = field(default_factory=set)  # factors that join the matrix product before them
    symmetric: set[fx.Node] = field(default_factory=set)  # sites whose zero point is 0
    operands: list[tuple[fx.Node, fx.Node]] = field(default_factory=list)  # (operator, constant) to quantise
    edges: list[tuple[fx.Node, fx.Node]] = field(default_factory=list)  # (operator, operand) with a site of their own
    shared: list[list[fx.Node]] = field(default_factory=list)  # results of the calls of one module


def place(root: nn.Module, graph: fx.Graph, config: Config) -> Plan:
    """The plan for a normalised graph. Raises UnsupportedError naming module and line of an unknown operator."""
    return _Placer(root, graph, config).run()


class _Placer:
    def __init__(self, root: nn.Module, graph: fx.Graph, config: Config) -> None:
        self.root, self.graph, self.config = root, graph, config
        self.plan = Plan()
        self.roots = self.plan.roots
        self.constants = self.plan.constants

    def run(self) -> Plan:
        plan = self.plan
        self._name_nodes()
        for node in self.graph.nodes:
            self._look_at(node)
        for node in self.graph.nodes:
            self.roots[node] = self._root(node)
        wanted = [node for node in self.graph.nodes if self._has_site(node)]
        plan.sites = {node: node for node in wanted}
        self._share()
        for node in self.graph.nodes:
            if self._is_matrix_product(node) and (right := self._source(self._data(node)[1])) in plan.sites:
                plan.symmetric.add(plan.sites[right])  # without a zero point it is multiplied as it is
        for node in self.graph.nodes:
            if self._quantised(node):
                plan.operands += [(node, c) for c in self._constant_operands(node)]
                plan.edges += self._edges(node)
        return plan

    # ---- what each node is

    def _name_nodes(self) -> None:
        calls: dict[str, int] = {}
        for node in self.graph.nodes:
            owner = getattr(node.meta.get("place"), "module", "")
            label = node.name
            if node.op == "call_module":
                label = str(node.target)
            elif node.op.startswith("call"):
                label = f"{owner}.{name_of(node, self.root)}" if owner else name_of(node, self.root)
            calls[label] = calls.get(label, 0) + 1
            self.plan.labels[node] = label if calls[label] == 1 else f"{label}#{calls[label]}"

    def _look_at(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            self.constants.add(node)
        if not node.op.startswith("call"):
            return
        kind = kind_of(node, self.root)
        label = self.plan.labels[node].partition("#")[0]
        settings = self.config.settings(label, name_of(node, self.root))
        if kind is None and settings.output != "float" and not self._is_leaf(node):
            raise UnsupportedError(
                f"operator '{name_of(node, self.root)}' is not known to quantisation",
                where=place_of(node),
                seen=str(node.target),
                remedy="write it with other operators, or keep it in float: "
                f"Config(templates=[ModuleName({{{label!r}: 'float'}})])",
            )
        kind = kind or Kind.FLOAT
        sources = self._reals(node)
        if kind is Kind.MOVE and any(self.plan.kinds.get(s) is Kind.FLOAT and _several(s) for s in sources):
            kind = Kind.FLOAT  # one of several results
        self.plan.kinds[node], self.plan.settings[node] = kind, settings
        weighted = kind is Kind.WEIGHTED
        if kind is Kind.FLOAT or settings.output == "float" or (weighted and settings.weight == "float"):
            self.plan.floats.add(node)
        if sources and all(s in self.constants for s in sources):
            self.constants.add(node)

    def _is_leaf(self, node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(
            self.root.get_submodule(str(node.target)), tuple(self.config.leaves)
        )

    def _quantised(self, node: fx.Node) -> bool:
        """A call that computes in integers."""
        kind = self.plan.kinds.get(node)
        return kind in _QUANTISED and node not in self.plan.floats and node not in self.constants

    @staticmethod
    def _reals(node: fx.Node) -> list[fx.Node]:
        return [n for n in node.all_input_nodes if _is_real(n)]

    def _data(self, node: fx.Node) -> list[fx.Node]:
        """Run-time operands of reals."""
        return [n for n in self._reals(node) if n not in self.constants]

    def _users(self, node: fx.Node) -> list[fx.Node]:
        reading = (Kind.FLOAT, Kind.TEST)
        return [u for u in node.users if u.op == "output" or _is_real(u) or self.plan.kinds.get(u) in reading]

    # ---- chains

    def _root(self, node: fx.Node) -> fx.Node:
        kind, data = self.plan.kinds.get(node), self._data(node)
        if kind not in (Kind.FUNCTION, Kind.CLAMP, Kind.ARITHMETIC) or not data or not self._quantised(node):
            return node
        if kind is Kind.CLAMP and self._absorbs(node, data[0]):
            self.plan.absorbed.add(data[0])
            return node
        if self._is_gain(node, data[0]):
            self.plan.absorbed.add(data[0])
            self.plan.gains.add(node)
            return node
        roots = {self.roots[d] for d in data}
        if len(roots) != 1 or (kind is Kind.ARITHMETIC and not self._only_numbers(node)):
            return node
        return roots.pop()

    def _absorbs(self, clamp: fx.Node, source: fx.Node) -> bool:
        kind = self.plan.kinds.get(source)
        if len(self._users(source)) != 1 or not self._quantised(source):
            return False
        sums = kind is Kind.ARITHMETIC and self.roots[source] is source
        chained = kind is Kind.CLAMP and bool(self.plan.absorbed.intersection(source.all_input_nodes))
        return kind in (Kind.WEIGHTED, Kind.COMPUTING) or sums or chained

    def _is_gain(self, node: fx.Node, product: fx.Node) -> bool:
        """`node` multiplies the product of two run-time matrices by a positive number, as attention does."""
        if not self._is_matrix_product(product) or len(self._users(product)) != 1:
            return False
        return gain_of(node, self.root) is not None and node.args[0] is product

    def _is_matrix_product(self, node: fx.Node) -> bool:
        """A product of two run-time matrices."""
        return self._quantised(node) and name_of(node, self.root) in _MATRIX_PRODUCTS and len(self._data(node)) == 2

    def _only_numbers(self, node: fx.Node) -> bool:
        return all(_is_number(c) for c in self._reals(node) if c in self.constants)

    # ---- sites

    def _has_site(self, node: fx.Node) -> bool:
        if node.op == "placeholder" or node in self.plan.floats:
            return _is_real(node) and not _several(node) and node not in self.constants and self._demanded(node)
        if node in self.constants:
            return False
        kind, users = self.plan.kinds.get(node), self._users(node)
        if kind in _SHARING:
            return self._demanded(node) or any(self._on_grid(d) for d in self._data(node))
        if kind not in _QUANTISED or node in self.plan.absorbed or not users:
            return False
        if self.roots[node] is node or any(u.op == "output" for u in users):
            return True
        return any(self.roots.get(u) is not self.roots[node] for u in users)

    def _demanded(self, node: fx.Node) -> bool:
        """An integer operator reads the tensor, perhaps by way of operators that move numbers."""
        for user in self._users(node):
            kind = self.plan.kinds.get(user)
            if self._quantised(user):
                return True
            if kind in (Kind.MOVE, *_SHARING) and user not in self.plan.floats and self._demanded(user):
                return True
        return False

    def _on_grid(self, node: fx.Node) -> bool:
        source = self._source(node)
        return self._quantised(source) or (self.plan.kinds.get(source) in _SHARING and self._has_site(source))

    def _source(self, node: fx.Node) -> fx.Node:
        """Where the numbers of a tensor were made."""
        while self.plan.kinds.get(node) is Kind.MOVE and node not in self.plan.floats and self._data(node):
            node = self._data(node)[0]
        return node

    # ---- parameters in common

    def _share(self) -> None:
        plan = self.plan
        for node, kind in plan.kinds.items():
            if kind in _SHARING and node in plan.sites:
                for operand in self._data(node):
                    self._join(self._source(operand), node)
        for calls in self._calls().values():
            results = [r for r in (self.result(call) for call in calls) if r is not None]
            if len(results) > 1 and self.config.shared == "one":
                plan.shared.append(results)
                for other in results[1:]:
                    self._join(results[0], other)

    def _join(self, one: fx.Node, other: fx.Node) -> None:
        sites = self.plan.sites
        if one not in sites or other not in sites:
            return
        first, second = self._representative(one), self._representative(other)
        if self._dtype(first) != self._dtype(second) or self._is_fixed(first) or self._is_fixed(second):
            return
        order = list(sites)
        first, second = sorted((first, second), key=order.index)
        for node, group in sites.items():
            if group is second:
                sites[node] = first

    def _representative(self, node: fx.Node) -> fx.Node:
        return self.plan.sites[node]

    def _dtype(self, node: fx.Node) -> str:
        return site_settings(self.plan, node, self.config).output

    def _is_fixed(self, node: fx.Node) -> bool:
        return self.plan.kinds.get(node) is Kind.SOFTMAX or (
            node in self.plan.settings and site_settings(self.plan, node, self.config).threshold is not None
        )

    def _calls(self) -> dict[str, list[fx.Node]]:
        calls: dict[str, list[fx.Node]] = {}
        for node, kind in self.plan.kinds.items():
            if kind is Kind.WEIGHTED:
                calls.setdefault(str(node.target), []).append(node)
        return calls

    def result(self, node: fx.Node) -> fx.Node | None:
        """The site behind an operator and the clamp that it absorbs."""
        return result_site(self.plan, node)

    # ---- operands

    def _constant_operands(self, node: fx.Node) -> list[fx.Node]:
        """Constants that the operator needs as int8; a number, or one number per channel, joins it as it is."""
        kind = self.plan.kinds[node]
        if kind not in (Kind.ARITHMETIC, Kind.COMPUTING) or node.op == "call_module":
            return []
        if kind is Kind.COMPUTING and name_of(node, self.root) not in _MATRIX_PRODUCTS:
            return []
        found = [c for c in self._reals(node) if c in self.constants]
        if kind is Kind.COMPUTING:
            return found
        return [c for c in found if not _per_channel(c, node) and not _is_number(c)]

    def _edges(self, node: fx.Node) -> Iterator[tuple[fx.Node, fx.Node]]:
        wanted, data = self.plan.settings[node].input, self._data(node)
        if wanted is None or wanted == "float":
            return
        for operand in data:
            source = self._source(operand)
            if source in self.plan.sites and self._dtype(source) != wanted:
                yield node, operand


def gain_of(node: fx.Node, root: nn.Module) -> float | None:
    """The positive number by which a node multiplies its first operand, or None."""
    name = name_of(node, root)
    factor = node.args[1] if len(node.args) == 2 else None
    if name not in ("mul", "multiply", "div", "truediv") or not isinstance(factor, int | float) or not factor > 0:
        return None
    number = float(torch.tensor(factor, dtype=torch.float32))  # as it is exported
    return number if name.startswith("mul") else 1 / number


def result_site(plan: Plan, node: fx.Node) -> fx.Node | None:
    """The site behind an operator and the clamps that it absorbs, or None."""
    while node not in plan.sites:
        users = [u for u in node.users if plan.kinds.get(u) is not Kind.SHAPE]
        if node not in plan.absorbed or len(users) != 1:
            return None
        node = users[0]
    return node


def site_settings(plan: Plan, node: fx.Node, config: Config) -> Settings:
    """The settings of a site: those of its operator; of the whole model for inputs and results of float operators."""
    own = plan.settings.get(node)
    if own is None or own.output == "float":
        name = plan.labels[node]
        own = config.settings(name, node.op)
        if own.output == "float":
            return Settings(observer=own.observer, ranges=own.ranges, symmetric=own.symmetric)
    source = node.all_input_nodes[0] if node.all_input_nodes else node
    if own == config.defaults() and source in plan.absorbed:
        return site_settings(plan, source, config)  # what is said of a layer holds behind the clamp that it takes in
    return own


def _is_real(node: fx.Node) -> bool:
    value = node.meta.get("value")
    parts = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)


def _several(node: fx.Node) -> bool:
    return isinstance(node.meta.get("value"), tuple | list)


def _is_number(node: fx.Node) -> bool:
    value = node.meta["value"]
    return bool(value.numel()) and bool(torch.all(value == value.flatten()[0]))


def _per_channel(constant: fx.Node, node: fx.Node) -> bool:
    """One number per channel, as the compiler lays channels: the second of four dimensions, else the last."""
    rank, shape = node.meta["value"].dim(), tuple(constant.meta["value"].shape)
    axis = 1 if rank == 4 else rank - 1
    padded = (1,) * (rank - len(shape)) + shape
    return all(extent == 1 for i, extent in enumerate(padded) if i != axis)


def weighted_layers(root: nn.Module) -> list[Weighted]:
    """The weighted layers of a prepared model."""
    return [m for m in root.modules() if isinstance(m, Weighted)]
