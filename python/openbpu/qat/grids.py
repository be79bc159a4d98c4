"""The integer grids that tensors are quantised to, and from a range of reals to scale and zero point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openbpu.errors import ConfigError

_SMALLEST_SCALE = 2.0**-64
_SCALE_OF_ZERO = 2.0**-8  # of a tensor that was always zero


@dataclass(frozen=True)
class Grid:
    """Integers low .. high, stored in `storage`."""

    name: str
    low: int
    high: int
    storage: torch.dtype


_ACTIVATIONS = {
    "int8": Grid("int8", -128, 127, torch.int8),
    "int16": Grid("int16", -32768, 32767, torch.int16),
}
# Symmetric, so that no weight needs -128. Fewer bits than 8 are held in int8.
_WEIGHTS = {
    f"int{bits}": Grid(f"int{bits}", 1 - (1 << bits - 1), (1 << bits - 1) - 1, torch.int8) for bits in range(2, 9)
}
ACTIVATION_TYPES = (*_ACTIVATIONS, "float")
WEIGHT_TYPES = (*_WEIGHTS, "float")


def activation_grid(dtype: str) -> Grid:
    return _found(_ACTIVATIONS, dtype, "activations")


def weight_grid(dtype: str) -> Grid:
    return _found(_WEIGHTS, dtype, "weights")


def _found(grids: dict[str, Grid], dtype: str, what: str) -> Grid:
    if dtype not in grids:
        raise ConfigError(f"{what} are one of {', '.join(grids)}, or float", where="config", seen=dtype)
    return grids[dtype]


def parameters(low: Tensor, high: Tensor, grid: Grid, symmetric: bool) -> tuple[Tensor, Tensor]:
    """float32 scale and int32 zero point for the reals low .. high, extended to 0; 0 is a level of the grid.

    The same numbers as `openbpu.ptq` chooses for a range of an int8 tensor.
    """
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)
    steps = grid.high - grid.low
    scale = torch.maximum(-low / -grid.low, high / grid.high) if symmetric else (high - low) / steps
    scale = torch.where(scale == 0, _SCALE_OF_ZERO, scale.clamp(min=_SMALLEST_SCALE))
    zero = torch.zeros_like(scale) if symmetric else (grid.low - low / scale).round().clamp(grid.low, grid.high)
    return scale.float(), zero.to(torch.int32)
