"""Runs a command: errors become one line on stderr and an exit code."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn, TextIO

import click

from openbpu.errors import OpenBpuError


def run(command: click.Command, name: str) -> NoReturn:
    """Runs a command line under its name and exits.

    0: done, 1: the work failed, 2: the command line is wrong, or what the command itself exits with.
    """
    _say_warnings(name)
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


def _say_warnings(name: str) -> None:
    """Warnings meant for users are one line on stderr from here on, without the place in the source."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, UserWarning):
            click.echo(f"{name}: warning: {message}", err=True)
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show
