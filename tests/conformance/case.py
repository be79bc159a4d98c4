"""One instruction with its operands: what every ISA must compute and the oracle defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle import camera, int16, mac, ports, vec, window


def fill(shape: tuple[int, int, int, int], value: int) -> np.ndarray:
    return np.full(shape, value, np.int8)


def fill16(shape: tuple[int, int, int, int], value: int) -> np.ndarray:
    return np.full(shape, value, np.int16)


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
    "GRIDSAMPLE": window.grid_sample,
    "CSC": camera.csc,
    "ROIRESIZE": camera.roi_resize,
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
    "CONV2D/16": int16.conv2d,
    "GCONV2D/16": int16.conv2d,
    "DWCONV2D/16": int16.dwconv2d,
    "TCONV2D/16": int16.tconv2d,
    "MATMUL/16": int16.matmul,
    "MATMULD/16": int16.matmuld,
    "ADD/16": int16.add,
    "SUB/16": int16.add,
    "MUL/16": int16.mul,
    "RESCALE/16": int16.rescale,
    "LUT16": vec.lut16,
    "SOFTMAX/16": int16.softmax,
    "LAYERNORM/16": int16.norm,
    "RMSNORM/16": int16.norm,
    "MAXPOOL/16": int16.maxpool,
    "AVGPOOL/16": int16.avgpool,
    "RESIZE_NN/16": window.resize_nearest,
    "RESIZE_BILIN/16": int16.resize_bilinear,
    "GATHER/16": vec.gather,
    "COPY/16": copy,
    "FILL/16": fill16,
    "QUANTIZE/16": ports.quantise16,
    "DEQUANTIZE/16": ports.dequantise,
}


def mnemonic(op: str) -> str:
    """The instruction of a case: the 16-bit forms of one have names of their own."""
    return op.partition("/")[0]


@dataclass(frozen=True)
class Case:
    """An instruction: key of ORACLE, arrays [n, h, w, c], and the keyword arguments of its oracle function."""

    name: str
    op: str
    inputs: tuple[np.ndarray, ...]
    params: Mapping[str, Any] = field(default_factory=dict)

    def expected(self) -> np.ndarray:
        return ORACLE[self.op](*self.inputs, **self.params)

    def __str__(self) -> str:
        return f"{self.op.replace('/', '_')}-{self.name}"


def tensor(values: Any, *shape: int) -> np.ndarray:
    """int8 [n, h, w, c]; without a shape one row of channels."""
    return np.array(values, np.int8).reshape(shape or (1, 1, 1, -1))
