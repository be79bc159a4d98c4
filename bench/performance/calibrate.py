"""The estimate against public latencies of YOLOv8: `python -m bench.performance.calibrate`; --fit finds the parameters.

Figures are times per inference of a BPU that is kept busy, int8, 640 x 640, from public benchmarks of two boards whose
chips are of the classes of nash-e and nash-m. One half of them fits four parameters that both profiles share; the
other half checks.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from bench.models import networks
from bench.performance.yolov8 import SIZES, yolov8
from openbpu import frontend, pipeline, ptq
from openbpu.ir.profile import PROFILES
from openbpu.perf import estimate
from openbpu.perf.program import Program, read
from openbpu.perf.replay import port_orders, replay
from openbpu.runtime import Executable

PUBLIC_MS = {
    "nash-e": {"n": 1.151, "s": 2.240, "m": 4.766, "l": 9.556, "x": 15.337},
    "nash-m": {"n": 0.795, "s": 1.514, "m": 3.116, "l": 6.394, "x": 10.120},
}
FIT = {("nash-e", "n"), ("nash-e", "m"), ("nash-e", "x"), ("nash-m", "s"), ("nash-m", "l")}
LIMIT = 0.25
# Estimates of the vendor's compiler for nash-e's board, without a launch; for comparison, nothing is fitted to them.
STATIC_MS = {"mobilenet_v2": (networks.mobilenet_v2, 0.20), "resnet152": (networks.resnet152, 2.23)}
_PARAMETERS = ("lanes_per_pixel", "mac_efficiency", "ddr_efficiency", "launch_seconds")
_LAUNCHES = [k * 1e-5 for k in range(21)]
_MOST_DDR = 0.9


@dataclass(frozen=True)
class Figure:
    """A network on a profile: what is public and what is estimated, in milliseconds."""

    march: str
    size: str
    public_ms: float
    estimate_ms: float

    @property
    def fitted(self) -> bool:
        return (self.march, self.size) in FIT

    @property
    def error(self) -> float:
        return self.estimate_ms / self.public_ms - 1


def compiled(size: str, march: str, folder: Path | None = None) -> Executable:
    """YOLOv8 of this size, as `built`."""
    return built(f"yolov8{size}", lambda: yolov8(size), march, folder)


def built(name: str, make: Callable[[], onnx.ModelProto], march: str, folder: Path | None = None) -> Executable:
    """The network quantised with made-up ranges, integers at its ends; kept in `folder` if one is given."""
    path = folder / f"{name}-{march}.bpux" if folder else None
    if path is not None and path.exists():
        return Executable.load(path)
    clean = frontend.prepare(frontend.load(make()))
    qdq = frontend.remove_boundary(ptq.draft(clean, set()), ("Quantize", "Dequantize"), ())
    executable = pipeline.compile(qdq, march=march)
    if path is not None:
        executable.save(path)
    return executable


def figures(sizes: str, folder: Path | None = None) -> Iterator[Figure]:
    """Estimates of these sizes beside the public figures."""
    for march, public in PUBLIC_MS.items():
        for size in sizes:
            report = estimate(compiled(size, march, folder), march)
            yield Figure(march, size, public[size], report.latency_us / 1e3)


def fit(programs: dict[tuple[str, str], Program]) -> dict[str, float]:
    """Parameters with the least squared logarithm of the ratio to the public figures, by a search that narrows.

    `lanes_per_pixel` are vector lanes per pixel of the MAC array. The launch stays below what small networks take in
    all on the board of nash-e.
    """
    orders = {key: port_orders(program.instructions) for key, program in programs.items()}

    def makespans(lanes: float, mac: float, ddr: float) -> dict[tuple[str, str], float]:
        found = {}
        for (march, size), program in programs.items():
            preset = PROFILES[march]
            many = max(int(preset.mac_pixels * lanes), 1)
            machine = replace(preset, vector_lanes=many, mac_efficiency=mac, ddr_efficiency=ddr)
            timeline = replay(program.instructions, machine, orders[march, size])
            found[march, size] = timeline.makespan / machine.clock_hz
        return found

    def loss(times: dict[tuple[str, str], float], launch: float) -> float:
        return sum(math.log((t + launch) * 1e3 / PUBLIC_MS[m][s]) ** 2 for (m, s), t in times.items())

    best = (math.inf, 1.0, 0.6, 0.75, 100e-6)
    for reach, ratios in ((0.3, (0.5, 1.0, 2.0, 4.0)), (0.15, ()), (0.05, ()), (0.02, ())):
        _, ratio, mac, ddr, _ = best
        steps = [k * reach / 2 for k in (-2, -1, 0, 1, 2)]
        for lanes, a, b in itertools.product(ratios or (ratio,), steps, steps):
            point = (lanes, min(max(mac + a, 0.2), 1.0), min(max(ddr + b, 0.4), _MOST_DDR))
            times = makespans(*point)
            best = min([best, *((loss(times, launch), *point, launch) for launch in _LAUNCHES)])
    return dict(zip(_PARAMETERS, best[1:], strict=True))


def _table(rows: list[Figure]) -> str:
    lines = ["| profile | network | public, ms | estimate, ms | error | used |", "|---|---|---|---|---|---|"]
    for row in rows:
        times = f"{row.public_ms:.3f} | {row.estimate_ms:.3f} | {row.error:+.1%}"
        lines.append(f"| {row.march} | YOLOv8{row.size} | {times} | {'fit' if row.fitted else 'check'} |")
    for name, chosen in (("fit", [r for r in rows if r.fitted]), ("check", [r for r in rows if not r.fitted])):
        if chosen:
            mean = sum(abs(row.error) for row in chosen) / len(chosen)
            worst = max(abs(row.error) for row in chosen)
            lines.append(f"| | {name} | | | mean {mean:.1%}, worst {worst:.1%} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="".join(SIZES), help="any of n, s, m, l, x")
    parser.add_argument("--fit", action="store_true", help="search the parameters and print them")
    parser.add_argument("--more", action="store_true", help="figures of other networks, which are not fitted")
    parser.add_argument("--folder", type=Path, help="keep compiled networks here")
    arguments = parser.parse_args()
    if arguments.fit:
        programs = {(m, s): read(compiled(s, m, arguments.folder)) for m, s in sorted(FIT) if s in arguments.sizes}
        print(fit(programs))
        return
    rows = list(figures(arguments.sizes, arguments.folder))
    print(_table(rows))
    for name, (make, public) in STATIC_MS.items() if arguments.more else ():
        report = estimate(built(name, make, "nash-e", arguments.folder), "nash-e")
        ours = report.makespan_us / 1e3
        print(f"| nash-e | {name} | {public:.3f} | {ours:.3f} | {ours / public - 1:+.1%} | static |")
    if max(abs(row.error) for row in rows) > LIMIT:
        raise SystemExit(f"an error is above {LIMIT:.0%}")


if __name__ == "__main__":
    main()
