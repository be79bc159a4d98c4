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
            self.largest = max(self.largest, float(np.abs(error).max()))

    @property
    def sqnr(self) -> float:
        """Signal over noise in dB; inf without noise."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between all float and all quantised values; 1 if both are zero."""
        length = np.sqrt(self.signal * self.quantised)
        return float(self.product / length) if length > 0 else float(self.signal == self.quantised)

    @property
    def l1(self) -> float:
        """Mean absolute error."""
        return self.absolute / max(self.elements, 1)

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
    low: float = 0.0  # extremes, 0 included
    high: float = 0.0

    def add(self, x: np.ndarray) -> None:
        """Adds the float values of one sample."""
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

    @property
    def span(self) -> tuple[float, float]:
        """Limits of the histogram: the quantised range and half of it again on both sides."""
        low, high = self.range
        return low - 0.25 * (high - low), high + 0.25 * (high - low)

    @property
    def range(self) -> tuple[float, float]:
        """The reals that the parameters can hold."""
        return (self.quant.qmin - self.quant.z) * self.quant.s, (self.quant.qmax - self.quant.z) * self.quant.s


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); inf without noise, -inf without signal."""
    if noise <= 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")
