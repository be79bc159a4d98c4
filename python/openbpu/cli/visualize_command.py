"""openbpu visualize."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu.cli import options


@click.command("visualize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Page to write; default: MODEL's name, .html.")
@click.option("--netron", is_flag=True, help="Serve an ONNX file with the package netron instead; Ctrl-C ends it.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of --netron.")
@options.entry
def command(model: Path, output: Path | None, netron: bool, port: int, entry: str) -> None:
    """Draw the layers of a .bpux file, or the nodes of an ONNX file, as one HTML page that needs no other file.

    \b
    Example:
      openbpu visualize net.bpux -o graph.html
    """
    from openbpu.artefacts.page import visualize
    from openbpu.files import write_file

    if netron:
        _serve(model, port)
        return
    output = output or model.with_name(f"{model.name}.html")
    write_file(output, visualize(model, entry).encode())
    options.console.print(f"wrote {output}", highlight=False)


def _serve(model: Path, port: int) -> None:
    import importlib

    from openbpu.errors import ConfigError, ModelError

    if model.suffix != ".onnx" or not model.is_file():
        raise ModelError("Netron shows ONNX files", where=str(model), seen=model.suffix, remedy="leave --netron out")
    try:
        server = importlib.import_module("netron")
    except ImportError as error:
        rule = "the package netron must be installed"
        raise ConfigError(
            rule, where="--netron", seen=error, remedy="pip install netron, or leave --netron out"
        ) from error
    server.start(str(model), address=("localhost", port), browse=False)
    options.console.print(f"http://localhost:{port} shows {model}; Ctrl-C ends it", highlight=False)
    server.wait()
