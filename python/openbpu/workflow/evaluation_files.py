"""Evaluation data as raw files: photographs after the recipe of a model family, one .bin per image and port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openbpu.errors import SampleError
from openbpu.files import write_file
from openbpu.pipeline import Progress
from openbpu.preprocess import recipe
from openbpu.preprocess.images import photographs_of


def write_evaluation_files(
    family: str,
    images: Path,
    output: Path,
    labels: Path | None = None,
    type_rt: str = "",
    progress: Progress | None = None,
) -> list[Path]:
    """Writes one raw .bin per photograph of a folder, and returns their paths.

    Without `type_rt` it holds the network's input, float32 in the layout of the recipe; with it what arrives at run
    time as that type: one file per port (nv12: name_y.bin and name_uv.bin). `labels` is a text file of lines that begin
    with the name of an image: those alone are written, and the lines go to a file of the same name in `output`, with
    the names of the .bin files. Raises ConfigError, SampleError, OpenBpuError.
    """
    made = recipe(family)
    spec = made.input_spec(type_rt) if type_rt else None
    files, lines = _chosen(images, labels)
    written: list[Path] = []
    for done, path in enumerate(files, 1):
        parts = {"": made.apply(path)} if spec is None else made.frame("", path, spec)
        for port, array in parts.items():
            written.append(output / f"{path.stem}{port}.bin")
            write_file(written[-1], array.tobytes())
        if progress:
            progress("preprocess images", done, len(files))
    if labels is not None:
        write_file(output / labels.name, "".join(f"{line}\n" for line in lines).encode())
    return written


def _chosen(images: Path, labels: Path | None) -> tuple[list[Path], list[str]]:
    """The photographs to write, and the lines of labels with the names of their .bin files."""
    files = photographs_of(images)
    stems = [path.stem for path in files]
    if twice := next((s for s in stems if stems.count(s) > 1), "") if len(set(stems)) < len(stems) else "":
        raise SampleError("photographs need names that differ before their endings", where=str(images), seen=twice)
    if labels is None:
        return files, []
    by_name = {path.name: path for path in files}
    found, lines = [], []
    for number, (name, rest) in enumerate(_named_lines(labels), 1):
        if name not in by_name:
            raise SampleError("names an image of the folder", where=f"{labels}, line {number}", seen=name)
        found.append(by_name[name])
        lines.append(f"{by_name[name].stem}.bin {rest}".rstrip())
    return found, lines


def _named_lines(labels: Path) -> Iterator[tuple[str, str]]:
    try:
        text = labels.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError("the file of labels must be readable text", where=str(labels), seen=error) from error
    for line in text.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest
