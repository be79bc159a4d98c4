"""hb_eval_preprocess."""

from __future__ import annotations

from pathlib import Path

import click

from openbpu import __version__
from openbpu.cli import options

_TYPES = ["nv12", "yuv444", "rgb", "bgr", "gray"]


@click.command("hb_eval_preprocess", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-m", "--model-name", required=True, help="Model family, for example resnet18; a wrong name lists them.")
@click.option("-i", "--image-dir", required=True, type=click.Path(path_type=Path), help="Folder of photographs.")
@click.option("-o", "--output-dir", required=True, type=click.Path(path_type=Path), help="Folder of the .bin files.")
@click.option("-v", "--val-txt", type=click.Path(path_type=Path), help="Lines NAME LABEL: these images alone.")
@click.option("-t", "--type-rt", type=click.Choice(_TYPES), help="Write what arrives at run time as this type.")
@click.version_option(__version__, "--version", prog_name="openbpu, hb_eval_preprocess")
def command(model_name: str, image_dir: Path, output_dir: Path, val_txt: Path | None, type_rt: str | None) -> None:
    """Preprocess photographs as a model family wants them: one raw .bin per image.

    float32 as the network takes it, or with -t the bytes of a camera (nv12: NAME_y.bin and NAME_uv.bin).

    \b
    Example:
      hb_eval_preprocess -m resnet18 -i photographs -o bins
      hb_eval_preprocess -m mobilenetv1 -i photographs -o bins_nv12 -t nv12 -v val.txt
    """
    from openbpu.workflow.evaluation_files import write_evaluation_files

    with options.progress() as progress:
        written = write_evaluation_files(model_name, image_dir, output_dir, val_txt, type_rt or "", progress)
    options.console.print(f"wrote {options.counted(len(written), 'file')} into {output_dir}", highlight=False)
