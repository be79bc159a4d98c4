"""What each operator's quantised inputs do to the outputs: one error at a time, followed only where it leads.

The float model runs once per sample, all its tensors are kept; then the inputs of one operator after the other are
quantised, everything behind that operator is computed anew, and the change of each output is kept as a vector. What the
quantiser's correction of biases removes, the mean per channel of a weighted result, is taken off first. Errors of small
size add up as vectors do, so the inner products of these vectors (`Errors`) predict the outputs of any mixture of types
without another run. Products of different errors that differ between the samples by more than they are, are chance, and
shrink. Vectors longer than _WIDTH are folded with random signs, which keeps inner products (count sketch,
Charikar et al. 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import onnx

from openbpu.analyze.anatomy import BLENDS, COMPUTES, Anatomy, Unit
from openbpu.analyze.stepping import Means, Steps, Values
from openbpu.errors import ModelError
from openbpu.ptq.calibration import Runner
from openbpu.ptq.equalisation import equalised
from openbpu.tasks import spread

_WIDTH = 1 << 14
_STEPS = "openbpu.refinement"  # metadata of a QDQ model
FLOAT, WEIGHTS = 0, 1  # the first two vectors: the float output, and the error of all weights and biases
Feed = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Source:
    """A place where an error enters: the inputs of a unit, or an output of the model (unit None)."""

    unit: Unit | None
    tensor: str  # base tensor of an output; "" for a unit
    groups: frozenset[str]  # that it touches

    @property
    def passive(self) -> bool:
        """Whether it has no type of its own: its error goes when its tensors are int16 for the sake of others."""
        return self.unit is None or self.unit.kind != COMPUTES


@dataclass(frozen=True)
class Errors:
    """Inner products of the error vectors of each float output: [outputs, 2 + sources, 2 + sources]."""

    outputs: tuple[str, ...]
    sources: tuple[Source, ...]
    products: np.ndarray

    @cached_property
    def signals(self) -> np.ndarray:
        """Squared length of each float output."""
        return np.asarray(np.maximum(self.products[:, FLOAT, FLOAT], 1e-300))

    def noise(self, kept: Collection[int]) -> np.ndarray:
        """Predicted noise over signal of each output if only these sources (and the weights) err."""
        rows = [WEIGHTS, *(2 + k for k in kept)]
        return np.asarray(self.products[:, rows][:, :, rows].sum(axis=(1, 2)) / self.signals)

    def alone(self, index: int) -> np.ndarray:
        """Noise over signal of each output if this source alone errs, the weights' error left out."""
        return np.asarray(self.products[:, 2 + index, 2 + index] / self.signals)

    def cosine(self, index: int) -> np.ndarray:
        """Cosine of each output if this source alone errs."""
        p, k = self.products, 2 + index
        along = p[:, FLOAT, FLOAT] + p[:, FLOAT, k]
        length = p[:, FLOAT, FLOAT] + 2 * p[:, FLOAT, k] + p[:, k, k]
        return np.asarray(along / np.sqrt(np.maximum(self.signals * length, 1e-300)))


def find_sources(anatomy: Anatomy, outputs: Iterable[str]) -> tuple[Source, ...]:
    """Where errors enter, in graph order; layout operators pass on what entered before them."""
    units = [
        Source(u, "", frozenset(anatomy.groups[anatomy.start(e)] for e in u.edges))
        for u in anatomy.units
        if u.edges and u.kind in (COMPUTES, BLENDS)
    ]
    ends = [
        Source(None, name, frozenset({anatomy.groups[anatomy.start(name)]}))
        for name in outputs
        if name in anatomy.chains
    ]
    return (*units, *ends)


def measure_errors(
    model: onnx.ModelProto,
    qdq: onnx.ModelProto,
    feeds: Sequence[Feed],
    *,
    floor: onnx.ModelProto | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Errors:
    """The errors of a QDQ model's activations, over some samples; with an executor, a task per sample.

    `model` is the clean float model; `floor` a QDQ model without these errors, whose own error is that of the weights.
    Memory: all tensors of one sample, and a vector per operator. Raises ModelError if no output is float.
    """
    model = equalised(model, qdq)
    names = float_outputs(model)
    sources = find_sources(Anatomy(model, qdq), names)
    models = (model.SerializeToString(), qdq.SerializeToString(), floor.SerializeToString() if floor else b"")

    def run(task: Callable[..., Any], *columns: Sequence[Any]) -> Iterable[Any]:
        if executor is None:
            return map(task, *columns)
        return spread(executor, task, zip(*columns, strict=True))

    corrects = any(p.key == _STEPS and "bias" in p.value for p in qdq.metadata_props)
    steps = len(feeds) * (1 + corrects)
    means: list[Means] = [{} for _ in sources]
    done = 0
    for changes in run(_mean_changes, [models] * len(feeds), feeds) if corrects else ():
        means = [_summed(a, b, len(feeds)) for a, b in zip(means, changes, strict=True)]
        done += 1
        if progress:
            progress("sensitivity", done, steps)
    total = np.zeros((len(names), 2 + len(sources), 2 + len(sources)))
    squares = np.zeros_like(total)
    for found in run(_products, [models] * len(feeds), feeds, [means] * len(feeds)):
        total += found
        squares += found**2
        done += 1
        if progress:
            progress("sensitivity", done, steps)
    return Errors(tuple(names), sources, shrunk(total, squares, len(feeds)))


def shrunk(total: np.ndarray, squares: np.ndarray, count: int) -> np.ndarray:
    """Sums of `count` inner products, those of two different errors less what may be chance.

    A sum t with standard error e, by the sum of the squares of its terms, is taken (1 - e^2/t^2) times, or not at all.
    A model is made of more operators than there are samples: without this the sums of what happens to cancel on these
    samples look best.
    """
    if count < 2:
        return total
    variance = np.maximum(squares - total**2 / count, 0) * count / (count - 1)
    factors = np.maximum(1 - variance / np.maximum(total**2, 1e-300), 0)
    own = np.eye(total.shape[-1], dtype=bool)
    own[FLOAT], own[:, FLOAT] = True, True
    return np.asarray(total * np.where(own, 1.0, factors))


def has_float_output(model: onnx.ModelProto) -> bool:
    """Whether there is an output whose error can be followed."""
    return any(_is_fixed_float(info) for info in model.graph.output)


def _is_fixed_float(info: onnx.ValueInfoProto) -> bool:
    kind = info.type.tensor_type
    fixed = kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)
    return kind.elem_type == onnx.TensorProto.FLOAT and fixed


