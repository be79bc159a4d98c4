"""openbpu run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import numpy as np

from openbpu.cli import options
from openbpu.files import write_file


@click.command("run")
@click.argument("executable", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "sources",
    metavar="[NAME=]FILE",
    multiple=True,
    required=True,
    help="A .npy file, or .npz with arrays by input name; NAME=FILE, repeated, for several inputs.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for one .npy per output.")
@click.option(
    "--exact-machine",
    is_flag=True,
    help="Run each instruction as it is written: copies are made, waits checked, memory starts as noise. Slow; the "
    "bytes are the same.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the noise and of the order of queues on it.",
)
@options.entry
@options.isa
@options.threads
@options.json_output
def command(
    executable: Path,
    sources: tuple[str, ...],
    output: Path | None,
    exact_machine: bool,
    seed: int,
    entry: str,
    isa: str,
    threads: int,
    as_json: bool,
) -> None:
    """Run the .bpux file EXECUTABLE on inputs from files.

    \b
    Example:
      openbpu run net.bpux --input x.npy -o results/
    """
    from openbpu.runtime import Session
    from openbpu.samples import SampleFiles

    session = Session(executable, isa=isa, threads=threads, entry=entry, exact_machine=exact_machine, seed=seed)
    rows = []
    for index, sample in enumerate(SampleFiles(sources)):
        for name, array in session.run(sample).items():
            flat = array.reshape(-1).astype(np.float64)
            rows.append(
                {
                    "sample": index,
                    "output": name,
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "min": float(flat.min()),
                    "max": float(flat.max()),
                    "mean": float(flat.mean()),
                    "argmax": int(flat.argmax()),
                }
            )
            if output is not None:
                write_file(output / f"{_file_name(name)}_{index}.npy", _npy(array))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = options.table("outputs", ">sample", "output", "type", "shape", ">min", ">max", ">mean", ">arg max")
    for row in rows:
        table.add_row(
            str(row["sample"]),
            str(row["output"]),
            str(row["dtype"]),
            "x".join(map(str, row["shape"])),  # type: ignore[call-overload]
            *(f"{row[key]:.6g}" for key in ("min", "max", "mean")),
            str(row["argmax"]),
        )
    options.console.print(table)


def _file_name(output: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in output)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
