"""From a module to a graph: torch.fx tracing in which every value is known.

Each node is computed on the example inputs while it is traced, so Python code that looks at shapes runs as it stands.
Where the batch is known from two examples (the given one, and the same twice as large), extents that follow the batch
stay symbolic; all others are numbers. What depends on the values of tensors is refused, with module and line.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from openbpu.errors import UnsupportedError
from openbpu.qat.expanding import DECOMPOSED

_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
_OWN_MODEL = "it cannot be captured"
_READS = ("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__")
_OF_UNKNOWN_SIZE = ("argwhere", "masked_select", "nonzero", "unique", "unique_consecutive")
_PLAIN = (int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout, torch.memory_format)
_NO_BATCH = "the batch would be fixed"


@dataclass(frozen=True)
class Place:
    """Where in the user's code a node comes from."""

    module: str  # path of the module whose forward made it
    kind: str  # its class
    line: str  # file:line

    def __str__(self) -> str:
        module = f"module '{self.module}' ({self.kind})" if self.module else f"the model ({self.kind})"
        return f"{module}, {self.line}" if self.line else module


def place_of(node: fx.Node) -> str:
    """Module and line of a node, for messages."""
    return str(node.meta.get("place", f"node '{node.name}'"))


def capture(model: nn.Module, examples: Sequence[Any], leaves: Sequence[type[nn.Module]] = ()) -> fx.Graph:
    """The graph of a model in eval mode; node.meta has "value" (of the example) and "place".

    `examples` are the positional arguments; modules of the types `leaves` are not looked into. Raises UnsupportedError
    naming module and line of what cannot be captured.
    """
    with torch.no_grad():
        try:
            return _Tracer([(_copy(e), *_doubled(e)) for e in examples], tuple(leaves)).trace(model)
        except UnsupportedError:
            raise
        except Exception:  # perhaps only with the larger batch: the model may be made for one batch
            return _Tracer([(_copy(e),) for e in examples], tuple(leaves)).trace(model)


def _copy(example: Any) -> Any:
    """The example as the model may overwrite it."""
    return example.clone() if isinstance(example, Tensor) else example


class _Value(fx.Proxy):
    """A proxy that knows what it stands for, once per example."""

    values: tuple[Any, ...]
    tracer: _Tracer

    def __getattr__(self, name: str) -> Any:
        if name == "values":
            raise AttributeError(name)
        if name == "__array__":
            raise _data_dependent(self.tracer.place(), "a tensor as an array of numpy")
        found = getattr(self.values[0], name)
        if isinstance(found, Tensor | torch.Size):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        if callable(found) and not isinstance(found, _PLAIN):
            return fx.proxy.Attribute(self, name)
        return found

    def __len__(self) -> int:
        return len(self.values[0])

    def __index__(self) -> int:
        return int(self.tracer.known(self, "__index__"))

    def __int__(self) -> int:
        return int(self.tracer.known(self, "__int__"))

    def __float__(self) -> float:
        return float(self.tracer.known(self, "__float__"))

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise UnsupportedError(
            "tensors are not written in parts", where=str(self.tracer.place()), seen="an assignment to elements",
            remedy="use torch.where with a mask, or torch.cat of the parts",
        )  # fmt: skip

    def __contains__(self, item: Any) -> bool:
        return item in self.tracer.known(self, "__contains__")


