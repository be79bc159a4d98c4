"""Constant weights as symmetric int8, one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openbpu.lower.expressions import Constant, Expr
from openbpu.lower.node import Node


@dataclass(frozen=True)
class Weights:
    """codes int8 in the order of the model, scale float64 per index of the output channel axis."""

    codes: np.ndarray
    scale: np.ndarray


def symmetric(operand: Expr, axis: int, node: Node) -> Weights:
    """The weights `operand` with one scale per index of `axis` and zero point 0.

    Weights that already have that form, uint8 with zero point 128 included, keep every bit. Others (another zero point,
    or scales along another axis) are quantised anew, per channel, with a warning.
    """
    if not isinstance(operand, Constant):
        raise node.refuse("its weights must be constant", remedy="fold or freeze them in the model")
    held = operand.quantised
    if held is None:
        raise node.refuse(
            "its weights must be quantised",
            seen=f"{operand.real.dtype} of shape {operand.shape}",
            remedy="quantise the model with openbpu.quantize, or let the other tool quantise the weights too",
        )
    centred = held.codes - held.along(held.zero)
    if held.scale.size == 1 or held.axis == axis:
        scale = np.array(np.broadcast_to(held.scale, held.codes.shape[axis]), np.float64)
        if centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127:
            return Weights(centred.astype(np.int8), scale)
        why = "need more than 8 bits without their zero point"
    elif held.axis is None:
        why = "have one scale per block"
    else:
        why = f"have one scale per index of axis {held.axis} instead of the output channels"
    node.warn(f"its weights {why}; they are quantised again, per output channel and symmetrically")
    return _quantised_again(held.real, axis)


def _quantised_again(real: np.ndarray, axis: int) -> Weights:
    others = tuple(a for a in range(real.ndim) if a != axis)
    largest = np.abs(real).max(axis=others, keepdims=True)
    scale = np.where(largest == 0, 1.0, largest / 127)
    return Weights(np.rint(real / scale).astype(np.int8), scale.ravel())


def bias(operand: Expr | None, channels: int, node: Node) -> np.ndarray:
    """A bias in real units, float64 [channels]; zeros if there is none."""
    if operand is None:
        return np.zeros(channels)
    if not isinstance(operand, Constant):
        raise node.refuse("its bias must be constant", remedy="fold or freeze it in the model")
    if operand.real.size not in (1, channels):
        raise node.refuse(
            "its bias must have one number per output channel",
            seen=f"shape {operand.real.shape}",
            remedy="add it in a node of its own",
        )
    return np.array(np.broadcast_to(np.asarray(operand.real, np.float64).ravel(), channels))
