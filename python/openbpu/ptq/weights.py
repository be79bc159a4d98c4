"""Constant weights and biases: symmetric int8 per output channel, int32 bias on the grid of the accumulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The ratio input scale * weight scale / output scale keeps 22 bits of shift at most, so that any zero point fits B.
_SMALLEST_RATIO = 2.0**-20
_BIAS_LEVELS = 2.0**24


@dataclass(frozen=True)
class QuantisedWeights:
    """q in [-127, 127] of the shape of the weight, scale per channel, bias int32 per channel."""

    q: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


def quantise_weights(
    weight: np.ndarray, bias: np.ndarray, axis: int, input_scale: float, output_scale: float
) -> QuantisedWeights:
    """Nearest rounding with the largest magnitude of each channel at 127.

    Scales have a floor: below it a channel's shift or its bias would not fit the integer arithmetic (docs/numerics.md,
    clause RQ8), and its weights hardly move the output anyway.
    """
    channels_first = np.moveaxis(weight, axis, 0)
    peak = np.abs(channels_first.reshape(len(channels_first), -1)).max(axis=1, initial=0).astype(np.float64)
    floor = np.maximum(
        _SMALLEST_RATIO * output_scale / input_scale, np.abs(bias.astype(np.float64)) / (input_scale * _BIAS_LEVELS)
    )
    scale = np.maximum(peak / 127, floor).astype(np.float32).astype(np.float64)
    shape = [1] * weight.ndim
    shape[axis] = -1
    q = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    return QuantisedWeights(q, scale, quantise_bias(bias, input_scale, scale))


def quantise_bias(bias: np.ndarray, input_scale: float, weight_scale: np.ndarray) -> np.ndarray:
    """floor(bias / (input scale * weight scale) + 1/2) as int32."""
    return np.floor(bias.astype(np.float64) / (input_scale * weight_scale) + 0.5).astype(np.int32)
