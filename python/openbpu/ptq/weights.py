"""Constant weights and biases: symmetric int8 per output channel, int32 bias on the grid of the accumulator."""

from __future__ import annotations

import numpy as np

# Bounds of clause RQ8 (docs/numerics.md), with room to spare. The ratio input scale * weight scale / output scale keeps
# the shift below 16, so that any zero point fits B; so does a channel's ratio against the largest of its operator.
SMALLEST_RATIO = 2.0**-20
SMALLEST_SHARE = 2.0**-12
BIAS_LEVELS = 2.0**24
_BIAS_LEVELS_16 = 2.0**30  # of int16 inputs: sums are 64 bits wide, the bias is an int32 of the model
SMALLEST_SCALE = 2.0**-64  # of weights that are all zero
_SHARES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8, 0.7, 0.6)
# The widest accumulator in steps of the output, and the largest ratio.
_WIDEST = 2.0**22
_LARGEST_RATIO = 2.0**7


def weight_scales(
    weight: np.ndarray,
    bias: np.ndarray,
    axis: int,
    input_scale: float,
    output_scale: float,
    wide: bool = False,
    shares: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Scale of each channel along `axis` as float64 holding float32: its largest magnitude * `shares` becomes 127.

    `bias` has one real number per channel. Scales have a floor: below it a channel's shift or its bias would not fit
    the integer arithmetic, and its weights hardly move the output anyway. An output scale of 0 sets none. `wide` says
    that the 16-bit form of the operator is meant.
    """
    channels_first = np.moveaxis(weight, axis, 0)
    peak = np.abs(channels_first.reshape(len(channels_first), -1)).max(axis=1, initial=0).astype(np.float64) / 127
    peak = peak * shares
    levels = _BIAS_LEVELS_16 if wide else BIAS_LEVELS
    floor = np.maximum(SMALLEST_RATIO * output_scale / input_scale, np.abs(bias) / (input_scale * levels))
    floor = np.maximum(floor, np.maximum(peak, floor).max(initial=0) * SMALLEST_SHARE)
    floor = np.maximum(floor, SMALLEST_SCALE)
    return np.asarray(np.maximum(peak, floor).astype(np.float32).astype(np.float64))


def best_shares(weight: np.ndarray, axis: int) -> np.ndarray:
    """By output channel the share of the largest magnitude that, as 127, leaves the least squared error."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    peak = np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), SMALLEST_SCALE) / 127
    errors = []
    for share in _SHARES:
        scale = peak * share
        errors.append(((np.clip(np.rint(rows / scale), -127, 127) * scale - rows) ** 2).sum(axis=1))
    return np.asarray(np.array(_SHARES)[np.argmin(errors, axis=0)])


def quantise_weights(weight: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """int8 in [-127, 127], rounded to nearest."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.asarray(np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8))


def quantise_bias(bias: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """floor(bias / grid + 1/2) as int32; `grid` is input scale * weight scale."""
    return np.asarray(np.floor(bias.astype(np.float64) / grid.astype(np.float64) + 0.5).astype(np.int32))


def smallest_output_scale(weight: np.ndarray, bias: np.ndarray, axis: int, input_scale: float) -> float:
    """The finest output scale for which every accumulator of an operator fits 32 bits after its scaling."""
    channels_first = np.abs(np.moveaxis(weight, axis, 0).astype(np.float64))
    rows = channels_first.reshape(len(channels_first), -1)
    reach = (rows.sum(axis=1) * 255 * input_scale + np.abs(bias)).max(initial=0)
    step = rows.max(initial=0) / 127 * input_scale
    return float(max(reach / _WIDEST, step / _LARGEST_RATIO))
