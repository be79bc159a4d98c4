"""openbpu quantize."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options, targets
from openbpu.cli.quantiser import quantiser
from openbpu.files import check_writable, write_file


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@quantiser
@click.option("-o", "--output", type=click.Path(path_type=Path), help="QDQ model; default: MODEL with .qdq.onnx.")
@options.boundary
@targets.target
@options.reports
@options.fail_under
def command(
    model: Path,
    sources: tuple[str, ...],
    output: Path | None,
    output_nodes: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    remove_node_name: tuple[str, ...],
    target_cosine: float | None,
    target_sqnr: float | None,
    target_recovery: float | None,
    metric: str | None,
    target: float | None,
    evaluation: tuple[str, ...],
    search_report: Path | None,
    cost: str,
    max_macs: float | None,
    reports: tuple[Path, ...],
    fail_under: float | None,
    **choices: Any,
) -> None:
    """Quantise the float ONNX file MODEL to int8 or int16, write a QDQ ONNX model, and say what was lost where.

    \b
    Example:
      openbpu quantize net.onnx --samples calibration/ -o net.qdq.onnx --report accuracy.html
      openbpu quantize net.onnx --samples calibration/ --evaluation test/ --target-cosine 0.99
    """
    from openbpu import pipeline

    goal = targets.goal(metric, target, max_macs, cosine=target_cosine, sqnr=target_sqnr, recovery=target_recovery)
    if goal is None and (evaluation or search_report):
        raise click.UsageError("--evaluation and --search-report need a target or --max-macs")
    output = output or model.with_suffix(".qdq.onnx")
    if output.exists() and model.exists() and output.samefile(model):
        raise click.UsageError(f"the output {output} would replace the float model: give another name with -o")
    for path in (output, *reports, *([search_report] if search_report else [])):
        check_writable(path)  # said before the long work
    changed = options.changed(model, output_nodes, remove_node_type, remove_node_name)
    samples = options.samples_of(sources, choices["preprocess"])
    with options.progress() as progress:
        if goal is None:
            found = None
            qdq = pipeline.quantize(changed, samples, **choices, progress=progress)
        else:
            metric, value = goal
            test: Any = None
            if evaluation:
                test = options.samples_of(evaluation, choices["preprocess"])
            limit = 1.0 if max_macs is None else max_macs
            goals: dict[str, Any] = {"metric": metric, "target": value, "max_macs": limit, "cost": cost}
            found = pipeline.search(changed, samples, **goals, evaluation=test, **choices, progress=progress)
            qdq = found.model
        accuracy = pipeline.accuracy(
            *(changed, qdq, islice(samples, pipeline.MEASURED)),
            input_shapes=choices["input_shapes"],
            sensitivity=options.SENSITIVITY if reports else 0,
            progress=progress,
        )
    write_file(output, qdq.SerializeToString(deterministic=True))
    options.console.print(f"wrote {output} ({output.stat().st_size:,} bytes)", highlight=False)
    if found is not None:
        targets.print_search(found)
        if search_report is not None:
            found.save(search_report)
    options.finish_accuracy(accuracy, reports, fail_under)
    if found is not None:
        targets.finish(found)
