"""Composite modules of torch.nn as the operators they are made of: attention, LSTM and GRU.

Parameters keep their names, so that checkpoints load. Recurrent layers are written out step by step for the length of
the example; their weights are the same in every step, and the results of one step and the next share their range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openbpu.errors import UnsupportedError


def expand_modules(root: nn.Module) -> None:
    """Replaces the composite modules of torch.nn inside `root`. Raises UnsupportedError for unusual options."""
    for name, module in list(root.named_modules()):
        replacement = _replacement(name, module)
        if replacement is None:
            continue
        owner, _, last = name.rpartition(".")
        if not name:
            raise UnsupportedError(
                "a composite module must be part of a model", where=f"the model ({type(module).__name__})",
                remedy="wrap it in a module that calls it",
            )  # fmt: skip
        setattr(root.get_submodule(owner), last, replacement.train(module.training))


def _replacement(name: str, module: nn.Module) -> nn.Module | None:
    where = f"module '{name}' ({type(module).__name__})"
    if type(module) in (nn.LSTM, nn.GRU):
        return Recurrent(module, where)
    if type(module) is nn.MultiheadAttention:
        return Attention(module, where)
    if type(module) is nn.TransformerEncoderLayer:
        return EncoderLayer(module)
    if type(module) is nn.TransformerEncoder:
        return Encoder(module)
    if type(module) is nn.GLU:
        return Gated(module.dim)
    if isinstance(module, nn.RNNBase | nn.Transformer | nn.TransformerDecoder | nn.TransformerDecoderLayer):
        raise UnsupportedError(
            "it is not known to quantisation", where=where, seen=type(module).__name__,
            remedy="write it with nn.LSTM, nn.GRU, nn.MultiheadAttention or nn.TransformerEncoderLayer",
        )  # fmt: skip
    return None


# ---- attention


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """softmax(query key' scale) value, without mask."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    return torch.matmul(torch.softmax(scores, -1), value)


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """F.scaled_dot_product_attention as its operators. Raises UnsupportedError for masks."""
    if attn_mask is not None or is_causal or enable_gqa:
        raise UnsupportedError(
            "attention must not be masked", seen="F.scaled_dot_product_attention with a mask",
            remedy="add the mask to the scores with torch operators",
        )  # fmt: skip
    return attention(query, key, value, scale)


def gated(input: Tensor, dim: int = -1) -> Tensor:
    """F.glu as its operators."""
    value, gate = input.chunk(2, dim)
    return value * torch.sigmoid(gate)


DECOMPOSED: dict[Any, Callable[..., Tensor]] = {F.scaled_dot_product_attention: scaled_dot_product, F.glu: gated}


class Gated(nn.Module):
    """nn.GLU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return gated(x, self.dim)


class Attention(nn.Module):
    """nn.MultiheadAttention without masks."""

    def __init__(self, module: nn.MultiheadAttention, where: str) -> None:
        super().__init__()
        if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
            raise UnsupportedError(
                "one width for query, key and value, and no extra keys", where=where,
                remedy="write the attention with nn.Linear",
            )  # fmt: skip
        self.where = where
        self.batch_first, self.heads, self.width = module.batch_first, module.num_heads, module.embed_dim
        self.in_proj_weight, self.in_proj_bias = module.in_proj_weight, module.in_proj_bias
        self.out_proj = nn.Linear(self.width, self.width, bias=module.out_proj.bias is not None)
        self.out_proj.weight, self.out_proj.bias = module.out_proj.weight, module.out_proj.bias

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = True, **masks: Any
    ) -> tuple[Tensor, None]:
        if any(
            mask is not None and mask is not False for name, mask in masks.items() if name != "average_attn_weights"
        ):
            raise UnsupportedError("attention must not be masked", where=self.where, seen=", ".join(masks))
        if query is not key or key is not value:
            raise UnsupportedError(
                "query, key and value must be one tensor", where=self.where, remedy="write the attention with nn.Linear"
            )
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        parts = [self._heads(part) for part in projected.chunk(3, dim=-1)]
        mixed = attention(*parts)
        order = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        mixed = mixed.permute(order)
        return self.out_proj(mixed.flatten(2)), None

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, heads, length, width of a head]."""
        split = x.unflatten(-1, (self.heads, self.width // self.heads))
        return split.permute(1, 2, 0, 3) if not self.batch_first else split.transpose(1, 2)


class EncoderLayer(nn.Module):
    """nn.TransformerEncoderLayer without masks, and without its shortcuts for inference."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.norm_first, self.activation = module.norm_first, module.activation
        for name, child in module.named_children():
            self.add_module(name, child)

    def forward(
        self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None
    ) -> Tensor:
        masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask}
        x = src
        if self.norm_first:
            x = x + self._attend(self.norm1(x), masks)
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x, masks))
        result: Tensor = self.norm2(x + self._feed(x))
        return result

    def _attend(self, x: Tensor, masks: dict[str, Any]) -> Tensor:
        result: Tensor = self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])
        return result

    def _feed(self, x: Tensor) -> Tensor:
        result: Tensor = self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))
        return result


class Encoder(nn.Module):
    """nn.TransformerEncoder without masks."""

    def __init__(self, module: nn.TransformerEncoder) -> None:
        super().__init__()
        self.layers, self.norm = module.layers, module.norm

    def forward(self, src: Tensor, mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None) -> Tensor:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)


# ---- recurrence


class Recurrent(nn.Module):
    """nn.LSTM or nn.GRU written out for the length of the example. The initial state is zero."""

    def __init__(self, module: Any, where: str) -> None:
        super().__init__()
        if getattr(module, "proj_size", 0):
            raise UnsupportedError("no projection of the state", where=where, seen=f"proj_size={module.proj_size}")
        self.where, self.lstm = where, isinstance(module, nn.LSTM)
        self.layers, self.directions = module.num_layers, 2 if module.bidirectional else 1
        self.batch_first, self.hidden, self.has_bias = module.batch_first, module.hidden_size, module.bias
        self.dropout = nn.Dropout(module.dropout)
        for name, parameter in module.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if state is not None:
            raise UnsupportedError("the initial state must be zero", where=self.where, remedy="leave it out")
        if x.dim() != 3:
            raise UnsupportedError("inputs with a batch", where=self.where, seen=f"{x.dim()} dimensions")
        steps = list(x.unbind(1 if self.batch_first else 0))
        last: list[tuple[Tensor, Tensor | None]] = []
        for layer in range(self.layers):
            if layer:
                steps = [self.dropout(step) for step in steps]
            found = []
            for direction in range(self.directions):
                states, cell = self._direction(steps, f"_l{layer}{'_reverse' if direction else ''}", bool(direction))
                found.append(states)
                last.append((states[0 if direction else -1], cell))
            steps = [torch.cat(parts, -1) if len(parts) > 1 else parts[0] for parts in zip(*found, strict=True)]
        output = torch.stack(steps, 1 if self.batch_first else 0)
        hidden = torch.stack([h for h, _ in last], 0)
        return output, (hidden, torch.stack([c for _, c in last if c is not None], 0)) if self.lstm else hidden

    def _direction(self, steps: list[Tensor], suffix: str, backwards: bool) -> tuple[list[Tensor], Tensor | None]:
        """The state after each step, by time, and the last cell."""
        own, own_bias, other, other_bias = (
            getattr(self, name + suffix) if "bias" not in name or self.has_bias else None
            for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        )
        hidden: Tensor | None = None
        cell: Tensor | None = None
        states: list[Tensor | None] = [None] * len(steps)
        step = self._lstm if self.lstm else self._gru
        for time in list(range(len(steps)))[:: -1 if backwards else 1]:
            term = F.linear(steps[time], own, own_bias)
            hidden, cell = step(term, hidden, cell, other, other_bias)
            states[time] = hidden
        return [s for s in states if s is not None], cell

    def _lstm(
        self, term: Tensor, hidden: Tensor | None, cell: Tensor | None, weight: Any, bias: Any
    ) -> tuple[Tensor, Tensor]:
        if hidden is not None:
            term = term + F.linear(hidden, weight, bias)
        elif bias is not None:
            term = term + bias
        i, f, g, o = term.chunk(4, -1)
        new = torch.sigmoid(i) * torch.tanh(g)
        cell = new if cell is None else torch.sigmoid(f) * cell + new
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def _gru(
        self, term: Tensor, hidden: Tensor | None, _: Tensor | None, weight: Any, bias: Any
    ) -> tuple[Tensor, None]:
        width = self.hidden
        if hidden is None:
            if bias is not None:
                shared, inner = bias[: 2 * width], bias[2 * width :]
                r, z = torch.sigmoid(term[..., : 2 * width] + shared).chunk(2, -1)
                candidate = torch.tanh(term[..., 2 * width :] + r * inner)
            else:
                r, z = torch.sigmoid(term[..., : 2 * width]).chunk(2, -1)
                candidate = torch.tanh(term[..., 2 * width :])
            return (1 - z) * candidate, None
        recurrent = F.linear(hidden, weight, bias)
        r, z = torch.sigmoid(term[..., : 2 * width] + recurrent[..., : 2 * width]).chunk(2, -1)
        candidate = torch.tanh(term[..., 2 * width :] + r * recurrent[..., 2 * width :])
        return candidate + z * (hidden - candidate), None
