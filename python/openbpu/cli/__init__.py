"""The `openbpu` command: one module per verb, no logic of its own."""

from openbpu.cli.main import main

__all__ = ["main"]
