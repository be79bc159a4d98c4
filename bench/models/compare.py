"""Models end to end, openbpu against its peers, in one interleaved run.

    python -m bench.models.compare --threads 1 --models mobilenet_v2 resnet50 --json rows.json --chart ratios.png

Every round gives each engine its turn: a pause, so that the worker threads that other engines leave spinning go to
sleep, one run that does not count, then a few that do. The figure is the median over rounds: on a shared machine only
ratios inside one run mean anything. docs/benchmarks.md describes the guards (guards.py) and how to read the result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.models import footprint, guards, report
from bench.models.engines import ENGINES, Loaded, image
from bench.models.networks import NETWORKS, one_layer

ONEDNN_ISA = {"avx512vnni": "AVX512_CORE_VNNI", "avx2": "AVX2"}
PAUSE, RUNS = 0.005, 3  # seconds before an engine's turn, runs that count in a turn


def main() -> None:
    arguments = _arguments()
    guards.check_threads(arguments.threads, machine.usable_processors())
    if arguments.isa in ONEDNN_ISA:  # read by oneDNN when OpenVINO is loaded; the other peers have no such switch
        os.environ["ONEDNN_MAX_CPU_ISA"] = ONEDNN_ISA[arguments.isa]
    engines = arguments.engines or (["openbpu", "openvino"] if arguments.isa in ONEDNN_ISA else list(ENGINES))
    print(f"{machine.describe()}; {arguments.threads} threads, isa {arguments.isa}, {arguments.rounds} rounds")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            print(f"{name} ...", flush=True)
            rows += compare(name, engines, arguments, Path(folder))
    report.show(rows)
    print(report.summary(rows))
    if arguments.json:
        report.write_json(rows, arguments.json)
    if arguments.chart:
        report.chart(rows, arguments.chart)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="default: all (with --isa: those that obey)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", choices=("auto", *ONEDNN_ISA), default="auto", help="holds OpenVINO to it, too")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--chart", type=Path, help="write a bar chart of the ratios there (PNG)")
    return parser.parse_args()


def compare(name: str, engines: list[str], arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row per engine: times, rates, footprint, and its time over ours."""
    model = NETWORKS[name]()
    macs = guards.count_macs(model)
    small = one_layer(len(model.graph.output))
    expected = guards.float_outputs(model, image(model))
    rows, loaded = [], {}
    for name_of_engine in engines:
        engine = ENGINES[name_of_engine]
        if not engine.takes(model):
            print(f"{name} is left out for {name_of_engine}: its file cannot be written here")
            continue
        path = engine.prepare(model, folder)
        options = (arguments.threads, arguments.isa)
        to_check = engine.faithful(model, folder) if engine.faithful else path
        cosine = guards.check_outputs(name, name_of_engine, engine.load(to_check, *options), expected)
        if name_of_engine == "openbpu":
            guards.check_program(name, path, macs)
        least = footprint.measure(name_of_engine, engine.prepare(small, folder), *options, folder)["allocations"]
        sizes = footprint.measure(name_of_engine, path, *options, folder)
        loaded[name_of_engine] = engine.load(path, *options)
        rows.append({"engine": name_of_engine, "cosine": cosine, **sizes, "allocations_of_one_layer": least})
    before, load_average = guards.peak(arguments.isa), os.getloadavg()[0]
    seconds = _interleaved(loaded, arguments.rounds)
    peak = max(before, guards.peak(arguments.isa)) * arguments.threads
    for row in rows:
        times = seconds[row["engine"]]
        rate = macs / statistics.median(times) / 1e9
        guards.check_rate(name, row["engine"], rate, peak)
        row |= {
            "model": name,
            "version": loaded[row["engine"]].version,
            "threads": arguments.threads,
            "isa": arguments.isa,
            "processor": machine.processor(),
            "load_average": load_average,
            "macs": macs,
            "median_ms": statistics.median(times) * 1e3,
            "min_ms": min(times) * 1e3,
            "gmacs": rate,
            "peak_gmacs": peak,
            "of_peak": rate / peak,
        }
    ours = next((row["median_ms"] for row in rows if row["engine"] == "openbpu"), float("nan"))
    return [{**row, "ratio": row["median_ms"] / ours} for row in rows]


def _interleaved(loaded: dict[str, Loaded], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {engine: [] for engine in loaded}
    for _ in range(rounds):
        for engine, times in seconds.items():
            time.sleep(PAUSE)
            loaded[engine].run()
            for _ in range(RUNS):
                start = time.perf_counter()
                loaded[engine].run()
                times.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
