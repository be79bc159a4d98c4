"""Equalises channels, site by site: factors that lower the error of what the readers make of a quantised tensor.

A tensor has one scale; a channel a hundred times smaller than the largest keeps one or two bits. Scaled up in what
makes it and down in the weights that read it, it keeps eight. What the readers' weights lose by that depends on the
network: several families of factors are tried with quantised activations and weights, and the best is taken, none
included.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from openbpu.errors import ModelError
from openbpu.ir.onnx_graph import Names, compact, shapes_of
from openbpu.ptq.blocks import energy, session
from openbpu.ptq.cache import StatisticsCache
from openbpu.ptq.calibration import PORTION_BYTES, Progress, Runner, tensor_bytes
from openbpu.ptq.operators import NORMALISING
from openbpu.ptq.parallel import side_by_side
from openbpu.ptq.placement import Placement
from openbpu.ptq.ranges import parameters
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.sites import (
    Site,
    by_input_channel,
    by_output_channel,
    input_peaks,
    output_peaks,
    sites,
)
from openbpu.ptq.view import ModelView, channel_axis
from openbpu.ptq.weights import quantise_weights

RECORD = "openbpu.equalised"  # metadata: nodes that took no part, {first tensor: exponents of 2^(1/4) per channel}
_STEP = 2.0**0.25
_SMALLEST = 2.0**-6  # channels that were (almost) always zero count as so large beside the largest
_SMALLEST_CLIPPED = 2.0**-2  # and so large beside a clip
# A channel may have values that calibration did not see: those that are scaled up keep so much room above the largest.
_HEADROOM = 2.0
_STRENGTHS = (1.0, 0.75, 0.5, 0.25)
_SAMPLES = 8
_LEAST_GAIN = 0.9  # of the error without factors: less gain is not worth a change
_LEAST_GAIN_DOUBLED = 0.7  # where a norm has to be computed twice

Factors = np.ndarray  # float64 per channel, powers of 2^(1/4): the tensor is divided by them


@dataclass(frozen=True)
class Reach:
    """Least and largest value of each channel."""

    low: np.ndarray
    high: np.ndarray

    @property
    def peak(self) -> np.ndarray:
        return np.asarray(np.maximum(-self.low, self.high))


def equalise(
    model: onnx.ModelProto,
    samples: SampleStream,
    placement: Placement,
    steps: Collection[str],
    per_channel: bool,
    symmetric: bool,
    cache: StatisticsCache,
    progress: Progress,
) -> onnx.ModelProto:
    """The model with equalised channels; equal to the given one on values within the calibrated range of each channel.

    `steps` holds "equalisation" (tensors made by weighted nodes), "smoothing" (made by norms) or both. `per_channel`:
    all channels of every such tensor get the same range, whatever the readers' weights lose. `model` itself if nothing
    changes. Metadata RECORD holds the factors.
    """
    wanted = {False: per_channel or "equalisation" in steps, True: per_channel or "smoothing" in steps}
    found = [s for s in sites(model, placement.cpu) if wanted[s.normalised] and _is_narrow(s, placement)]
    if not found:
        return model
    even, reaches = _reaches(model, found, samples, cache, progress)
    view = ModelView(model)
    if per_channel:
        proposals = {s.name: _proposals(view, s, reaches, per_channel) for s in found}
        chosen = [(s, proposals[s.name][0]) for s in found if proposals[s.name]]
        return rewritten(model, chosen, placement.cpu)
    # Made from one half of the samples, measured on the other: what is rare in a channel must not be cut off.
    proposals = {s.name: _proposals(view, s, even, per_channel) for s in found}
    errors = _errors(model, view, found, samples, proposals, even, placement, symmetric, progress)
    chosen = []
    for site in found:
        best = int(np.argmin(errors[site.name]))
        least = _LEAST_GAIN_DOUBLED if site.shared else _LEAST_GAIN
        if best > 0 and errors[site.name][best] < least * errors[site.name][0]:
            factors = np.maximum(proposals[site.name][best - 1], _least(site, reaches))
            chosen.append((site, _rounded(factors)))
    return rewritten(model, chosen, placement.cpu)


def _is_narrow(site: Site, placement: Placement) -> bool:
    """Whether a reader reads int8, its copy of an int16 tensor included; where a norm is doubled, all must."""
    if any(name not in placement.groups for name in site.read):
        return False
    narrow = [_reads_int8(node, placement) for node in site.readers]
    return all(narrow) if site.shared else any(narrow)


def _reads_int8(node: onnx.NodeProto, placement: Placement) -> bool:
    return placement.groups[node.input[0]] not in placement.wide or node.name in placement.narrow


def _reaches(
    model: onnx.ModelProto, found: list[Site], samples: SampleStream, cache: StatisticsCache, progress: Progress
) -> tuple[dict[str, Reach], dict[str, Reach]]:
    """What was seen of each channel of the tensors that are read or clipped: in samples of even index, and in all."""
    axes = {name: s.axis for s in found for name in (*s.read, *s.bounds)}
    shapes, runner = shapes_of(model.graph), Runner(model, axes)
    index = {name: k for k, name in enumerate(axes)}
    state = {f"{half}/{k}": np.zeros((2, shapes[name][axes[name]])) for name, k in index.items() for half in "eo"}
    halves = "eo"

    def step(feed: Feed) -> None:
        nonlocal halves
        for name, array in runner.run(feed):
            others = tuple(a for a in range(array.ndim) if a != axes[name])
            ends = state[f"{halves[0]}/{index[name]}"]
            ends[0] = np.minimum(ends[0], array.min(axis=others, initial=0))
            ends[1] = np.maximum(ends[1], array.max(axis=others, initial=0))

    def seen(count: int) -> None:
        nonlocal halves
        halves = "eo" if count % 2 == 0 else "oe"
        progress("ranges of channels", count, samples.expected)

    cache.fold("channels", model, list(axes.items()), samples, state, step, seen)
    even = {name: Reach(*state[f"e/{k}"]) for name, k in index.items()}
    odd = {name: Reach(*state[f"o/{k}"]) for name, k in index.items()}
    every = {n: Reach(np.minimum(r.low, odd[n].low), np.maximum(r.high, odd[n].high)) for n, r in even.items()}
    return even, every


def _proposals(view: ModelView, site: Site, reaches: Mapping[str, Reach], per_channel: bool) -> list[Factors]:
    """Different factors worth trying; the first gives all channels the same range."""
    peaks = np.max([reaches[name].peak for name in site.read], axis=0).astype(np.float64)
    if not peaks.max() > 0 or not np.isfinite(peaks).all():
        return []
    peaks = np.maximum(peaks, peaks.max() * _SMALLEST)
    weights = _positive([input_peaks(n, view.constants[n.input[1]]) for n in site.readers])
    raw = [peaks**a / weights ** (1 - a) for a in (_STRENGTHS[:1] if per_channel else _STRENGTHS)]
    makers = [n for n in site.producers if n.op_type not in NORMALISING]
    if makers and not per_channel:
        raw.append(np.sqrt(_positive([output_peaks(n, view.constants[n.input[1]]) for n in makers]) / weights))
    least = _least(site, reaches)
    found: dict[bytes, Factors] = {}
    for factors in raw:
        rounded = _rounded(np.maximum(factors / factors.max(), least))
        if np.unique(rounded).size > 1:
            found.setdefault(rounded.tobytes(), rounded)
    return list(found.values())


def _least(site: Site, reaches: Mapping[str, Reach]) -> np.ndarray:
    """The smallest factors that leave each channel its headroom, in the tensors' range and below clips."""
    peaks = np.max([reaches[name].peak for name in site.read], axis=0).astype(np.float64)
    peaks = np.maximum(peaks, peaks.max() * _SMALLEST)
    least = np.minimum(_HEADROOM * peaks / peaks.max(), 1.0)
    for name, bound in site.bounds.items():
        clipped = np.maximum(reaches[name].peak, bound * _SMALLEST_CLIPPED)
        least = np.maximum(least, np.minimum(_HEADROOM * clipped / bound, 1.0))
    return np.asarray(least)


