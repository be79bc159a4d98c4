"""The options of a quantisation, which `quantize` and `build` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options


def _refinement(context: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    from openbpu.pipeline import MORE_REFINEMENTS, REFINEMENTS

    if value == "none":
        return ()
    steps: dict[str, None] = {}
    for step in map(str.strip, value.split(",")):
        if step not in ("all", *REFINEMENTS, *MORE_REFINEMENTS):
            known = ", ".join((*REFINEMENTS, *MORE_REFINEMENTS))
            raise click.BadParameter(f"{step!r} is none of all, none, {known}", context, param)
        steps |= dict.fromkeys(REFINEMENTS if step == "all" else (step,))
    return tuple(steps)


def quantiser(function: Callable[..., Any]) -> Callable[..., Any]:
    """Samples, and the arguments of `pipeline.quantize` that both commands hand on by name."""
    for option in (
        options.node_types,
        options.run_on_bpu,
        options.run_on_cpu,
        options.input_shape,
        click.option("--cache", type=click.Path(path_type=Path), help="Folder for calibration statistics."),
        click.option(
            "--refinement",
            metavar="STEPS",
            default="all",
            show_default=True,
            callback=_refinement,
            help="With commas, all or none (quick) or steps: all,reconstruction.",
        ),
        click.option("--per-channel", is_flag=True, help="Equal ranges for a tensor's channels."),
        click.option("--symmetric", is_flag=True, help="Make every zero point 0."),
        click.option(
            "--calibration",
            type=click.Choice(["auto", "max", "percentile", "kl", "mse"]),
            default="auto",
            show_default=True,
            help="How activation ranges are chosen.",
        ),
        options.preprocess,
        options.samples,
    ):
        function = option(function)
    return function
