"""What a search for mixed precision found: the trials, the sensitivities, and the model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from openbpu.analyze.accuracy import finite
from openbpu.files import write_file

if TYPE_CHECKING:
    import onnx

    from openbpu.runtime import Executable


@dataclass(frozen=True)
class Trial:
    """A mixture of types, quantised, compiled and run: `value` is what the executable was measured to have."""

    value: float  # of the metric, over the evaluation samples
    cosine: float  # of the worst output
    sqnr_db: float  # of the worst output
    nodes: int  # lifted
    int16_macs: float  # share of the multiply-accumulates that lifted nodes have
    wide_macs: float  # share of those that run in a 16-bit form: also of operators that write int16 for lifted readers
    float_macs: float  # share of those on the CPU
    estimated_us: float  # on the target
    measured_ms: float  # median of a run on this machine, one thread
    reached: bool


@dataclass(frozen=True)
class Sensitivity:
    """What the outputs lose by the int8 inputs of one operator, all else in float but the weights."""

    node: str
    op: str
    cosine: float  # of the worst output
    sqnr_db: float
    macs: int
    lifted: str  # "int16", "float" or ""


@dataclass(frozen=True)
class SearchResult:
    """The cheapest mixture that reached the target, or the best if none did."""

    model: onnx.ModelProto = field(repr=False)
    executable: Executable = field(repr=False)
    metric: str
    target: float  # infinite: as good as `max_macs` allows
    max_macs: float  # share of the multiply-accumulates that might be lifted
    samples: int  # on which the metric was measured
    node_types: dict[str, str]  # for `quantize(node_types=...)`: gives the same model again
    trials: tuple[Trial, ...]
    chosen: int  # index into trials
    sensitivities: tuple[Sensitivity, ...]  # worst first; empty if int8 was good enough

    @property
    def best(self) -> Trial:
        """The trial whose model this is."""
        return self.trials[self.chosen]

    @property
    def reached(self) -> bool:
        """Whether the executable has the target, if there is one, on the evaluation samples."""
        return self.best.reached or self.target == math.inf

    @property
    def line(self) -> str:
        """The result in one line."""
        best, first = self.best, self.trials[0]
        verdict = f"{'reaches' if self.reached else 'does NOT reach'} {self.target:g}"
        if self.target == math.inf:
            verdict = "is the best found"
        if self.max_macs < 1:
            verdict += f" with up to {100 * self.max_macs:g} % of the MACs"
        text = f"{self.metric} {best.value:.5f} {verdict}: {best.nodes} nodes lifted"
        share = f"{100 * best.int16_macs:.1f} % of the MACs int16, {100 * best.float_macs:.1f} % float"
        share += f" ({100 * best.wide_macs:.1f} % in 16-bit forms)"
        cost = f"{best.estimated_us:.0f} us estimated on the target ({first.estimated_us:.0f} in int8)"
        times = f"{cost}, {best.measured_ms:.2f} ms on this CPU ({first.measured_ms:.2f})"
        return f"{text}, {share}; {times}{self._faster}"

    @property
    def _faster(self) -> str:
        """A trial that reached the target too and takes less time: copies may cost more than width."""
        others = [t for t in self.trials if t.reached and t.estimated_us < self.best.estimated_us]
        if not others or not self.reached:
            return ""
        quickest = min(others, key=lambda t: t.estimated_us)
        return f"; with {quickest.nodes} nodes lifted it would take {quickest.estimated_us:.0f} us"

    def to_json(self) -> str:
        """All but the model, for programs; what is infinite is null."""
        data: dict[str, Any] = {
            "metric": self.metric,
            "target": self.target,
            "max_macs": self.max_macs,
            "reached": self.reached,
            "samples": self.samples,
            "node_types": self.node_types,
            "chosen": self.chosen,
            "trials": [asdict(trial) for trial in self.trials],
            "sensitivities": [asdict(row) for row in self.sensitivities],
        }
        return json.dumps(finite(data), indent=2)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the JSON. Raises OpenBpuError naming the path."""
        write_file(path, self.to_json().encode())
