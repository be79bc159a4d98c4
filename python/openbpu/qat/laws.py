"""Operators of the graph that compute as their instruction does while the model is in state validation.

A law stands behind its operator and gets the operator's result and operands. In every other state it passes the result
on. In state validation it computes the integers of the instruction instead; the site behind it, which rounds to the
grid that they already lie on, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from openbpu.lower.requant import Infeasible
from openbpu.qat import integers, integers16
from openbpu.qat.integers import Params
from openbpu.qat.kinds import name_of
from openbpu.qat.quantisers import Quantiser, params_of, to_integers, to_reals
from openbpu.qat.states import State
from openbpu.qat.weighted import ConstantQuantiser

Source = Quantiser | ConstantQuantiser | None  # None: an operand that stays in reals
_Compute = Callable[[list[Tensor], list[Any], Params], Tensor]


@dataclass(frozen=True)
class Forms:
    """An operator on int8 tensors, None if it is as fake-quantised, and with int16 ones if that form is known here.

    With a `module`, whose parameters it needs, both take that first.
    """

    narrow: Callable[..., Tensor] | None
    wide: Callable[..., Tensor] | None = None
    module: nn.Module | None = None


class Law(nn.Module):
    """The instruction of one operator. `sources` and `result` are the quantisers of operands and result."""

    def __init__(self, name: str, forms: Forms, sources: Sequence[Source], result: Quantiser) -> None:
        super().__init__()
        self.name, self.narrow, self.wide = name, forms.narrow, forms.wide
        # Lists: they are parts of the model elsewhere, and copies of it must refer to its copies.
        self._sources, self._result, self._module = list(sources), [result], [forms.module]
        self.state = State.FLOAT

    def forward(self, result: Tensor, *operands: Tensor) -> Tensor:
        if self.state is not State.VALIDATION or torch.is_grad_enabled():
            return result
        params, out = [s and params_of(s) for s in self._sources], params_of(self._result[0])
        wide = out.wide or any(p is not None and p.wide for p in params)
        compute = self.wide if wide else self.narrow
        if compute is None:
            return result
        if self._module[0] is not None:
            compute = partial(compute, self._module[0])
        steps = [x if p is None else to_integers(x, p) for x, p in zip(operands, params, strict=True)]
        try:
            return to_reals(compute(steps, params, out), out).reshape(result.shape)
        except Infeasible:  # the compiler leaves such an operator to the CPU
            return result


class FrozenLaw(nn.Module):
    """What is exported in place of a law: the operator's own result."""

    def forward(self, result: Tensor, *operands: Tensor) -> Tensor:
        return result


# ---- which operator has which law


def law_of(
    node: fx.Node, root: nn.Module, data: Sequence[fx.Node], plain: Sequence[fx.Node], gain: float = 1.0
) -> Forms | None:
    """The instruction of an operator; None if it has none that is known here.

    `data` are its operands of reals, those of `plain` are constants that are not quantised; `gain` is a factor on a
    product of matrices.
    """
    name = name_of(node, root)
    if gain != 1.0:
        forms = (partial(module.matrix_product, gain=gain) for module in (integers, integers16))
        return _binary(*forms)(node, root, list(data))
    if plain:
        return _with_constant(node, name, list(data), plain[0]) if len(data) == 2 and len(plain) == 1 else None
    maker = _MAKERS.get(name)
    return None if maker is None else maker(node, root, list(data))


def function_law(node: fx.Node, root: nn.Module, source: fx.Node) -> Forms | None:
    """LUT16 of a function of one tensor without parameters of its own; of int8 fake-quantisation is the table."""
    others = [*node.args[1:], *node.kwargs.values()]
    if not node.args or node.args[0] is not source or any(isinstance(a, fx.Node) for a in others):
        return None
    target: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else node.target
    if node.op == "call_module" and any(True for _ in target.parameters()):
        return None
    if node.op == "call_method":
        target = getattr(Tensor, str(node.target))

    def wide(x: list[Tensor], p: list[Any], out: Params) -> Tensor:
        return integers16.function_of(x[0], p[0], lambda t: target(t, *node.args[1:], **node.kwargs), out)

    return Forms(None, wide)


