"""The accuracy report: how far a quantised model is from the float one, where it was lost, why, and what would help."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from openbpu.analyze.difference import ChannelBoxes, Difference, OwnError, decibels
from openbpu.analyze.plots import bars, boxes, curves, histograms, svg
from openbpu.analyze.sensitivity import float_outputs, has_float_output
from openbpu.analyze.studies import NodeSensitivity, node_sensitivity
from openbpu.errors import ModelError
from openbpu.files import write_file
from openbpu.ir.quant import QuantParams
from openbpu.ptq.calibration import Runner
from openbpu.ptq.equalisation import equalised
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.view import ModelView, channel_axis

WORST = 8  # layers that the report shows with a histogram
_SENSITIVE = 40  # nodes whose sensitivity is drawn
_POOR_DB = 10.0  # below this an output is called poor
_WANTED = 0.99  # cosine below which something should be done
_ADVICE = "see the worst layers, or give a target (--target-cosine 0.99)"
_REMEDIES = {
    "clamping": "calibration max",
    "rounding": "int16",
    "weights": "refinement; float",
    "": "",
}


@dataclass(frozen=True)
class OutputError:
    """An output of the model against the float model, over all samples."""

    name: str
    cosine: float
    sqnr_db: float
    l1: float  # mean absolute error
    l2: float  # root of the mean squared error
    max: float  # largest absolute error


@dataclass(frozen=True)
class LayerError:
    """A quantised tensor in the order of the model: its error, and what was added here (signal over noise, dB)."""

    tensor: str
    node: str
    op: str
    cosine: float
    sqnr_db: float  # all error, what earlier layers left included
    own_db: float  # what is added here: the next three together
    clamp_db: float  # of values beyond the range
    rounding_db: float  # of values within
    weights_db: float  # of the node's quantised weights; inf if it has none
    inherited_db: float  # of its worst input
    clamped: float  # share of the values
    low: float  # extremes seen
    high: float
    scale: float
    zero_point: int
    cause: str  # clamping, rounding or weights: the largest part of what is added here; "" if nothing is
    remedy: str


@dataclass(frozen=True)
class Section:
    """A table that the page shows besides the report."""

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class AccuracyReport:
    """Outputs, layers in the order of the model, and histograms of the worst ones."""

    model: str
    samples: int
    outputs: tuple[OutputError, ...]
    layers: tuple[LayerError, ...]
    histograms: dict[str, dict[str, Any]]  # by tensor: counts, quantised, span, range
    boxes: dict[str, list[dict[str, float]]]  # by tensor: min, q1, median, q3, max of each channel
    sensitivities: tuple[NodeSensitivity, ...]  # worst first; empty if not measured

    @property
    def cosine(self) -> float:
        """Of the worst output."""
        return min(output.cosine for output in self.outputs)

    @property
    def sqnr_db(self) -> float:
        """Of the worst output."""
        return min(output.sqnr_db for output in self.outputs)

    @property
    def worst(self) -> tuple[LayerError, ...]:
        """The layers that add most error themselves, worst first."""
        return _worst(self.layers)

    @property
    def line(self) -> str:
        """The result in one line."""
        count = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        return f"cosine {self.cosine:.5f}, SQNR {self.sqnr_db:.1f} dB over {count}{self._verdict}"

    @property
    def _verdict(self) -> str:
        if any(math.isnan(output.l1) or math.isinf(output.l1) for output in self.outputs):
            return " -- not usable: an output is NaN or infinite"
        if self.sqnr_db < _POOR_DB:
            return f" -- poor: {_ADVICE}"
        return f" -- below {_WANTED}: {_ADVICE}" if self.cosine < _WANTED else ""

    def __str__(self) -> str:
        """The summary in plain text."""
        lines = [f"{o.name}: cosine {o.cosine:.6f}, SQNR {o.sqnr_db:.1f} dB" for o in self.outputs]
        for x in self.worst[:5]:
            lines.append(f"  {x.tensor} ({x.op}) adds {x.own_db:.1f} dB by {x.cause}: {x.remedy}")
        return "\n".join([*lines, self.line])

    def to_json(self) -> str:
        """The whole report for programs; what is infinite is null."""
        data = {
            "model": self.model,
            "samples": self.samples,
            "cosine": self.cosine,
            "sqnr_db": self.sqnr_db,
            "outputs": [asdict(output) for output in self.outputs],
            "layers": [asdict(layer) for layer in self.layers],
            "histograms": self.histograms,
            "boxes": self.boxes,
            "sensitivities": [asdict(node) for node in self.sensitivities],
        }
        return json.dumps(finite(data), indent=2)

    def to_html(self, sections: Sequence[Section] = ()) -> str:
        """The whole report as one page that needs no other file; `sections` stand before the long table of layers."""
        from jinja2 import Environment, PackageLoader

        environment = Environment(loader=PackageLoader("openbpu.analyze"), autoescape=True, trim_blocks=True)
        environment.filters["db"] = lambda value: "" if math.isinf(value) else f"{value:.1f}"
        depth = {"all error": [x.sqnr_db for x in self.layers], "added here": [x.own_db for x in self.layers]}
        ranges = {name: (h["span"], h["range"]) for name, h in self.histograms.items()}
        shown = {
            name: svg(histograms({"float": h["counts"], "quantised": h["quantised"]}, *ranges[name]))
            for name, h in self.histograms.items()
        }
        channels = {name: svg(boxes(rows, ranges[name][1], "channel")) for name, rows in self.boxes.items()}
        worst = self.sensitivities[:_SENSITIVE]
        return environment.get_template("accuracy.html").render(
            report=self,
            similarity=svg(curves({"cosine": [x.cosine for x in self.layers]}, "layer", "cosine")),
            depth=svg(curves(depth, "layer", "signal over noise, dB")),
            sensitivity=svg(bars([x.sqnr_db for x in worst], [x.node for x in worst], "SQNR alone, dB"), 3.2),
            histograms=shown,
            channels=channels,
            sections=sections,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Writes JSON, or HTML if the name ends so. Raises OpenBpuError naming the path."""
        text = self.to_html() if str(path).endswith((".html", ".htm")) else self.to_json()
        write_file(path, text.encode())


