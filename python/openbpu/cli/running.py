"""Runs a command: errors become one line on stderr and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from openbpu.errors import OpenBpuError


def run(command: click.Command, name: str) -> NoReturn:
    """Runs a command line under its name and exits.

    0: done, 1: the work failed, 2: the command line is wrong, or what the command itself exits with.
    """
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OpenBpuError as error:
        click.echo(f"{name}: error: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted; nothing is half-written.", err=True)
        sys.exit(1)
