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
    if operand.codes is None or operand.scale is None or operand.zero is None:
        raise node.refuse(
            "its weights must be quantised",
            seen=f"{operand.real.dtype} of shape {operand.real.shape}",
            remedy="quantise the model with openbpu.quantize, or let the other tool quantise the weights too",
        )
    channels = operand.codes.shape[axis]
    centred = operand.codes.astype(np.int64) - _along(operand.zero, operand.axis, operand.codes.ndim)
    if operand.scale.size == 1 or operand.axis == axis:
        scale = np.array(np.broadcast_to(operand.scale, channels), np.float64)
        if centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127:
            return Weights(centred.astype(np.int8), scale)
        why = "need more than 8 bits without their zero point"
    else:
        why = f"have one scale per index of axis {operand.axis} instead of the output channels"
    node.warn(f"its weights {why}; they are quantised again, per output channel and symmetrically")
    return _quantised_again(centred * _along(operand.scale, operand.axis, operand.codes.ndim), axis)


def _along(values: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[0 if axis is None else axis] = values.size
    return values.reshape(shape)


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
