"""Options and console output that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from openbpu.errors import OpenBpuError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
console = Console(markup=False)  # names of models may hold brackets
errors = Console(stderr=True)

march: Decorator = click.option(
    "--march", default="nash-e", show_default=True, help="Target profile: a preset or a .toml file."
)
isa: Decorator = click.option(
    "--isa", default="auto", show_default=True, help="Kernels to use: auto, scalar, avx2, avx512vnni, amx, ..."
)
entry: Decorator = click.option("--entry", default="", metavar="NAME", help="Model of a file with several.")
threads: Decorator = click.option(
    "--threads", type=click.IntRange(min=0), default=1, show_default=True, help="Threads; 0: all available."
)
samples: Decorator = click.option(
    "--samples",
    "sources",
    metavar="[INPUT=]PATH",
    multiple=True,
    required=True,
    help="A .npy or .npz file or a folder of them; INPUT=PATH, repeated, for several inputs.",
)
reports: Decorator = click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Accuracy as .json or .html; repeatable.",
)
fail_under: Decorator = click.option(
    "--fail-under", type=click.FloatRange(-1, 1), metavar="COSINE", help="Exit with code 3 if an output is below."
)
advice: Decorator = click.option(
    "--advice", type=click.FloatRange(min=0), metavar="US", help="List layers this much slower than they could be."
)
json_output: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
verbose: Decorator = click.option("-v", "--verbose", count=True, help="Say more on stderr; -vv: everything.")


def named_shape(name: str, extents: str) -> tuple[str, tuple[int, ...]]:
    """A name and the extents of "1x3x224x224". Raises BadParameter."""
    parts = extents.split("x")
    if not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{extents!r} is not of the form 1x3x224x224")
    return name, tuple(map(int, parts))


def _shapes(context: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in values:
        name, _, extents = value.rpartition(":")
        parts = extents.split("x")
        if not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise click.BadParameter(f"{value!r} is not of the form NAME:1x3x224x224", context, param)
        shapes[name] = tuple(map(int, parts))
    return shapes


input_shape: Decorator = click.option(
    "--input-shape",
    "input_shapes",
    metavar="NAME:1x3x224x224",
    multiple=True,
    callback=_shapes,
    help="Fixes a dynamic input shape; repeatable.",
)


def _recipe(context: click.Context, param: click.Parameter, value: str | None) -> Any:
    """A family's name, or the recipe in a JSON file."""
    if value is None or not value.endswith(".json"):
        return value
    from openbpu.preprocess import Recipe

    try:
        return Recipe.from_json(Path(value).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}", context, param) from error


preprocess: Decorator = click.option(
    "--preprocess",
    metavar="FAMILY|FILE.json",
    callback=_recipe,
    help="Recipe of images, for folders of photographs.",
)


RECORDED = "recorded"  # in place of a recipe: the quantised model has one


def samples_of(sources: tuple[str, ...], recipe: Any) -> Any:
    """The samples of `--samples`: files of arrays, or photographs if there is a recipe for them."""
    from openbpu.preprocess.images import holds_images, photographs_of
    from openbpu.samples import SampleFiles

    if len(sources) != 1 or not holds_images(sources[0]):
        return SampleFiles(sources)
    if not recipe:
        raise OpenBpuError(
            "photographs need a recipe", where=sources[0], seen="none", remedy="give --preprocess FAMILY|FILE.json"
        )
    return photographs_of(sources[0])


_INPUT_KEYS = {"train": "type_train", "layout": "layout_train", "layout_rt": "layout_rt", "range": "space_and_range"}
_PER_CHANNEL = ("mean", "scale", "std")


