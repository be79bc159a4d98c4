"""Refinement of weights and biases, layer by layer in graph order, on already quantised and refined inputs.

Regression: each layer's weights become those that make of the quantised inputs what the float model has
(regression.py). Rounding: each layer's weights are rounded so that its output changes least (second_order.py).
Bias correction: rounding shifts the mean of a layer's output; the mean of each output channel in the float model is
compared with that of the quantised layer, and the difference, less what may be chance, is added to the bias. Method:
Nagel et al., Data-Free Quantization (2019), section 4.2, in its empirical form. Of tokens, values far from the median
of their channel count as less: a few tokens of transformers are hundreds of times larger than the others, so are their
errors, and a bias would pass them on to all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx

from openbpu.ir.onnx_graph import reads
from openbpu.ptq.calibration import Progress, Runner
from openbpu.ptq.moments import Grid, Moments, gathered, grid_of
from openbpu.ptq.parallel import RunAll, side_by_side
from openbpu.ptq.patches import Layout, layout
from openbpu.ptq.regression import MOST_INPUTS, regression, worth_it
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.second_order import LARGEST, rounded, uppers
from openbpu.ptq.sites import by_input_channel
from openbpu.ptq.view import ModelView, attribute, channel_axis
from openbpu.ptq.walk import Walk
from openbpu.ptq.weights import quantise_weights

_MEMORY_BYTES = 1 << 30  # of activations that are alive at the same time
_MOST_SAMPLES, _FEWEST_SAMPLES = 64, 4
_FLOAT_STEPS = 1 << 15
_QUARTILE_RANGES = 4.0  # from the median: 5.4 deviations of normally distributed values

Limits = tuple[np.ndarray, np.ndarray]  # least and largest value that counts, per channel


@dataclass(frozen=True)
class Refinements:
    """By node name: what to add to the bias per output channel, int8 weights that replace nearest rounding, and by
    output channel the share of the weights' range that is kept (`weights.best_shares`)."""

    biases: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    shares: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A node of the float model: its weight, the means of its output, the channel axis, what counts."""

    weight: np.ndarray
    means: np.ndarray  # [samples, channels]
    axis: int
    limits: Limits | None


class Reference:
    """A clean float model beside which its QDQ forms are refined, and its layers, the nodes with constant weights.

    On the first samples, as many as memory allows (at most 64).
    """

    def __init__(self, model: onnx.ModelProto, samples: SampleStream) -> None:
        view = ModelView(model)
        self.model, self.constants = model, view.constants
        self._samples, self._count = samples, _affordable_samples(model, samples.count)
        nodes = [n for n in model.graph.node if view.weighted(n)]
        axes = {n.output[0]: 1 if n.op_type.startswith("Conv") else -1 for n in nodes}
        limits = _token_limits(model, [n.output[0] for n in nodes if n.op_type == "MatMul"], self.feeds())
        means = _float_means(model, axes, limits, self.feeds())
        self.layers = {
            n.name: Layer(view.constants[n.input[1]], means[n.output[0]], axes[n.output[0]], limits.get(n.output[0]))
            for n in nodes
        }

    def feeds(self) -> Iterator[Feed]:
        """The samples."""
        return self._samples.spread(self._count)


def refine(reference: Reference, qdq: onnx.ModelProto, steps: Collection[str], progress: Progress) -> Refinements:
    """The refinements of each layer of a QDQ form that has none.

    `steps` holds some of "regression", "rounding", "bias", "analytic-bias".
    """
    feeds = list(reference.feeds())
    with side_by_side() as run_all:
        of_float = Walk(reference.model, feeds, run_all, reference.constants)
        return _Refiner(of_float, Walk(qdq, feeds, run_all), reference.layers, steps, progress, run_all).run()


def _affordable_samples(model: onnx.ModelProto, available: int) -> int:
    """How many samples' live activations fit the memory."""
    sizes = {
        i.name: 4 * int(np.prod([d.dim_value for d in i.type.tensor_type.shape.dim], dtype=np.int64))
        for i in [*model.graph.input, *model.graph.value_info, *model.graph.output]
    }
    uses = Counter(name for node in model.graph.node for name in {*reads(node)})
    live = peak = 0
    for node in model.graph.node:
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        for name in {*reads(node)}:
            uses[name] -= 1
            if uses[name] == 0:
                live -= sizes.get(name, 0)
    fitting = _MEMORY_BYTES // max(3 * peak, 1)  # a tensor, its quantised twin, and its float one
    return min(available, _MOST_SAMPLES, max(int(fitting), _FEWEST_SAMPLES))


