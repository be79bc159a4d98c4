"""Element-wise real functions of ONNX, in float64: what a table is made of."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
_erf = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0, x))


def _gelu(approximate: str) -> Function:
    if approximate == "tanh":
        return lambda x: x * 0.5 * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return lambda x: x * 0.5 * (1 + _erf(x / sqrt(2)))


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _stepwise(function: Function) -> Function:
    """At a step it matters that a dequantised value is a float32."""
    return lambda x: function(x.astype(np.float32)).astype(np.float64)


def _hard_sigmoid(alpha: float, beta: float) -> Function:
    return lambda x: np.clip(alpha * x + beta, 0, 1)


# operator -> (attribute defaults, function of the attributes)
_BY_ATTRIBUTES: dict[str, tuple[dict[str, Any], Callable[..., Function]]] = {
    "LeakyRelu": ({"alpha": 0.01}, lambda alpha: lambda x: np.where(x < 0, alpha * x, x)),
    "HardSigmoid": ({"alpha": 0.2, "beta": 0.5}, _hard_sigmoid),
    "Elu": ({"alpha": 1.0}, lambda alpha: lambda x: _elu(x, alpha)),
    "Celu": ({"alpha": 1.0}, lambda alpha: lambda x: np.maximum(x, 0) + _elu(np.minimum(x, 0) / alpha, alpha)),
    "Selu": (
        {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323},
        lambda alpha, gamma: lambda x: gamma * _elu(x, alpha),
    ),
    "ThresholdedRelu": ({"alpha": 1.0}, lambda alpha: lambda x: np.where(x > alpha, x, 0)),
    "Gelu": ({"approximate": "none"}, _gelu),
    "Swish": ({"alpha": 1.0}, lambda alpha: lambda x: x * _sigmoid(alpha * x)),
    "Shrink": (
        {"lambd": 0.5, "bias": 0.0},
        lambda lambd, bias: lambda x: np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)),
    ),
}

_PLAIN: dict[str, Function] = {
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Abs": np.abs,
    "Neg": np.negative,
    "Floor": _stepwise(np.floor),
    "Ceil": _stepwise(np.ceil),
    "Round": _stepwise(np.rint),
    "Sign": np.sign,
    "Sin": np.sin,
    "Cos": np.cos,
    "Erf": _erf,
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "Cosh": np.cosh,
    "Sinh": np.sinh,
    "Tan": np.tan,
}

NAMES = (*_PLAIN, *_BY_ATTRIBUTES)


def function(op: str, attributes: dict[str, Any]) -> Function:
    """The function that operator `op` applies to each element."""
    if op in _PLAIN:
        return _PLAIN[op]
    defaults, make = _BY_ATTRIBUTES[op]
    return make(**{name: attributes.get(name, default) for name, default in defaults.items()})
