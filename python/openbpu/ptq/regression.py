"""Weights for inputs that are quantised: those that come nearest to what the float layer makes of the float inputs.

Rounding, and what layers in front have lost, hides the small movements of a layer's inputs. Weights that count on these
pass on more noise than signal; the best ones, by least squares, lean on inputs that can be trusted. This is ridge
regression of the float layer's output on the quantised inputs, around the weights of the float model. What one half of
the samples says is judged by the other half: the ridge is as strong, and as much of the change is made, as is best
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from openbpu.ptq.factors import lower_factor, product, solved
from openbpu.ptq.moments import Moments
from openbpu.ptq.parallel import RunAll, in_turn
from openbpu.ptq.patches import Layout

_STRENGTHS = (1e-2, 1e-1)  # of the ridge, in mean variances of an input
_ROUNDING = 1 / 12  # of it in any case: the variance of rounding, in squared steps
MOST_INPUTS = 2304  # per output: beyond, the factors would cost more than they bring

Seen = tuple[np.ndarray, np.ndarray]


def worth_it(found: Layout) -> bool:
    """Whether the layer can lean on other inputs: those of a depthwise one are too few."""
    return found.k <= MOST_INPUTS and (found.groups == 1 or found.shape[1] > 1)


def regression(
    found: Layout, weight: np.ndarray, halves: Sequence[Moments], about_mean: bool, run_all: RunAll = in_turn
) -> Callable[[], np.ndarray | None] | None:
    """What computes float64 weights of the shape of `weight` for a layer; None if those that it has are as good.

    `halves`: moments of what the layer reads, and of what that lacks beside the float model, on two halves of the
    samples. With `about_mean` only movements about the means count, as a correction of biases does the rest.
    """
    if not all(half.rows for half in halves):
        return None
    matrices, least = found.matrices(weight.astype(np.float64)), _ROUNDING * halves[0].grid.step ** 2
    try:
        first, second = run_all(partial(_quiet, _seen, matrices, half, about_mean) for half in halves)
        strength, share = _best(first, second, least, run_all)
        if not share:
            return None
        both = _quiet(_seen, matrices, halves[0] + halves[1], about_mean)
    except np.linalg.LinAlgError:
        return None  # inputs of absurd magnitude

    def better() -> np.ndarray | None:
        try:
            return np.asarray(weight + found.weights(share * _quiet(_change, *both, (strength,), least)[0]))
        except np.linalg.LinAlgError:
            return None

    return better


def _quiet(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls without warnings of inputs of absurd magnitude: each thread has settings of its own."""
    with np.errstate(over="ignore", invalid="ignore"):
        return function(*arguments)


def _best(first: Seen, second: Seen, least: float, run_all: RunAll) -> tuple[float, float]:
    """The strength, and the share of the change that the halves confirm for one another: 0 if none."""

    def judged(learnt: Seen, judging: Seen) -> list[tuple[float, float]]:
        return [_gain(change, *judging) for change in _change(*learnt, _STRENGTHS, least)]

    sums = np.sum(run_all(partial(_quiet, judged, *pair) for pair in ((first, second), (second, first))), axis=0)
    shares = [gain / max(cost, gain) if gain > 0 else 0.0 for gain, cost in sums]
    saved = [2 * t * gain - t * t * cost for t, (gain, cost) in zip(shares, sums, strict=True)]
    best = int(np.argmax(saved))
    return _STRENGTHS[best], shares[best] if saved[best] > 0 else 0.0


def _seen(matrices: np.ndarray, moments: Moments, about_mean: bool) -> Seen:
    """Covariances of the inputs, and of what weights W make of what these lack, with them: C and W D."""
    return moments.inputs(about_mean), product(matrices, moments.differences(about_mean))


def _change(xx: np.ndarray, lacking: np.ndarray, strengths: Sequence[float], least: float) -> np.ndarray:
    """W D (C + r)^-1 for ridges of each strength: what is added to the weights."""
    k = xx.shape[-1]
    ridges = least + np.multiply.outer(strengths, np.einsum("...ii->...", xx) / k)
    ridged = np.repeat(xx[None], len(strengths), axis=0)
    ridged[..., np.arange(k), np.arange(k)] += ridges[..., None]
    return solved(lower_factor(ridged), np.repeat(lacking[None], len(strengths), axis=0))


def _gain(change: np.ndarray, xx: np.ndarray, lacking: np.ndarray) -> tuple[float, float]:
    """a and b: a share t of a change lowers the squared error of outputs with these covariances by 2 t a - t^2 b."""
    return float((change * lacking).sum()), float((change * product(change, xx)).sum())