def _binary(narrow: Callable[..., Tensor], wide: Callable[..., Tensor] | None = None) -> Callable[..., Forms | None]:
    def make(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
        if len(data) != 2 or list(node.args) != data or node.kwargs:
            return None
        return Forms(_of_two(narrow), None if wide is None else _of_two(wide))

    return make


def _of_two(compute: Callable[..., Tensor]) -> _Compute:
    return lambda x, p, out: compute(x[0], p[0], x[1], p[1], out)


def _with_constant(node: fx.Node, name: str, data: list[fx.Node], constant: fx.Node) -> Forms | None:
    """Arithmetic with one number per channel: a depthwise convolution with one tap."""
    rank = node.meta["value"].dim()
    position = data.index(constant)
    if list(node.args) != data or node.kwargs or name not in ("add", "iadd", "sub", "isub", "mul", "imul"):
        return None
    if data[1 - position].meta["value"].shape != node.meta["value"].shape:
        return None
    axis = 1 if rank == 4 else rank - 1

    def compute(x: list[Tensor], p: list[Any], out: Params) -> Tensor:
        k = np.broadcast_to(x[position].detach().cpu().double().numpy().ravel(), x[1 - position].shape[axis])
        one, zero = np.ones(len(k)), np.zeros(len(k))
        gain, offset = (k, zero) if "mul" in name else (one, k)
        if "sub" in name:
            gain, offset = (one, -k) if position == 1 else (-one, k)
        return integers.affine(x[1 - position], p[1 - position], gain, offset, axis, out)

    return Forms(compute)


def _batch_norm(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
    norm: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    if norm is None or norm.running_mean is None:
        return None

    def compute(norm: Any, x: list[Tensor], p: list[Any], out: Params) -> Tensor:
        mean, variance = (t.detach().cpu().double().numpy() for t in (norm.running_mean, norm.running_var))
        gamma = np.ones(len(mean)) if norm.weight is None else norm.weight.detach().cpu().double().numpy()
        beta = np.zeros(len(mean)) if norm.bias is None else norm.bias.detach().cpu().double().numpy()
        gain = gamma / np.sqrt(variance + float(np.float32(norm.eps)))
        return integers.affine(x[0], p[0], gain, beta - mean * gain, 1, out)

    return Forms(compute, None, norm)


def _mean(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
    if len(data) != 1 or node.args[0] is not data[0] or any(isinstance(a, fx.Node) for a in _flat(node)[1:]):
        return None
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    padding = getattr(module, "padding", _argument(node, 3, "padding", 0) if "pool" in str(node.target) else 0)
    ceil = getattr(module, "ceil_mode", _argument(node, 4, "ceil_mode", False) if "pool" in str(node.target) else False)
    if ceil or any(v not in (0, (0,)) for v in (padding if isinstance(padding, tuple | list) else (padding,))):
        return None
    taps = _taps(node, module, data[0])
    if taps is None:
        return None
    is_sum = name_of(node, root) == "sum"

    def mean(x: Tensor) -> Tensor:
        args, kwargs = (x, *node_args), node_kwargs
        result: Tensor
        if node_op == "call_module":
            assert module is not None
            result = module(x)
        elif node_op == "call_method":
            result = getattr(x, node_target)(*args[1:], **kwargs)
        else:
            result = node_target(*args, **kwargs)
        return result / taps if is_sum else result

    node_op, node_target, node_args, node_kwargs = node.op, node.target, tuple(node.args[1:]), dict(node.kwargs)

    narrow, wide = (
        partial(_mean_form, compute, mean, taps, 1 if is_sum else taps)
        for compute in (integers.mean_of, integers16.mean_of)
    )
    return Forms(narrow, wide)


def _mean_form(
    compute: Callable[..., Tensor], mean: Callable[[Tensor], Tensor], taps: int, divisor: int,
    x: list[Tensor], p: list[Any], out: Params,
) -> Tensor:  # fmt: skip
    return compute(mean, x[0], p[0], taps, divisor, out)


def _argument(node: fx.Node, index: int, name: str, default: Any) -> Any:
    return node.kwargs.get(name, node.args[index] if len(node.args) > index else default)


def _flat(node: fx.Node) -> list[Any]:
    return [*node.args, *node.kwargs.values()]


def _taps(node: fx.Node, module: Any, source: fx.Node) -> int | None:
    """Elements of a window; None if windows differ."""
    before, after = source.meta["value"].shape, node.meta["value"].shape
    name = str(getattr(node.target, "__name__", node.target)) if module is None else type(module).__name__
    if "adaptive" in name.lower() or "pool" not in name.lower():
        spatial = zip(before[-len(after) :], after, strict=True) if len(before) == len(after) else ()
        if any(b % a for b, a in spatial):
            return None
        return prod(before) // prod(after)
    kernel = module.kernel_size if module is not None else _argument(node, 1, "kernel_size", 1)
    dimensions = 1 if "1d" in name else 2
    return int(kernel) ** dimensions if isinstance(kernel, int) else prod(int(k) for k in kernel)


def _softmax(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
    module: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    axis = module.dim if module is not None else _argument(node, 1, "dim", None)
    if not isinstance(axis, int):
        return None
    narrow, wide = (
        lambda x, p, out, compute=compute: compute(x[0], p[0], axis, out)
        for compute in (integers.softmax, integers16.softmax)
    )
    return Forms(narrow, wide)


def _norm(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
    module: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    if module is None:
        return None
    count, about_zero = prod(module.normalized_shape), isinstance(module, nn.RMSNorm)

    def compute(module: Any, x: list[Tensor], p: list[Any], out: Params, *, law: Callable[..., Tensor]) -> Tensor:
        gamma, beta = (
            np.full(count, default) if t is None else t.detach().cpu().double().numpy().ravel()
            for t, default in ((module.weight, 1.0), (getattr(module, "bias", None), 0.0))
        )
        epsilon = float(np.float32(np.finfo(np.float32).eps if module.eps is None else module.eps))
        return law(x[0].reshape(-1, count), p[0], epsilon, gamma, beta, out, about_zero)

    return Forms(partial(compute, law=integers.norm), partial(compute, law=integers16.norm), module)


def _resize(node: fx.Node, root: nn.Module, data: list[fx.Node]) -> Forms | None:
    module: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    mode = module.mode if module is not None else _argument(node, 3, "mode", "nearest")
    corners = module.align_corners if module is not None else _argument(node, 4, "align_corners", None)
    value = node.meta["value"]
    if mode != "bilinear" or value.dim() != 4:
        return None
    size = (int(value.shape[2]), int(value.shape[3]))
    narrow, wide = (
        lambda x, p, out, bits=bits: integers.bilinear(x[0], size, bool(corners), bits) for bits in (11, 20)
    )
    return Forms(narrow, wide)


_MAKERS: dict[str, Callable[[fx.Node, nn.Module, list[fx.Node]], Forms | None]] = {
    **dict.fromkeys(("add", "iadd"), _binary(integers.sum_of, integers16.sum_of)),
    **dict.fromkeys(
        ("sub", "isub", "subtract"), _binary(partial(integers.sum_of, sign=-1), partial(integers16.sum_of, sign=-1))
    ),
    **dict.fromkeys(("div", "truediv", "divide", "true_divide"), _binary(integers.quotient_of)),
    "maximum": _binary(partial(integers.extreme_of, torch.maximum)),
    "minimum": _binary(partial(integers.extreme_of, torch.minimum)),
    **dict.fromkeys(("mul", "imul", "multiply"), _binary(integers.product_of, integers16.product_of)),
    **dict.fromkeys(("matmul", "bmm"), _binary(integers.matrix_product, integers16.matrix_product)),
    **dict.fromkeys(
        ("mean", "sum", "avg_pool2d", "avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool1d", "AvgPool1d",
         "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"), _mean,
    ),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _norm),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), _batch_norm),
    **dict.fromkeys(("softmax", "Softmax"), _softmax),
    **dict.fromkeys(("interpolate", "Upsample", "UpsamplingBilinear2d"), _resize),
}  # fmt: skip
