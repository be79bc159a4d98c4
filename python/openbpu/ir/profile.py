"""Target profiles: what the compiler and the cost model know of a virtual BPU."""

from __future__ import annotations

from dataclasses import dataclass

from openbpu.errors import ConfigError


@dataclass(frozen=True)
class TargetProfile:
    """One `march`. Figures are illustrative round numbers by TOPS class, not a measurement of any chip."""

    name: str
    sram_bytes: int
    mac_rows: int  # input channels per cycle
    mac_columns: int  # output channels per cycle
    mac_pixels: int  # output pixels per cycle
    vector_lanes: int
    clock_hz: float
    ddr_bytes_per_second: float

    @property
    def macs_per_second(self) -> float:
        return self.mac_rows * self.mac_columns * self.mac_pixels * self.clock_hz


_MIB = 1 << 20
PROFILES: dict[str, TargetProfile] = {
    p.name: p
    for p in (
        TargetProfile("nash-b-lite", 1 * _MIB, 32, 32, 3, 128, 1.0e9, 17e9),
        TargetProfile("nash-b", 2 * _MIB, 32, 32, 4, 256, 1.1e9, 25e9),
        TargetProfile("nash-b-plus", 2 * _MIB, 32, 32, 5, 256, 1.1e9, 34e9),
        TargetProfile("nash-e", 4 * _MIB, 32, 32, 16, 512, 1.2e9, 51e9),
        TargetProfile("nash-m", 6 * _MIB, 32, 32, 25, 512, 1.25e9, 68e9),
        TargetProfile("nash-h", 12 * _MIB, 32, 32, 27, 512, 1.25e9, 136e9),
        TargetProfile("nash-p", 24 * _MIB, 32, 32, 27, 512, 1.25e9, 204e9),
    )
}


def profile(march: str) -> TargetProfile:
    """The profile called `march`; ConfigError with the known names if there is none."""
    if march not in PROFILES:
        raise ConfigError("unknown march", where="march", seen=march, remedy=f"use one of {', '.join(PROFILES)}")
    return PROFILES[march]
