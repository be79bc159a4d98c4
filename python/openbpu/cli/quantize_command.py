"""openbpu quantize."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu.cli import options
from openbpu.files import write_file


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--samples",
    "sources",
    metavar="[INPUT=]PATH",
    multiple=True,
    required=True,
    help="A .npy or .npz file or a folder of them; INPUT=PATH, repeated, for several inputs.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="QDQ model; default: MODEL with .qdq.onnx.")
@options.calibration
@click.option("--symmetric", is_flag=True, help="Make every zero point 0.")
@options.input_shape
@options.run_on_cpu
@options.run_on_bpu
@options.boundary
def command(
    model: Path,
    sources: tuple[str, ...],
    output: Path | None,
    calibration: str,
    symmetric: bool,
    input_shapes: dict[str, tuple[int, ...]],
    run_on_cpu: tuple[str, ...],
    run_on_bpu: tuple[str, ...],
    output_nodes: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    remove_node_name: tuple[str, ...],
) -> None:
    """Quantise the float ONNX file MODEL to int8 and write a QDQ ONNX model.

    \b
    Example:
      openbpu quantize net.onnx --samples calibration/ -o net.qdq.onnx
    """
    from openbpu import pipeline
    from openbpu.samples import SampleFiles

    output = output or model.with_suffix(".qdq.onnx")
    with options.progress() as report:
        qdq = pipeline.quantize(
            options.changed(model, output_nodes, remove_node_type, remove_node_name),
            SampleFiles(sources),
            calibration=calibration,
            symmetric=symmetric,
            input_shapes=input_shapes,
            run_on_cpu=run_on_cpu,
            run_on_bpu=run_on_bpu,
            progress=report,
        )
    write_file(output, qdq.SerializeToString(deterministic=True))
    options.console.print(f"wrote {output} ({output.stat().st_size:,} bytes)", highlight=False)
