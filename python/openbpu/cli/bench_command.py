"""openbpu bench."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np

from openbpu.cli import options
from openbpu.files import write_file


@click.command("bench")
@click.argument("executable", type=click.Path(path_type=Path))
@options.entry
@options.isa
@options.threads
@click.option("--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Timed runs.")
@click.option("--warmup", type=click.IntRange(min=0), default=5, show_default=True, help="Untimed runs before.")
@click.option("--profile", "profiled", is_flag=True, help="Show the time of each instruction.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write a Chrome trace that Perfetto opens.")
@options.json_output
def command(
    executable: Path,
    entry: str,
    isa: str,
    threads: int,
    runs: int,
    warmup: int,
    profiled: bool,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Time the .bpux file EXECUTABLE on random inputs.

    \b
    Example:
      openbpu bench net.bpux --threads 2 --profile
    """
    from openbpu.runtime import Session

    session = Session(executable, isa=isa, threads=threads, entry=entry)
    inputs = random_inputs(session)
    seconds = []
    for index in range(warmup + runs):
        start = time.perf_counter()
        session.run(inputs)
        if index >= warmup:
            seconds.append(time.perf_counter() - start)
    milliseconds = np.array(seconds) * 1e3
    macs = session.macs
    result = {
        "isa": session.isa,
        "threads": session.threads,
        "runs": runs,
        "median_ms": float(np.median(milliseconds)),
        "min_ms": float(milliseconds.min()),
        "p90_ms": float(np.percentile(milliseconds, 90)),
        "gmac_per_second": macs / float(np.median(milliseconds)) / 1e6,
    }
    profile = session.profile(inputs, runs=min(runs, 20)) if profiled or trace else None
    if trace is not None and profile is not None:
        write_file(trace, json.dumps(profile.chrome_trace()).encode())
    if as_json:
        click.echo(json.dumps({**result, **({"profile": profile.to_dict()} if profile else {})}, indent=2))
        return
    options.console.print(
        f"{session.isa}, {options.counted(session.threads, 'thread')}: median {result['median_ms']:.3f} ms, "
        f"min {result['min_ms']:.3f}, 90 % {result['p90_ms']:.3f}; {result['gmac_per_second']:.1f} GMAC/s",
        highlight=False,
    )
    if profiled and profile is not None:
        click.echo(str(profile))


def random_inputs(session: object, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded inputs for every input port: standard normal for floats, the whole range for integers.

    bool, and int64, which mostly indexes, are 0 or 1.
    """
    random = np.random.default_rng(seed)
    inputs = {}
    for port in session.inputs:  # type: ignore[attr-defined]
        dtype = np.dtype(port.dtype)
        if dtype.kind == "f":
            inputs[port.name] = random.standard_normal(port.shape).astype(dtype)
        elif dtype in (np.bool_, np.int64):
            inputs[port.name] = random.integers(0, 2, port.shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            inputs[port.name] = random.integers(limits.min, limits.max, port.shape, dtype, endpoint=True)
    return inputs
