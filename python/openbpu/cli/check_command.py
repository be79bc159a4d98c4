"""openbpu check."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu.cli import options
from openbpu.files import write_file


@click.command("check")
@click.argument("model", type=click.Path(path_type=Path))
@options.march
@options.input_shape
@options.run_on_cpu
@options.run_on_bpu
@options.boundary
@click.option(
    "-o", "--output", "reports", multiple=True, type=click.Path(path_type=Path), help=".json or .html; repeatable."
)
@click.option("--save-model", type=click.Path(path_type=Path), help="Write the model as it was cut.")
@click.option("--all", "show_all", is_flag=True, help="Show nodes without an operator of their own too.")
@options.json_output
def command(
    model: Path,
    march: str,
    input_shapes: dict[str, tuple[int, ...]],
    run_on_cpu: tuple[str, ...],
    run_on_bpu: tuple[str, ...],
    output_nodes: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    remove_node_name: tuple[str, ...],
    reports: tuple[Path, ...],
    save_model: Path | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Show where each node of the float or quantised ONNX file MODEL would run, and why.

    \b
    Example:
      openbpu check net.onnx -o placement.html
      openbpu check net.onnx --output-nodes head_0 --remove-node-type Transpose --save-model cut.onnx
    """
    from openbpu import pipeline

    changed = options.changed(model, output_nodes, remove_node_type, remove_node_name)
    if save_model is not None:
        proto = pipeline.remove_boundary_nodes(changed)
        write_file(save_model, proto.SerializeToString(deterministic=True))
    report = pipeline.check(
        changed, march=march, input_shapes=input_shapes, run_on_cpu=run_on_cpu, run_on_bpu=run_on_bpu
    )
    for path in reports:
        report.save(path)
    if as_json:
        click.echo(report.to_json())
        return
    table = options.table(str(model), "node", "operator", "runs on", "why", "what would move it to the BPU")
    for decision in report.decisions:
        if decision.where != "none" or show_all:
            style = "yellow" if decision.where == "CPU" else None
            table.add_row(*(decision.node, decision.op, decision.where, decision.reason, decision.remedy), style=style)
    options.console.print(table)
    options.console.print(report.line, highlight=False)
