"""openbpu perf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbpu.cli import options

if TYPE_CHECKING:
    from openbpu.perf import LayerCost, PerfReport


@click.command("perf")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--march", help="Target profile or .toml file; default: the executable's, else nash-e.")
@click.option(
    "-o", "--output", "outputs", multiple=True, type=click.Path(path_type=Path),
    help="Report as .html, .json or .trace.json (Perfetto); repeatable.",
)  # fmt: skip
@click.option("--sort", type=click.Choice(["time", "order"]), default="time", show_default=True, help="Rows.")
@click.option("--layers", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to print; 0: all.")
@options.entry
@options.advice
@options.input_shape
@options.run_on_cpu
@options.run_on_bpu
@click.option(
    "--remove-node-type",
    type=click.Choice(["Quantize", "Dequantize", "Transpose", "Reshape", "Cast", "Softmax"]),
    multiple=True,
    help="Take nodes of this type off the ends of the quantised model.",
)
@click.option(
    "--optimize-level", type=click.Choice(["O0", "O1", "O2"]), default="O2", show_default=True, help="As in compile."
)
@click.option("--core-num", type=click.IntRange(1, 64), default=1, show_default=True, help="As in compile.")
@options.json_output
def command(
    model: Path,
    march: str | None,
    outputs: tuple[Path, ...],
    sort: str,
    layers: int,
    entry: str,
    advice: float | None,
    input_shapes: dict[str, tuple[int, ...]],
    run_on_cpu: tuple[str, ...],
    run_on_bpu: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    optimize_level: str,
    core_num: int,
    as_json: bool,
) -> None:
    """Estimate what MODEL (.bpux, or ONNX: float or QDQ) takes on the virtual BPU: time, DDR traffic, use of its units.

    A float model is quantised with made-up ranges. Bytes are exact, times are an estimate.

    \b
    Example:
      openbpu perf net.bpux -o perf.html -o perf.json
    """
    from openbpu import pipeline
    from openbpu.perf.report import kind_of

    for output in outputs:
        kind_of(output)  # a wrong name is said before the work
    with options.console.status(f"estimating {model}"):
        report = pipeline.estimate(
            model,
            march=march,
            entry=entry,
            input_shapes=input_shapes,
            run_on_cpu=run_on_cpu,
            run_on_bpu=run_on_bpu,
            remove_node_type=remove_node_type,
            optimize_level=optimize_level,
            core_num=core_num,
        )
    for output in outputs:
        report.save(output)
    if as_json:
        click.echo(report.to_json())
        return
    _print_layers(report, sort, layers)
    if advice is not None:
        options.print_advice(report, advice)
    options.print_estimate(report)
    for output in outputs:
        options.console.print(f"wrote {output}", highlight=False)


def _print_layers(report: PerfReport, sort: str, count: int) -> None:
    rows = sorted(report.layers, key=lambda x: -x.time_us) if sort == "time" else list(report.layers)
    shown = rows[: count or None]
    title = f"{options.counted(len(rows), 'layer')}, {len(shown)} shown; times in us; used: of the MAC array"
    table = options.table(title, "layer", "operator", ">time", ">%", ">units", ">DDR", ">used", ">DDR KB", "bound")
    table.columns[0].min_width = 12
    for column in table.columns[1:]:
        column.no_wrap = True
    for layer in shown:
        table.add_row(*_row(layer, report.latency_us))
    options.console.print(table)


def _row(layer: LayerCost, latency: float) -> tuple[str, ...]:
    return (
        layer.name,
        layer.op,
        f"{layer.time_us:.1f}",
        f"{100 * layer.time_us / latency:.1f}",
        *(f"{time:.1f}" if time else "" for time in (layer.compute_us, layer.load_us + layer.store_us)),
        f"{100 * layer.utilisation:.0f} %" if layer.macs else "",
        f"{(layer.read_bytes + layer.write_bytes) / 1e3:.1f}",
        layer.bound,
    )