def _rounded(factors: np.ndarray) -> Factors:
    """Powers of 2^(1/4), at most 1."""
    return np.asarray(_STEP ** np.minimum(np.ceil(np.log2(factors) * 4 - 1e-9), 0.0))


def _positive(peaks: list[np.ndarray]) -> np.ndarray:
    """The largest of these per channel, with a floor."""
    most = np.max(peaks, axis=0).astype(np.float64)
    return np.asarray(np.maximum(most, max(float(most.max()) * _SMALLEST, 1e-30)))


# ---- measuring


class _Reader:
    """A reader without its bias, its input scaled and, if it reads int8, quantised, its weight given with each run."""

    def __init__(self, model: onnx.ModelProto, node: onnx.NodeProto, eight: bool) -> None:
        self.eight = eight
        self.float = self._session(model, node, False)
        self.quantised = self._session(model, node, True) if eight else self.float

    @staticmethod
    def _session(model: onnx.ModelProto, node: onnx.NodeProto, quantised: bool) -> ort.InferenceSession:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        del copy.input[2:]
        copy.input[:] = ["scaled" if quantised else "x", "weight"]
        copy.output[:] = ["y"]
        kinds = {"x": TensorProto.FLOAT, "weight": TensorProto.FLOAT}
        nodes = [copy]
        if quantised:
            kinds |= {"gain": TensorProto.FLOAT, "scale": TensorProto.FLOAT, "zero": TensorProto.INT8}
            nodes = [
                helper.make_node("Mul", ["x", "gain"], ["equal"]),
                helper.make_node("QuantizeLinear", ["equal", "scale", "zero"], ["levels"]),
                helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["scaled"]),
                copy,
            ]
        shapes: dict[str, list[int]] = {"scale": [], "zero": []}
        inputs = [helper.make_tensor_value_info(name, kind, shapes.get(name)) for name, kind in kinds.items()]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "reader", inputs, [output])
        return session(helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version))