def measure(
    model: onnx.ModelProto,
    qdq: onnx.ModelProto,
    samples: Iterable[Any],
    progress: Callable[[str, int, int], None] | None = None,
    sensitivity: int = 0,
) -> AccuracyReport:
    """Runs a clean float model (`frontend.prepare`) and its QDQ form side by side; tensors are matched by name.

    `samples` is read once, as a stream; on the first `sensitivity` of them each node is quantised alone as
    well. Raises SampleError, and ModelError if the models do not belong together.
    """
    outputs = _fixed_outputs(model)
    model = equalised(model, qdq)
    pairs = _pairs(model, qdq)
    if sensitivity and not has_float_output(model):
        sensitivity = 0
    if {o.name for o in qdq.graph.output} != {o.name for o in model.graph.output}:
        raise ModelError("the QDQ model must have the outputs of the float model", where=qdq.graph.name)
    floats = Runner(model, dict.fromkeys([*pairs, *outputs]))
    quantised = Runner(_typed(model, qdq, pairs), dict.fromkeys([*(real for real, _ in pairs.values()), *outputs]))
    differences = {name: Difference() for name in dict.fromkeys([*pairs, *outputs])}
    own = {name: OwnError(quant) for name, (_, quant) in pairs.items()}
    boxes = {name: ChannelBoxes() for name in pairs}
    stream = SampleStream(samples, model, calibrates=False)
    kept: list[Feed] = []
    for done, feed in enumerate(stream, 1):
        found = dict(quantised.run(feed))
        if len(kept) < sensitivity:
            kept.append(feed)
        for name, array in floats.run(feed):
            real = pairs[name][0] if name in pairs else name
            differences[name].add(array, found[real])
            if name in own:
                own[name].add(array, found[real])
                boxes[name].add(array)
        if progress:
            progress("measure accuracy", done, stream.expected)
    return assembled(
        model.graph.name,
        stream.count,
        {name: differences[name] for name in outputs},
        _layers(model, qdq, differences, own),
        own,
        boxes,
        node_sensitivity(model, qdq, kept, progress=progress) if kept else (),
    )


