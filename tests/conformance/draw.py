"""Random operands for cases: every draw is a function of the case's name and OPENBPU_SEED."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import numpy as np

from oracle import derive
from oracle.derive import Infeasible

SEED = int(os.environ.get("OPENBPU_SEED", "0"))  # other seeds give other cases; failures name theirs
EXTREMES = np.array([-128, -127, -1, 0, 1, 126, 127], np.int8)
CHANNELS = (1, 2, 3, 4, 5, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 70)
ZEROS = (-128, -127, -7, 0, 1, 90, 127)


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def pick(rng: np.random.Generator, options: Sequence[int]) -> int:
    return int(options[rng.integers(len(options))])


def scale(rng: np.random.Generator, low: float = 0.002, high: float = 0.2) -> float:
    """A float32 scale, log-uniform."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def activations(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """int8, mostly uniform; sometimes extremes only, or one constant, so that sums and ties reach their borders."""
    kind = rng.integers(8)
    if kind == 0:
        return rng.choice(EXTREMES, tuple(shape))
    if kind == 1:
        return np.full(tuple(shape), pick(rng, (-128, 127)), np.int8)
    return rng.integers(-128, 128, tuple(shape)).astype(np.int8)


def weights(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """int8, symmetric like our quantiser's, or with -128, or extremes only; now and then an all-zero channel."""
    kind = rng.integers(6)
    if kind == 0:
        out = rng.choice(np.array([-128, -127, 127], np.int8), tuple(shape))
    elif kind == 1:
        out = rng.integers(-128, 128, tuple(shape)).astype(np.int8)
    else:
        out = np.clip(rng.normal(0, 45, tuple(shape)).round(), -127, 127).astype(np.int8)
    if rng.integers(4) == 0:
        out[rng.integers(shape[0])] = 0
    return out


def requantisation(rng: np.random.Generator, weight: np.ndarray, zx: int) -> derive.Rq8:
    """RQ8 for [channels, ...] weights whose outputs use the int8 range; sometimes clamps, or scales with L > 0."""
    channels, k = weight.shape[0], weight[0].size
    clamped = rng.integers(4) == 0
    lo, hi = sorted(rng.integers(-128, 128, 2).tolist()) if clamped else (-128, 127)
    for _ in range(100):
        sx, zp = scale(rng), pick(rng, ZEROS)
        sw = [scale(rng, 0.001, 0.03) for _ in range(channels)]
        spread = sx * float(np.mean(sw)) * 75 * 45 * np.sqrt(k)
        sy = float(np.float32(spread / rng.choice([0.5, 30, 60, 60, 60, 200, 4000])))
        bias = rng.integers(-60 * k, 60 * k + 1, channels) * pick(rng, (0, 1, 30))
        try:
            return derive.rq8(sx, sw, sy, zx, zp, weight, bias.tolist(), lo, hi)
        except Infeasible:
            continue
    raise AssertionError("no feasible scales in 100 draws")
