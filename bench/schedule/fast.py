"""Whether programs for a small SRAM run as fast on the host as those without stripes (O0).

python -m bench.schedule.fast [--networks ...] [--sram KIB] [--rounds N]

Both run in one process, by turns, on one thread that is pinned to one core: median and least CPU time of all rounds
(which is the time on a machine with nothing else to do), and the size of both files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace

import numpy as np

from bench.models.networks import NETWORKS
from bench.schedule.traffic import MODELS, quantised
from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph
from openbpu.ir.profile import profile
from openbpu.lower import lower
from openbpu.programs import Aim, chosen
from openbpu.runtime import Executable, Session
from openbpu.schedule import Options

_ALL = {**NETWORKS, **MODELS}


def measured(graph: Graph, kib: int, rounds: int) -> tuple[list[Executable], list[list[float]]]:
    """The program without stripes and the one that is chosen, and the CPU times of each in ms."""
    machine = replace(profile("nash-e"), sram_bytes=kib << 10)
    made = [chosen(graph, machine, Options(level), Aim()) for level in ("O0", "O2")]
    sessions = [Session(executable, threads=1) for executable in made]
    random = np.random.default_rng(5)
    feeds = {p.name: random.standard_normal(p.shape).astype(p.dtype) for p in sessions[0].inputs}
    outputs = [[a.tobytes() for a in session.run(feeds).values()] for session in sessions]
    assert outputs[0] == outputs[1]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for session, row in zip(sessions, times, strict=True):
            start = time.process_time()
            session.run(feeds)
            row.append(1e3 * (time.process_time() - start))
    return made, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = ["mobilenet_v2", "resnet50", "yolov5s_320"]
    parser.add_argument("--networks", nargs="+", choices=list(_ALL), default=networks)
    parser.add_argument("--sram", type=int, default=1024, metavar="KIB")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| network | O0, median / least, ms | O2, median / least, ms | of medians | of least | files, MB |")
    print("|---|---|---|---|---|---|")
    for name in arguments.networks:
        graph = lower(prepare_qdq(quantised(_ALL[name]())))
        made, times = measured(graph, arguments.sram, arguments.rounds)
        medians, least = [statistics.median(row) for row in times], [min(row) for row in times]
        shares = (100 * (b / a - 1) for a, b in (medians, least))
        sizes = " / ".join(f"{len(executable.to_bytes()) / 1e6:.2f}" for executable in made)
        rows = [f"{m:.3f} / {t:.3f}" for m, t in zip(medians, least, strict=True)]
        print(f"| {name} | {' | '.join(rows)} | {' | '.join(f'{s:+.1f} %' for s in shares)} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
