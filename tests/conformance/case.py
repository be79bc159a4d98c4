"""One instruction with its operands: what every ISA must compute and the oracle defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle import mac, ports, vec, window


def fill(shape: tuple[int, int, int, int], value: int) -> np.ndarray:
    return np.full(shape, value, np.int8)


def copy(x: np.ndarray, perm: tuple[int, int, int, int] = (0, 1, 2, 3)) -> np.ndarray:
    return vec.transpose(x, perm)


ORACLE: dict[str, Callable[..., np.ndarray]] = {
    "CONV2D": mac.conv2d,
    "GCONV2D": mac.conv2d,
    "DWCONV2D": mac.dwconv2d,
    "TCONV2D": mac.tconv2d,
    "MATMUL": mac.matmul,
    "MATMULD": mac.matmuld,
    "ADD": vec.add,
    "SUB": vec.add,
    "MUL": vec.mul,
    "RESCALE": vec.rescale,
    "LUT8": vec.lut8,
    "SOFTMAX": vec.softmax,
    "LAYERNORM": vec.norm,
    "RMSNORM": vec.norm,
    "MAX": vec.extreme,
    "MIN": vec.extreme,
    "CMP": vec.compare,
    "SELECT": vec.select,
    "DIV": vec.divide,
    "REDUCE": vec.reduce,
    "ARGMAX": vec.argmax,
    "GATHER": vec.gather,
    "MAXPOOL": window.maxpool,
    "AVGPOOL": window.avgpool,
    "RESIZE_NN": window.resize_nearest,
    "RESIZE_BILIN": window.resize_bilinear,
    "COPY": copy,
    "FILL": fill,
    "LOAD": copy,
    "STORE": copy,
    "QUANTIZE": ports.quantise8,
    "DEQUANTIZE": ports.dequantise,
}


@dataclass(frozen=True)
class Case:
    """An instruction: mnemonic, arrays [n, h, w, c], and the keyword arguments of its oracle function."""

    name: str
    op: str
    inputs: tuple[np.ndarray, ...]
    params: Mapping[str, Any] = field(default_factory=dict)

    def expected(self) -> np.ndarray:
        return ORACLE[self.op](*self.inputs, **self.params)

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"


def tensor(values: Any, *shape: int) -> np.ndarray:
    """int8 [n, h, w, c]; without a shape one row of channels."""
    return np.array(values, np.int8).reshape(shape or (1, 1, 1, -1))
