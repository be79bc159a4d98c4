"""Which of several programs of a model is taken, and programs that are kept for the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openbpu import schedule
from openbpu.errors import ConfigError, ExecutableError
from openbpu.files import write_file
from openbpu.ir.graph import Graph
from openbpu.ir.profile import TargetProfile
from openbpu.perf import estimate
from openbpu.runtime import Executable

MODES = ("latency", "bandwidth", "balance")
CACHE_MODES = ("disable", "enable", "force_overwrite")


@dataclass(frozen=True)
class Aim:
    """What a program is chosen for: `mode` is "latency", "bandwidth" or "balance" with a factor.

    `factor` 0 to 100 goes from the fewest bytes of DDR traffic to the shortest time. Raises ConfigError.
    """

    mode: str = "latency"
    factor: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"one of {', '.join(MODES)}", where="compile_mode", seen=self.mode)
        factor = self.factor
        if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int) or not 0 <= factor <= 100):
            raise ConfigError("a whole number from 0 to 100", where="balance_factor", seen=factor)
        if self.mode == "balance" and factor is None:
            raise ConfigError("must be given with compile_mode balance", where="balance_factor", remedy="0 to 100")

    @property
    def weight(self) -> float:
        """Of the time against the traffic, 0 to 1."""
        return {"latency": 1.0, "bandwidth": 0.0}.get(self.mode, (self.factor or 0) / 100)


def chosen(graph: Graph, target: TargetProfile, options: schedule.Options, aim: Aim) -> Executable:
    """The program that suits the aim best, of those that the optimisation level allows."""
    made = [Executable.from_bytes(schedule.schedule(graph, target, o)) for o in _candidates(options, aim)]
    if len(made) == 1:
        return made[0]
    reports = [estimate(executable, target) for executable in made]
    times = [report.latency_us for report in reports]
    traffic = [float(executable.meta["memory"]["traffic_bytes"]) for executable in made]
    weight = aim.weight

    def cost(k: int) -> tuple[float, float, int]:
        shares = times[k] / (min(times) or 1), traffic[k] / (min(traffic) or 1)
        return weight * shares[0] + (1 - weight) * shares[1], shares[1], k

    return made[min(range(len(made)), key=cost)]


def _candidates(options: schedule.Options, aim: Aim) -> list[schedule.Options]:
    """Cascades move least; layer by layer there are fewer and longer instructions, which may be faster."""
    if options.optimize_level != "O2" or aim.weight == 0:
        return [options]
    return [options, replace(options, optimize_level="O1")]


@dataclass(frozen=True)
class Cache:
    """Programs of earlier calls, in a folder, under a hash of all that they depend on.

    `mode` "enable" takes a program from there and keeps new ones; "force_overwrite" compiles in any case and keeps the
    result; "disable" does neither. Raises ConfigError for another mode and a missing folder name.
    """

    mode: str = "disable"
    path: str = ""

    def __post_init__(self) -> None:
        if self.mode not in CACHE_MODES:
            raise ConfigError(f"one of {', '.join(CACHE_MODES)}", where="cache_mode", seen=self.mode)
        if self.mode != "disable" and not self.path:
            raise ConfigError("a folder must be given", where="cache_path", remedy="name one, or cache_mode disable")

    def get(self, model: bytes, settings: dict[str, Any], make: Callable[[], Executable]) -> Executable:
        """The program of this model and these settings, from the folder or from `make`."""
        if self.mode == "disable":
            return make()
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode() + b"\0" + model).hexdigest()
        file = Path(self.path) / f"{key}.bpux"
        if self.mode == "enable" and file.is_file():
            try:
                return Executable.load(file)
            except ExecutableError:
                pass  # damaged: it is made again
        executable = make()
        write_file(file, executable.to_bytes())
        return executable
