"""hb_compile."""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbpu import __version__
from openbpu.cli import options
from openbpu.cli.vendor.tables import show_table

if TYPE_CHECKING:
    from openbpu.config import Config
    from openbpu.workflow import Result

_CHECKED = Path(".hb_compile")
_FAST = Path("model_output")


@click.command("hb_compile", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="YAML file: build what it says.")
@click.option("-m", "--model", type=click.Path(path_type=Path), help="ONNX file; with -c: an artefact to go on from.")
@click.option("--proto", type=click.Path(), hidden=True)
@click.option("--march", help="Target profile; needed without -c.")
@click.option(
    "-i", "--input-shape", "shapes", nargs=2, multiple=True, metavar="NAME 1x3x224x224",
    help="Fix a dynamic input; repeatable.",
)  # fmt: skip
@click.option("--fast-perf", is_flag=True, help="Build with made-up data, for a performance summary.")
@click.option("--core-num", type=click.IntRange(1, 4), help="Cores for one inference; without -c only.")
@click.option("--skip", type=click.Choice(["export", "convert", "compile"]), help="Stop before this stage.")
@options.reports
@options.fail_under
@options.verbose
@click.version_option(__version__, "--version", prog_name="openbpu, hb_compile")
def command(
    config: Path | None,
    model: Path | None,
    proto: str | None,
    march: str | None,
    shapes: tuple[tuple[str, str], ...],
    fast_perf: bool,
    core_num: int | None,
    skip: str | None,
    reports: tuple[Path, ...],
    fail_under: float | None,
    verbose: int,
) -> None:
    """Compile a float ONNX model after a YAML file, check a model, or estimate its speed.

    \b
    -c FILE             build: artefacts, .bpux, tables and log in the file's working_dir; says what was lost where
    -c FILE -m MODEL    go on from a staged artefact, for example net_ptq_model.onnx
    -m MODEL            check: where each node would run, into .hb_compile/
    --fast-perf -m ...  build on made-up data into model_output/, end with a performance summary

    \b
    Example:
      hb_compile -c net.yaml
      hb_compile --fast-perf -m net.onnx --march nash-e
    """
    _refuse(config, model, proto, march, shapes, fast_perf, core_num, skip)
    if config is None and (reports or fail_under is not None):
        raise click.UsageError("--report and --fail-under are for -c: nothing else quantises on real data.")
    options.console.print(f"openbpu {__version__}, hb_compile", highlight=False)
    if config is not None:
        _build(config, model, skip or "", reports, fail_under, verbose)
        return
    assert model is not None and march is not None
    fixed = dict(options.named_shape(*pair) for pair in shapes)
    if fast_perf:
        _fast(model, march, fixed, core_num or 1, skip or "", verbose)
    else:
        _check(model, march, fixed, verbose)


def _refuse(
    config: Path | None,
    model: Path | None,
    proto: str | None,
    march: str | None,
    shapes: tuple[tuple[str, str], ...],
    fast_perf: bool,
    core_num: int | None,
    skip: str | None,
) -> None:
    """What the command line must not hold together."""
    if model is not None and model.suffix == ".bpux":
        raise click.UsageError(f"-m {model}: is a program already. hb_analyzer analyze -m {model} tells its speed.")
    if proto:
        raise click.UsageError("--proto: models are read as ONNX; convert the Caffe model first.")
    if config is None and model is None:
        raise click.UsageError("give -c FILE to build, or -m MODEL --march MARCH to check. See --help.")
    if config is not None:
        for name, value in (("--fast-perf", fast_perf), ("--core-num", core_num), ("--march", march), ("-i", shapes)):
            if value:
                hint = "leave out -c" if fast_perf else f"the YAML file has {_KEYS[name]}"
                raise click.UsageError(f"{name} is not for -c: {hint}.")
        return
    if skip and not fast_perf:
        raise click.UsageError("--skip is for -c and --fast-perf: a check compiles nothing.")
    if march is None:
        raise click.UsageError("-m needs --march, for example --march nash-e.")


_KEYS = {
    "--core-num": "compiler_parameters.core_num",
    "--march": "model_parameters.march",
    "-i": "input_parameters.input_shape",
    "--fast-perf": "",
}


@contextmanager
def _logged(folder: Path, verbose: int) -> Iterator[None]:
    from openbpu.workflow.logfile import logged

    def say(level: int, message: str) -> None:
        if level == logging.ERROR:
            return  # the last line of the command says it
        if level >= (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]:
            prefix = "warning: " if level == logging.WARNING else ""
            options.errors.print(f"{prefix}{message}", highlight=False, markup=False, soft_wrap=True)

    with logged(folder, "hb_compile.log", say):
        yield


