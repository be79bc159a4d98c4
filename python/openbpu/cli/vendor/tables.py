"""Tables of the hb_* commands."""

from __future__ import annotations

from collections.abc import Iterable

import click

from openbpu.cli import options


def show_table(title: str, head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> None:
    """Drawn on a terminal; plain lines of full width for a file or a script."""
    from openbpu.workflow.tables import text_table

    if not options.console.is_terminal:
        click.echo(text_table(f"\n{title}" if title else "", head, rows))
        return
    table = options.table(title, *head)
    for row in rows:
        table.add_row(*row)
    options.console.print(table)
