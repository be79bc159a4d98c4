"""Rewrites a captured graph so that each idea has one form.

In-place operators become ordinary ones; products with constant weights, however they were written, become `Weighted`
modules with the batch normalisation behind them; functional dropout and batch normalisation become modules.
"""

from __future__ import annotations

import operator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn

from openbpu.errors import UnsupportedError
from openbpu.qat.capture import place_of
from openbpu.qat.kinds import IN_PLACE, Kind, kind_of, name_of
from openbpu.qat.weighted import Product, Weighted

_CONVOLUTIONS = ("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
LAYERS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.Linear: "linear",
}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_DROPOUTS: dict[str, type[nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_dropout": nn.Dropout2d,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
}
_FUNCTIONAL_NORMS: dict[str, type[nn.Module]] = {"layer_norm": nn.LayerNorm, "rms_norm": nn.RMSNorm}
_NORM_ARGUMENTS = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def normalise(root: nn.Module, graph: fx.Graph) -> None:
    """Rewrites graph and root in place. Raises UnsupportedError naming module and line."""
    for node in list(graph.nodes):
        _out_of_place(root, node)
    for node in list(graph.nodes):
        if node.op == "call_function":
            _as_module(root, graph, node)
    _weighted_modules(root, graph)
    for node in list(graph.nodes):
        _join_norm(root, graph, node)
    for node in reversed(list(graph.nodes)):
        if node.op not in ("placeholder", "output") and not node.users:
            graph.erase_node(node)
    graph.lint()


# ---- in place


def _out_of_place(root: nn.Module, node: fx.Node) -> None:
    """Makes an operator that overwrites its operand an ordinary one; later readers of the operand read the result."""
    changed = False
    if node.op == "call_module":
        module: Any = root.get_submodule(str(node.target))
        if getattr(module, "inplace", False) is True:
            module.inplace, changed = False, True
        changed = changed or node.meta.get("overwrites", False)
    elif node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).endswith("__"):
        node.target, changed = str(node.target)[:-1], True
    elif node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        plain = IN_PLACE.get(node.target)
        if plain is None and name.endswith("_") and not name.startswith("_"):
            plain = getattr(F, name[:-1], None) or getattr(__import__("torch"), name[:-1], None)
        if plain is not None:
            node.target, changed = plain, True
        if node.kwargs.get("inplace"):
            node.kwargs, changed = {**node.kwargs, "inplace": False}, True
    if changed and node.args and isinstance(node.args[0], fx.Node):
        order = {n: i for i, n in enumerate(node.graph.nodes)}
        node.args[0].replace_all_uses_with(node, lambda user: order[user] > order[node])


# ---- functions that have a module


