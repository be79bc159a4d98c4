"""The estimate as data: totals, layers, events; a table, JSON, a page and a trace are made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any

from openbpu.errors import ConfigError
from openbpu.files import write_file
from openbpu.ir.profile import TargetProfile

_ENDINGS = {"html": (".html", ".htm"), "trace": (".trace.json", ".trace"), "json": (".json",)}
BOUNDS = {
    "compute": "the MAC array",
    "vector": "the vector unit",
    "memory": "the DDR port",
    "cpu": "the host",
    "overhead": "starting instructions",
}


@dataclass(frozen=True)
class Event:
    """One instruction on the timeline; times in microseconds from the start of the run on the BPU.

    Events of a lane do not overlap: those of LOAD and STORE begin when their transfer does.
    """

    index: int
    op: str
    lane: str  # LOAD, STORE, TAE (MAC array), VPU, AAE, TRANS (vector unit), CPU
    layer: int
    start_us: float
    end_us: float
    compute_us: float
    port_start_us: float  # its use of the DDR port; equal to the end if it has none
    port_end_us: float
    read_bytes: int  # of DDR
    write_bytes: int
    macs: int
    cycles: int  # issue, computing and port without waiting for others


@dataclass(frozen=True)
class LayerCost:
    """A layer of the model. `time_us` is what it takes of the run: its computing and the DMA that nothing hides."""

    id: int
    name: str
    op: str
    nodes: tuple[str, ...]
    instructions: int
    start_us: float
    end_us: float
    time_us: float
    theory_us: float  # useful int8 products as fast as the array goes on, vector passes, weights and ports from DDR
    compute_us: float  # of all units, without DDR
    mac_us: float
    vector_us: float
    cpu_us: float
    load_us: float  # of the DDR port
    store_us: float
    exposed_us: float  # DDR transfers during which no unit computes
    macs: int
    utilisation: float  # useful products of those that the array could do in compute_us
    int16: bool  # whether an operand of its products is int16
    padding: float  # share of the array's work that falls on padding of channels, pixels and taps it cannot use
    read_bytes: int
    write_bytes: int
    needed_bytes: int  # of constants and ports: they pass through DDR on any schedule
    sram_bytes: int  # that its instructions touch
    channels: tuple[int, int]  # of its products: in (per group) and out; 0 without products
    bound: str  # key of BOUNDS

    @property
    def slower_us(self) -> float:
        """How much longer it takes than in theory."""
        return max(self.time_us - self.theory_us, 0.0)


@dataclass(frozen=True)
class PerfReport:
    """An estimate for one inference; see docs/performance-estimate.md for what it knows and what it does not."""

    model: str
    profile: TargetProfile
    versions: dict[str, Any]
    options: dict[str, Any]
    launch_us: float
    makespan_us: float
    macs: int
    mac_classes: dict[str, int]
    convolutions: int
    busy_us: dict[str, float]  # by engine: LD, ST, MAC, VEC, CPU, and DDR for the port
    exposed_us: float
    read_bytes: int
    write_bytes: int
    ideal_bytes: int  # constants, inputs and outputs once
    sram_bytes: int
    ddr_bytes: int
    input_bytes: int
    output_bytes: int
    constant_bytes: int
    code_bytes: int
    bounds_us: dict[str, float]  # the run on the BPU cannot be shorter than any of them
    layers: tuple[LayerCost, ...]
    events: tuple[Event, ...]

    @property
    def march(self) -> str:
        return self.profile.name

    @property
    def latency_us(self) -> float:
        """One inference, from the call to the result."""
        return self.launch_us + self.makespan_us

    @property
    def fps(self) -> float:
        """Inferences per second, one after the other, on one core."""
        return 1e6 / self.latency_us if self.latency_us else 0.0

    @property
    def utilisation(self) -> float:
        """Share of the peak of the MAC array over the whole latency."""
        most = self.latency_us * 1e-6 * self.profile.macs_per_second
        return self.macs / most if most else 0.0

    @property
    def traffic_ratio(self) -> float:
        """DDR bytes over those that no schedule avoids: the compiler's score, 1 is best."""
        return (self.read_bytes + self.write_bytes) / self.ideal_bytes if self.ideal_bytes else 1.0

    @property
    def line(self) -> str:
        """The result in one line."""
        return (
            f"{self.march}: {self.latency_us / 1e3:.3f} ms, {self.fps:.0f} FPS (estimate), "
            f"MAC array {100 * self.utilisation:.0f} % used, DDR {(self.read_bytes + self.write_bytes) / 1e6:.2f} MB "
            f"= {self.traffic_ratio:.2f} x ideal"
        )

    def intervals(self, count: int = 100) -> dict[str, list[float]]:
        """Curves over the run in `count` equal parts: MAC array and vector unit in percent, DDR in MB/s."""
        from openbpu.perf.curves import intervals

        return intervals(self, count)

    def advice(self, threshold_us: float = 0.0) -> tuple[Any, ...]:
        """Layers slower than in theory by more than `threshold_us` microseconds, worst first, each with what helps."""
        from openbpu.perf.advice import advise

        return advise(self, threshold_us)

    def to_dict(self) -> dict[str, Any]:
        """The keys of the vendor's hb_perf JSON, and under "openbpu" all numbers as numbers."""
        from openbpu.perf.vendor import vendor_dict

        return {**vendor_dict(self), "openbpu": self._numbers()}

    def _numbers(self) -> dict[str, Any]:
        data = asdict(self)
        data["profile"] = self.profile.to_dict()
        data |= {name: getattr(self, name) for name in ("latency_us", "fps", "utilisation", "traffic_ratio")}
        data["advice"] = [asdict(item) for item in self.advice()]
        return data

    @staticmethod
    def from_json(text: str | bytes, where: str = "report") -> PerfReport:
        """The report that `to_json` wrote. Raises ConfigError for other text."""
        names = {parameter.name for parameter in fields(PerfReport)}
        try:
            data = json.loads(text)["openbpu"]
            found = {name: value for name, value in data.items() if name in names}
            found["profile"] = TargetProfile.from_dict(found["profile"], f"{where}, profile")
            found["layers"] = tuple(
                LayerCost(**{**x, "nodes": tuple(x["nodes"]), "channels": tuple(x["channels"])})
                for x in found["layers"]
            )
            found["events"] = tuple(Event(**x) for x in found["events"])
            return PerfReport(**found)
        except (KeyError, TypeError, ValueError) as error:
            remedy = "write one with `openbpu perf net.bpux -o perf.json`"
            raise ConfigError("not a report of openbpu perf", where=where, seen=error, remedy=remedy) from error

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """The whole report as one page that needs no other file."""
        from openbpu.perf.page import page

        return page(self)

    def to_trace(self) -> str:
        """Chrome's Trace Event format as JSON, which Perfetto opens: a lane per engine, counters of the DDR port."""
        from openbpu.perf.trace import trace

        return json.dumps(trace(self))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the page (.html), the trace (.trace.json) or the report (.json).

        Raises ConfigError for another ending and OpenBpuError naming the path.
        """
        texts = {"html": self.to_html, "trace": self.to_trace, "json": self.to_json}
        write_file(path, texts[kind_of(path)]().encode())


def kind_of(path: str | PathLike[str]) -> str:
    """What `PerfReport.save` writes under this name: html, trace or json. Raises ConfigError for another ending."""
    for kind, endings in _ENDINGS.items():
        if str(path).endswith(endings):
            return kind
    raise ConfigError("a report ends in .html, .json or .trace.json", where="report", seen=path)
