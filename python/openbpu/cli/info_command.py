"""openbpu info."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from openbpu.cli import options


@click.command("info")
@click.argument("executable", type=click.Path(path_type=Path))
@click.option("--disassemble", is_flag=True, help="Print the instructions by layer, with estimated cycles.")
@click.option("--march", help="Profile of the estimate: a preset or a .toml file; default: the executable's.")
@options.entry
@options.json_output
def command(executable: Path, disassemble: bool, march: str | None, entry: str, as_json: bool) -> None:
    """Show ports, sizes, layers and instructions of the .bpux file EXECUTABLE.

    \b
    Example:
      openbpu info net.bpux --disassemble
    """
    from openbpu.runtime import Executable

    program = Executable.load(executable)
    if disassemble:
        from openbpu.perf import listing

        click.echo(listing(program, march, entry), nl=False)
        return
    summary = program.summary()
    ports = [dataclasses.asdict(port) for port in program.ports(entry)]
    if as_json:
        click.echo(json.dumps({**summary, "ports": ports, "meta": program.metadata(entry)}, indent=2))
        return
    table = options.table(str(executable), "port", "direction", "type", "shape", ">scale", ">zero point")
    for port in program.ports(entry):
        table.add_row(
            port.name,
            port.direction,
            port.dtype,
            port.extents,
            f"{port.scale:.6g}" if port.scale else "",
            str(port.zero_point) if port.scale else "",
        )
    options.console.print(table)
    for key, value in summary.items():
        options.console.print(f"{key}: {value}", highlight=False)
    options.print_split(program.metadata(entry))
