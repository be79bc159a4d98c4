"""Where a prepared model loses: layers and weights against float, sensitivity, statistics, and what looks wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from openbpu.analyze.difference import Difference
from openbpu.errors import ConfigError, SampleError
from openbpu.qat.preparing import preparation
from openbpu.qat.quantisers import Quantiser
from openbpu.qat.states import State
from openbpu.qat.switching import call, each, parts, quantisers, sites, state_of, watched
from openbpu.qat.weighted import Weighted


@dataclass(frozen=True)
class Similarity:
    """A tensor in float against the same tensor quantised."""

    name: str
    cosine: float
    sqnr: float  # decibels
    mse: float
    l1: float  # mean absolute difference
    largest: float  # absolute difference
    low: float  # of the float tensor
    high: float


@dataclass(frozen=True)
class Statistics:
    """A tensor in float, and what its quantiser does to it."""

    name: str
    dtype: str
    low: float
    high: float
    mean: float
    deviation: float
    range_low: float
    range_high: float
    clamped: float  # share of elements beyond the range


@dataclass(frozen=True)
class Loss:
    """What quantising one tensor alone costs the outputs; the smallest ratio is the most sensitive."""

    name: str
    part: str  # output or weight
    sqnr: float
    cosine: float


@dataclass(frozen=True)
class Finding:
    """Something that is legal and probably not meant."""

    name: str
    what: str
    remedy: str
    place: str


class _Pairs:
    """Float tensors and their quantised forms over all samples."""

    def __init__(self) -> None:
        self.difference, self.low, self.high = Difference(), 0.0, 0.0

    def add(self, real: Tensor, quantised: Tensor) -> None:
        x, y = real.detach().cpu().numpy(), quantised.detach().cpu().numpy()
        self.difference.add(x, y)
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def similarity(self, name: str) -> Similarity:
        d = self.difference
        return Similarity(name, d.cosine, d.sqnr, d.l2**2, d.l1, d.largest, self.low, self.high)


@contextmanager
def in_state(model: nn.Module, state: State, only: Iterable[nn.Module] | None = None) -> Iterator[None]:
    """The model in another state of inference for a while; `only` these parts are in it, all others in state float."""
    before, training = {part: part.state for part in parts(model)}, model.training
    chosen = None if only is None else set(only)
    model.eval()
    for part in before:
        part.state = state if chosen is None or part in chosen else State.FLOAT
    try:
        with torch.no_grad():
            yield
    finally:
        for part, old in before.items():
            part.state = old
        model.train(training)


def _outputs(result: Any) -> list[Tensor]:
    flat, _ = torch.utils._pytree.tree_flatten(result)
    return [t for t in flat if isinstance(t, Tensor) and t.is_floating_point()]


def needs_calibration(model: nn.Module, samples: Iterable[Any]) -> list[Any]:
    """The samples. Raises ConfigError if the model was not calibrated, SampleError if there is none."""
    preparation(model)
    if not all(bool(q.calibrated) for q in quantisers(model)):
        raise ConfigError("the model must be calibrated", where="model", seen=state_of(model).value)
    found = list(each(samples))
    if not found:
        raise SampleError("at least one sample", where="samples", seen="none")
    return found


def similarity(model: nn.Module, samples: Iterable[Any]) -> list[Similarity]:
    """Every quantised tensor, and at the end every output, of the float model and of the quantised one.

    Errors add up along the network: where a value falls, something is wrong there. Raises ConfigError if the model was
    not calibrated, SampleError if there is no sample.
    """
    found = needs_calibration(model, samples)
    sums: dict[str, _Pairs] = {}
    for sample in found:
        float_tensors, float_outputs = run(model, sample, State.FLOAT)
        tensors, outputs = run(model, sample, State.VALIDATION)
        pairs = {name: (float_tensors[name], tensor) for name, tensor in tensors.items()}
        pairs |= {f"output {i}": pair for i, pair in enumerate(zip(float_outputs, outputs, strict=True))}
        for name, (real, quantised) in pairs.items():
            sums.setdefault(name, _Pairs()).add(real, quantised)
    return [s.similarity(name) for name, s in sums.items()]


def run(model: nn.Module, sample: Any, state: State) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What every site gives in a state, and the outputs of reals."""
    seen: dict[str, Tensor] = {}
    with in_state(model, state), watched(model, lambda name, x: seen.__setitem__(name, x.clone())):
        return seen, _outputs(call(model, sample))


