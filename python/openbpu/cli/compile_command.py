"""openbpu compile."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Executable; default: MODEL with .bpux.")
@options.march
@options.camera_inputs
@options.input_shape
@options.run_on_cpu
@options.run_on_bpu
@options.boundary
@options.scheduling
@options.advice
@options.json_output
def command(
    model: Path,
    output: Path | None,
    march: str,
    inputs: dict[str, Any],
    input_shapes: dict[str, tuple[int, ...]],
    run_on_cpu: tuple[str, ...],
    run_on_bpu: tuple[str, ...],
    output_nodes: tuple[str, ...],
    remove_node_type: tuple[str, ...],
    remove_node_name: tuple[str, ...],
    optimize_level: str,
    compile_mode: str,
    balance_factor: int | None,
    max_time_per_fc: int,
    core_num: int,
    cache_mode: str,
    cache_path: str,
    advice: float | None,
    as_json: bool,
) -> None:
    """Compile the quantised (QDQ) ONNX file MODEL to a .bpux executable; what is not quantised runs on the CPU.

    \b
    Example:
      openbpu compile net.qdq.onnx -o net.bpux --march nash-e
    """
    from openbpu import pipeline

    output = output or model.with_suffix(".bpux")
    with options.console.status(f"compiling {model} for {march}"):
        executable = pipeline.compile(
            options.changed(model, output_nodes, remove_node_type, remove_node_name),
            march=march,
            inputs=inputs,
            input_shapes=input_shapes,
            run_on_cpu=run_on_cpu,
            run_on_bpu=run_on_bpu,
            optimize_level=optimize_level,
            compile_mode=compile_mode,
            balance_factor=balance_factor,
            max_time_per_fc=max_time_per_fc,
            core_num=core_num,
            cache_mode=cache_mode,
            cache_path=cache_path,
        )
    executable.save(output)
    summary = executable.summary()
    report = None if advice is None else pipeline.estimate(executable)
    if as_json:
        data = {"output": str(output), "march": march, "split": executable.meta.get("split", {}), **summary}
        if report is not None and advice is not None:
            data["advice"] = [dataclasses.asdict(item) for item in report.advice(advice)]
        click.echo(json.dumps(data, indent=2))
        return
    entry = summary["entries"][0]
    options.console.print(
        f"wrote {output} ({output.stat().st_size:,} bytes): {entry['instructions']} instructions, "
        f"{entry['macs']:,} MACs, {entry['ddr_bytes']:,} bytes of activations",
        highlight=False,
    )
    options.print_split(executable.meta)
    if report is not None and advice is not None:
        options.print_advice(report, advice)