def _as_module(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    name = name_of(node, root)
    if name in (*_CONVOLUTIONS, "linear"):
        _functional_product(root, node, name)
    elif name == "batch_norm":
        _functional_norm(root, node)
    elif name in _FUNCTIONAL_NORMS:
        _functional_layer_norm(root, graph, node, _FUNCTIONAL_NORMS[name])
    elif name in _DROPOUTS:
        given = _bound(node, ("input", "p", "training", "inplace"))
        module = _DROPOUTS[name](float(given.get("p", 0.5)))
        _replace(root, graph, node, f"dropout_{node.name}", module, given["input"])


def _bound(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _replace(root: nn.Module, graph: fx.Graph, node: fx.Node, path: str, module: nn.Module, source: fx.Node) -> None:
    set_module(root, path, module)
    with graph.inserting_before(node):
        call = graph.call_module(path, (source,))
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    graph.erase_node(node)


def set_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Puts a module at a dotted path; parents that do not exist are made."""
    *parents, last = path.split(".")
    owner = root
    for name in parents:
        child = getattr(owner, name, None)
        if not isinstance(child, nn.Module):
            child = nn.Module()
            owner.add_module(name, child)
        owner = child
    owner.add_module(last, module)


def _parameter(root: nn.Module, node: Any, what: str, user: fx.Node) -> Any:
    """The tensor behind a get_attr node, and its path."""
    if node is None:
        return None, ""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        raise _computed(what, user)
    return operator.attrgetter(str(node.target))(root), str(node.target)


def _computed(what: str, user: fx.Node) -> UnsupportedError:
    return UnsupportedError(
        f"the {what} of a layer must be a parameter",
        where=place_of(user),
        seen="a computed tensor",
        remedy="remove parametrizations (torch.nn.utils.parametrize.remove_parametrizations), or use torch.matmul",
    )


def _functional_product(root: nn.Module, node: fx.Node, name: str) -> None:
    if name == "linear" and not _is_constant(node, 1):
        return  # a product of two run-time tensors
    given = _bound(node, _TRANSPOSED if "transpose" in name else _ARGUMENTS)
    weight, path = _parameter(root, given.pop("weight"), "weight", node)
    bias, _ = _parameter(root, given.pop("bias", None), "bias", node)
    source = given.pop("input")
    owner, _, attribute = path.rpartition(".")
    target = owner if attribute == "weight" and owner else f"{path}_layer"
    layer = _layer(root, target, name, weight, bias, given)
    node.op, node.target, node.args, node.kwargs = "call_module", target, (source,), {}
    node.meta["layer"] = layer.name


def _is_constant(node: fx.Node, index: int) -> bool:
    operand = _bound(node, _ARGUMENTS)[_ARGUMENTS[index]]
    return isinstance(operand, fx.Node) and operand.op == "get_attr"


def _layer(root: nn.Module, path: str, kind: str, weight: Any, bias: Any, options: dict[str, Any]) -> Weighted:
    """The weighted layer at a path, made when it is called first. Children of a module that stood there stay."""
    old = root.get_submodule(path) if any(name == path for name, _ in root.named_modules()) else None
    if isinstance(old, Weighted):
        return old
    weight, bias = (p if p is None or isinstance(p, nn.Parameter) else nn.Parameter(p) for p in (weight, bias))
    layer = Weighted(path, Product(kind, options, int(options.get("groups", 1))), weight, bias)
    for name, child in old.named_children() if old is not None else ():
        layer.add_module(name, child)
    set_module(root, path, layer)
    return layer


def _without_statistics(node: fx.Node) -> UnsupportedError:
    return UnsupportedError(
        "batch normalisation needs running statistics", where=place_of(node), remedy="set track_running_stats=True"
    )


def _functional_layer_norm(root: nn.Module, graph: fx.Graph, node: fx.Node, kind: type[Any]) -> None:
    """F.layer_norm or F.rms_norm as a module that holds the same parameters."""
    names = ("input", "normalized_shape", "weight", "bias", "eps") if kind is nn.LayerNorm else (
        "input", "normalized_shape", "weight", "eps")  # fmt: skip
    given = _bound(node, names)
    held = {key: _parameter(root, given.get(key), key, node) for key in ("weight", "bias")}
    shape = given["normalized_shape"]
    module = kind(
        [shape] if isinstance(shape, int) else list(shape), given.get("eps", 1e-5 if "bias" in names else None)
    )
    for key, (tensor, _) in held.items():
        if key in names:
            module.register_parameter(key, tensor)
    owner, _, attribute = held["weight"][1].rpartition(".")
    target = owner if attribute == "weight" and not list(root.get_submodule(owner).children()) else f"norm_{node.name}"
    _replace(root, graph, node, target, module, given["input"])


def _functional_norm(root: nn.Module, node: fx.Node) -> None:
    given = _bound(node, _NORM_ARGUMENTS)
    tensors = {}
    for key in ("running_mean", "running_var", "weight", "bias"):
        tensors[key], path = _parameter(root, given.get(key), key, node)
        if path:
            owner = path.rpartition(".")[0]
    if tensors["running_mean"] is None:
        raise _without_statistics(node)
    channels = len(tensors["running_mean"])
    kind = nn.BatchNorm2d if node.meta["value"].dim() == 4 else nn.BatchNorm1d
    norm = kind(channels, float(given.get("eps", 1e-5)), given.get("momentum", 0.1), tensors["weight"] is not None)
    for key, tensor in tensors.items():
        if tensor is not None:
            setattr(norm, key, tensor)
    target = f"{owner}.norm" if owner else "norm"
    set_module(root, target, norm)
    node.op, node.target, node.args, node.kwargs = "call_module", target, (given["input"],), {}


# ---- modules


def _weighted_modules(root: nn.Module, graph: fx.Graph) -> None:
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        module: Any = root.get_submodule(str(node.target))
        kind = LAYERS.get(type(module))
        if hasattr(module, "parametrizations"):
            raise _computed("weight", node)
        if isinstance(module, _NORMS) and module.running_mean is None:
            raise _without_statistics(node)
        if kind is None:
            continue
        if module._forward_pre_hooks or module._forward_hooks:
            raise UnsupportedError(
                "a layer with weights has no hooks: it is replaced by a quantised one", where=place_of(node),
                seen=f"{len(module._forward_pre_hooks) + len(module._forward_hooks)} hooks",
                remedy="remove them (handle.remove(), torch.nn.utils.remove_spectral_norm) before prepare",
            )  # fmt: skip
        options = {} if kind == "linear" else _options(module, kind)
        if kind != "linear" and module.padding_mode != "zeros":
            _explicit_padding(root, graph, node, module)
            options["padding"] = 0
        _layer(root, str(node.target), kind, module.weight, module.bias, options)


def _options(module: Any, kind: str) -> dict[str, Any]:
    keys = _TRANSPOSED[3:] if "transpose" in kind else _ARGUMENTS[3:]
    return {key: getattr(module, key) for key in keys}


def _explicit_padding(root: nn.Module, graph: fx.Graph, node: fx.Node, module: Any) -> None:
    pads, mode, source = list(module._reversed_padding_repeated_twice), module.padding_mode, node.args[0]
    assert isinstance(source, fx.Node)
    with graph.inserting_before(node):
        padded = graph.call_function(F.pad, (source, pads), {"mode": mode})
    value = source.meta["value"]
    padded.meta = {**node.meta, "value": F.pad(value, pads, mode=mode) if isinstance(value, Tensor) else value}
    node.args = (padded,)


def _join_norm(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    """Puts a batch normalisation into the layer whose result it alone reads."""
    if node.op != "call_module" or not isinstance(norm := root.get_submodule(str(node.target)), _NORMS):
        return
    source = node.args[0]
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
        return
    layer = root.get_submodule(str(source.target))
    calls = [n for n in graph.nodes if n.op == "call_module" and n.target in (source.target, node.target)]
    if not isinstance(layer, Weighted) or layer.norm is not None or len(calls) != 2 or norm.running_mean is None:
        return
    if layer.product.kind == "linear" and node.meta["value"].dim() != 2:
        return
    layer.norm = norm
    layer.fused.append(str(node.target))
    source.meta["value"] = node.meta["value"]
    node.replace_all_uses_with(source)
    graph.erase_node(node)


def unfused_norms(root: nn.Module, graph: fx.Graph) -> list[fx.Node]:
    """Batch normalisations that no layer could take in."""
    calls = (n for n in graph.nodes if n.op == "call_module")
    return [
        n for n in calls if isinstance(root.get_submodule(str(n.target)), _NORMS) and kind_of(n, root) is not Kind.FLOAT
    ]
