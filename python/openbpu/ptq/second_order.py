"""Weight rounding that minimises the error of a layer's output instead of the error of its weights.

Columns are rounded one after the other; what a column loses is made up by those not yet rounded, as far as the inputs
are correlated. Method: Frantar et al., GPTQ (2022), after Hassibi & Stork's optimal brain surgeon. The second moments
are taken about the mean, because the bias correction that follows removes the error of the mean.
"""

from __future__ import annotations

import numpy as np

from openbpu.ptq.factors import BLOCK, inverted_upper, lower_factor, product
from openbpu.ptq.moments import Moments
from openbpu.ptq.patches import Layout

_DAMPING = 0.01  # share of the mean diagonal
_CHANCE = 0.5  # more of it, times columns per row
_TOGETHER = 1 << 24  # elements of covariances of all channels at once
_BLOCK = BLOCK  # columns between two updates of all columns behind them
LARGEST = 6144  # inputs per output: beyond, the covariance would cost more than it brings


def uppers(moments: Moments) -> np.ndarray | None:
    """Of the inverses of the covariances the upper Cholesky factors [groups, k, k]; None if inputs are too strange.

    Their row i tells how the columns behind i make up for the error of column i. k is at most LARGEST. The moments are
    used up.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return upper_factor(damped(moments))
    except np.linalg.LinAlgError:
        return None  # inputs of absurd magnitude: nearest rounding stays


def rounded(found: Layout, weight: np.ndarray, scale: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """int8 weights of the shape of `weight` for inputs with these `uppers`; `scale` is per output channel."""
    return found.weights(_rounded(found.matrices(weight), scale, upper))


def damped(moments: Moments) -> np.ndarray:
    """Covariances [groups, k, k] that can be inverted, made of moments that are not needed any more.

    Raises numpy.linalg.LinAlgError if there were no rows.
    """
    covariance = moments.inputs(last=True)
    diagonal = np.einsum("...ii->...i", covariance)
    # From few rows a covariance is mostly chance: its diagonal has to count the more.
    share = _DAMPING + _CHANCE * covariance.shape[-1] / moments.rows
    damping = np.maximum(share * diagonal.mean(axis=-1), 1e-12)
    places = np.arange(covariance.shape[-1])
    covariance[..., places, places] += damping[..., None]  # in place: with 6144 inputs it has 300 MB
    return covariance


def upper_factor(covariance: np.ndarray) -> np.ndarray:
    """The upper Cholesky factors of the inverses of matrices [..., k, k], which are overwritten.

    Raises numpy.linalg.LinAlgError if these are not finite or not positive definite.
    """
    if not np.isfinite(covariance).all():
        raise np.linalg.LinAlgError("the covariance is not finite")
    # The factor of the covariance itself, taken from its end, is the inverse of the one wanted.
    return inverted_upper(lower_factor(covariance[..., ::-1, ::-1])[..., ::-1, ::-1])


def _rounded(matrices: np.ndarray, scale: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """int8 for weights [groups, m, k], scales [groups * m], factors [groups, k, k]."""
    groups, m, k = matrices.shape
    if groups > 1 and m * groups * k * k <= _TOGETHER:  # depthwise: all channels at once
        rows = round_weights(matrices.reshape(-1, k), scale, np.repeat(upper, m, axis=0))
        return rows.reshape(matrices.shape)
    of_groups = zip(matrices, scale.reshape(groups, m), upper, strict=True)
    return np.stack([round_weights(*group) for group in of_groups])


def round_weights(weight: np.ndarray, scale: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """int8 in [-127, 127] for weights [co, k], scales [co], one factor [k, k] or one per channel [co, k, k]."""
    rest = weight.astype(np.float64).copy()
    q = np.empty(weight.shape, np.int8)
    count = weight.shape[1]
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        block, errors = rest[:, start:end].copy(), np.empty((len(rest), end - start))
        for column in range(start, end):
            i = column - start
            q[:, column] = np.clip(np.rint(block[:, i] / scale), -127, 127)
            row = upper[..., column, column:end]
            errors[:, i] = (block[:, i] - q[:, column] * scale) / row[..., 0]
            block[:, i:] -= errors[:, i, None] * row
        # What a block leaves to the columns behind it: one product, or one per channel.
        behind = upper[..., start:end, end:]
        rest[:, end:] -= product(errors, behind) if behind.ndim == 2 else product(errors[:, None], behind)[:, 0]
    return q
