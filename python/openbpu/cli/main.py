"""Entry point: lists the verbs, loads the one asked for, turns errors into one line and an exit code.

Exit codes: 0 done, 1 the work failed (one error line on stderr), 2 the command line is wrong, 3 the work is done and
the result is not what was asked for: below --fail-under, not consistent, not equal.
"""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

from openbpu import __version__
from openbpu.cli.running import run

_VERBS = {
    "quantize": "Quantise a float ONNX model with calibration samples.",
    "accuracy": "Compare a quantised model with its float model, layer by layer.",
    "analyze": "Find out where a quantised model loses: sensitivities, distributions, curves.",
    "evaluate": "Run models over labelled samples: a metric, intervals, agreement.",
    "check": "Show where each node of a model would run, and why.",
    "compile": "Compile a QDQ ONNX model to a .bpux executable.",
    "build": "Quantise and compile a float ONNX model in one go.",
    "link": "Join executables to one file with several models.",
    "verify": "Compare the stages of a build on the same inputs.",
    "diff": "Show what differs between two files of the same kind.",
    "visualize": "Draw a program or a model as one HTML page.",
    "run": "Run an executable on inputs from files.",
    "info": "Show ports, sizes and instructions of an executable.",
    "perf": "Estimate time and memory traffic on the virtual BPU, layer by layer.",
    "bench": "Time an executable; profile it per layer.",
    "demo": "Take a real network and photographs down the whole road.",
}


class _Verbs(click.Group):
    """Imports a verb's module only when it runs, so that help and completion stay quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"openbpu.cli.{name}_command").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openbpu")
def command() -> None:
    """An open int8 toolchain: quantise ONNX models, compile them for a virtual BPU, run them bit-exactly.

    \b
    Example:
      openbpu quantize net.onnx --samples calibration/ -o net.qdq.onnx
      openbpu compile net.qdq.onnx -o net.bpux
      openbpu run net.bpux --input x.npy
    """


def main() -> NoReturn:
    """Runs the command line and exits."""
    run(command, "openbpu")
