"""openbpu verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbpu.cli import options

if TYPE_CHECKING:
    from openbpu.artefacts.verify import VerifyReport


@click.command("verify")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--input",
    "sources",
    metavar="[NAME=]FILE",
    multiple=True,
    help=".npy, .npz, .bin, image or folder; repeatable.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random inputs, if no --input is given."
)
@click.option("--samples", "count", type=click.IntRange(min=1), default=1, show_default=True, help="Random inputs.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "cosine", "consistency"]),
    default="auto",
    show_default=True,
    help="auto: consistency between float models and between programs.",
)
@click.option(
    "--against",
    type=click.Choice(["first", "previous"]),
    default="first",
    show_default=True,
    help="What each file is compared with.",
)
@click.option("--digits", type=click.IntRange(0, 15), default=5, show_default=True, help="That are equal: consistency.")
@click.option("--exact", is_flag=True, help="Consistency means the same bits.")
@click.option("--fail-under", type=click.FloatRange(-1, 1), metavar="COSINE", help="Exit code 3 if one is below.")
@options.entry
@options.json_output
def command(
    models: tuple[Path, ...],
    sources: tuple[str, ...],
    seed: int,
    count: int,
    mode: str,
    against: str,
    digits: int,
    exact: bool,
    fail_under: float | None,
    entry: str,
    as_json: bool,
) -> None:
    """Run the files of a build (ONNX of any stage, .bpux) on the same inputs, and compare their outputs.

    Exit code 3: values differ where they must be consistent, or a cosine is below --fail-under.

    \b
    Example:
      openbpu verify net.onnx net.qdq.onnx net.bpux --input x.npy --fail-under 0.9
    """
    from openbpu import pipeline

    if len(models) < 2:
        raise click.UsageError("give two files or more to compare.")
    with options.progress() as progress:
        report = pipeline.verify(
            models,
            sources=sources,
            mode=mode,
            against=against,
            digits=None if exact else digits,
            fail_under=fail_under,
            entry=entry,
            seed=seed,
            count=count,
            progress=progress,
        )
    if as_json:
        click.echo(report.to_json())
    else:
        show(report)
    finish(report)


def show(report: VerifyReport) -> None:
    """The table, and what the inputs were."""
    first = report.rows[0].reference if len({row.reference for row in report.rows}) == 1 else ""
    title = f"outputs against {first}" if first else "outputs, each against those of the file before"
    table = options.table(title, "stage", "output", "shape", ">cosine", ">largest", ">steps", ">equal", "result")
    for row in report.rows:
        table.add_row(
            Path(row.stage).name,
            row.output,
            "x".join(map(str, row.shape)),
            f"{row.cosine:.6f}",
            f"{row.largest:.6g}",
            f"{row.steps:.2f}" if row.steps is not None else "",
            f"{100 * row.equal:.1f} %",
            row.verdict,
        )
    options.console.print(table)
    kind = f"random, seed {report.seed}" if report.seed is not None else "from files"
    options.console.print(f"{options.counted(report.samples, 'input')}: {kind}", highlight=False)
    if report.note:
        options.console.print(report.note, highlight=False)


def finish(report: VerifyReport) -> None:
    """Exits with BELOW if a row is not as it must be."""
    if report.ok:
        return
    bad = [f"{row.stage}, output {row.output}" for row in report.rows if not row.ok]
    click.echo(f"openbpu: not as wanted: {'; '.join(bad)}", err=True)
    raise click.exceptions.Exit(options.BELOW)