def assembled(
    model: str,
    samples: int,
    outputs: Mapping[str, Difference],
    layers: Sequence[LayerError],
    own: Mapping[str, OwnError],
    boxes: Mapping[str, ChannelBoxes],
    sensitivities: Iterable[NodeSensitivity] = (),
) -> AccuracyReport:
    """The report of what was summed over samples, by name of output and by tensor."""
    return AccuracyReport(
        model,
        samples,
        tuple(OutputError(name, d.cosine, d.sqnr, d.l1, d.l2, d.largest) for name, d in outputs.items()),
        tuple(layers),
        {x.tensor: _histogram(own[x.tensor]) for x in _worst(layers)},
        {x.tensor: boxes[x.tensor].rows() for x in _worst(layers)},
        tuple(sensitivities),
    )


def _fixed_outputs(model: onnx.ModelProto) -> list[str]:
    """Outputs whose shape is known: what a selection makes has another shape in either model."""
    shapes = {o.name: o.type.tensor_type.shape.dim for o in model.graph.output}
    return [name for name, dims in shapes.items() if all(d.HasField("dim_value") for d in dims)] or float_outputs(model)


def _typed(model: onnx.ModelProto, qdq: onnx.ModelProto, pairs: dict[str, tuple[str, QuantParams]]) -> onnx.ModelProto:
    """The QDQ model with the types of its dequantised tensors: those of the float tensors that they stand for."""
    typed = onnx.ModelProto()
    typed.CopyFrom(qdq)
    infos = {i.name: i for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    for name, (real, _) in pairs.items():
        info = typed.graph.value_info.add()
        info.CopyFrom(infos[name])
        info.name = real
    return typed


def _worst(layers: Iterable[LayerError]) -> tuple[LayerError, ...]:
    return tuple(sorted((layer for layer in layers if layer.cause), key=lambda layer: layer.own_db)[:WORST])


def _histogram(own: OwnError) -> dict[str, Any]:
    return {
        "counts": own.counts.tolist(),
        "quantised": own.quantised.tolist(),
        "span": list(own.span),
        "range": list(own.range),
    }


def layer_error(
    tensor: str, node: str, op: str, difference: Difference, error: OwnError, weights_db: float, inherited_db: float,
    remedies: Mapping[str, str] = _REMEDIES,
) -> LayerError:  # fmt: skip
    """A quantised tensor of which the difference and the own error were summed, and what caused it."""
    parts = {
        "clamping": decibels(difference.signal, error.clamp),
        "rounding": decibels(difference.signal, error.rounding),
        "weights": weights_db,
    }
    added = sum(10 ** (-part / 10) for part in parts.values() if not math.isinf(part))
    cause = min(parts, key=lambda key: parts[key]) if added > 0 else ""
    return LayerError(
        tensor=tensor,
        node=node,
        op=op,
        cosine=difference.cosine,
        sqnr_db=difference.sqnr,
        own_db=decibels(1.0, added),
        clamp_db=parts["clamping"],
        rounding_db=parts["rounding"],
        weights_db=parts["weights"],
        inherited_db=inherited_db,
        clamped=error.clamped / max(error.elements, 1),
        low=error.low,
        high=error.high,
        scale=error.quant.s,
        zero_point=error.quant.z,
        cause=cause,
        remedy=remedies[cause],
    )


def _pairs(model: onnx.ModelProto, qdq: onnx.ModelProto) -> dict[str, tuple[str, QuantParams]]:
    """By float tensor: the dequantised tensor of the QDQ model and the parameters of its pair (per tensor)."""
    constants = {t.name: t for t in qdq.graph.initializer}
    made = {name for node in model.graph.node for name in node.output} | {i.name for i in model.graph.input}
    readers = {n.input[0]: n for n in qdq.graph.node if n.op_type == "DequantizeLinear"}
    pairs = {}
    for node in qdq.graph.node:
        after = readers.get(node.output[0]) if node.op_type == "QuantizeLinear" else None
        if after is None or not {*node.input[1:3]} <= constants.keys():
            continue
        name = next(
            (n for n in (node.input[0], after.output[0], node.input[0].removesuffix("/float")) if n in made), ""
        )
        scale, zero = (numpy_helper.to_array(constants[n]) for n in node.input[1:3])
        if name and scale.size == 1:
            pairs[name] = (after.output[0], QuantParams.per_tensor(float(scale), int(zero), zero.dtype.name))
    return pairs


def _layers(
    model: onnx.ModelProto, qdq: onnx.ModelProto, differences: dict[str, Difference], own: dict[str, OwnError]
) -> list[LayerError]:
    view = ModelView(model)
    weights = _weight_errors(view, qdq)
    layers, remedies = [], _remedies(qdq)
    order = [*(i.name for i in model.graph.input), *(name for node in model.graph.node for name in node.output)]
    for name in (n for n in order if n in own):
        chain = _chain(view, view.producers.get(name), own)
        maker = next((n for n in chain if n.name in weights), chain[0] if chain else None)
        inherited = (differences[source].sqnr for n in chain for source in n.input if source in own)
        layers.append(
            layer_error(
                name,
                maker.name if maker is not None else "",
                maker.op_type if maker is not None else "input",
                differences[name],
                own[name],
                min((weights[n.name] for n in chain if n.name in weights), default=math.inf),
                min(inherited, default=math.inf),
                remedies,
            )
        )
    return layers


def _remedies(qdq: onnx.ModelProto) -> Mapping[str, str]:
    """What helps against each cause and was not done already, by what the quantiser wrote down."""
    facts = {p.key: p.value for p in qdq.metadata_props}
    if facts.get("openbpu.calibration") != "max":
        return _REMEDIES
    scaled = "scales" in facts.get("openbpu.refinement", "").split("+")
    return {**_REMEDIES, "clamping": "refinement without scales" if scaled else "more samples"}


def _chain(view: ModelView, node: onnx.NodeProto | None, own: dict[str, OwnError]) -> list[onnx.NodeProto]:
    """The nodes between a quantised tensor and the quantised tensors before it, its producer first."""
    found, todo = [], [node] if node is not None else []
    while todo:
        at = todo.pop()
        found.append(at)
        todo += [
            view.producers[n] for n in at.input if n in view.producers and n not in own and n not in view.constants
        ]
    return found


def _weight_errors(view: ModelView, qdq: onnx.ModelProto) -> dict[str, float]:
    """By node: signal over noise of its weights, in dB."""
    constants = {t.name: t for t in qdq.graph.initializer}
    dequantisers = {n.output[0]: n for n in qdq.graph.node if n.op_type == "DequantizeLinear"}
    result = {}
    for node in qdq.graph.node:
        source = dequantisers.get(node.input[1]) if len(node.input) > 1 else None
        original = next((n for n in view.producers.values() if n.name == node.name), None)
        if source is None or original is None or not view.weighted(original) or source.input[0] not in constants:
            continue
        q, scale = (numpy_helper.to_array(constants[n]).astype(np.float64) for n in source.input[:2])
        weight = view.constants[original.input[1]].astype(np.float64)
        shape = [1] * weight.ndim
        shape[channel_axis(original)] = -1
        error = q * scale.reshape(shape) - weight
        result[node.name] = decibels(float((weight**2).sum()), float((error**2).sum()))
    return result


def finite(value: Any) -> Any:
    """A structure for JSON: floats that are not finite become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
