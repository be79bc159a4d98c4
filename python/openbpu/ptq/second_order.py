"""Weight rounding that minimises the error of a layer's output instead of the error of its weights.

Columns are rounded one after the other; what a column loses is made up by those not yet rounded, as far as the inputs
are correlated. Method: Frantar et al., GPTQ (2022), after Hassibi & Stork's optimal brain surgeon. The second moments
are taken about the mean, because the bias correction that follows removes the error of the mean.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from openbpu.ptq.factors import BLOCK, inverted_upper, lower_factor, product
from openbpu.ptq.view import attribute, channel_axis

_DAMPING = 0.01  # share of the mean diagonal
_CHANCE = 0.5  # more of it, times columns per row
_POSITIONS = 768  # sampled per feature map
_TOGETHER = 1 << 24  # elements that wait for one another
_EXACT = 1 << 24  # whole numbers up to here are exact in float32
_FEWEST_ROWS = 128  # that float32 is worth it for
_BLOCK = BLOCK  # columns between two updates of all columns behind them
_LARGEST = 6144  # inputs per output: beyond, the covariance would cost more than it brings


def rounded(
    node: onnx.NodeProto, weight: np.ndarray, scale: np.ndarray, inputs: list[np.ndarray], step: float
) -> np.ndarray | None:
    """int8 weights of the shape of `weight` for a Conv, Gemm or MatMul fed with `inputs`; None if it has no such form.

    `scale` is per output channel; the inputs are whole multiples of `step`, or taken for it. The positions that are
    looked at are drawn with a fixed seed.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            if node.op_type == "Conv" and weight.ndim == 4:
                return _rounded_conv(node, weight, scale, inputs, step)
            if node.op_type in ("Gemm", "MatMul") and weight.ndim == 2 and not attribute(node, "transA", 0):
                return _rounded_matrix(node, weight, scale, inputs, step)
    except np.linalg.LinAlgError:
        pass  # inputs of absurd magnitude: nearest rounding stays
    return None


def _rounded_matrix(
    node: onnx.NodeProto, weight: np.ndarray, scale: np.ndarray, inputs: list[np.ndarray], step: float
) -> np.ndarray | None:
    transposed = channel_axis(node) == 0
    rows = weight if transposed else weight.T
    if rows.shape[1] > _LARGEST:
        return None
    moments = Moments(step)
    for x in inputs:
        moments.add(x.reshape(-1, x.shape[-1])[:_POSITIONS])
    q = round_weights(rows, scale, moments.covariance())
    return q if transposed else q.T


