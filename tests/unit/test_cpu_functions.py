"""Float functions of the CPU operators: distance from float64 in units of the last place, special values, every ISA."""

from __future__ import annotations

import numpy as np
import pytest

from cpu_operators import one_node
from openbpu import _native
from openbpu.target import ProgramBuilder

_SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1e-40, -1e-40, 1e38, -1e38, np.inf, -np.inf, np.nan])


def _program(op: str, shape: tuple[int, ...], inputs: int, kind: str, result: str, **attributes: int) -> bytes:
    builder = ProgramBuilder("net")
    operands = [builder.tensor("in", shape, kind, port=builder.input(f"x{k}", shape, kind)) for k in range(inputs)]
    out = builder.tensor("out", shape, result, port=builder.output("y", shape, result))
    builder.cpucall(op, operands, [out], attributes)
    return builder.finish(0)


def _everywhere(op: str, *arrays: np.ndarray, result: str = "float32", **attributes: int) -> np.ndarray:
    """The result for float32, which must be the same on every ISA; not-a-number may have any sign."""
    data = _program(op, arrays[0].shape, len(arrays), "float32", result, **attributes)
    feeds = {f"x{k}": x for k, x in enumerate(arrays)}
    seen = [one_node.run(data, feeds, isa, 1)[0] for isa in _native.available_isas()]
    for other in seen[1:]:
        np.testing.assert_array_equal(
            seen[0].view(f"u{seen[0].itemsize}")[seen[0] == seen[0]],
            other.view(f"u{other.itemsize}")[seen[0] == seen[0]],
        )
        np.testing.assert_array_equal(np.isnan(seen[0]), np.isnan(other))
    return seen[0]


def _exact(op: str, *arrays: np.ndarray) -> np.ndarray:
    """In float64, by the host's library."""
    data = _program(op, arrays[0].shape, len(arrays), "float64", "float64")
    return one_node.run(data, {f"x{k}": x.astype(np.float64) for k, x in enumerate(arrays)})[0]


def _units(seen: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance in units of the last place of the float32 next to the exact value, where both are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(seen), np.isnan(rounded))
        finite = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(np.float32).tiny)
        rest = ~finite & ~np.isnan(rounded)
        np.testing.assert_allclose(seen[rest], rounded[rest], rtol=0, atol=2e-45)
        return float((np.abs(seen[finite] - exact[finite]) / np.spacing(np.abs(rounded[finite])).astype(float)).max())


_LINE = np.concatenate([np.linspace(-12, 12, 60001), np.logspace(-30, 30, 4001), -np.logspace(-30, 30, 4001)])
_ANGLES = np.concatenate(
    [_LINE[np.abs(_LINE) < 1e5], np.linspace(-131072, 131072, 60001), np.arange(1, 4000) * np.pi / 2]
)
# Where the function is defined, and what it may be off by: measured (docs/cpu-operators.md), rounded up to half a unit.
_FUNCTIONS = {
    "Exp": (np.linspace(-103, 88.5, 60001), 1.0),
    "Log": (np.abs(_LINE) + 1e-38, 1.0),
    "Sin": (_ANGLES, 1.5),
    "Cos": (_ANGLES, 1.5),
    "Tan": (_ANGLES, 3.5),
    "Asin": (np.linspace(-1, 1, 60001), 2.5),
    "Acos": (np.linspace(-1, 1, 60001), 1.5),
    "Atan": (_LINE, 2.0),
    "Sinh": (np.linspace(-89.4, 89.4, 60001), 3.5),
    "Cosh": (np.linspace(-89.4, 89.4, 60001), 3.0),
    "Asinh": (_LINE, 3.0),
    "Acosh": (np.abs(_LINE) + 1, 3.0),
    "Atanh": (np.linspace(-1, 1, 60003)[1:-1], 3.0),
}


@pytest.mark.parametrize("op", _FUNCTIONS)
def test_functions_in_units_of_the_last_place(op: str) -> None:
    values, most = _FUNCTIONS[op]
    x = values.astype(np.float32)
    units = _units(_everywhere(op, x), _exact(op, x))
    assert units <= most


@pytest.mark.parametrize("op", [*_FUNCTIONS, "Sign"])
def test_special_values(op: str) -> None:
    x = _SPECIAL.astype(np.float32)
    seen, exact = _everywhere(op, x), _exact(op, x)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(seen, exact.astype(np.float32), rtol=5e-7, atol=2e-45)
    zeros = (seen == 0) & (exact == 0)
    np.testing.assert_array_equal(np.signbit(seen[zeros]), np.signbit(exact[zeros]))


def test_angles_beyond_the_reduction_go_through_the_library() -> None:
    x = np.array([1e6, -3e7, 131073, 1e30, 2.0, -131072], np.float32)
    for op in ("Sin", "Cos", "Tan"):
        assert _units(_everywhere(op, x), _exact(op, x)) <= 3.5


def test_powers() -> None:
    random = np.random.default_rng(3)
    base = np.exp(random.uniform(-80, 80, 60000)).astype(np.float32)
    exponent = (random.uniform(-80, 80, 60000) / np.maximum(np.abs(np.log(base)), 1)).astype(np.float32)
    near = (1 + random.uniform(-1e-3, 1e-3, 20000)).astype(np.float32)
    far = random.uniform(-60000, 60000, 20000).astype(np.float32)
    for x, y in ((base, exponent), (near, far)):
        assert _units(_everywhere("Pow", x, y), _exact("Pow", x, y)) <= 1.5


def test_special_powers() -> None:
    x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(_SPECIAL, _SPECIAL))
    seen, exact = _everywhere("Pow", x, y), _exact("Pow", x, y)
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_allclose(seen, exact.astype(np.float32), rtol=5e-7, atol=2e-45)
    zeros = (seen == 0) & (exact == 0)
    np.testing.assert_array_equal(np.signbit(seen[zeros]), np.signbit(exact[zeros]))


def test_remainders_are_exact() -> None:
    random = np.random.default_rng(4)
    a = (random.standard_normal(60000) * np.exp(random.uniform(-20, 20, 60000))).astype(np.float32)
    b = (random.standard_normal(60000) * np.exp(random.uniform(-20, 20, 60000))).astype(np.float32)
    grid = [v.ravel().astype(np.float32) for v in np.meshgrid(_SPECIAL, _SPECIAL)]
    with np.errstate(invalid="ignore"):
        for x, y in ((a, b), (a, np.round(b)), (np.round(a), np.full_like(a, 3)), grid):
            np.testing.assert_array_equal(_everywhere("Mod", x, y, fmod=1), np.fmod(x, y))


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons(op: str) -> None:
    x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(_SPECIAL, _SPECIAL))
    name = {"GreaterOrEqual": "greater_equal", "LessOrEqual": "less_equal"}.get(op, op.lower())
    np.testing.assert_array_equal(_everywhere(op, x, y, result="bool"), getattr(np, name)(x, y))


@pytest.mark.parametrize("positive, negative", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_infinities(positive: int, negative: int) -> None:
    x = np.tile(_SPECIAL, 40).astype(np.float32)
    seen = _everywhere("IsInf", x, result="bool", detect_positive=positive, detect_negative=negative)
    np.testing.assert_array_equal(seen, np.isposinf(x) * positive + np.isneginf(x) * negative > 0)
    np.testing.assert_array_equal(_everywhere("IsNaN", x, result="bool"), np.isnan(x))
