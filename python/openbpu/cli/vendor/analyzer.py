"""hb_analyzer."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu import __version__
from openbpu.cli import options
from openbpu.cli.vendor.tables import show_table

_FOLDER = Path(".hb_analyzer")


@click.group("hb_analyzer", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="openbpu, hb_analyzer")
def command() -> None:
    """Say what a model would cost on the virtual BPU, and what to look at.

    \b
    Example:
      hb_analyzer analyze -m net.onnx --march nash-e
    """


@command.command("analyze")
@click.option("-m", "--model", type=click.Path(path_type=Path), help="A .bpux, or an ONNX file: float or QDQ.")
@click.option("--march", help="Target profile; default: the program's, else nash-e.")
@click.option("--perf", type=click.Path(path_type=Path), help="A report (.json) of hb_compile or openbpu perf instead.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=_FOLDER, show_default=True, help="Folder.")
def analyze(model: Path | None, march: str | None, perf: Path | None, output: Path) -> None:
    """Write <model>.json, analysis_summary.json and hb_analyzer_report.html, and print the key indicators.

    \b
    Example:
      hb_analyzer analyze -m net.bpux
      hb_analyzer analyze --perf model_output/net.json
    """
    from openbpu import pipeline
    from openbpu.perf import PerfReport, analysis

    if (model is None) == (perf is None):
        raise click.UsageError("give -m MODEL or --perf REPORT.json, one of both.")
    if perf is not None:
        report = PerfReport.from_json(options.read_text(perf))
    else:
        assert model is not None
        with options.console.status(f"estimating {model}"):
            report = pipeline.estimate(model, march=march)
    found = analysis.analyze(report)
    indicators = ((x["title"], f"{x['value']:g}", x["unit"]) for x in found["hbm_key_indicators"])
    show_table(f"{report.model}, {report.march} (estimate)", ("indicator", "value", "unit"), indicators)
    times = found["hbm_op_time_by_type"].items()
    percent = 100 / report.latency_us
    show_table("time by operator", ("operator", "us", "%"), ((op, f"{t:.1f}", f"{percent * t:.1f}") for op, t in times))
    for path in analysis.write(report, output):
        options.console.print(f"wrote {path}", highlight=False)


@command.command("visualize")
@click.option("-m", "--model", required=True, type=click.Path(path_type=Path), help="A .bpux or .onnx file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Page; default: into .hb_analyzer.")
def visualize(model: Path, output: Path | None) -> None:
    """Draw the layers of a program, or the nodes of a model, as one HTML page, like `openbpu visualize`.

    \b
    Example:
      hb_analyzer visualize -m net.bpux
    """
    from openbpu.artefacts import page
    from openbpu.files import write_file

    output = output or _FOLDER / f"{model.name}.html"
    write_file(output, page.visualize(model).encode())
    options.console.print(f"wrote {output}", highlight=False)