def _rounded_conv(
    node: onnx.NodeProto, weight: np.ndarray, scale: np.ndarray, inputs: list[np.ndarray], step: float
) -> np.ndarray | None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    groups, (co, ci, kh, kw) = attributes.get("group", 1), weight.shape
    if ci * kh * kw > _LARGEST:
        return None
    random = np.random.default_rng(0)
    moments = [Moments(step) for _ in range(1 if ci == 1 else groups)]
    for x in inputs:
        found = patches(
            x,
            (kh, kw),
            tuple(attributes.get("strides", (1, 1))),
            tuple(attributes.get("dilations", (1, 1))),
            tuple(attributes.get("pads", (0, 0, 0, 0))),
            random,
        )
        if ci == 1:  # depthwise: one covariance per channel
            moments[0].add(found.reshape(len(found), groups, kh * kw))
            continue
        for group, part in zip(moments, np.split(found, groups, axis=1), strict=True):
            group.add(part.reshape(len(part), ci * kh * kw))
    rows = weight.reshape(co, ci * kh * kw)
    if ci == 1:
        covariance = np.repeat(moments[0].covariance(), co // groups, axis=0)
        return round_weights(rows, scale, covariance).reshape(weight.shape)
    size = co // groups
    blocks = [
        round_weights(rows[g * size : (g + 1) * size], scale[g * size : (g + 1) * size], m.covariance())
        for g, m in enumerate(moments)
    ]
    return np.concatenate(blocks).reshape(weight.shape)


class Moments:
    """Mean and covariance of input patches [rows, k], or of one patch per channel [rows, channels, k].

    The patches are counted in steps of their quantised tensor, about a value in their middle: sums of whole numbers are
    exact, so that no number of threads changes them.
    """

    def __init__(self, step: float) -> None:
        self.rows, self.step = 0, step
        self.total: np.ndarray = np.zeros(())
        self.products: np.ndarray = np.zeros(())
        self._middle: float | None = None
        self._waiting: list[np.ndarray] = []

    def add(self, patches: np.ndarray) -> None:
        """Takes rows in; products are made of many at a time, because each costs a pass over the covariance."""
        steps = patches / np.float32(self.step)  # near enough to whole numbers of 16 bits
        np.rint(steps, out=steps)
        if self._middle is None:
            self._middle = float(np.rint((steps.min(initial=0) + steps.max(initial=0)) / 2))
        steps -= np.float32(self._middle)
        self._waiting.append(steps)
        self.rows += len(patches)
        if sum(x.size for x in self._waiting) >= _TOGETHER:
            self._multiply()

    def _multiply(self) -> None:
        x = np.concatenate(self._waiting)
        self._waiting.clear()
        self.total = self.total + x.sum(axis=0, dtype=np.float64)
        by_channel = x if x.ndim == 2 else x.transpose(1, 0, 2)  # [channels, rows, k]
        largest = float(np.abs(x).max(initial=1.0))
        together = int(_EXACT // largest**2)
        if together < _FEWEST_ROWS:  # int16
            by_channel, together = by_channel.astype(np.float64), x.shape[0]
        for start in range(0, x.shape[0], together):
            rows = by_channel[..., start : start + together, :]
            found = rows.swapaxes(-1, -2) @ rows
            self.products = self.products + found if self.products.ndim else found.astype(np.float64)

    def covariance(self) -> np.ndarray:
        """[k, k] or [channels, k, k], damped so that it can be inverted. Raises LinAlgError if there were no rows."""
        if not self.rows:
            raise np.linalg.LinAlgError("no rows were seen")
        if self._waiting:
            self._multiply()
        mean = self.total / self.rows
        covariance = (self.products / self.rows - mean[..., :, None] * mean[..., None, :]) * self.step**2
        diagonal = np.einsum("...ii->...i", covariance)
        # From few rows a covariance is mostly chance: its diagonal has to count the more.
        share = _DAMPING + _CHANCE * covariance.shape[-1] / self.rows
        damping = np.maximum(share * diagonal.mean(axis=-1), 1e-12)
        return np.asarray(covariance + damping[..., None, None] * np.eye(covariance.shape[-1]))


def round_weights(weight: np.ndarray, scale: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """int8 in [-127, 127] for weights [co, k], scales [co], covariance [k, k] or one per channel [co, k, k].

    Raises numpy.linalg.LinAlgError if the covariance is not finite or not positive definite.
    """
    if not np.isfinite(covariance).all():
        raise np.linalg.LinAlgError("the covariance is not finite")
    # Upper Cholesky factor of the inverse: row i tells how the columns behind i make up for the error of column i. The
    # factor of the covariance itself, taken from its end, is the inverse of that factor.
    upper = inverted_upper(lower_factor(covariance[..., ::-1, ::-1])[..., ::-1, ::-1])
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


def patches(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    random: np.random.Generator,
) -> np.ndarray:
    """Input patches [positions, channels, kh, kw] of some random outputs of a convolution on x [n, c, h, w]."""
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, _, h, w = padded.shape
    out = [(e - d * (k - 1) - 1) // s + 1 for e, k, s, d in zip((h, w), kernel, stride, dilation, strict=True)]
    count = n * out[0] * out[1]
    chosen = np.arange(count) if count <= _POSITIONS else np.sort(random.choice(count, _POSITIONS, replace=False))
    image, position = np.divmod(chosen, out[0] * out[1])
    oy, ox = np.divmod(position, out[1])
    rows = (oy * stride[0])[:, None, None] + (np.arange(kernel[0]) * dilation[0])[None, :, None]
    columns = (ox * stride[1])[:, None, None] + (np.arange(kernel[1]) * dilation[1])[None, None, :]
    return np.asarray(padded[image[:, None, None], :, rows, columns].transpose(0, 3, 1, 2))