def _build(
    path: Path, staged: Path | None, skip: str, reports: tuple[Path, ...], fail_under: float | None, verbose: int
) -> None:
    import warnings

    from openbpu.config import ConfigWarning, load
    from openbpu.files import check_writable
    from openbpu.workflow import build

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConfigWarning)
        config = load(path)
    for report in reports:
        check_writable(report)  # said before the long work
    with _logged(config.model_parameters.working_dir, verbose):
        _say_config(config, [str(w.message) for w in caught if w.category is ConfigWarning])
        sensitivity = options.SENSITIVITY if reports else 0
        judged = bool(reports) or fail_under is not None
        with options.progress() as progress:
            result = build(
                config, staged=staged, skip=skip, sensitivity=sensitivity, must_measure=judged, progress=progress
            )
        for report in reports if result.accuracy else ():
            result.accuracy.save(report)  # type: ignore[union-attr]
        _print(result, config.compiler_parameters.advice)
    if result.accuracy is not None:
        options.check_accuracy(result.accuracy, fail_under)


def _say_config(config: Config, deprecated: list[str]) -> None:
    import json

    from openbpu.workflow.stages import log

    for sentence in deprecated:
        log.warning("%s", sentence)
    if config.recorded:
        names = ", ".join(key.rpartition(".")[2] for key in config.recorded)
        options.errors.print(f"recorded, no effect: {names}", highlight=False, markup=False, soft_wrap=True)
    log.info("configuration: %s", json.dumps(config.recordable(), default=str))


def _fast(model: Path, march: str, shapes: dict[str, tuple[int, ...]], core_num: int, skip: str, verbose: int) -> None:
    from openbpu.workflow import build
    from openbpu.workflow.guessing import guessed

    folder = _new_folder()
    with _logged(folder, verbose):
        config = guessed(model, march, shapes, folder, core_num)
        with options.progress() as progress:
            result = build(config, skip=skip, measure=False, progress=progress)
        _print_end(result)


def _new_folder() -> Path:
    """A folder that no other build has: model_output, then with the time, then with a number behind it."""
    timed = f"{_FAST}_{datetime.datetime.now():%Y%m%d%H%M%S}"
    names = itertools.chain([str(_FAST), timed], (f"{timed}_{number}" for number in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def _check(model: Path, march: str, shapes: dict[str, tuple[int, ...]], verbose: int) -> None:
    from openbpu import pipeline
    from openbpu.workflow.stages import stage

    with _logged(_CHECKED, verbose):
        with stage("check"):
            report = pipeline.check(model, march=march, input_shapes=shapes)
        rows = ((d.node, d.where, d.op, d.reason, d.remedy) for d in report.decisions if d.where != "none")
        show_table(str(model), ("node", "ON", "type", "why", "what would move it to the BPU"), rows)
        for ending in ("json", "html"):
            report.save(_CHECKED / f"{model.stem}_check.{ending}")
        options.console.print(f"{report.line}\nwrote {_CHECKED}/{model.stem}_check.html and .json", highlight=False)


def _print(result: Result, advice: float) -> None:
    from openbpu.workflow import NODE_HEAD, OUTPUT_HEAD, OUTPUT_TITLE

    if result.search is not None:
        tried = ((text, f"{score:.6g}") for text, score in result.search.tried)
        show_table("calibrations tried", ("calibration", result.search.metric), tried)
    if result.nodes:
        show_table("", NODE_HEAD, (vars(row).values() for row in result.nodes))
    if result.outputs:
        show_table(OUTPUT_TITLE, OUTPUT_HEAD, result.outputs)
    if result.accuracy is not None:
        options.print_accuracy(result.accuracy, outputs=False)
    _print_end(result, advice)


def _print_end(result: Result, advice: float = 0.0) -> None:
    from openbpu.workflow.summary import summarise

    report = summarise(result) if result.executable is not None else None
    if result.placement is not None:
        options.console.print(result.placement.line, highlight=False, soft_wrap=True)
    if result.folder.written:
        names = [path.name for path in result.folder.written if path.parent == result.folder.path]
        options.console.print(f"wrote into {result.folder.path}: {', '.join(names)}", highlight=False, soft_wrap=True)
    if report is not None:
        if advice:
            title = f"layers slower than in theory by more than {advice:g} us"
            rows = ((x.layer, x.op, f"{x.slower_us:.1f}", x.cause, x.remedy) for x in report.advice(advice))
            show_table(title, ("layer", "operator", "slower by, us", "because", "what helps"), rows)
        options.console.print("performance summary", highlight=False)
        options.print_estimate(report)