def float_outputs(model: onnx.ModelProto) -> list[str]:
    """Outputs of type float32 and of a fixed shape. Raises ModelError if there is none."""
    found = [info.name for info in model.graph.output if _is_fixed_float(info)]
    if not found:
        seen = ", ".join(o.name for o in model.graph.output)
        raise ModelError(
            "at least one output must be float32 of a fixed shape",
            where="outputs",
            seen=seen,
            remedy="cut the model before its last operators (remove_boundary_nodes, --output-nodes)",
        )
    return found


class Laboratory:
    """The float model ready to be run with one error at a time."""

    def __init__(self, model: onnx.ModelProto, qdq: onnx.ModelProto, floor: onnx.ModelProto | None = None) -> None:
        model = equalised(model, qdq)
        self.names = float_outputs(model)
        self.anatomy, self.steps = Anatomy(model, qdq), Steps(model)
        self.sources = find_sources(self.anatomy, self.names)
        self.floor = Runner(floor, self.names) if floor else None

    def changes(self, source: Source, values: Values, means: Means | None = None, first: bool = False) -> Values:
        """The tensors that differ from `values` if the tensors of a source are quantised."""
        if source.unit is None:
            return {source.tensor: self.anatomy.quantised(source.tensor, values)}
        return self.steps.follow(values, self.inputs(source.unit, values), source.unit.nodes, means, first)

    def inputs(self, unit: Unit, values: Values) -> Values:
        """The quantised inputs of a unit."""
        return {self.anatomy.source(edge): self.anatomy.quantised(edge, values) for edge in unit.edges}

    def weights(self, unit: Unit) -> Values:
        """The quantised weights of a unit, by the name of the float ones; those whose shapes differ are left out."""
        found = {}
        for node in self.steps.nodes:
            made = self.anatomy.weights(node.name) if node.name in unit.nodes else None
            name = node.input[1] if made is not None else ""
            if made is not None and self.steps.constants.get(name, np.zeros(0)).shape == made.shape:
                found[name] = made
        return found


@lru_cache(maxsize=1)
def _laboratory(models: tuple[bytes, bytes, bytes]) -> Laboratory:
    model, qdq, floor = (onnx.ModelProto.FromString(data) if data else None for data in models)
    assert model is not None and qdq is not None
    return Laboratory(model, qdq, floor)


def _mean_changes(models: tuple[bytes, bytes, bytes], feed: Feed) -> list[Means]:
    """By source, the mean change per channel of the first weighted results behind it; a task of one sample."""
    lab = _laboratory(models)
    values = lab.steps.all(feed)
    found = []
    for source in lab.sources:
        changed = lab.changes(source, values, first=True) if source.unit else {}
        found.append(
            {
                name: lab.steps.channel_means(name, array.astype(np.float64) - values[name])
                for name, array in changed.items()
                if name in lab.steps.axes
            }
        )
    return found


def _summed(a: Means, b: Means, count: int) -> Means:
    return {name: a.get(name, 0.0) + mean / count for name, mean in b.items()}


def _products(models: tuple[bytes, bytes, bytes], feed: Feed, means: Sequence[Means]) -> np.ndarray:
    """The inner products of one sample; a task."""
    lab = _laboratory(models)
    values = lab.steps.all(feed)
    floor = dict(lab.floor.run(dict(feed))) if lab.floor else values
    vectors = {name: [_folded(values[name]), _folded(_error(floor, values, name))] for name in lab.names}
    for source, mean in zip(lab.sources, means, strict=True):
        changed = lab.changes(source, values, mean)
        for name in lab.names:
            vectors[name].append(_folded(_error(changed, values, name)))
    stacks = [np.stack(vectors[name]) for name in lab.names]
    return np.stack([stack @ stack.T for stack in stacks])


def _error(changed: Values, values: Values, name: str) -> np.ndarray:
    return changed[name].astype(np.float64) - values[name] if name in changed else np.zeros(values[name].shape)


def _folded(array: np.ndarray) -> np.ndarray:
    flat = np.asarray(array, np.float64).ravel()
    if flat.size <= _WIDTH:
        return flat
    signs = _signs(flat.size)
    padded = np.zeros(signs.size)
    padded[: flat.size] = flat
    return np.asarray((padded * signs).reshape(-1, _WIDTH).sum(axis=0))


@lru_cache(maxsize=8)
def _signs(size: int) -> np.ndarray:
    rows = -(-size // _WIDTH)
    return np.random.default_rng(0).integers(0, 2, rows * _WIDTH).astype(np.float64) * 2 - 1
