"""Means and covariances of the inputs of a layer, and of what they lack beside those of the float model.

Both are counted in whole numbers: sums of these are exact, so that neither the order of samples nor the number of
threads changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openbpu.ptq.factors import add_whole_product
from openbpu.ptq.patches import Layout

_TOGETHER = 1 << 24  # elements that wait for one another
_ROWS = 512  # of a covariance at a time
_DIFFERENCES = 127  # the largest whole number that a difference becomes
_FINEST = 8  # units of differences in a step


@dataclass(frozen=True)
class Grid:
    """Inputs are counted in steps of their quantised tensor about a middle of whole steps, differences in units."""

    step: float
    middle: float = 0.0
    unit: float = 1.0


def grid_of(step: float, inputs: Sequence[np.ndarray], floats: Sequence[np.ndarray] | None = None) -> Grid:
    """The grid for inputs of this step, and for what they lack beside `floats`."""
    low, high = (
        float(np.rint(limit([limit(x) for x in inputs if x.size] or [0]) / step)) for limit in (np.min, np.max)
    )
    reach = 0.0
    if floats is not None:
        reach = max(float(np.abs(f - x).max(initial=0)) for x, f in zip(inputs, floats, strict=True))
    return Grid(step, float(np.rint((low + high) / 2)), max(reach / _DIFFERENCES, step / _FINEST))


def gathered(
    found: Layout,
    grid: Grid,
    inputs: Sequence[np.ndarray],
    floats: Sequence[np.ndarray] | None = None,
    into: Moments | None = None,
) -> Moments:
    """The moments of a layer's inputs, by sample, and of what they lack beside `floats`; `into` moments of others."""
    moments, positions = into or Moments(grid), found.positions(len(inputs))
    if floats is None:
        for rows in found.rows(inputs, positions):
            moments.add(rows)
    else:
        lacking = (f - x for x, f in zip(inputs, floats, strict=True))
        for rows, differences in zip(found.rows(inputs, positions), found.rows(lacking, positions), strict=True):
            moments.add(rows, differences)
    moments.multiply()  # here, where the other half of the samples may be gathered at the same time
    return moments


class Moments:
    """Of rows [positions, groups, k] of inputs x and, if they are given, of differences d."""

    def __init__(self, grid: Grid) -> None:
        self.grid, self.rows = grid, 0
        self._x = self._d = self._xx = self._dx = np.zeros(())
        self._waiting: list[tuple[np.ndarray, ...]] = []

    def add(self, x: np.ndarray, d: np.ndarray | None = None) -> None:
        """Takes rows in; products are made of many at a time, because each costs a pass over its result."""
        steps = x / np.float32(self.grid.step)  # near enough to whole numbers of 16 bits
        np.rint(steps, out=steps)
        steps -= np.float32(self.grid.middle)
        self._waiting.append((steps,) if d is None else (steps, np.rint(d / np.float32(self.grid.unit))))
        self.rows += len(x)
        if sum(part[0].size for part in self._waiting) >= _TOGETHER:
            self.multiply()

    def __add__(self, other: Moments) -> Moments:
        """Those of the rows of both, of the same grid."""
        both = Moments(self.grid)
        for part in (self, other):
            part.multiply()
            both.rows += part.rows
        both._x, both._xx = self._x + other._x, self._xx + other._xx
        both._d, both._dx = self._d + other._d, self._dx + other._dx
        return both

    def forget(self) -> None:
        """Gives the sums back: those of 6144 inputs have 300 MB."""
        self._x = self._d = self._xx = self._dx = np.zeros(())

    def inputs(self, about_mean: bool = True, last: bool = False) -> np.ndarray:
        """The mean of x x^T [groups, k, k], about the mean of x or about 0. Raises LinAlgError without rows.

        With `last` it is made in the place of the sums, which are gone then.
        """
        self.multiply()
        middle = self.grid.middle * np.ones(self._x.shape)
        place = self._xx if last else np.empty_like(self._xx)
        covariance = self._covariance(self._x, self._xx, None if about_mean else middle, place)
        covariance *= self.grid.step**2
        if last:
            self.forget()
        return covariance

    def differences(self, about_mean: bool = True) -> np.ndarray:
        """The mean of d x^T [groups, k, k], about their means or about 0. Raises LinAlgError without rows."""
        self.multiply()
        middle = np.zeros(self._d.shape)
        covariance = self._covariance(self._d, self._dx, None if about_mean else middle, np.empty_like(self._dx))
        covariance *= self.grid.unit * self.grid.step
        return covariance

    def _covariance(self, y: np.ndarray, yx: np.ndarray, middle: np.ndarray | None, place: np.ndarray) -> np.ndarray:
        """Of y and x about their means, into `place`; with the `middle` about which y was counted, about 0."""
        if not self.rows:
            raise np.linalg.LinAlgError("no rows were seen")
        mean, x = y / self.rows, self._x / self.rows
        np.divide(yx, self.rows, out=place)
        for start in range(0, place.shape[-2], _ROWS):  # what is taken away has as many elements
            some = slice(start, start + _ROWS)
            place[..., some, :] -= mean[..., some, None] * x[..., None, :]
            if middle is not None:
                place[..., some, :] += (mean + middle)[..., some, None] * (x + self.grid.middle)[..., None, :]
        return place

    def multiply(self) -> None:
        """Makes the products of the rows that wait."""
        if not self._waiting:
            return
        x, *others = (np.concatenate(part).swapaxes(0, 1) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        if not self._x.ndim:
            k = x.shape[-1]
            square = (*x.shape[:-2], k, k)
            self._x, self._xx = np.zeros(square[:-1]), np.zeros(square)
            if others:
                self._d, self._dx = np.zeros(square[:-1]), np.zeros(square)
        self._x += x.sum(axis=-2, dtype=np.float64)
        add_whole_product(self._xx, x, x)
        for d in others:
            self._d += d.sum(axis=-2, dtype=np.float64)
            add_whole_product(self._dx, d, x)
