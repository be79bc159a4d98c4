"""hb_verifier."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu import __version__
from openbpu.cli import options, verify_command


def _listed(context: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Values of a repeated option; commas join several."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _board(context: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        raise click.BadParameter("there is no board: programs run on this machine", context, param)


@click.command("hb_verifier", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-m", "--model", "models", required=True, multiple=True, callback=_listed, help="Files, with commas.")
@click.option("-i", "--input", "sources", multiple=True, callback=_listed, help="One for each input, in order.")
@click.option(
    "-c",
    "--compare-digits",
    "digits",
    type=click.IntRange(0, 15),
    default=5,
    show_default=True,
    help="Digits that are equal between float models.",
)
@click.option("--fail-under", type=click.FloatRange(-1, 1), metavar="COSINE", help="Exit code 3 if one is below.")
@options.json_output
@click.option("--ip", hidden=True, expose_value=False, callback=_board)
@click.option("-u", "--username", hidden=True, expose_value=False, callback=_board)
@click.option("-p", "--password", hidden=True, expose_value=False, callback=_board)
@click.option("--port", hidden=True, expose_value=False, callback=_board)
@click.option("--remote-root", hidden=True, expose_value=False, callback=_board)
@click.option("--skip-sim", is_flag=True, hidden=True, expose_value=False)
@click.option("--skip-arm", is_flag=True, hidden=True, expose_value=False)
@click.version_option(__version__, "--version", prog_name="openbpu, hb_verifier")
def command(
    models: tuple[str, ...], sources: tuple[str, ...], digits: int, fail_under: float | None, as_json: bool
) -> None:
    """Run stages of a build on the same inputs and compare the outputs of each with those of the first.

    Float models must agree to so many digits, programs bit by bit; quantised models have a cosine. Inputs are .npy or
    .bin files; random ones without -i. Exit code 3: not consistent, or below --fail-under.

    \b
    Example:
      hb_verifier -m net.onnx,net.qdq.onnx,net.bpux -i x.npy
    """
    from openbpu import pipeline

    if len(models) < 2:
        raise click.UsageError("give two files or more: -m a.onnx,b.bpux")
    with options.progress() as progress:
        report = pipeline.verify(
            [Path(model) for model in models], sources=sources, digits=digits, fail_under=fail_under, progress=progress
        )
    if as_json:
        click.echo(report.to_json())
    else:
        verify_command.show(report)
    verify_command.finish(report)
