"""openbpu diff."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from openbpu.cli import options

_SHOWN = 60


@click.command("diff")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help=f"Show more than {_SHOWN} changes.")
@options.json_output
def command(first: Path, second: Path, everything: bool, as_json: bool) -> None:
    """Show what differs between two .bpux files or two ONNX models.

    Exit code 0: equal, 3: they differ, 1: one cannot be read.

    \b
    Example:
      openbpu diff net.bpux other.bpux
    """
    from openbpu.artefacts.differences import diff

    report = diff(first, second)
    if as_json:
        click.echo(report.to_json())
    elif report.equal:
        options.console.print("identical bytes" if report.same_bytes else "no difference but in the encoding")
    else:
        shown = report.changes if everything else report.changes[:_SHOWN]
        table = options.table(f"{first} -> {second}", "of", "name", "what", "before", "after", "difference")
        for c in shown:
            table.add_row(c.group, c.name, c.what, c.before, c.after, c.difference)
        options.console.print(table)
        counts = Counter(change.group for change in report.changes)
        rest = "" if len(shown) == len(report.changes) else f"; the first {len(shown)} are shown, --all shows all"
        options.console.print(", ".join(f"{k}: {n}" for k, n in counts.items()) + rest, highlight=False)
    if not report.equal:
        raise click.exceptions.Exit(options.BELOW)
