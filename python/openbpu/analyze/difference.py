"""Sums over samples that tell how far a quantised tensor is from the float one, and why; memory does not grow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from openbpu.ir.quant import QuantParams

BINS = 128


@dataclass
class Difference:
    """Of a tensor: float values against those of the quantised model, over all samples added so far."""

    elements: int = 0
    signal: float = 0.0  # sums of squares and products
    noise: float = 0.0
    product: float = 0.0
    quantised: float = 0.0
    absolute: float = 0.0
    magnitude: float = 0.0
    largest: float = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Adds the float values `x` and the quantised model's `y` of one sample."""
        a, b = (np.asarray(v, np.float64).ravel() for v in (x, y))
        error = b - a
        self.elements += a.size
        self.signal += float(a @ a)
        self.noise += float(error @ error)
        self.product += float(a @ b)
        self.quantised += float(b @ b)
        if a.size:
            self.absolute += float(np.abs(error).sum())
            self.magnitude += float(np.abs(a).sum())
            self.largest = float(np.maximum(self.largest, np.abs(error).max()))  # of NaN and a number it is NaN

    @property
    def sqnr(self) -> float:
        """Signal over noise in dB; inf without noise."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between float and quantised values; 1 if they are equal, 0 if any is not finite."""
        if not np.isfinite(self.signal + self.quantised):
            return 0.0
        if self.noise == 0:
            return 1.0
        length = np.sqrt(self.signal) * np.sqrt(self.quantised)
        return float(self.product / length) if length > 0 else float(self.signal == self.quantised)

    @property
    def l1(self) -> float:
        """Mean absolute error."""
        return self.absolute / max(self.elements, 1)

    @property
    def relative(self) -> float:
        """Sum of the absolute errors over that of the float values."""
        return self.absolute / self.magnitude if self.magnitude > 0 else float(self.absolute > 0)

    @property
    def l2(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(self.noise / max(self.elements, 1)))


@dataclass
class OwnError:
    """What quantising the float tensor itself costs: values beyond the range clamp, the others are rounded."""

    quant: QuantParams
    clamp: float = 0.0  # sums of squared errors
    rounding: float = 0.0
    clamped: int = 0
    elements: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    quantised: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    low: float = 0.0  # extremes, 0 included
    high: float = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Adds the float values of one sample, and the quantised model's, of which a histogram is made alone."""
        a = np.asarray(x, np.float64).ravel()
        level = np.rint(a / self.quant.s) + self.quant.z
        inside = (level >= self.quant.qmin) & (level <= self.quant.qmax)
        error = (np.clip(level, self.quant.qmin, self.quant.qmax) - self.quant.z) * self.quant.s - a
        self.rounding += float(error[inside] @ error[inside])
        self.clamp += float(error[~inside] @ error[~inside])
        self.clamped += int(a.size - np.count_nonzero(inside))
        self.elements += a.size
        if a.size:
            self.low, self.high = min(self.low, float(a.min())), max(self.high, float(a.max()))
            self.counts += np.histogram(a, BINS, self.span)[0]
            self.quantised += np.histogram(y, BINS, self.span)[0]

    @property
    def span(self) -> tuple[float, float]:
        """Limits of the histogram: the quantised range and half of it again on both sides."""
        low, high = self.range
        return low - 0.25 * (high - low), high + 0.25 * (high - low)

    @property
    def range(self) -> tuple[float, float]:
        """The reals that the parameters can hold."""
        return (self.quant.qmin - self.quant.z) * self.quant.s, (self.quant.qmax - self.quant.z) * self.quant.s


class ChannelBoxes:
    """Extremes and quartiles per channel: of all values the extremes, of some of the first samples the quartiles."""

    _SAMPLES, _VALUES, _CHANNELS = 4, 1024, 256

    def __init__(self) -> None:
        self._count = 0
        self._low = self._high = np.zeros(0)
        self._quartiles: np.ndarray = np.zeros((3, 0))

    def add(self, x: np.ndarray, axis: int | None = None) -> None:
        """Adds one sample; channels are axis 1 of images [1, c, h, w], else the last one, unless `axis` says so."""
        if x.size == 0 or x.ndim == 0:
            return
        along = axis if axis is not None else (1 if x.ndim == 4 else -1)
        rows = np.moveaxis(np.asarray(x, np.float32), along, 0).reshape(x.shape[along], -1)
        rows = rows[:: -(-len(rows) // self._CHANNELS)]
        low, high = rows.min(1), rows.max(1)
        first = self._count == 0
        self._low, self._high = (low, high) if first else (np.minimum(self._low, low), np.maximum(self._high, high))
        if self._count < self._SAMPLES:
            some = rows[:, :: -(-rows.shape[1] // self._VALUES)]
            found = np.quantile(some, (0.25, 0.5, 0.75), axis=1)
            self._quartiles = found if first else (self._quartiles * self._count + found) / (self._count + 1)
            self._count += 1

    def rows(self) -> list[dict[str, float]]:
        """One dict per channel: min, q1, median, q3, max."""
        keys = ("min", "q1", "median", "q3", "max")
        table = np.stack([self._low, *self._quartiles, self._high], axis=1)
        return [dict(zip(keys, map(float, row), strict=True)) for row in table]


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); inf without noise, -inf without signal or with noise that is not finite."""
    if noise <= 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 and np.isfinite(noise) else float("-inf")
