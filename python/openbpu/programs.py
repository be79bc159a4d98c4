"""Which of several programs of a model is taken, and programs that are kept for the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openbpu import schedule
from openbpu.errors import ConfigError, ExecutableError, UnsupportedError
from openbpu.files import write_file
from openbpu.ir.graph import Graph
from openbpu.ir.profile import TargetProfile
from openbpu.perf.bound import least_cycles
from openbpu.perf.program import read
from openbpu.perf.replay import replay
from openbpu.runtime import Executable

MODES = ("latency", "bandwidth", "balance")
CACHE_MODES = ("disable", "enable", "force_overwrite")
_LEFT_OUT = frozenset({384 << 10, 768 << 10})  # of the ladder of powers of two and their halves in between


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
    """The program that suits the aim best, of those that the optimisation level allows.

    Programs are planned for all sizes of a ladder that the SRAM reaches, so that a larger SRAM has all the choices of a
    smaller one (decision 0034). Where every division has stripes of padding alone, all tensors stay in DDR. Raises
    UnsupportedError for a layer that does not fit.
    """
    if options.optimize_level == "O0":
        return Executable.from_bytes(schedule.schedule(graph, target, options))
    options.check(target)
    room = target.sram_bytes * options.core_num
    other = schedule.frugal(graph)
    schedulers = [schedule.Scheduler(g, target) for g in (graph, other) if g is not None]
    choice = _Choice(target.joined(options.core_num), aim.weight)
    for sizes in (_rungs(room), [room]):  # at `room` itself only below the first rung at which the model fits
        failures = [choice.consider_all(s, sizes, _levels(options, aim), options) for s in schedulers]
        if choice.made:
            break
    if choice.made:
        return choice.best()
    assert failures[0] is not None
    if any(isinstance(failure, schedule.PaddingError) for failure in failures):
        return Executable.from_bytes(schedule.schedule(graph, target, replace(options, optimize_level="O0")))
    raise failures[0]


def _levels(options: schedule.Options, aim: Aim) -> tuple[str, ...]:
    """Cascades move least; layer by layer there are fewer and longer instructions, which may be faster."""
    return ("O2", "O1") if options.optimize_level == "O2" and aim.weight > 0 else (options.optimize_level,)


def _rungs(room: int) -> list[int]:
    """Sizes of the SRAM that programs are planned for, largest first: those of the ladder that there is room for."""
    sizes = [size for k in range(18, 44) for size in (1 << k, 3 << (k - 1)) if size <= room]
    return sorted((size for size in sizes if size not in _LEFT_OUT), reverse=True)


class _Choice:
    """Programs of one graph, the best of which is to be found; those that cannot be it are not made."""

    def __init__(self, machine: TargetProfile, weight: float) -> None:
        self.machine, self.weight = machine, weight
        self.made: list[tuple[float, int, Executable]] = []  # time in cycles, DDR traffic
        self._seen: set[tuple[object, ...]] = set()
        self._host: list[int] = []  # cycles of the instructions on the CPU, in every program of a scheduler

    def consider_all(
        self, scheduler: schedule.Scheduler, sizes: Sequence[int], levels: Sequence[str], options: schedule.Options
    ) -> UnsupportedError | None:
        """Makes what may be the best of programs planned for these sizes; returns why the first failed that did."""
        failure: UnsupportedError | None = None
        self._host = []
        for size in sizes:
            for level in levels:
                try:
                    self.consider(scheduler, scheduler.draft(replace(options, optimize_level=level), size))
                except UnsupportedError as error:
                    failure = failure or error
        return failure

    def consider(self, scheduler: schedule.Scheduler, draft: schedule.Draft) -> None:
        """Makes the program of a draft, unless it is known to be no better than one that there is."""
        traffic = int(draft.notes["traffic_bytes"])
        if draft.likeness in self._seen:
            return
        self._seen.add(draft.likeness)
        if self._is_beaten(least_cycles(scheduler.tasks(draft), traffic, self._host, self.machine), traffic):
            return
        executable = Executable.from_bytes(scheduler.written(draft))
        instructions = read(executable).instructions
        timeline = replay(instructions, self.machine)
        self._host = [c.compute for i, c in zip(instructions, timeline.costs, strict=True) if i.queue == "CPU"]
        self.made.append((timeline.makespan, traffic, executable))

    def _is_beaten(self, time: float, traffic: int) -> bool:
        """Whether one that is made already is at least as good as any with this time or more and this traffic."""
        if self.weight == 1:
            return any((t, b) <= (time, traffic) for t, b, _ in self.made)
        if self.weight == 0:
            return any((b, t) <= (traffic, time) for t, b, _ in self.made)
        return any(t <= time and b <= traffic for t, b, _ in self.made)

    def best(self) -> Executable:
        least_time, least_traffic = min(m[0] for m in self.made) or 1, min(m[1] for m in self.made) or 1

        def cost(k: int) -> tuple[float, ...]:
            time, traffic, _ = self.made[k]
            if self.weight == 0:
                return traffic, time, k
            return self.weight * time / least_time + (1 - self.weight) * traffic / least_traffic, traffic, k

        return self.made[min(range(len(self.made)), key=cost)][2]


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