def _shrunk(differences: np.ndarray) -> np.ndarray:
    """The mean over samples [samples, channels], less where it may be chance.

    A mean d with standard error e is taken (1 - e^2/d^2) times, or not at all: James & Stein (1961) by channel.
    """
    mean = differences.mean(axis=0)
    if len(differences) == 1:
        return np.asarray(mean)
    error = differences.var(axis=0, ddof=1) / len(differences)
    return np.asarray(mean * np.maximum(1 - error / np.maximum(mean**2, 1e-300), 0))


def _channel_mean(array: np.ndarray, axis: int, limits: Limits | None) -> np.ndarray:
    if array.size == 0:  # of as many rows as a NonZero found: none
        return np.zeros(array.shape[axis])
    if limits is not None:
        array = np.clip(array, *limits)
    return np.asarray(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).mean(axis=1, dtype=np.float64))


def _token_limits(model: onnx.ModelProto, products: list[str], samples: Iterator[Feed]) -> dict[str, Limits]:
    """What counts of each channel of products of [batch, tokens, channels], float32."""
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in (*model.graph.value_info, *model.graph.output)}
    wanted = [name for name in products if ranks.get(name, 0) >= 3]
    if not wanted:
        return {}
    runner, quartiles = Runner(model, wanted), dict.fromkeys(wanted, np.zeros((3, 1)))
    count = 0
    for count, feed in enumerate(samples, 1):  # noqa: B007  (the count is used after the loop)
        for name, array in runner.run(feed):
            rows = array.reshape(-1, array.shape[-1]) if array.size else np.zeros((1, array.shape[-1]))
            quartiles[name] = quartiles[name] + np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
    limits = {}
    for name, total in quartiles.items():
        first, middle, third = total / count
        reach = _QUARTILE_RANGES * (third - first)
        limits[name] = ((middle - reach).astype(np.float32), (middle + reach).astype(np.float32))
    return limits


def _float_means(
    model: onnx.ModelProto, axes: dict[str, int], limits: dict[str, Limits], samples: Iterator[Feed]
) -> dict[str, np.ndarray]:
    """Of each tensor [samples, channels]."""
    runner, found = Runner(model, axes), {name: [] for name in axes}  # type: tuple[Runner, dict[str, list[np.ndarray]]]
    for feed in samples:
        for name, array in runner.run(feed):
            found[name].append(_channel_mean(array, axes[name], limits.get(name)))
    return {name: np.stack(means) for name, means in found.items()}


def _nothing() -> None:
    """In the place of a step that is not taken."""


