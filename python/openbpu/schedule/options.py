"""What a caller may ask of the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from openbpu.errors import ConfigError
from openbpu.ir.profile import TargetProfile
from openbpu.schedule.flow import Flow
from openbpu.schedule.partition import Partition, Partitioner

LEVELS = ("O0", "O1", "O2")
MODES = ("latency", "bandwidth", "balance")
Division = Callable[[Flow, int], Partition]


@dataclass(frozen=True)
class Options:
    """`optimize_level` "O0": all tensors in DDR; "O1": layer by layer through SRAM; "O2": cascades of layers too.

    `max_time_per_fc` in microseconds bounds the estimated time of an instruction, which cannot be interrupted; 0 for no
    bound. `core_num` cores of the profile work as one: with their arithmetic, their vector lanes and their SRAM
    together. `partitioner` takes the place of that of the level. Raises ConfigError for a value out of range.
    """

    optimize_level: str = "O2"
    max_time_per_fc: int = 0
    core_num: int = 1
    partitioner: Division | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.optimize_level not in LEVELS:
            raise ConfigError(f"one of {', '.join(LEVELS)}", where="optimize_level", seen=self.optimize_level)
        time = self.max_time_per_fc
        if isinstance(time, bool) or not isinstance(time, int) or (time != 0 and not 1000 <= time <= 10_000_000):
            raise ConfigError("0, or 1000 to 10000000 microseconds", where="max_time_per_fc", seen=time)

    def check(self, profile: TargetProfile) -> None:
        """Raises ConfigError for more cores than the profile has."""
        cores = self.core_num
        if isinstance(cores, bool) or not isinstance(cores, int) or not 1 <= cores <= profile.cores:
            rule = "1" if profile.cores == 1 else f"1 to {profile.cores}"
            raise ConfigError(f"{profile.name} has {rule} of them", where="core_num", seen=cores)

    def partitioned(self, partitioner: Partitioner, room: int) -> Partition:
        """The division of the program into segments."""
        if self.partitioner is not None:
            return self.partitioner(partitioner.flow, room)
        return partitioner.best(room, LEVELS.index(self.optimize_level))
