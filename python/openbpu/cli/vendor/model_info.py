"""hb_model_info."""

from __future__ import annotations

import json
from pathlib import Path

import click

from openbpu import __version__
from openbpu.cli import options
from openbpu.cli.vendor.tables import show_table

_FOLDER = Path(".hb_model_info")


@click.command("hb_model_info", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-n", "--name", default="", help="One model of a file with several.")
@click.option("-v", "--visualize", is_flag=True, help="Also draw its layers or nodes, as one HTML page.")
@click.version_option(__version__, "--version", prog_name="openbpu, hb_model_info")
def command(model: Path, name: str, visualize: bool) -> None:
    """Show what MODEL (.bpux, or an ONNX file of any stage) says of itself, and write it into .hb_model_info/.

    Versions, the configuration that made it, inputs and outputs, nodes that can be taken off (ONNX), memory (.bpux).

    \b
    Example:
      hb_model_info model_output/net.bpux
    """
    from openbpu.files import write_file
    from openbpu.workflow.information import describe

    found = describe(model, name)
    show_table(found.name, ("version of", "version"), found.versions.items())
    for group, keys in found.configuration.items():
        if keys:
            show_table(group, ("key", "value"), ((k, json.dumps(v)) for k, v in keys.items()))
    rows = ((p.name, p.type, p.shape, p.data_type) for p in found.ports)
    show_table("inputs and outputs", ("NAME", "TYPE", "SHAPE", "DATA_TYPE"), rows)
    if found.removable:
        show_table("nodes that can be taken off", ("node", "type"), found.removable)
    if found.memory:
        show_table("memory", ("kind", "bytes"), ((kind, f"{size:,}") for kind, size in found.memory.items()))
    if len(found.graphs) > 1:
        options.console.print(f"models in the file: {', '.join(found.graphs)}", highlight=False)
    target = _FOLDER / f"{model.stem}.json"
    write_file(target, json.dumps(found.to_dict(), indent=2).encode())
    options.console.print(f"wrote {target}", highlight=False)
    if visualize:
        from openbpu.artefacts import page

        drawing = target.with_suffix(".html")
        write_file(drawing, page.visualize(model, name).encode())
        options.console.print(f"wrote {drawing}", highlight=False)
