"""openbpu quantize."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options
from openbpu.files import write_file

_MEASURED = 32  # samples on which the accuracy is measured


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@options.samples
@click.option("-o", "--output", type=click.Path(path_type=Path), help="QDQ model; default: MODEL with .qdq.onnx.")
@options.preprocess
@options.calibration
@click.option("--symmetric", is_flag=True, help="Make every zero point 0.")
@options.input_shape
@options.run_on_cpu
@options.run_on_bpu
@options.node_types
@options.boundary
@options.reports
@options.fail_under
def command(
    model: Path,
    sources: tuple[str, ...],
    output: Path | None,
    preprocess: Any,
    calibration: str,
    symmetric: bool,
    input_shapes: dict[str, tuple[int, ...]],
    run_on_cpu: tuple[str, ...],
    run_on_bpu: tuple[str, ...],
    node_types: dict[str, str],
    all_nodes_type: str,
    output_nodes: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    remove_node_name: tuple[str, ...],
    reports: tuple[Path, ...],
    fail_under: float | None,
) -> None:
    """Quantise the float ONNX file MODEL to int8 or int16, write a QDQ ONNX model, and say what was lost where.

    \b
    Example:
      openbpu quantize net.onnx --samples calibration/ -o net.qdq.onnx --report accuracy.html
    """
    from openbpu import pipeline
    from openbpu.samples import SampleFiles

    output = output or model.with_suffix(".qdq.onnx")
    changed = options.changed(model, output_nodes, remove_node_type, remove_node_name)
    samples: Any = options.photographs(sources, preprocess) or SampleFiles(sources)
    with options.progress() as progress:
        qdq = pipeline.quantize(
            changed,
            samples,
            calibration=calibration,
            symmetric=symmetric,
            input_shapes=input_shapes,
            preprocess=preprocess,
            run_on_cpu=run_on_cpu,
            run_on_bpu=run_on_bpu,
            node_types=node_types,
            all_nodes_type=all_nodes_type,
            progress=progress,
        )
        accuracy = pipeline.accuracy(
            changed, qdq, islice(samples, _MEASURED), input_shapes=input_shapes, progress=progress
        )
    write_file(output, qdq.SerializeToString(deterministic=True))
    options.console.print(f"wrote {output} ({output.stat().st_size:,} bytes)", highlight=False)
    options.finish_accuracy(accuracy, reports, fail_under)