class _Refiner:
    """Refines the layers of a QDQ model one after the other, and the float model beside it where that is needed."""

    def __init__(
        self,
        of_float: Walk,
        of_qdq: Walk,
        layers: dict[str, Layer],
        steps: Collection[str],
        progress: Progress,
        run_all: RunAll,
    ) -> None:
        self.layers, self.steps, self.progress, self.run_all = layers, steps, progress, run_all
        self.float, self.walk = of_float, of_qdq
        nodes = of_qdq.model.graph.node
        self.dequantisers = {node.output[0]: node for node in nodes if node.op_type == "DequantizeLinear"}

    def run(self) -> Refinements:
        result, done = Refinements(), 0
        for node in self.walk.model.graph.node:
            layer = self.layers.get(node.name)
            if layer is not None and node.input[1] not in self.dequantisers:
                layer = None  # left in float
            if layer is not None and {"regression", "rounding"} & {*self.steps}:
                self._weights(node, layer, result)
            self.walk.execute(node)
            if layer is not None:
                if "bias" in self.steps:
                    result.biases[node.name] = self._correct(node, layer)
                elif "analytic-bias" in self.steps and node.op_type != "ConvTranspose":
                    result.biases[node.name] = self._correct_analytically(node, layer)
                done += 1
                self.progress("refine layers", done, len(self.layers))
            self.walk.leave(node)
        return result

    def _weights(self, node: onnx.NodeProto, layer: Layer, result: Refinements) -> None:
        """Replaces the weights of a layer by better ones."""
        source = self.dequantisers[node.input[1]]
        arrays, found = self.walk.live.get(node.input[0]), layout(node, layer.weight)
        if arrays is None or found is None or source.input[0] not in self.walk.constants:
            return
        scale = np.atleast_1d(self.walk.constants[source.input[1]]).astype(np.float64)
        axis, shape = attribute(source, "axis", 1), [1] * layer.weight.ndim
        shape[axis] = -1
        fitted = "regression" in self.steps and worth_it(found) and layer.limits is None  # a few tokens would decide
        floats = self._floats(node) if fitted else None
        grid = grid_of(self._step(node.input[0], arrays), arrays, floats)
        weight, q = layer.weight, None
        rounds = "rounding" in self.steps and found.k <= LARGEST
        if floats is None and not rounds:
            return
        halves = self._halves(found, grid, arrays, floats)
        better, upper = self._computed(found, weight, halves, floats is not None, rounds)
        if better is not None:
            most = 127 * scale.reshape(shape)
            weight = np.clip(better, -most, most)
            q = quantise_weights(weight, scale, axis)
        if upper is not None:
            q = rounded(found, weight, scale, upper)
        if q is not None:
            result.weights[node.name] = q
            self.walk.constants[node.input[1]] = (q * scale.reshape(shape)).astype(np.float32)

    def _computed(
        self, found: Layout, weight: np.ndarray, halves: list[Moments], fitted: bool, rounds: bool
    ) -> list[np.ndarray | None]:
        """The weights that regression finds, and what rounding needs, at the same time; the moments are used up."""
        fit = regression(found, weight, halves, "bias" in self.steps, self.run_all) if fitted else None
        tasks = [fit or _nothing, partial(uppers, sum(halves[1:], halves[0])) if rounds else _nothing]
        halves.clear()
        return self.run_all(tasks)

    def _halves(
        self, found: Layout, grid: Grid, arrays: list[np.ndarray], floats: list[np.ndarray] | None
    ) -> list[Moments]:
        """The moments of what a layer reads, of every other sample and of the rest; of both where no half is needed."""
        parts = [(arrays[k::2], None if floats is None else floats[k::2]) for k in (0, 1)]
        if found.k > MOST_INPUTS:  # too large for regression, which is what needs both
            return [gathered(found, grid, *parts[1], into=gathered(found, grid, *parts[0]))]
        return self.run_all(partial(gathered, found, grid, *part) for part in parts)

    def _floats(self, node: onnx.NodeProto) -> list[np.ndarray] | None:
        """What a layer reads in the float model, by sample; None if that has other rows, as many as a NonZero found."""
        twin = self.float.before(node.name)
        floats = self.float.live.get(twin.input[0]) if twin is not None else None
        quantised = self.walk.live[node.input[0]]
        if floats is None or any(f.shape != x.shape for f, x in zip(floats, quantised, strict=True)):
            return None
        return floats

    def _step(self, name: str, arrays: list[np.ndarray]) -> float:
        """The scale of a quantised tensor; of a float one 15 bits of its largest magnitude."""
        source = self.dequantisers.get(name)
        scale = self.walk.constants.get(source.input[1]) if source is not None else None
        if scale is not None and scale.size == 1:
            return float(scale.ravel()[0])
        largest = max(float(np.abs(x).max(initial=0)) for x in arrays)
        return max(largest, 1e-30) / _FLOAT_STEPS

    def _correct(self, node: onnx.NodeProto, layer: Layer) -> np.ndarray:
        axis, arrays = layer.axis, self.walk.live[node.output[0]]
        means = np.stack([_channel_mean(array, axis, layer.limits) for array in arrays])
        return self._shifted(node, axis, _shrunk(layer.means - means))

    def _correct_analytically(self, node: onnx.NodeProto, layer: Layer) -> np.ndarray:
        """What the error of the weights makes of the mean of each input channel; borders are not looked at."""
        means = np.mean([_channel_mean(x, layer.axis, None) for x in self.walk.live[node.input[0]]], axis=0)
        error = layer.weight.astype(np.float64) - self._values(node.input[1])
        rows = np.moveaxis(by_input_channel(node, error, means), channel_axis(node), 0)
        return self._shifted(node, layer.axis, rows.reshape(len(rows), -1).sum(axis=1))

    def _values(self, name: str) -> np.ndarray:
        """The real values of quantised weights."""
        if name not in self.walk.constants:
            self.walk.execute(self.dequantisers[name])
        return self.walk.constants[name]

    def _shifted(self, node: onnx.NodeProto, axis: int, correction: np.ndarray) -> np.ndarray:
        arrays = self.walk.live[node.output[0]]
        shape = [1] * arrays[0].ndim
        shape[axis] = -1
        shift = correction.astype(np.float32).reshape(shape)
        self.walk.live[node.output[0]] = [array + shift for array in arrays]
        return np.asarray(correction)
