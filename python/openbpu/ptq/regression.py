"""Weights for inputs that are quantised: those that come nearest to what the float layer makes of the float inputs.

Rounding, and what layers in front have lost, hides the small movements of a layer's inputs. Weights that count on these
pass on more noise than signal; the best ones, by least squares, lean on inputs that can be trusted. This is ridge
regression of the float layer's output on the quantised inputs, around the weights of the float model. How strong the
ridge is, and whether it pays at all, is decided on one half of the samples for what the other half says.
"""

from __future__ import annotations

import numpy as np

from openbpu.ptq.factors import inverted_upper, lower_factor, product
from openbpu.ptq.moments import Moments
from openbpu.ptq.patches import Layout

_STRENGTHS = (1e-2, 1e-1)  # of the ridge, in mean variances of an input
_ROUNDING = 1 / 12  # of it in any case: the variance of rounding, in squared steps
_LARGEST = 2304  # inputs per output: beyond, the factors would cost more than they bring


def worth_it(found: Layout) -> bool:
    """Whether the layer can lean on other inputs: those of a depthwise one are too few."""
    return found.k <= _LARGEST and (found.groups == 1 or found.shape[1] > 1)


def regressed(
    found: Layout, weight: np.ndarray, halves: tuple[Moments, Moments], about_mean: bool
) -> np.ndarray | None:
    """float64 weights of the shape of `weight` for a layer; None if those that it has are as good.

    `halves`: moments of what the layer reads, and of what that lacks beside the float model, on two halves of the
    samples. With `about_mean` only movements about the means count, as a correction of biases does the rest.
    """
    if not all(half.rows for half in halves):
        return None
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            change = _best(found.matrices(weight.astype(np.float64)), halves, about_mean)
    except np.linalg.LinAlgError:
        return None  # inputs of absurd magnitude
    return None if change is None else weight + found.weights(change)


def _best(matrices: np.ndarray, halves: tuple[Moments, Moments], about_mean: bool) -> np.ndarray | None:
    """The change of weights [groups, m, k] with the strength that the halves choose for one another."""
    least = _ROUNDING * halves[0].grid.step ** 2
    first, second = ((half.inputs(about_mean), half.differences(about_mean)) for half in halves)
    gains = [
        _gain(matrices, _change(matrices, *first, strength, least), *second)
        + _gain(matrices, _change(matrices, *second, strength, least), *first)
        for strength in _STRENGTHS
    ]
    best = int(np.argmax(gains))
    if not gains[best] > 0:
        return None
    both = halves[0] + halves[1]
    return _change(matrices, both.inputs(about_mean), both.differences(about_mean), _STRENGTHS[best], least)


def _change(matrices: np.ndarray, xx: np.ndarray, dx: np.ndarray, strength: float, least: float) -> np.ndarray:
    """W D (C + r)^-1: what is added to weights W for covariances C of the inputs and D of what they lack with them."""
    k = xx.shape[-1]
    ridge = least + strength * np.einsum("...ii->...", xx) / k
    ridged = xx.copy()
    ridged[..., np.arange(k), np.arange(k)] += ridge[..., None]
    upper = inverted_upper(lower_factor(ridged[..., ::-1, ::-1])[..., ::-1, ::-1])
    return product(product(product(matrices, dx), upper.swapaxes(-1, -2)), upper)


def _gain(matrices: np.ndarray, change: np.ndarray, xx: np.ndarray, dx: np.ndarray) -> float:
    """By how much a change lowers the mean squared error of the outputs on samples with these covariances."""
    return float((change * (2 * product(matrices, dx) - product(change, xx))).sum())
