"""openbpu build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openbpu.cli import options
from openbpu.cli.quantiser import quantiser
from openbpu.files import check_writable


@click.command("build")
@click.argument("model", type=click.Path(path_type=Path))
@quantiser
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Executable; default: MODEL with .bpux.")
@options.march
@options.camera_inputs
@options.reports
@options.fail_under
def command(
    model: Path,
    sources: tuple[str, ...],
    output: Path | None,
    reports: tuple[Path, ...],
    fail_under: float | None,
    **choices: Any,
) -> None:
    """Quantise the float ONNX file MODEL and compile it in one go; says what was lost where.

    \b
    Example:
      openbpu build net.onnx --samples calibration/ -o net.bpux --report accuracy.html --fail-under 0.99
    """
    from openbpu import pipeline

    output = output or model.with_suffix(".bpux")
    for path in (output, *reports):
        check_writable(path)  # said before the long work
    samples = options.samples_of(sources, choices["preprocess"])
    measured: list[Any] = []
    sensitivity = options.SENSITIVITY if reports else 0
    with options.progress() as progress:
        executable = pipeline.build(
            model, samples, **choices, on_accuracy=measured.append, sensitivity=sensitivity, progress=progress
        )
    executable.save(output)
    options.console.print(f"wrote {output} ({output.stat().st_size:,} bytes)", highlight=False)
    options.print_split(executable.meta)
    options.finish_accuracy(measured[0], reports, fail_under)
