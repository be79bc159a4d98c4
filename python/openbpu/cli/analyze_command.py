"""openbpu analyze: the studies of the vendor's debugger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options
from openbpu.files import check_writable

_METRICS = ("cosine-similarity", "mse", "mre", "sqnr", "chebyshev")
_SHOWN = 20  # nodes of a table, unless all are asked for


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every study is given; `_debugger` reads it."""
    for option in (
        click.option(
            *("-s", "--saved-path", "folder"),
            default=Path("debug_result"),
            show_default=True,
            type=click.Path(path_type=Path),
            help="Folder of the files.",
        ),
        click.option("-d", "--data-num", type=click.IntRange(min=1), default=4, show_default=True, help="Samples."),
        options.input_shape,
        options.samples,
        click.argument("qdq", type=click.Path(path_type=Path)),
        click.argument("model", type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


_metric = click.option(
    "-m", "--metric", type=click.Choice(_METRICS), default=_METRICS[0], show_default=True, help="Of the outputs."
)
_nodes = click.option("-n", "--nodes", multiple=True, help="Node; repeatable. Default: the most sensitive ones.")
_threshold = click.option(
    "-p", "--pick-threshold", type=float, default=0.999, show_default=True, help="Nodes with a cosine below are picked."
)


@contextmanager
def _debugger(given: dict[str, Any]) -> Iterator[Any]:
    """The debugger with a progress bar."""
    from openbpu.debugger import Debugger

    check_writable(given["folder"] / "report.html")  # said before the long work
    samples = options.samples_of(given["sources"], options.RECORDED)
    with options.progress() as progress:
        yield Debugger(
            given["model"],
            given["qdq"],
            samples,
            count=given["data_num"],
            input_shapes=given["input_shapes"],
            progress=progress,
        )


@click.group("analyze")
def command() -> None:
    """Find out where a quantised model (QDQ) loses against its float MODEL; each study writes JSON and plots.

    \b
    Example:
      openbpu analyze runall net.onnx net.qdq.onnx --samples test/ -s debug_result
      openbpu analyze get-sensitivity-of-nodes net.onnx net.qdq.onnx --samples test/ -m sqnr
    """


@command.command("get-sensitivity-of-nodes")
@_common
@_metric
@click.option("-o", "--output-node", "outputs", multiple=True, help="Output of interest; repeatable.")
@click.option("-n", "--node-type", "kind", type=click.Choice(["node", "weight", "activation"]), default="node")
@click.option("-i", "--interested-nodes", "nodes", multiple=True, help="Only these nodes; repeatable.")
@click.option("-v", "--verbose", is_flag=True, help="Print all nodes, not the worst 20 alone.")
@options.json_output
def _sensitivity(metric: str, kind: str, verbose: bool, as_json: bool, **given: Any) -> None:
    """What the outputs lose if one node at a time is quantised."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        found = debugger.sensitivity(kind, metric, given["outputs"], given["nodes"])
    paths = study_files.save_sensitivity(given["folder"], kind, metric, found)
    if as_json:
        click.echo(json.dumps({x.node: x.scores for x in found}, indent=2))
        return
    table = options.table(f"{kind}s quantised alone", "node", "operator", *(f">{m}" for m in _METRICS))
    for x in found if verbose else found[:_SHOWN]:
        table.add_row(x.node, x.op, *(f"{x.scores[m]:.6g}" for m in _METRICS))
    options.console.print(table)
    _say(paths)


@command.command("plot-acc-error")
@_common
@_metric
@click.option("-q", "--quantize-node", "only", multiple=True, help="A curve with this node alone quantised.")
@click.option("-nq", "--non-quantize-node", "but", multiple=True, help="A curve with all but this node.")
@click.option("-a", "--average", is_flag=True, help="Print the mean over the operators too.")
def _accumulated(metric: str, average: bool, **given: Any) -> None:
    """How the error accumulates from operator to operator, of all and of partial quantisation."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        found = debugger.accumulated(metric, given["only"], given["but"])
    paths = study_files.save_curves(given["folder"], "accumulated_error", metric, found)
    _print_curves(found, average)
    _say(paths)


@command.command("plot-distribution")
@_common
@_nodes
def _distribution(**given: Any) -> None:
    """Histograms of inputs, outputs and weights, float against quantised, with the quantised range."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        found = debugger.distributions(given["nodes"])
    _say(study_files.save_distributions(given["folder"], found))


@command.command("get-channelwise-data-distribution")
@_common
@_nodes
@click.option("-a", "--axis", type=int, help="Axis of the channels; default: 1 of images, else the last.")
def _channels(axis: int | None, **given: Any) -> None:
    """Box plots per channel of inputs, outputs and weights."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        found = debugger.distributions(given["nodes"], axis)
    _say(study_files.save_channels(given["folder"], found))


@command.command("sensitivity-analysis")
@_common
@_metric
@_threshold
@click.option("-sn", "--sensitive-nodes", "nodes", multiple=True, help="Pick these instead; repeatable.")
def _lifting(metric: str, pick_threshold: float, **given: Any) -> None:
    """What the outputs gain when the most sensitive nodes stay float, one more after the other."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        found = debugger.lifting(metric, pick_threshold, given["nodes"])
    paths = study_files.save_lifting(given["folder"], metric, pick_threshold, found)
    _print_curves(found)
    _say(paths)


@command.command("tensor-analysis")
@_common
def _tensors(**given: Any) -> None:
    """Extremes, scale, clamped share and errors of every quantised tensor."""
    from openbpu.analyze import study_files

    with _debugger(given) as debugger:
        report = debugger.report()
    _say(study_files.save_tensors(given["folder"], report))


@command.command("runall")
@_common
@_metric
@_threshold
def _all(metric: str, pick_threshold: float, **given: Any) -> None:
    """Every study, distributions for the five most sensitive nodes, and the report as report.html."""
    with _debugger(given) as debugger:
        paths = debugger.run_all(given["folder"], metric, pick_threshold)
    _say(paths)


def _print_curves(found: Iterable[Any], average: bool = False) -> None:
    for curve in found:
        mean = f"; mean over the operators {sum(curve.scores) / len(curve.scores):.6g}" if average else ""
        ends = ", ".join(f"{name} {value:.6g}" for name, value in curve.outputs.items())
        options.console.print(f"{curve.title}: {ends}{mean}", highlight=False)


def _say(paths: list[Path]) -> None:
    options.console.print(f"wrote {', '.join(map(str, paths[:2]))}", highlight=False)
    if len(paths) > 2:
        options.console.print(f"and {len(paths) - 2} files more, the last {paths[-1]}", highlight=False)
