"""openbpu accuracy."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu.cli import options
from openbpu.files import check_writable


@click.command("accuracy")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("qdq", type=click.Path(path_type=Path))
@options.samples
@options.input_shape
@options.reports
@options.fail_under
@options.json_output
def command(
    model: Path,
    qdq: Path,
    sources: tuple[str, ...],
    input_shapes: dict[str, tuple[int, ...]],
    reports: tuple[Path, ...],
    fail_under: float | None,
    as_json: bool,
) -> None:
    """Compare the float ONNX file MODEL with its quantised form QDQ on samples: outputs, layers, causes, remedies.

    \b
    Example:
      openbpu accuracy net.onnx net.qdq.onnx --samples test/ --report accuracy.html --fail-under 0.99
    """
    from openbpu import pipeline

    for path in reports:
        check_writable(path)  # said before the long work
    with options.progress() as progress:
        report = pipeline.accuracy(
            model,
            qdq,
            options.samples_of(sources, options.RECORDED),
            input_shapes=input_shapes,
            sensitivity=options.SENSITIVITY if reports else 0,
            progress=progress,
        )
    options.finish_accuracy(report, reports, fail_under, as_json)