def compare_weights(model: nn.Module) -> list[Similarity]:
    """The weights of every layer, batch normalisation folded, against their fake-quantised form."""
    rows = []
    for layer in _layers(model):
        with torch.no_grad():
            weight, bias = layer.folded()
            quantised, _ = layer.fake_quantised(weight, bias, 0)
        sums = _Pairs()
        sums.add(weight, quantised)
        rows.append(sums.similarity(layer.name))
    return rows


def _layers(model: nn.Module) -> list[Weighted]:
    return [m for m in model.modules() if isinstance(m, Weighted) and m.grid is not None]


def sensitivity(model: nn.Module, samples: Iterable[Any]) -> list[Loss]:
    """What quantising each tensor alone costs the outputs, the most sensitive first; for the template Sensitivity.

    Raises ConfigError if the model was not calibrated, SampleError if there is no sample.
    """
    found = needs_calibration(model, samples)
    with in_state(model, State.FLOAT):
        want = [_outputs(call(model, sample)) for sample in found]

    def loss(only: nn.Module) -> tuple[float, float]:
        sums = _Pairs()
        with in_state(model, State.VALIDATION, [only]):
            for sample, targets in zip(found, want, strict=True):
                for target, result in zip(targets, _outputs(call(model, sample)), strict=True):
                    sums.add(target, result)
        return sums.difference.sqnr, sums.difference.cosine

    by_quantiser = {quantiser: loss(quantiser) for quantiser in quantisers(model)}
    rows = [Loss(name, "output", *by_quantiser[site.quantiser]) for name, site in sites(model).items()]
    rows += [Loss(layer.name, "weight", *loss(layer)) for layer in _layers(model)]
    return sorted(rows, key=lambda row: (row.sqnr, row.name, row.part))


def statistics(model: nn.Module, samples: Iterable[Any]) -> list[Statistics]:
    """Every tensor that is quantised, in float: its values, its range, the share beyond it. Raises as `similarity`."""
    found = needs_calibration(model, samples)
    gathered: dict[str, list[float]] = {}
    found_sites = sites(model)

    def look(name: str, x: Tensor) -> None:
        low, high = _range(found_sites[name].quantiser)
        beyond = float(((x < low) | (x > high)).sum())
        x = x.double()
        new = [float(x.numel()), float(x.min()), float(x.max()), float(x.sum()), float((x * x).sum()), beyond]
        old = gathered.setdefault(name, [0.0, new[1], new[2], 0.0, 0.0, 0.0])
        combine: list[Callable[[float, float], float]] = [_plus, min, max, _plus, _plus, _plus]
        gathered[name] = [c(a, b) for c, a, b in zip(combine, old, new, strict=True)]

    with in_state(model, State.FLOAT), watched(model, look):
        for sample in found:
            call(model, sample)
    rows = []
    for name, (count, low, high, total, squares, beyond) in gathered.items():
        quantiser, mean = found_sites[name].quantiser, total / count
        deviation = max(squares / count - mean**2, 0.0) ** 0.5
        limits = _range(quantiser)
        rows.append(Statistics(name, quantiser.grid.name, low, high, mean, deviation, *limits, beyond / count))
    return rows


def _plus(a: float, b: float) -> float:
    return a + b


def _range(quantiser: Quantiser) -> tuple[float, float]:
    """The reals that a quantiser clamps to, half a step beyond its outermost levels."""
    scale, zero = float(quantiser.positive_scale().detach()), int(quantiser.zero_point)
    return (quantiser.grid.low - zero - 0.5) * scale, (quantiser.grid.high - zero + 0.5) * scale


def findings(model: nn.Module) -> list[Finding]:
    """Shared modules, operators that were not fused, and what stays in float."""
    result = []
    rows = preparation(model).rows
    for row in rows:
        base, _, number = row.name.partition("#")
        if number and any(layer.name == base for layer in _layers(model)):
            result.append(
                Finding(row.name, "the module is called several times with one range for its results",
                        "Config(shared='separate'), or a module per call", row.place)
            )  # fmt: skip
        if "without a layer to join" in row.note:
            result.append(
                Finding(row.name, "this batch normalisation is an operator of its own",
                        "put it behind a convolution or linear layer that nothing else reads", row.place)
            )  # fmt: skip
        if "a table of its own" in row.note:
            result.append(
                Finding(row.name, "this clamp does not join the layer before it", "read its result, not its operand",
                        row.place)
            )  # fmt: skip
        if row.result == "float" and row.operator != "input":
            result.append(
                Finding(row.name, f"{row.operator} runs on the CPU in float", "use an operator of the BPU", row.place)
            )
    for quantiser in quantisers(model):
        observer = quantiser.observer
        if int(observer.count) and float(observer.high) == float(observer.low) == 0.0:
            result.append(Finding(quantiser.name, "it was zero in every sample", "give more typical samples", ""))
    return result
