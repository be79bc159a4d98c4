"""hb_config_generator."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu import __version__
from openbpu.cli import options


@click.command("hb_config_generator", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-s", "--simple-yaml", is_flag=True, help="What a build needs: simple_compile_config.yaml.")
@click.option("-f", "--full-yaml", is_flag=True, help="Every key with its meaning: full_compile_config.yaml.")
@click.option("-m", "--model", type=click.Path(path_type=Path), help="ONNX file: fills in its inputs.")
@click.option("-p", "--proto", type=click.Path(), hidden=True)
@click.option("--march", default="nash-e", show_default=True, help="Target profile.")
@click.version_option(__version__, "--version", prog_name="openbpu, hb_config_generator")
def command(simple_yaml: bool, full_yaml: bool, model: Path | None, proto: str | None, march: str) -> None:
    """Write a YAML template for hb_compile into this folder, filled in from a model if there is one.

    \b
    Example:
      hb_config_generator --simple-yaml -m net.onnx --march nash-e
    """
    from openbpu.config.templates import template
    from openbpu.files import write_file
    from openbpu.ir.profile import profile
    from openbpu.workflow.guessing import template_values

    if simple_yaml == full_yaml:
        raise click.UsageError("give --simple-yaml or --full-yaml, one of both.")
    if proto:
        raise click.UsageError("--proto: models are read as ONNX; convert the Caffe model first.")
    profile(march)
    target = Path(f"{'full' if full_yaml else 'simple'}_compile_config.yaml")
    write_file(target, template(template_values(model, march), full_yaml).encode())
    options.console.print(f"wrote {target}", highlight=False)
