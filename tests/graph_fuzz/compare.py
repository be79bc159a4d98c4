"""A random model through the whole compiler, in float on the CPU, against what the graph knows of its tensors."""

from __future__ import annotations

import numpy as np
import onnx.printer

from graph_fuzz.graph import Graph, Tensor
from graph_fuzz.reference import Unsupported, node_runner
from openbpu.backend import OpenBpuBackend

# Sums of some hundred float32 products in another order; halves have 11 bits.
_TOLERANCE = {"float32": 2e-5, "float64": 2e-5, "float16": 4e-3}
_DISTURBANCE = 1e-6  # relative, of the inputs: some units in the last place
_ULPS = 2  # of the largest of a result, by which what is rounded is disturbed
_MANY_ULPS = {"DFT": 8, "STFT": 8}  # ONNX Runtime's go through a longer transform
_WINDOWS = ("HannWindow", "HammingWindow", "BlackmanWindow")  # their zeros are differences of rounded numbers
_AMPLIFIED = 30  # times what the reference itself moves when its inputs are disturbed


def compare(g: Graph) -> None:
    """Asserts that every output of the compiled model is that of the reference.

    Where rounding errors decide (a floor at an integer, the larger of two almost equal values), results may differ as
    much as those of the reference do when its inputs, and what its nodes round, are disturbed.
    """
    model = g.model()
    names = [info.name for info in model.graph.output]
    results = dict(zip(names, OpenBpuBackend.prepare(model).run(g.feeds), strict=True))
    wanted = {t.name: t for t in (*g.made, *g.padded, *g.rounded)}
    rounded = {t.name for t in g.rounded}
    wrong = [name for name in names if not _agree(results[name], wanted[name].value, name in rounded)]
    if not wrong:
        return
    disturbed = [_disturbed(g, seed) for seed in range(8)]
    for name in wrong:
        assert _within(results[name], wanted[name], [values.get(name) for values in disturbed]), (
            f"{name} differs\n{results[name]}\nwanted\n{wanted[name].value}\n{onnx.printer.to_text(model)}"
        )


def _agree(got: np.ndarray, wanted: np.ndarray, rounded: bool) -> bool:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f":
        return bool((_distance(got, wanted) <= rounded).all())
    return bool((_distance(got, wanted) <= _allowed(wanted)).all())


def _allowed(wanted: np.ndarray) -> np.ndarray:
    relative = _TOLERANCE[wanted.dtype.name]
    size = np.abs(wanted.astype(np.float64))
    return relative * (size + max(1.0, float(size.max(initial=0))))


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(np.float64) - b.astype(np.float64))


def _within(got: np.ndarray, wanted: Tensor, others: list[np.ndarray | None]) -> bool:
    """Whether a result is as near as the disturbed ones are."""
    if got.dtype != wanted.value.dtype:
        return False
    moved = [other for other in others if other is not None and other.shape == got.shape]
    if got.shape != wanted.shape:  # the extent depends on the data
        return bool(moved)
    # What leaves the domain of a function, as an arc sine's does near 1, says nothing.
    spread = np.max([np.nan_to_num(_distance(other, wanted.value)) for other in moved], axis=0) if moved else 0
    base = _allowed(wanted.value) if wanted.value.dtype.kind == "f" else 0
    return bool((_distance(got, wanted.value) <= base + _AMPLIFIED * spread).all())


def _disturbed(g: Graph, seed: int) -> dict[str, np.ndarray]:
    """All tensors for inputs and weights that differ a little."""
    random = np.random.default_rng(seed)
    values = {t.name: t.value for t in g.constants}
    for t in (*g.inputs, *(t for t in g.constants if t.name in g.disturbable)):
        noise = 1 + _DISTURBANCE * random.standard_normal(t.shape)
        values[t.name] = (t.value * noise).astype(t.value.dtype) if t.value.dtype.kind == "f" else t.value
    for node in g.nodes:
        operands = [values[name] if name else None for name in node.input]
        try:
            results = node_runner(node, g.opset)(operands)
        except Unsupported:  # branches of If read from outside; what follows from them is unknown
            break
        known = [np.abs(t).ravel() for t in operands if t is not None and t.dtype.kind == "f"]
        pairs = zip(node.output, results, strict=True)
        values.update((name, _rounded(t, node.op_type, known, random)) for name, t in pairs)
    return values


def _rounded(value: np.ndarray, op: str, known: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """A result as another order of its sums may round it; unchanged if it holds only whole numbers or operands'."""
    if value.dtype.kind != "f":
        return value
    if op not in _WINDOWS:
        if bool((value == np.rint(value)).all()):
            return value
        if bool(np.isin(np.abs(value), np.concatenate([np.zeros(1, value.dtype), *known])).all()):
            return value
    most = max(1.0, float(np.abs(value).max())) if op in _WINDOWS else float(np.abs(value).max())
    step = _MANY_ULPS.get(op, _ULPS) * float(np.finfo(value.dtype).eps) * most
    # Within the values seen: beyond its bound, ONNX Runtime's arc sine makes its whole vector not-a-number.
    moved = np.clip(value + step * random.standard_normal(value.shape), value.min(), value.max())
    zero = (np.abs(value) <= step) & (random.random(value.shape) < 0.5)  # another order may give just that
    return np.where(zero, 0, moved).astype(value.dtype)