def _errors(
    model: onnx.ModelProto,
    view: ModelView,
    found: list[Site],
    samples: SampleStream,
    proposals: Mapping[str, list[Factors]],
    reaches: Mapping[str, Reach],
    placement: Placement,
    symmetric: bool,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """By site, the relative error of its readers without factors and with each proposal."""
    sizes = {i.name: tensor_bytes(i) for i in model.graph.value_info}
    feeds = list(samples.spread(_SAMPLES, odd=True))
    totals: dict[str, np.ndarray] = {}
    done = 0
    needs = [_bytes(view, site, len(proposals[site.name]), sizes) for site in found]
    with side_by_side() as run_all:
        for portion in _portions(found, needs):
            runner = Runner(model, dict.fromkeys(name for s in portion for name in s.read))
            trials = [_Trial(model, view, s, proposals[s.name], reaches, placement, symmetric) for s in portion]
            for feed in feeds:
                arrays = dict(runner.run(feed))
                run_all(partial(trial.add, arrays) for trial in trials)
            totals |= {t.site.name: (t.noise / np.maximum(t.signal, 1e-30)).sum(axis=1) for t in trials}
            done += len(portion)
            progress("equalise channels", done, len(found))
    return totals


class _Trial:
    """The readers of one site with each of the proposals."""

    def __init__(
        self,
        model: onnx.ModelProto,
        view: ModelView,
        site: Site,
        proposals: list[Factors],
        reaches: Mapping[str, Reach],
        placement: Placement,
        symmetric: bool,
    ) -> None:
        self.site = site
        self.weights = [view.constants[n.input[1]] for n in site.readers]
        self.readers = [_Reader(model, n, _reads_int8(n, placement)) for n in site.readers]
        self.trials = [self._trial(factors, reaches, symmetric) for factors in [np.ones(1), *proposals]]
        self.noise = np.zeros((len(self.trials), len(self.readers)))
        self.signal = np.zeros(len(self.readers))

    def _trial(self, factors: Factors, reaches: Mapping[str, Reach], symmetric: bool) -> list[dict[str, np.ndarray]]:
        """Of each reader what it is run with."""
        feeds: list[dict[str, np.ndarray]] = []
        for node, weight in zip(self.site.readers, self.weights, strict=True):
            reach = reaches[node.input[0]]
            quant = parameters(float((reach.low / factors).min()), float((reach.high / factors).max()), symmetric)
            feeds.append(
                {
                    "gain": (1 / factors).astype(np.float32),
                    "scale": np.array(quant.s, np.float32),
                    "zero": np.array(quant.z, np.int8),
                    "weight": _nearest(node, by_input_channel(node, weight, np.broadcast_to(factors, reach.low.shape))),
                }
            )
        return feeds

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        for k, (reader, node) in enumerate(zip(self.readers, self.site.readers, strict=True)):
            x = arrays[node.input[0]]
            shape = [-1 if axis == self.site.axis else 1 for axis in range(x.ndim)]
            (y,) = reader.float.run(None, {"x": x, "weight": self.weights[k]})
            self.signal[k] += energy(y)
            for index, feeds in enumerate(self.trials):
                gain = feeds[k]["gain"].reshape(shape)
                if reader.eight:
                    feed = feeds[k] | {"x": x, "gain": gain}
                else:
                    feed = {"x": x * gain, "weight": feeds[k]["weight"]}
                self.noise[index, k] += energy(reader.quantised.run(None, feed)[0] - y)


def _nearest(node: onnx.NodeProto, weight: np.ndarray) -> np.ndarray:
    """The weight rounded to int8 per output channel, as float32."""
    axis, peaks = channel_axis(node), output_peaks(node, weight)
    scale = np.maximum(peaks / 127, 2.0**-64).astype(np.float32).astype(np.float64)
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
    return np.asarray((quantise_weights(weight, scale, axis) * scale.reshape(shape)).astype(np.float32))


def _bytes(view: ModelView, site: Site, proposals: int, sizes: Mapping[str, int]) -> int:
    """Of the tensors that readers read, and of their weights: with each proposal, without factors, and in float."""
    weights = sum(view.constants[node.input[1]].nbytes for node in site.readers)
    return sum(sizes[name] for name in site.read) + weights * (proposals + 1)


def _portions(found: list[Site], needs: list[int]) -> Iterator[list[Site]]:
    """Sites that fit the memory together."""
    portion: list[Site] = []
    room = PORTION_BYTES
    for site, need in zip(found, needs, strict=True):
        if portion and need > room:
            yield portion
            portion, room = [], PORTION_BYTES
        portion.append(site)
        room -= need
    if portion:
        yield portion


# ---- rewriting


def rewritten(model: onnx.ModelProto, chosen: list[tuple[Site, Factors]], excluded: Collection[str]) -> onnx.ModelProto:
    """A copy of the model with the factors in the constants of producers and readers, and in its metadata."""
    if not chosen:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    editor = _Editor(result)
    for site, factors in chosen:
        editor.scale(site, factors)
    editor.finish()
    exponents = {site.name: [int(e) for e in np.rint(np.log2(factors) * 4)] for site, factors in chosen}
    record = json.dumps([sorted(excluded), exponents], separators=(",", ":"))
    result.metadata_props.add(key=RECORD, value=record)
    return compact(result)


def equalised(model: onnx.ModelProto, qdq: onnx.ModelProto) -> onnx.ModelProto:
    """The clean float model with the factors that `qdq` was made with: its tensors are those that `qdq` approximates.

    `model` itself if there are none, or if it has them. Raises ModelError if the models do not belong together.
    """
    text = next((p.value for p in qdq.metadata_props if p.key == RECORD), "")
    if not text or any(p.key == RECORD for p in model.metadata_props):
        return model
    excluded, exponents = json.loads(text)
    by_name = {site.name: site for site in sites(model, frozenset(excluded))}
    if unknown := exponents.keys() - by_name.keys():
        raise ModelError("the QDQ model must be made from this float model", where=min(unknown), seen="no such tensor")
    return rewritten(model, [(by_name[n], _STEP ** np.array(e, np.float64)) for n, e in exponents.items()], excluded)


class _Editor:
    """Changes constants of single nodes; those that others read too are copied."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph, self.view, self.names = model.graph, ModelView(model), Names(model.graph)
        self.nodes = {node.output[0]: node for node in model.graph.node}
        # (first output of a node, input) -> what its value goes through in float64; all values would be twice the model
        self.changed: dict[tuple[str, int], list[Callable[[np.ndarray], np.ndarray]]] = defaultdict(list)

    def scale(self, site: Site, factors: Factors) -> None:
        producers = [self.nodes[n.output[0]] for n in site.producers]
        if site.shared:
            producers = [self._doubled(site)]
        for node in producers:
            if node.op_type in NORMALISING:
                self._divide(node, [k for k in range(1, len(node.input)) if node.input[k]], factors)
                continue
            self._change(node, 1, partial(by_output_channel, node, factors=1 / factors))
            add = self.view.bias_add(node)
            if add is not None:
                self._divide(add, [k for k, name in enumerate(add.input) if name in self.view.constants], factors)
            else:
                self._divide(node, [2] if len(node.input) > 2 and node.input[2] else [], factors)
        for reader in site.readers:
            node = self.nodes[reader.output[0]]
            if site.shared:
                node.input[0] = producers[0].output[0]
            self._change(node, 1, partial(by_input_channel, node, factors=factors))

    def _divide(self, node: onnx.NodeProto, indices: list[int], factors: Factors) -> None:
        for index in indices:
            self._change(node, index, lambda value: value / factors)

    def _change(self, node: onnx.NodeProto, index: int, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.changed[node.output[0], index].append(function)

    def _doubled(self, site: Site) -> Any:
        """A second norm behind the first, for the readers that take factors."""
        (norm,) = site.producers
        copy = onnx.NodeProto.FromString(norm.SerializeToString())
        copy.name = self.names.fresh(f"{norm.name}/smoothed")
        copy.output[:] = [self.names.fresh(f"{site.name}/smoothed")]
        place = next(i for i, node in enumerate(self.graph.node) if node.output[0] == norm.output[0])
        self.graph.node.insert(place + 1, copy)
        info = next(i for i in self.graph.value_info if i.name == site.name)
        self.graph.value_info.add().CopyFrom(info)
        self.graph.value_info[-1].name = copy.output[0]
        self.nodes = {node.output[0]: node for node in self.graph.node}
        return self.nodes[copy.output[0]]

    def finish(self) -> None:
        for (output, index), functions in self.changed.items():
            node = self.nodes[output]
            value = self.view.constants[node.input[index]].astype(np.float64)
            for function in functions:
                value = function(value)
            name = self.names.fresh(f"{node.input[index]}/equalised")
            self.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
            node.input[index] = name
        used = {name for node in self.graph.node for name in node.input}
        kept = [t for t in self.graph.initializer if t.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