def _camera_inputs(context: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """NAME=TYPE, or NAME=TYPE,key=value,... with the fields of InputSpec; numbers per channel are joined by ':'."""
    from openbpu.preprocess import InputSpec

    specs: dict[str, Any] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        kind, *pairs = rest.split(",")
        if not equals or not name or not kind:
            raise click.BadParameter(f"{value!r} is not of the form NAME=nv12", context, param)
        fields: dict[str, Any] = {}
        for key, _, text in (pair.partition("=") for pair in pairs):
            if key not in (*_INPUT_KEYS, *_PER_CHANNEL, "source", "source_size"):
                raise click.BadParameter(f"{value!r}: no such key as {key!r}", context, param)
            try:
                numbers = tuple(map(float, text.split(":"))) if key in _PER_CHANNEL else ()
                size = tuple(map(int, text.split("x"))) if key == "source_size" else ()
            except ValueError:
                raise click.BadParameter(f"{value!r}: {key} takes numbers", context, param) from None
            fields[_INPUT_KEYS.get(key, key)] = numbers or size or text
        specs[name] = InputSpec(type_rt=kind, **fields) if fields else kind
    return specs


camera_inputs: Decorator = click.option(
    "--input",
    "inputs",
    metavar="NAME=TYPE[,KEY=VALUE...]",
    multiple=True,
    callback=_camera_inputs,
    help="How an image arrives: nv12, yuv444, rgb, bgr, gray; keys train, layout, mean, scale, ...; repeatable.",
)
run_on_cpu: Decorator = click.option(
    "--run-on-cpu", metavar="NODE", multiple=True, help="Keep this node on the CPU; repeatable."
)
run_on_bpu: Decorator = click.option(
    "--run-on-bpu", metavar="NODE", multiple=True, help="This node must be on the BPU; repeatable."
)


def _node_types(context: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    types = {}
    for value in values:
        name, _, kind = value.rpartition("=")
        if not name:
            raise click.BadParameter(f"{value!r} is not of the form NAME=int16", context, param)
        types[name] = kind
    return types


def node_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose the type of activations."""
    for option in (
        click.option(
            "--node-type",
            "node_types",
            metavar="NAME=TYPE",
            multiple=True,
            callback=_node_types,
            help="int8, int16 or float, of a node or an operator type; repeatable.",
        ),
        click.option(
            "--all-nodes-type",
            type=click.Choice(["int8", "int16", "float"]),
            default="int8",
            show_default=True,
            help="Type of the activations of all other nodes.",
        ),
    ):
        function = option(function)
    return function


def scheduling(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose among programs of one model (docs/scheduling.md)."""
    for option in (
        click.option("--cache-path", metavar="FOLDER", default="", help="Where compiled programs are kept."),
        click.option("--cache-mode", metavar="MODE", default="disable", help="disable, enable or force_overwrite."),
        click.option("--core-num", metavar="N", type=int, default=1, help="Cores of the profile that work as one."),
        click.option("--max-time-per-fc", metavar="US", type=int, default=0, help="Longest instruction; 0: any."),
        click.option("--balance-factor", metavar="0-100", type=int, help="With balance: 0 least DDR, 100 fastest."),
        click.option("--compile-mode", metavar="MODE", default="latency", help="latency, bandwidth or balance."),
        click.option("--optimize-level", metavar="LEVEL", default="O2", help="O0 in DDR, O1 by layers, O2 cascades."),
    ):
        function = option(function)
    return function


def boundary(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that cut a model or take nodes off its boundary."""
    for option in (
        click.option("--remove-node-name", metavar="NODE", multiple=True, help="Take this boundary node off."),
        click.option(
            "--remove-node-type",
            type=click.Choice(["Quantize", "Dequantize", "Transpose", "Reshape", "Cast", "Softmax"]),
            multiple=True,
            help="Take nodes of this type off the inputs and outputs; repeatable.",
        ),
        click.option("--output-nodes", metavar="NODE", multiple=True, help="Cut the model behind this node or tensor."),
    ):
        function = option(function)
    return function


def changed(model: Path, outputs: tuple[str, ...], types: tuple[str, ...], names: tuple[str, ...]) -> Any:
    """The model as the options of `boundary` want it: its path if they change nothing."""
    if not (outputs or types or names):
        return model
    from openbpu import pipeline

    return pipeline.remove_boundary_nodes(model, types=types, names=names, output_nodes=outputs)


SENSITIVITY = 2  # samples on which a saved report has every node quantised alone, if that is affordable
BELOW = 3  # exit code: the work is done, the result is worse than was asked for


def finish_accuracy(report: Any, paths: tuple[Path, ...], fail_under: float | None, as_json: bool = False) -> None:
    """Prints an accuracy report (or its JSON), saves it, and exits with BELOW if it is worse than `fail_under`."""
    for path in paths:
        report.save(path)
    if as_json:
        click.echo(report.to_json())
    else:
        print_accuracy(report)
    check_accuracy(report, fail_under)


def print_accuracy(report: Any, outputs: bool = True) -> None:
    """The summary with which every quantisation ends; without `outputs` only what was lost where, and the verdict."""
    if outputs:
        rows = table("outputs against float", "output", ">cosine", ">SQNR, dB", ">mean |error|", ">RMS", ">max")
        for o in report.outputs:
            rows.add_row(o.name, f"{o.cosine:.6f}", f"{o.sqnr_db:.1f}", f"{o.l1:.4g}", f"{o.l2:.4g}", f"{o.max:.4g}")
        console.print(rows)
    if report.worst:
        title = "what adds most error (--node-type NODE=int16 lifts a node, =float leaves it on the CPU)"
        worst = table(title, "node", "operator", ">SQNR, dB", ">adds, dB", "by", "what helps")
        for x in report.worst[:5]:
            worst.add_row(x.node or x.tensor, x.op, f"{x.sqnr_db:.1f}", f"{x.own_db:.1f}", x.cause, x.remedy)
        console.print(worst)
    console.print(report.line, highlight=False)


def check_accuracy(report: Any, fail_under: float | None) -> None:
    """Exits with BELOW if a report is worse than `fail_under`."""
    if fail_under is not None and report.cosine < fail_under:
        click.echo(f"openbpu: cosine {report.cosine:.9g} is below --fail-under {fail_under:.9g}", err=True)
        raise click.exceptions.Exit(BELOW)


def read_text(path: Path) -> str:
    """The text of a file. Raises OpenBpuError naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OpenBpuError("the file must be readable text", where=str(path), seen=error) from error


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (stage, done, total) that draws one bar per stage on stderr; plain when it is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield report


def counted(count: int, noun: str) -> str:
    """ "1 thread", "2 threads"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(title: str, *columns: str) -> Table:
    """An empty table; columns whose name starts with '>' are right aligned."""
    result = Table(title=title, title_justify="left")
    for column in columns:
        result.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return result


def print_split(meta: dict[str, Any]) -> None:
    """How the nodes of an executable are divided, in one line."""
    from collections import Counter

    from openbpu.analyze.placement import split_line

    split = meta.get("split")
    if split:
        cpu = Counter(str(reason["op"]) for reason in split["reasons"])
        console.print(split_line(split["bpu"], cpu, split["segments"]), highlight=False)


def print_estimate(report: Any) -> None:
    """A performance report in a few lines."""
    bounds = ", ".join(f"{name} {time:.0f}" for name, time in report.bounds_us.items() if time)
    sizes = f"SRAM {report.sram_bytes:,} of {report.profile.sram_bytes:,} bytes, DDR arena {report.ddr_bytes:,}"
    rest = f"not below (us): {bounds}; exposed DMA {report.exposed_us:.0f}, launch {report.launch_us:.0f}"
    for line in (report.line, rest, f"{report.macs:,} MACs; {sizes}"):
        console.print(line, highlight=False, soft_wrap=True)


def print_advice(report: Any, threshold: float) -> None:
    """The layers that are slower than they could be by more than `threshold` microseconds."""
    found = report.advice(threshold)
    if not found:
        console.print(f"no layer is slower than in theory by more than {threshold:g} us", highlight=False)
        return
    rows = table(
        f"{counted(len(found), 'layer')} slower than in theory by more than {threshold:g} us",
        *("layer", "operator", ">slower by, us", ">padding, %", "because", "what helps"),
    )
    for x in found:
        rows.add_row(x.layer, x.op, f"{x.slower_us:.1f}", f"{100 * x.padding:.0f}", x.cause, x.remedy)
    console.print(rows)
