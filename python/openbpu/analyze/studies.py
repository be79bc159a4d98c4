"""Studies of a quantised model: nodes quantised alone, some nodes quantised, distributions of values.

They are what the vendor's hmct-debugger offers. All work on the clean float model, node by node, with the parameters
and weights of its QDQ form; a unit is what becomes one operator and goes by the node that computes most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import onnx

from openbpu.analyze.anatomy import COMPUTES, Unit, node_macs
from openbpu.analyze.difference import ChannelBoxes, Difference
from openbpu.analyze.sensitivity import Feed, Laboratory
from openbpu.analyze.stepping import Values
from openbpu.errors import ConfigError, did_you_mean
from openbpu.ptq.samples import SampleStream

KINDS = ("node", "activation", "weight")  # what of a unit is quantised: both, its inputs, its weights
# Of a difference; for the first two more is better
METRICS: dict[str, Callable[[Difference], float]] = {
    "cosine-similarity": lambda d: d.cosine,
    "sqnr": lambda d: d.sqnr,
    "mse": lambda d: d.l2**2,
    "mre": lambda d: d.relative,
    "chebyshev": lambda d: d.largest,
}
_MORE_IS_BETTER = ("cosine-similarity", "sqnr")
_BINS = 128
_BUDGET = 1e12  # multiply-accumulates of a report's sensitivities: less than a minute
Progress = Callable[[str, int, int], None]


def feeds_of(model: onnx.ModelProto, samples: Iterable[Any], count: int) -> list[Feed]:
    """The first samples as feeds of a clean float model. Raises SampleError."""
    return list(islice(SampleStream(samples, model, calibrates=False), count))


def affordable(model: onnx.ModelProto, most: int) -> int:
    """Samples, at most `most`, on which the sensitivity of all nodes costs no more than a report should; maybe none."""
    work = sum(node_macs(model).values()) * len(model.graph.node) / 4  # a unit has some two nodes; half lie behind it
    return min(most, int(_BUDGET / max(work, 1.0)))


@dataclass(frozen=True)
class NodeSensitivity:
    """What the worst output loses if this unit alone is quantised."""

    node: str
    op: str
    cosine: float
    sqnr_db: float
    scores: dict[str, float]  # by name of METRICS


def node_sensitivity(
    model: onnx.ModelProto,
    qdq: onnx.ModelProto,
    feeds: Sequence[Feed],
    *,
    kind: str = "node",
    outputs: Collection[str] = (),
    nodes: Collection[str] = (),
    metric: str = "sqnr",
    progress: Progress | None = None,
) -> list[NodeSensitivity]:
    """Each unit quantised alone, worst first by `metric`; one run of what lies behind it per unit and sample.

    `kind` is one of KINDS, `outputs` and `nodes` those of interest (default: all). Raises ConfigError.
    """
    _one_of("kind", kind, KINDS)
    _one_of("metric", metric, METRICS)
    lab = Laboratory(model, qdq)
    names = _known("output", outputs, lab.names) or lab.names
    units = [u for u in _units(lab, nodes) if kind == "activation" or u.edges or lab.weights(u)]
    differences = {unit.name: {name: Difference() for name in names} for unit in units}
    for done, feed in enumerate(feeds, 1):
        values = lab.steps.all(feed)
        for unit in units:
            replaced = _replaced(lab, unit, values, kind)
            changed = lab.steps.follow(values, replaced, unit.nodes) if replaced else {}
            for name, difference in differences[unit.name].items():
                difference.add(values[name], changed.get(name, values[name]))
        if progress:
            progress("sensitivity of nodes", done, len(feeds))
    found = [_scored(unit, differences[unit.name].values()) for unit in units]
    sign = 1 if metric in _MORE_IS_BETTER else -1
    return sorted(found, key=lambda x: (sign * x.scores[metric], x.node))


def _scored(unit: Unit, differences: Iterable[Difference]) -> NodeSensitivity:
    everything, by_metric = list(differences), {}
    for key, score in METRICS.items():
        values = [score(d) for d in everything]
        by_metric[key] = min(values) if key in _MORE_IS_BETTER else max(values)
    return NodeSensitivity(unit.name, unit.op, by_metric["cosine-similarity"], by_metric["sqnr"], by_metric)


@dataclass(frozen=True)
class Curve:
    """The error along the depth if some units are quantised: by unit in graph order, and of the outputs."""

    title: str
    quantised: int  # units
    nodes: tuple[str, ...]
    scores: tuple[float, ...]
    outputs: dict[str, float]


def accumulated_error(
    model: onnx.ModelProto,
    qdq: onnx.ModelProto,
    feeds: Sequence[Feed],
    choices: Mapping[str, Collection[str]],
    *,
    metric: str = "cosine-similarity",
    progress: Progress | None = None,
) -> list[Curve]:
    """For each choice (title -> names of the units that are quantised) the error behind every unit.

    Raises ConfigError for a name that is no unit.
    """
    score = METRICS[_one_of("metric", metric, METRICS)]
    lab = Laboratory(model, qdq)
    units = _units(lab, ())
    results = {u.name: _result(lab, u) for u in units}
    chosen = {title: {u.name for u in _units(lab, names)} if names else set() for title, names in choices.items()}
    tensors = [*dict.fromkeys(results.values()), *lab.names]
    differences = {title: {name: Difference() for name in tensors} for title in choices}
    steps = len(feeds) * len(choices)
    for done, (feed, title) in enumerate(((f, t) for f in feeds for t in choices), 1):
        values = lab.steps.all(feed)
        partly = _partly(lab, feed, [u for u in units if u.name in chosen[title]])
        for name, difference in differences[title].items():
            difference.add(values[name], partly[name])
        if progress:
            progress("accumulated error", done, steps)
    return [
        Curve(
            title,
            len(chosen[title]),
            tuple(results),
            tuple(score(found[tensor]) for tensor in results.values()),
            {name: score(found[name]) for name in lab.names},
        )
        for title, found in differences.items()
    ]


def units_of(model: onnx.ModelProto, qdq: onnx.ModelProto) -> list[Unit]:
    """The units that compute, in graph order."""
    return _units(Laboratory(model, qdq), ())


def _partly(lab: Laboratory, feed: Feed, quantised: Sequence[Unit]) -> Values:
    """All tensors if only these units read quantised inputs and weights, and their outputs are quantised."""
    by_node = {name: unit for unit in quantised for name in unit.nodes}
    weights = {unit.name: lab.weights(unit) for unit in quantised}
    values: Values = dict(feed)
    for index, node in enumerate(lab.steps.nodes):
        unit = by_node.get(node.name)
        own: Values = {}
        if unit is not None:
            ready = [e for e in unit.edges if lab.anatomy.source(e) in node.input]
            own = {lab.anatomy.source(e): lab.anatomy.quantised(e, values) for e in ready}
            own |= {name: array for name, array in weights[unit.name].items() if name in node.input}
        values.update(lab.steps.step(index, values, own))
        for name in node.output:
            if unit is not None and name in lab.anatomy.chains and name in lab.names:
                values[name] = lab.anatomy.quantised(name, values)
    return values


@dataclass(frozen=True)
class Distribution:
    """Values of a tensor, float and quantised: histograms over `span`, the quantised range, boxes per channel."""

    node: str
    tensor: str
    kind: str  # input, output or weight
    span: tuple[float, float]
    range: tuple[float, float] | None
    counts: list[int]
    quantised: list[int]
    channels: list[dict[str, float]]


def distributions(
    model: onnx.ModelProto,
    qdq: onnx.ModelProto,
    feeds: Sequence[Feed],
    nodes: Collection[str],
    *,
    axis: int | None = None,
    progress: Progress | None = None,
) -> list[Distribution]:
    """Inputs, outputs and weights of some units; two passes over the samples, so memory does not grow.

    `axis` is that of the channels of activations: by default 1 of images, else the last.
    """
    lab = Laboratory(model, qdq)
    units = _units(lab, nodes)
    wanted = [(u, lab.anatomy.source(e), e, "input") for u in units for e in u.edges]
    ends = {u.name: _result(lab, u) for u in units}
    pairs = {lab.anatomy.source(name): name for name in lab.anatomy.chains}
    wanted += [(u, ends[u.name], pairs.get(ends[u.name], ""), "output") for u in units]
    lows, highs = {t: np.inf for _, t, _, _ in wanted}, {t: -np.inf for _, t, _, _ in wanted}
    for feed in feeds:
        values = lab.steps.all(feed)
        for tensor in lows:
            lows[tensor] = min(lows[tensor], float(values[tensor].min()))
            highs[tensor] = max(highs[tensor], float(values[tensor].max()))
    counts = {k: np.zeros((2, _BINS), np.int64) for k in range(len(wanted))}
    boxes = {k: ChannelBoxes() for k in range(len(wanted))}
    spans = {t: _widened(lows[t], highs[t]) for t in lows}
    for done, feed in enumerate(feeds, 1):
        values = lab.steps.all(feed)
        for k, (_, tensor, edge, _) in enumerate(wanted):
            counts[k][0] += np.histogram(values[tensor], _BINS, spans[tensor])[0]
            if edge:
                counts[k][1] += np.histogram(lab.anatomy.quantised(edge, values), _BINS, spans[tensor])[0]
            boxes[k].add(values[tensor], axis)
        if progress:
            progress("distributions", done, len(feeds))
    found = [
        Distribution(
            unit.name,
            tensor,
            kind,
            spans[tensor],
            lab.anatomy.range(edge) if edge else None,
            counts[k][0].tolist(),
            counts[k][1].tolist(),
            boxes[k].rows(),
        )
        for k, (unit, tensor, edge, kind) in enumerate(wanted)
    ]
    return [*found, *(d for unit in units for d in _weights(lab, unit))]


def _weights(lab: Laboratory, unit: Unit) -> list[Distribution]:
    found = []
    for name, quantised in lab.weights(unit).items():
        values = lab.steps.constants[name]
        span, boxes = _widened(float(values.min()), float(values.max())), ChannelBoxes()
        boxes.add(values, 0 if values.ndim > 2 else -1)
        counts, others = (np.histogram(a, _BINS, span)[0].tolist() for a in (values, quantised))
        found.append(Distribution(unit.name, name, "weight", span, None, counts, others, boxes.rows()))
    return found


def _widened(low: float, high: float) -> tuple[float, float]:
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _replaced(lab: Laboratory, unit: Unit, values: Values, kind: str) -> Values:
    inputs = lab.inputs(unit, values) if kind != "weight" else {}
    return inputs | (lab.weights(unit) if kind != "activation" else {})


def _result(lab: Laboratory, unit: Unit) -> str:
    """The last tensor that a unit makes."""
    made = [node.output[0] for node in lab.steps.nodes if node.name in unit.nodes]
    return str(made[-1])


def _units(lab: Laboratory, nodes: Collection[str]) -> list[Unit]:
    """The units that compute and hold one of the nodes; all if none is named."""
    units = [u for u in lab.anatomy.units if u.kind == COMPUTES and (u.edges or lab.weights(u))]
    known = {name: unit for unit in units for name in unit.nodes}
    if not nodes:
        return units
    wanted = {known[name].index for name in _known("node", nodes, known)}
    return [unit for unit in units if unit.index in wanted]


def _known(what: str, names: Collection[str], known: Collection[str]) -> list[str]:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(list(known)[:5])}, ...")
            raise ConfigError(f"the quantised model computes no such {what}", where=what, seen=name, remedy=hint)
    return list(names)


def _one_of(key: str, value: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise ConfigError(f"one of {', '.join(allowed)}", where=key, seen=value)
    return value
