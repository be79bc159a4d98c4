"""Models end to end, openbpu against its peers, in one interleaved run.

    python -m bench.models.compare --threads 1 --models mobilenet_v2 resnet50 --json rows.json --chart ratios.png

Every round gives each engine its turn: a pause, so that the worker threads that other engines leave spinning go to
sleep, one run that does not count, then a few that do. The figure is the median over rounds: on a shared machine only
ratios inside one run mean anything. Guards: multiply-accumulates are counted in the float graph and must be those of
our program, weights must not be zero, outputs must not be zero, and nothing may beat the instruction peak that is
measured beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.models import footprint
from bench.models.engines import ENGINES, Loaded
from bench.models.networks import NETWORKS

PAUSE, RUNS = 0.005, 3  # seconds before an engine's turn, runs that count in a turn


def main() -> None:
    arguments = _arguments()
    if arguments.isa == "avx2":  # read by oneDNN when OpenVINO is loaded; the other peers have no such switch
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    engines = arguments.engines or (["openbpu", "openvino"] if arguments.isa == "avx2" else list(ENGINES))
    print(f"{_processor()}, {arguments.threads} threads, isa {arguments.isa}, {arguments.rounds} rounds", flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            rows += compare(name, engines, arguments, Path(folder))
            print(table([row for row in rows if row["model"] == name]), flush=True)
    print(summary(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    if arguments.chart:
        chart(rows, arguments.chart)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="default: all (with --isa avx2: those that obey)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", choices=("auto", "avx2"), default="auto", help="avx2: holds OpenVINO to it, too")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--chart", type=Path, help="write a bar chart of the ratios there (PNG)")
    return parser.parse_args()


def compare(name: str, engines: list[str], arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row per engine: times, rates, footprint, and its time over ours."""
    model = NETWORKS[name]()
    macs = count_macs(model)
    paths = {engine: ENGINES[engine].prepare(model, folder) for engine in engines}
    sizes = {e: footprint.measure(e, paths[e], arguments.threads, arguments.isa, folder) for e in engines}
    loaded = {e: ENGINES[e].load(paths[e], arguments.threads, arguments.isa) for e in engines}
    _check(name, loaded, paths, macs)
    peak = _peak()
    seconds = _interleaved(loaded, arguments.rounds)
    rows = []
    for engine, times in seconds.items():
        median = statistics.median(times)
        rate = macs / median / 1e9
        if rate > 1.02 * peak * arguments.threads:
            raise SystemExit(f"{engine} on {name}: {rate:.0f} GMAC/s beats the peak of {peak:.0f}: the run is void")
        rows.append(
            {
                "model": name,
                "engine": engine,
                "version": loaded[engine].version,
                "threads": arguments.threads,
                "isa": arguments.isa,
                "processor": _processor(),
                "load_average": os.getloadavg()[0],
                "macs": macs,
                "median_ms": median * 1e3,
                "min_ms": min(times) * 1e3,
                "gmacs": rate,
                "of_peak": rate / (peak * arguments.threads),
                **sizes[engine],
            }
        )
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


def _check(name: str, loaded: dict[str, Loaded], paths: dict[str, Path], macs: int) -> None:
    for engine, ready in loaded.items():
        if not all(np.any(output) for output in ready.run()):
            raise SystemExit(f"{engine} returns zeros on {name}: the comparison would be void")
    if "openbpu" in paths:
        from openbpu import runtime

        counted = runtime.Session(paths["openbpu"]).macs
        if counted != macs:
            raise SystemExit(f"{name}: {macs} products in the float graph, {counted} in our program")


def count_macs(model: Any) -> int:
    """Products of the convolutions and matrix products of a float graph. Raises SystemExit if weights are zero."""
    from onnx import numpy_helper

    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    macs = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        weight = weights[node.input[1]]
        if np.count_nonzero(weight) < 0.99 * weight.size:
            raise SystemExit(f"{node.name}: weights are zero: engines would skip work")
        macs += int(np.prod(shapes[node.output[0]])) * int(np.prod(weight.shape[1:]))
    return macs


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for r in rows:
        lines.append(
            f"{r['model']:20} {r['engine']:12} {r['version']:9} "
            f"median {r['median_ms']:8.3f} ms  min {r['min_ms']:8.3f}  {r['gmacs']:6.1f} GMAC/s "
            f"{100 * r['of_peak']:3.0f} %  load {r['load_ms']:7.1f} ms  "
            f"{r['peak_mib']:4.0f} MiB  {r['allocations']:6.1f} allocations  {r['ratio']:5.2f} x ours"
        )
    return "\n".join(lines)


def best_ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Best peer over ours, by model."""
    ratios: dict[str, float] = {}
    for row in rows:
        if row["engine"] != "openbpu":
            ratios[row["model"]] = min(ratios.get(row["model"], float("inf")), row["ratio"])
    return ratios


def summary(rows: list[dict[str, Any]]) -> str:
    ratios = best_ratios(rows)
    if not ratios:
        return "no peer to compare with"
    parts = [f"{model} {ratio:.2f}" for model, ratio in ratios.items()]
    return f"best peer / ours: {', '.join(parts)}; geometric mean {statistics.geometric_mean(ratios.values()):.2f}"


def chart(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars of each peer's time over ours; one is a tie."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(row["model"] for row in rows))
    peers = [e for e in dict.fromkeys(row["engine"] for row in rows) if e != "openbpu"]
    figure, axes = pyplot.subplots(figsize=(1.6 * len(models) + 2, 4.2), layout="constrained")
    for k, peer in enumerate(peers):
        ratios = {row["model"]: row["ratio"] for row in rows if row["engine"] == peer}
        places = np.arange(len(models)) + (k - (len(peers) - 1) / 2) * 0.8 / len(peers)
        bars = axes.bar(places, [ratios[m] for m in models], 0.76 / len(peers), label=peer)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(models)), models)
    axes.set_ylabel("time over openbpu's")
    axes.set_title(f"{rows[0]['processor']}, {rows[0]['threads']} threads, isa {rows[0]['isa']}", fontsize=10)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _peak() -> float:
    """GMAC/s of one core, the best of some tries: what no result may beat."""
    from openbpu import _native

    return max(_native.peak_gmacs("auto") for _ in range(5))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return f"{facts.get('model name', platform.machine())} (model {facts.get('model', '?')})"


if __name__ == "__main__":
    main()