class _Tracer(fx.Tracer):
    def __init__(self, examples: Sequence[tuple[Any, ...]], leaves: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.leaves = leaves
        self.evaluating = False
        self.path: list[tuple[str, str]] = []
        self.examples = list(examples)
        self.variants = max((len(e) for e in examples), default=1)

    # ---- graph

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """One placeholder per example; arguments without example keep their defaults."""
        names = list(inspect.signature(root_fn).parameters)[1:]
        self.waiting = list(self.examples)
        proxies = [
            self.create_proxy("placeholder", name, (), {}) for name, _ in zip(names, self.examples, strict=False)
        ]
        if len(proxies) < len(self.examples):
            raise UnsupportedError(
                f"the model takes {len(names)} arguments by name", where="example_inputs", seen=len(self.examples)
            )

        def called(*inputs: Any) -> Any:
            return root_fn(self.root, *inputs)

        return called, proxies

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.evaluating:
            return forward(*args, **kwargs)
        self.path.append((self.path_of_module(m), type(m).__name__))
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.path.pop()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.evaluating:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> Any:
        place = self.place()
        if kind == "call_function" and target in DECOMPOSED:
            try:
                return DECOMPOSED[target](*args, **kwargs)
            except UnsupportedError as error:
                raise UnsupportedError(error.rule, where=str(place), seen=error.seen, remedy=error.remedy) from None
        if kind == "call_method" and target in _READS:
            raise _data_dependent(place, f"Tensor.{target}()")
        if kind.startswith("call_") and _has_unknown_size(target, args):
            raise _data_dependent(place, "a result whose size follows from values")
        try:
            values = self._values(kind, target, args, kwargs)
            if kind.startswith("call") and all(isinstance(v, _PLAIN) and v == values[0] for v in values):
                return values[0]
            proxy: Any = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        except NotImplementedError as error:
            raise UnsupportedError(_OWN_MODEL, where=str(place), seen=error) from error
        proxy.values = values
        proxy.node.meta["value"], proxy.node.meta["place"] = values[0], place
        return proxy

    def _values(self, kind: str, target: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
        if kind == "placeholder":
            return self.waiting.pop(0)
        self.evaluating = True
        try:
            if kind == "get_attr":
                return (operator.attrgetter(target)(self.root),) * self.variants
            return tuple(
                self._compute(kind, target, _pick(args, index), _pick(kwargs, index))
                for index in range(self._variants(args, kwargs))
            )
        finally:
            self.evaluating = False

    def _variants(self, args: Any, kwargs: Any) -> int:
        return min((len(values) for values in _proxies((args, kwargs))), default=self.variants)

    def _compute(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "call_function":
            return target(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return self.root.get_submodule(target).forward(*args, **kwargs)

    # ---- what Python asks of values

    def known(self, proxy: _Value, question: str) -> Any:
        """The value of a proxy as Python needs it; refused for tensors, and for numbers that follow the batch."""
        value = proxy.values[0]
        if isinstance(value, Tensor):
            raise _data_dependent(self.place(), f"the value of a tensor ({proxy.node.name})")
        if question == "__index__" and any(other != value for other in proxy.values[1:]):
            raise UnsupportedError(
                "the graph must not depend on the batch size",
                where=str(self.place()),
                seen=f"{_NO_BATCH} at {value} ({proxy.node.name})",
                remedy="use the number as an argument of view, reshape or expand, new_zeros, or zeros_like; or prepare "
                "with the batch size of training and keep it (example_inputs of batch 1 fix it at 1)",
            )
        return value

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.known(obj, "__bool__"))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = obj.values[0]
        return iter([obj[index] for index in range(len(value))])

    def place(self) -> Place:
        """Where in the user's code the tracer is."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
            frame = frame.f_back
        module, kind = self.path[-1] if self.path else ("", type(self.root).__name__)
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
        return Place(module, kind, line)


def _has_unknown_size(target: Any, args: Any) -> bool:
    """True for an operator that keeps as many elements as the values say."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if name in _OF_UNKNOWN_SIZE:
        return True
    if name == "where":
        return len(args) == 1
    if name != "getitem" or not isinstance(args[0], _Value):
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    parts = (part.values[0] for part in index if isinstance(part, _Value))
    return any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in parts)


def _data_dependent(place: Place, what: str) -> UnsupportedError:
    return UnsupportedError(
        "control flow and numbers must not depend on data",
        where=str(place),
        seen=what,
        remedy="use torch.where on tensors, or keep this part out of the model that is prepared",
    )


def _doubled(example: Any) -> tuple[Any, ...]:
    """The example with its batch twice, if it has one."""
    if isinstance(example, Tensor) and example.dim() > 1:
        return (torch.cat([example, example]),)
    return ()


def _proxies(tree: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, _Value):
        yield tree.values
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from _proxies(part)
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _proxies(part)
    elif isinstance(tree, slice):
        yield from _proxies((tree.start, tree.stop, tree.step))


def _pick(tree: Any, index: int) -> Any:
    """Arguments with the values of one example in place of proxies."""
    if isinstance(tree, _Value):
        return tree.values[index]
    if isinstance(tree, fx.proxy.Attribute):
        return getattr(_pick(tree.root, index), tree.attr)
    if isinstance(tree, dict):
        return {key: _pick(part, index) for key, part in tree.items()}
    if isinstance(tree, slice):
        return slice(*(_pick(part, index) for part in (tree.start, tree.stop, tree.step)))
    if isinstance(tree, tuple | list):
        return type(tree)(_pick(part, index) for part in tree)
    return tree
