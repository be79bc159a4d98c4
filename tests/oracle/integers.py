"""The three operations that the law is made of: floor shift, clamp, and the check of a promised width."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np

Ints = np.ndarray  # int64 unless said otherwise


def fits(value: Ints, bits: int, what: str) -> Ints:
    """`value` unchanged; OverflowError if one element is no signed integer of that many bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    array = np.asarray(value)
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise OverflowError(f"{what}: [{array.min()}, {array.max()}] does not fit int{bits}")
    return value


def clamp(value: Ints, lo: int, hi: int) -> Ints:
    return np.minimum(np.maximum(value, lo), hi)


def round_half_up(value: float | Fraction) -> int:
    """floor(value + 1/2), exactly: the float is taken as the rational number that it is."""
    return floor(Fraction(value) + Fraction(1, 2))


def round_half_even(value: float | Fraction) -> int:
    return round(Fraction(value))


def int8(value: Ints) -> np.ndarray:
    return fits(value, 8, "result").astype(np.int8)
