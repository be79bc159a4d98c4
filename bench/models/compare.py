"""Models end to end, openbpu against its peers, in one interleaved run.

    python bench/models/compare.py --threads 1 --models mobilenet_v2 resnet50

Rounds are interleaved (one image per engine and round), the figure is the median over rounds: only ratios inside one
run mean anything on a shared machine. Needs `pip install onnxruntime openvino`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from engines import ENGINES
from networks import NETWORKS


def measure(name: str, engines: list[str], threads: int, rounds: int, folder: Path) -> list[dict[str, object]]:
    """One row per engine: median and minimum latency, load time, and best peer over ours."""
    model = NETWORKS[name]()
    loaded = [ENGINES[engine](model, folder, threads) for engine in engines]
    seconds: list[list[float]] = [[] for _ in loaded]
    for index in range(rounds + 5):
        for engine, times in zip(loaded, seconds, strict=True):
            start = time.perf_counter()
            outputs = engine.run()
            elapsed = time.perf_counter() - start
            if index >= 5:
                times.append(elapsed)
            elif not all(np.any(output) for output in outputs):
                raise SystemExit(f"{engine.engine} returns zeros on {name}: the comparison would be void")
    rows = []
    for engine, times in zip(loaded, seconds, strict=True):
        milliseconds = np.array(times) * 1e3
        rows.append(
            {
                "model": name,
                "engine": engine.engine,
                "version": engine.version,
                "threads": threads,
                "median_ms": float(np.median(milliseconds)),
                "min_ms": float(milliseconds.min()),
                "load_ms": engine.load_ms,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args()
    rows = []
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, {arguments.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            model_rows = measure(name, arguments.engines, arguments.threads, arguments.rounds, Path(folder))
            rows += model_rows
            ours = next((float(str(r["median_ms"])) for r in model_rows if r["engine"] == "openbpu"), None)
            for row in model_rows:
                ratio = f"{float(str(row['median_ms'])) / ours:6.2f} x ours" if ours else ""
                print(
                    f"{name:20} {row['engine']:12} {row['version']:10} median {row['median_ms']:8.3f} ms  "
                    f"min {row['min_ms']:8.3f}  load {row['load_ms']:7.1f}  {ratio}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
