"""openbpu compile."""

from __future__ import annotations

import json
from pathlib import Path

import click

from openbpu.cli import options


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Executable; default: MODEL with .bpux.")
@options.march
@options.json_output
def command(model: Path, output: Path | None, march: str, as_json: bool) -> None:
    """Compile the quantised (QDQ) ONNX file MODEL to a .bpux executable.

    \b
    Example:
      openbpu compile net.qdq.onnx -o net.bpux --march nash-e
    """
    from openbpu import pipeline

    output = output or model.with_suffix(".bpux")
    with options.console.status(f"compiling {model} for {march}"):
        executable = pipeline.compile(model, march=march)
    executable.save(output)
    summary = executable.summary()
    if as_json:
        click.echo(json.dumps({"output": str(output), "march": march, **summary}, indent=2))
        return
    entry = summary["entries"][0]
    options.console.print(
        f"wrote {output} ({output.stat().st_size:,} bytes): {entry['instructions']} instructions, "
        f"{entry['macs']:,} MACs, {entry['ddr_bytes']:,} bytes of activations",
        highlight=False,
    )
