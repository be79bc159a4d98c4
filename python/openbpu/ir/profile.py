"""Target profiles: what the compiler and the cost model know of a virtual BPU. docs/profiles.md is made from here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from openbpu.errors import ConfigError, did_you_mean, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KIB, _MIB = 1 << 10, 1 << 20


def _parameter(unit: str, doc: str, least: float, most: float, default: float | None = None) -> Any:
    metadata = {"unit": unit, "doc": doc, "least": least, "most": most}
    return field(metadata=metadata) if default is None else field(metadata=metadata, default=default)


@dataclass(frozen=True)
class TargetProfile:
    """One `march`. Presets are round figures by class of chip: illustrative, not a measurement of any chip."""

    name: str
    sram_bytes: int = _parameter("bytes", "On-chip memory of a core for activations and weights.", 64 * _KIB, 1 << 34)
    mac_rows: int = _parameter("channels", "Input channels that the MAC array takes per cycle.", 1, 4096)
    mac_columns: int = _parameter("channels", "Output channels that the MAC array makes per cycle.", 1, 4096)
    mac_pixels: int = _parameter("pixels", "Output pixels that the MAC array works on per cycle.", 1, 4096)
    vector_lanes: int = _parameter("elements", "int8 elements that the vector unit takes per cycle.", 1, 65536)
    clock_hz: float = _parameter("Hz", "Clock of all units.", 1e6, 1e11)
    ddr_bytes_per_second: float = _parameter("bytes/s", "Peak rate of the DDR port.", 1e6, 1e14)
    cores: int = _parameter(
        "", "Cores on the chip; one inference runs on one unless it was compiled for more.", 1, 64, 1
    )
    core_overhead: float = _parameter(
        "", "Share of a core's work that a core more does not take over, in an inference on several.", 0, 1, 0.55
    )
    sram_bytes_per_cycle: int = _parameter(
        "bytes", "What a core reads and writes in its SRAM per cycle.", 1, 1 << 20, 4096
    )
    ddr_efficiency: float = _parameter("", "Share of the peak rate that long transfers reach.", 0.01, 1, 0.7)
    ddr_latency_cycles: int = _parameter("cycles", "From the request of a transfer to its first byte.", 0, 100_000, 200)
    ddr_burst_bytes: int = _parameter(
        "bytes", "Granule of DDR: rows of a transfer begin and end at multiples.", 1, 65536, 64
    )
    mac_efficiency: float = _parameter(
        "", "Share of its cycles in which the MAC array finds its operands ready.", 0.01, 1, 0.85
    )
    depthwise_penalty: float = _parameter("", "Cycles of a depthwise tap relative to those of a channel.", 1, 64, 1.0)
    int16_factor: float = _parameter("", "Cycles of a product with an int16 operand relative to int8.", 1, 16, 2.0)
    instruction_cycles: int = _parameter("cycles", "Decoding and starting an instruction.", 0, 1_000_000, 64)
    launch_seconds: float = _parameter("s", "Handing an inference to the BPU and taking its result.", 0, 1, 180e-6)
    cpu_flops_per_second: float = _parameter(
        "1/s", "Float operations of the host per second, for CPU parts.", 1e6, 1e14, 8e9
    )
    cpu_bytes_per_second: float = _parameter("bytes/s", "What the host reads and writes per second.", 1e6, 1e13, 8e9)
    cpu_call_seconds: float = _parameter("s", "Starting an operator on the host, and waiting for it.", 0, 1, 10e-6)

    @property
    def macs_per_cycle(self) -> int:
        """int8 multiply-accumulates of a core per cycle."""
        return self.mac_rows * self.mac_columns * self.mac_pixels

    @property
    def macs_per_second(self) -> float:
        """int8 multiply-accumulates of a core per second, at most."""
        return self.macs_per_cycle * self.clock_hz

    @property
    def ddr_bytes_per_cycle(self) -> float:
        """What the DDR port moves per cycle in long transfers."""
        return self.ddr_bytes_per_second * self.ddr_efficiency / self.clock_hz

    @property
    def preset(self) -> bool:
        """Whether `name` alone says everything."""
        return PROFILES.get(self.name) == self

    def joined(self, cores: int) -> TargetProfile:
        """The machine that an inference on several cores sees: their units and SRAM, at the efficiency of sharing."""
        loss = 1 + (cores - 1) * self.core_overhead
        return replace(
            self,
            sram_bytes=self.sram_bytes * cores,
            mac_pixels=self.mac_pixels * cores,
            vector_lanes=max(int(self.vector_lanes * cores / loss), 1),
            sram_bytes_per_cycle=self.sram_bytes_per_cycle * cores,
            mac_efficiency=self.mac_efficiency / loss,
        )

    def to_dict(self) -> dict[str, Any]:
        """The keys of the TOML file."""
        return asdict(self)

    @staticmethod
    def from_dict(keys: Mapping[str, Any], where: str = "profile") -> TargetProfile:
        """A profile from the keys of its TOML file: `name`, the parameters, and `base`, a preset for those left out.

        Raises ConfigError for a key that is unknown, missing, of another type or out of its range.
        """
        base = keys.get("base")
        if base is not None and (not isinstance(base, str) or base not in PROFILES):
            raise ConfigError("a preset", where=f"{where}, base", seen=base, remedy=_presets())
        known = {parameter.name: parameter for parameter in fields(TargetProfile)}
        values = {} if base is None else asdict(PROFILES[base])
        values.pop("name", None)
        for key, value in keys.items():
            if key == "base":
                continue
            if key not in known:
                hint = did_you_mean(key, known, "docs/profiles.md lists the keys")
                raise ConfigError("a profile has no such key", where=where, seen=key, remedy=hint)
            values[key] = _checked(key, value, where)
        for key in known:
            if key not in values and not hasattr(TargetProfile, key):  # no default
                raise ConfigError("must be given", where=f"{where}, {key}", remedy='add it, or base = "nash-e"')
        return TargetProfile(**values)


def _checked(key: str, value: Any, where: str) -> Any:
    """The value of a key as the profile holds it."""
    where = f"{where}, {key}"
    if key == "name":
        if not isinstance(value, str) or not value.strip() or len(value) > 64 or not value.isprintable():
            raise ConfigError("must be a text of 1 to 64 printable characters", where=where, seen=repr(value))
        return value
    parameter = next(p for p in fields(TargetProfile) if p.name == key)
    whole = parameter.type == "int"
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or value != value:
        raise ConfigError("must be a whole number" if whole else "must be a number", where=where, seen=repr(value))
    least, most = parameter.metadata["least"], parameter.metadata["most"]
    if not least <= value <= most:
        unit = f" {parameter.metadata['unit']}" if parameter.metadata["unit"] else ""
        seen = value if abs(value) < 1e300 else "a number beyond 1e300"
        raise ConfigError(f"must be {least:g} to {most:g}{unit}", where=where, seen=seen)
    return int(value) if whole else float(value)


def _preset(
    name: str, sram_mib: int, array: tuple[int, int, int], ghz: float, ddr_gb: float, **more: Any
) -> TargetProfile:
    return TargetProfile(name, sram_mib * _MIB, *array, array[2] // 2, ghz * 1e9, ddr_gb * 1e9, **more)


# MAC arrays are half the marketed TOPS, which count structured sparsity, at granules of 16 channels; DDR is the peak of
# the public boards where one is known. SRAM sizes are assumptions; vector lanes (one for two pixels of the array),
# efficiencies and the launch are fitted (docs/performance-estimate.md).
PROFILES: dict[str, TargetProfile] = {
    p.name: p
    for p in (
        _preset("nash-b-lite", 1, (16, 16, 10), 1.0, 17, sram_bytes_per_cycle=1024),
        _preset("nash-b", 2, (16, 16, 16), 1.1, 25.6, sram_bytes_per_cycle=1024),
        _preset("nash-b-plus", 2, (16, 16, 16), 1.1, 34.1, sram_bytes_per_cycle=1024),
        _preset("nash-e", 4, (16, 16, 64), 1.2, 76.8),
        _preset("nash-m", 6, (16, 16, 100), 1.25, 76.8),
        _preset("nash-h", 12, (16, 16, 109), 1.25, 136.5, cores=3),
        _preset("nash-p", 24, (16, 16, 109), 1.25, 204.8, cores=4),
    )
}
PROFILES["nash-starry-p"] = replace(PROFILES["nash-p"], name="nash-starry-p")


def _presets() -> str:
    return f"use one of {', '.join(PROFILES)}"


def profile(march: str) -> TargetProfile:
    """The preset called `march`, or the profile in the TOML file of that path (ending in .toml).

    Raises ConfigError with the known names, or with the key of the file that is wrong.
    """
    if march in PROFILES:
        return PROFILES[march]
    if not str(march).endswith(".toml"):
        near = nearest(march, PROFILES)
        remedy = f"did you mean {near}? Otherwise {_presets()}" if near else _presets()
        remedy += ", or the path of a .toml file"
        raise ConfigError("unknown march", where="march", seen=march, remedy=remedy)
    path = Path(march)
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("the profile must be readable", where=str(path), seen=error.strerror) from error
    except (ValueError, RecursionError) as error:  # of encoding and grammar, numbers of thousands of digits, nesting
        raise ConfigError("the profile must be TOML", where=str(path), seen=error) from error
    if str(keys.get("name", path.stem)) in PROFILES:
        raise ConfigError(
            "the name of a preset", where=f"{path}, name", seen=keys.get("name", path.stem), remedy="choose another"
        )
    return TargetProfile.from_dict({"name": path.stem, **keys}, str(path))
