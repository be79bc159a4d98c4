"""What the size of the SRAM and the rate of the DDR change: estimates, DDR traffic, and that the bytes stay the same.

python -m bench.schedule.sizes [--networks mobilenet_v2 ...] [--sram 256 512 ...] [--ddr 0.25 1 4] [--exact]

For each network one row per rate: milliseconds, and at the rate of nash-e megabytes to and from DDR, for each size of
the SRAM in KiB. It fails where a larger SRAM or a faster DDR is slower. With `--exact` each program also runs: on the
exact machine, in the fast way, and without any SRAM (O0); it fails unless all outputs are equal to the last bit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx

from bench.models.networks import NETWORKS
from bench.schedule.traffic import MODELS, quantised
from openbpu import perf
from openbpu.errors import UnsupportedError
from openbpu.frontend import prepare_qdq
from openbpu.ir.graph import Graph
from openbpu.ir.profile import TargetProfile, profile
from openbpu.lower import lower
from openbpu.programs import Aim, chosen
from openbpu.runtime import Executable, Session
from openbpu.schedule import Options, schedule

_KIB = 1024
_ALL = {**NETWORKS, **MODELS}
_DEFAULT = ["mobilenet_v2", "efficientnet_lite0", "resnet50", "yolov5s_320", "yolov5s_640", "unet", "deit_tiny"]
_SIZES = [256, 512, 1024, 1536, 2048, 3072, 4096, 8192, 24576]


def machine(kib: int, factor: float) -> TargetProfile:
    base = profile("nash-e")
    return replace(base, sram_bytes=kib * _KIB, ddr_bytes_per_second=base.ddr_bytes_per_second * factor)


def outputs(executable: Executable, feeds: dict[str, np.ndarray], exact: bool = False) -> list[np.ndarray]:
    return list(Session(executable, exact_machine=exact, seed=1).run(feeds).values())


def _megabytes(program: Executable | None) -> str:
    return "-" if program is None else f"{program.meta['memory']['traffic_bytes'] / 1e6:.2f}"


class Network:
    """A network with the programs that were made for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.qdq: onnx.ModelProto = quantised(_ALL[name]())
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def graph(self) -> Graph:
        return lower(prepare_qdq(self.qdq))

    def program(self, kib: int, factor: float) -> Executable | None:
        graph, start = self.graph(), time.process_time()
        try:
            return chosen(graph, machine(kib, factor), Options(), Aim())
        except UnsupportedError:
            return None
        finally:
            self.seconds.append(time.process_time() - start)

    def rows(self, sizes: Sequence[int], factors: Sequence[float], exact: bool) -> list[str]:
        times: dict[float, list[float]] = {}
        moved: list[str] = []
        for factor in factors:
            times[factor] = []
            for kib in sizes:
                program = self.program(kib, factor)
                report = None if program is None else perf.estimate(program, machine(kib, factor))
                times[factor].append(float("inf") if report is None else report.latency_us / 1e3)
                if factor == 1:
                    moved.append(_megabytes(program))
                    if exact and program is not None:
                        self._compare(program, kib)
        for factor, row in times.items():
            if any(b > a for a, b in pairwise(row)):
                self.failures.append(f"{self.name}: a larger SRAM is slower at {factor:g} times the rate")
        for (slow, before), (fast, after) in pairwise(sorted(times.items())):
            if any(b > a for a, b in zip(before, after, strict=True)):
                self.failures.append(f"{self.name}: {fast:g} times the rate is slower than {slow:g} times")
        lines = [f"| {self.name} | {f:g} | {' | '.join(f'{t:.3f}' for t in row)} |" for f, row in times.items()]
        return [*lines, f"| {self.name} | MB | {' | '.join(moved)} |"] if moved else lines

    def _compare(self, program: Executable, kib: int) -> None:
        plain = Executable.from_bytes(schedule(self.graph(), machine(kib, 1), Options("O0")))
        random = np.random.default_rng(5)
        feeds = {
            port.name: random.standard_normal(port.shape).astype(port.dtype)
            for port in program.ports()
            if port.direction == "input"
        }
        wanted = outputs(plain, feeds)
        for way in (False, True):
            for a, b in zip(outputs(program, feeds, way), wanted, strict=True):
                if a.tobytes() != b.tobytes():
                    self.failures.append(f"{self.name}, {kib} KiB: {'exact' if way else 'fast'} differs from O0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(_ALL), default=_DEFAULT)
    parser.add_argument("--sram", type=int, nargs="+", default=_SIZES, metavar="KIB")
    parser.add_argument("--ddr", type=float, nargs="+", default=[0.25, 1.0, 4.0], metavar="FACTOR")
    parser.add_argument("--exact", action="store_true", help="run each program too, and compare the outputs")
    arguments = parser.parse_args()
    sizes, factors = sorted(arguments.sram), sorted(arguments.ddr)
    print(f"| network | DDR | {' | '.join(str(kib) for kib in sizes)} |")
    print("|---|---|" + "---|" * len(sizes))
    failures, compared = [], 0
    for name in arguments.networks:
        network = Network(name)
        print("\n".join(network.rows(sizes, factors, arguments.exact)), flush=True)
        failures += network.failures
        compared += len(sizes) if arguments.exact else 0
        print(f"<!-- {name}: at most {max(network.seconds):.1f} s of CPU time to compile -->", flush=True)
    if arguments.exact and not failures:
        print(f"<!-- exact machine = fast = O0 for {compared} programs -->")
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
