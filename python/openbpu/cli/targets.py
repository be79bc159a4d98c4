"""Options of a target that the quantised model must reach, and what a search for it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from openbpu.cli import options

Decorated = Callable[..., Any]


def target(function: Decorated) -> Decorated:
    """The options of a search; `goal` reads them."""
    for option in (
        click.option(
            "--max-macs",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="Lift no more of the MACs than this.",
        ),
        click.option(
            "--cost",
            type=click.Choice(["balanced", "time", "macs", "nodes"]),
            default="balanced",
            help="What is cheap.",
        ),
        click.option("--search-report", type=click.Path(path_type=Path), help="What the search tried, as .json."),
        click.option(
            "--evaluation", metavar="[INPUT=]PATH", multiple=True, help="Samples of the target; default: --samples."
        ),
        click.option("--target", type=float, help="Value that --metric must reach."),
        click.option("--metric", metavar="MODULE:FUNCTION", help="f(outputs, references): a number to raise."),
        click.option(
            "--target-recovery",
            type=float,
            metavar="SHARE",
            help="The same, for what int16 throughout gains.",
        ),
        click.option("--target-sqnr", type=float, metavar="DB", help="The same, for signal over noise."),
        click.option("--target-cosine", type=float, metavar="COSINE", help="Lift nodes to int16 until it is reached."),
    ):
        function = option(function)
    return function


def goal(
    metric: str | None, value: float | None, max_macs: float | None, **built_in: float | None
) -> tuple[str, float | None] | None:
    """Metric and target, None for the best within `max_macs`; None if nothing is asked for.

    Raises UsageError for more than one target, or half of one.
    """
    if (metric is None) != (value is None) and (metric is None or max_macs is None):
        raise click.UsageError("--metric and --target belong together")
    given: list[tuple[str, float | None]] = [(name, number) for name, number in built_in.items() if number is not None]
    if metric is not None:
        given.append((metric, value))
    if len(given) > 1:
        raise click.UsageError("give one of --target-cosine, --target-sqnr, --target-recovery and --metric")
    if not given and max_macs is not None:
        return "recovery", None
    return given[0] if given else None


def print_search(result: Any) -> None:
    """The models that were tried, and what was lifted in the one that was chosen."""
    columns = (
        ">nodes lifted",
        ">int16 MACs",
        ">in 16-bit forms",
        ">CPU MACs",
        f">{result.metric}",
        ">us on target",
        ">ms here",
        "",
    )
    wanted = f" {result.target:g}" if result.target < math.inf else ""
    tried = options.table(f"search for {result.metric}{wanted}", *columns)
    for index, t in enumerate(result.trials):
        mark = "chosen" if index == result.chosen else ""
        shares = tuple(f"{100 * share:.1f} %" for share in (t.int16_macs, t.wide_macs, t.float_macs))
        costs = (f"{t.estimated_us:.0f}", f"{t.measured_ms:.2f}")
        tried.add_row(str(t.nodes), *shares, f"{t.value:.5f}", *costs, mark, style="green" if t.reached else None)
    options.console.print(tried)
    if result.sensitivities and result.node_types:
        worst = options.table(
            "most sensitive", "node", "operator", ">cosine alone", ">SQNR alone, dB", ">MACs", "lifted"
        )
        for row in result.sensitivities[:10]:
            worst.add_row(row.node, row.op, f"{row.cosine:.6f}", f"{row.sqnr_db:.1f}", f"{row.macs:,}", row.lifted)
        options.console.print(worst)
    options.console.print(result.line, highlight=False)


def finish(result: Any) -> None:
    """Exits with BELOW if the target was not reached."""
    if not result.reached:
        best = f"the best has {result.best.value:.6f}"
        click.echo(f"openbpu: {result.metric} {result.target:g} was not reached: {best}", err=True)
        raise click.exceptions.Exit(options.BELOW)
