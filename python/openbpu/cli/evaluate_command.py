"""openbpu evaluate."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options
from openbpu.files import check_writable


@click.command("evaluate")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--samples", type=click.Path(path_type=Path), help="Folder with a folder per class, or with --labels.")
@click.option("--labels", type=click.Path(path_type=Path), help="CSV table with the columns file and label.")
@click.option("--loader", metavar="MODULE:FUNCTION", help="f() -> iterable of (sample, label), in place of --samples.")
@click.option("--metric", default="top1", show_default=True, help="top1, top5, or MODULE:FUNCTION.")
@options.preprocess
@options.input_shape
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The result as .json.")
@click.option("--fail-under", type=float, metavar="VALUE", help="Exit with code 3 if a model is below.")
@options.json_output
def command(
    models: tuple[Path, ...],
    samples: Path | None,
    labels: Path | None,
    loader: str | None,
    metric: str,
    preprocess: Any,
    input_shapes: dict[str, tuple[int, ...]],
    jobs: int,
    confidence: float,
    output: Path | None,
    fail_under: float | None,
    as_json: bool,
) -> None:
    """Run float models, QDQ models and executables over labelled samples; the first one is what the rest compares to.

    \b
    Example:
      openbpu evaluate net.onnx net.qdq.onnx net.bpux --samples test/ --labels labels.csv --preprocess imagenet.json
      openbpu evaluate net.onnx net.bpux --loader my_data:test_set --metric my_data:mean_ap --jobs 4
    """
    from openbpu import pipeline
    from openbpu.evaluation.metrics import called

    if (samples is None) == (loader is None):
        raise click.UsageError("give --samples or --loader")
    if loader is not None and labels is not None:
        raise click.UsageError("--labels belongs to --samples")
    if output is not None:
        check_writable(output)  # said before the long work
    data: Any = samples if loader is None else called(loader)
    with ExitStack() as stack:
        executor = None
        if jobs > 1:
            executor = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        progress = stack.enter_context(options.progress())
        report = pipeline.evaluate(
            models,
            data,
            metric=metric,
            labels=labels,
            preprocess=preprocess,
            input_shapes=input_shapes,
            confidence=confidence,
            executor=executor,
            progress=progress,
        )
    if output is not None:
        report.save(output)
    if as_json:
        click.echo(report.to_json())
    else:
        titles = ("model", f">{report.metric}", ">difference", ">agrees", ">cosine", ">ms")
        table = options.table("evaluation", *titles)
        for row in report.rows:
            table.add_row(*report.cells(row))
        options.console.print(table)
        options.console.print(report.note, highlight=False)
    below = [row.model for row in report.rows if fail_under is not None and row.value < fail_under]
    if below:
        click.echo(f"openbpu: below --fail-under {fail_under:g}: {', '.join(below)}", err=True)
        raise click.exceptions.Exit(options.BELOW)
