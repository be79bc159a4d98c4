"""The accuracy report of a prepared model: that of `openbpu accuracy`, with what training knows besides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from os import PathLike
from typing import Any

from torch import fx, nn

from openbpu.analyze.accuracy import AccuracyReport, LayerError, Section, assembled, layer_error
from openbpu.analyze.difference import ChannelBoxes, Difference, OwnError
from openbpu.analyze.studies import NodeSensitivity
from openbpu.files import write_file
from openbpu.ir.quant import QuantParams
from openbpu.qat import debugging
from openbpu.qat.kinds import name_of
from openbpu.qat.laws import Law
from openbpu.qat.preparing import Row, preparation
from openbpu.qat.quantisers import Quantiser, Site
from openbpu.qat.states import State
from openbpu.qat.switching import each, sites
from openbpu.qat.verification import Comparison, Verification
from openbpu.qat.weighted import Weighted

_REMEDIES = {
    "clamping": 'observer="minmax", or a threshold for this tensor',
    "rounding": "int16 for this tensor, or training",
    "weights": 'training, or weight_scale="mse" or "learned"',
    "": "",
}


def accuracy(model: nn.Module, samples: Iterable[Any], sensitivity: Sequence[debugging.Loss] = ()) -> AccuracyReport:
    """How far each quantised tensor and each output is from the float model, why, and what would help.

    `sensitivity` is what the function of that name gave. Raises ConfigError if the model was not calibrated,
    SampleError if there is no sample.
    """
    found = debugging.needs_calibration(model, samples)
    own = {name: OwnError(_params(site.quantiser)) for name, site in sites(model).items()}
    boxes = {name: ChannelBoxes() for name in own}
    differences: dict[str, Difference] = {name: Difference() for name in own}
    outputs: dict[str, Difference] = {}
    count = 0
    for sample in found:
        floats, float_outputs = debugging.run(model, sample, State.FLOAT)
        tensors, results = debugging.run(model, sample, State.VALIDATION)
        for name in floats:
            x, y = (found[name].cpu().numpy() for found in (floats, tensors))
            differences[name].add(x, y)
            own[name].add(x, y)
            boxes[name].add(x)
        count += len(float_outputs[0]) if float_outputs and float_outputs[0].dim() else 1
        for index, (real, result) in enumerate(zip(float_outputs, results, strict=True)):
            outputs.setdefault(f"output {index}", Difference()).add(real.cpu().numpy(), result.cpu().numpy())
    return assembled(
        type(model).__name__.removeprefix("Prepared"),
        count,
        outputs,
        _layers(model, differences, own),
        own,
        boxes,
        (NodeSensitivity(loss.name, loss.part, loss.cosine, loss.sqnr, {}) for loss in sensitivity),
    )


def report(
    model: nn.Module, samples: Iterable[Any], path: str | PathLike[str], verification: Verification | None = None
) -> None:
    """Writes the accuracy report to `path`: JSON, or one page if the name ends in .html.

    The page also has findings, sensitivity, weights, ranges, what `prepare` did, and what `verify` found if that is
    given. Raises as `accuracy`, and OpenBpuError naming a path that cannot be written.
    """
    found = list(each(samples))
    losses = debugging.sensitivity(model, found)
    result = accuracy(model, found, losses)
    if not str(path).endswith((".html", ".htm")):
        result.save(path)
        return
    write_file(path, result.to_html(_sections(model, found, losses, verification)).encode())


def _params(quantiser: Quantiser) -> QuantParams:
    scale = float(quantiser.positive_scale().detach())
    return QuantParams.per_tensor(scale, int(quantiser.zero_point), quantiser.grid.name)


# ---- layers


def _layers(model: nn.Module, differences: dict[str, Difference], own: dict[str, OwnError]) -> list[LayerError]:
    weights = {row.name: row.sqnr for row in debugging.compare_weights(model)}
    layers = []
    for node in model.graph.nodes:
        site = _module(model, node)
        if not isinstance(site, Site):
            continue
        chain, sources = _before(model, node)
        makers = [m for m in (_module(model, n) for n in chain) if isinstance(m, Weighted)]
        layers.append(
            layer_error(
                site.name,
                makers[0].name if makers else "",
                makers[0].product.kind if makers else _operator(model, chain),
                differences[site.name],
                own[site.name],
                min((weights[m.name] for m in makers if m.name in weights), default=math.inf),
                min((differences[name].sqnr for name in sources), default=math.inf),
                _REMEDIES,
            )
        )
    return layers


def _module(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def _operator(model: nn.Module, chain: Sequence[fx.Node]) -> str:
    """The last operator before a site."""
    return next((name_of(node, model) for node in chain if node.op.startswith("call")), "input")


def _before(model: nn.Module, site: fx.Node) -> tuple[list[fx.Node], set[str]]:
    """The nodes between a site and the sites before it, the nearest first, and the names of those."""
    chain: dict[fx.Node, None] = {}
    sources: set[str] = set()
    todo = list(site.all_input_nodes)
    while todo:
        node = todo.pop(0)
        module = _module(model, node)
        if isinstance(module, Site):
            sources.add(module.name)
        elif node not in chain:
            if not isinstance(module, Law):
                chain[node] = None
            todo += node.all_input_nodes
    return list(chain), sources


# ---- what the page has besides


def _sections(
    model: nn.Module, samples: list[Any], losses: Sequence[debugging.Loss], verification: Verification | None
) -> list[Section]:
    sections = []
    if verification is not None:
        verdict = f"The executable {'equals' if verification.ok else 'does not equal'} the trained model."
        sections = [
            _compared("PyTorch against the executable: outputs", verdict, verification.outputs),
            _compared("PyTorch against the executable: layers", "", verification.layers),
        ]
    tables: tuple[tuple[str, str, type[Any], Sequence[Any]], ...] = (
        ("Findings", "Legal, and probably not meant.", debugging.Finding, debugging.findings(model)),
        ("Sensitivity of all tensors", "Signal over noise of the outputs, in dB, if this one alone is quantised.",
         debugging.Loss, losses),
        ("Weights", "Folded weights against their integers.", debugging.Similarity, debugging.compare_weights(model)),
        ("Ranges", "Values in float, and the share beyond the range.", debugging.Statistics,
         debugging.statistics(model, samples)),
        ("What was done", "One row for each operator.", Row, preparation(model).rows),
    )  # fmt: skip
    for title, text, kind, rows in tables:
        columns = [field.name for field in fields(kind)]
        sections.append(Section(title, text, columns, [list(asdict(row).values()) for row in rows]))
    return sections


def _compared(title: str, text: str, rows: Sequence[Comparison]) -> Section:
    columns = (
        "name", "elements", "equal %", "within a step %", "largest, steps", "same maximum %", "ONNX Runtime, steps"
    )  # fmt: skip
    cells = []
    for row in rows:
        d = row.executable
        shares = [100 * a / max(b, 1) for a, b in ((d.equal, d.elements), (d.within, d.elements), (d.agreeing, d.rows))]
        cells.append([row.name, d.elements, shares[0], shares[1], d.largest, shares[2], row.onnxruntime.largest])
    return Section(title, f"{text} In steps of the grid of each tensor.".strip(), columns, cells)
