"""openbpu link."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu.cli import options


@click.command("link")
@click.argument("files", metavar="[NAME=]FILE...", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The executable to write.")
def command(files: tuple[str, ...], output: Path) -> None:
    """Join .bpux files to one that holds all their models, each under a NAME; equal constants are stored once.

    \b
    Example:
      openbpu link classify=net.bpux detect=other.bpux -o both.bpux
      openbpu run both.bpux --entry detect --input x.npy
    """
    from openbpu import pipeline
    from openbpu.runtime import Executable

    parts = []
    for file in files:
        name, _, path = file.rpartition("=")
        executable = Executable.load(path)
        parts.append((name or executable.entries[0], executable))
    linked = pipeline.link(parts)
    linked.save(output)
    options.console.print(f"wrote {output} ({linked.size:,} bytes): {', '.join(linked.entries)}", highlight=False)
