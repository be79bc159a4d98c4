"""Which layers are slower than they could be, why, and what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbpu.ir.profile import TargetProfile

if TYPE_CHECKING:
    from openbpu.perf.report import LayerCost, PerfReport

_CPU_REMEDY = "`openbpu check` says why; another operator, or a cut of the model there, keeps it on the BPU"
_CPU_REMEDIES = {
    "quantize": "integer inputs: take the node off the boundary (--remove-node-type Quantize), or an image port",
    "dequantize": "integer outputs: take the node off the boundary (--remove-node-type Dequantize)",
}
_MOSTLY = 0.7
_PADDING = 0.25  # shares below are not worth a word


@dataclass(frozen=True)
class Advice:
    """One layer: how much longer it takes than in theory, in microseconds, the cause, and the remedy."""

    layer: str
    op: str
    nodes: tuple[str, ...]
    slower_us: float
    padding: float  # share of the MAC array's work that falls on padding
    cause: str
    remedy: str


def advise(report: PerfReport, threshold_us: float) -> tuple[Advice, ...]:
    """Layers slower than in theory by more than the threshold, worst first."""
    slow = sorted((x for x in report.layers if x.slower_us > threshold_us), key=lambda x: (-x.slower_us, x.id))
    return tuple(
        Advice(layer.name, layer.op, layer.nodes, layer.slower_us, layer.padding, *_cause(layer, report.profile))
        for layer in slow
    )


def _cause(layer: LayerCost, profile: TargetProfile) -> tuple[str, str]:
    """The largest of what the layer loses."""
    losses = dict(_losses(layer, profile))
    cause = max(losses, key=lambda key: losses[key][0])
    return cause, losses[cause][1]


def _traffic_remedy(layer: LayerCost) -> str:
    moved = layer.read_bytes + layer.write_bytes
    if layer.needed_bytes > _MOSTLY * moved:
        return (
            f"{layer.needed_bytes / 1e3:,.0f} KB of weights or ports: fewer of them, or more SRAM to fetch them earlier"
        )
    kept = (moved - layer.needed_bytes) / 1e3
    return f"{kept:,.0f} KB of tensors pass through DDR: more SRAM, a higher optimisation level or a smaller resolution"


def _losses(layer: LayerCost, profile: TargetProfile) -> Iterator[tuple[str, tuple[float, str]]]:
    useful = 1e6 * layer.macs / (profile.macs_per_second * profile.mac_efficiency)
    if layer.op == "dwconv2d":
        remedy = "a depthwise convolution uses one input channel of the array: prefer fewer or wider layers"
        yield "depthwise convolution", (layer.mac_us - useful, remedy)
    elif layer.padding > _PADDING:
        have = f"{layer.channels[0]} input and {layer.channels[1]} output channels"
        granule = f"{profile.mac_rows} and {profile.mac_columns} channels and {profile.mac_pixels} pixels"
        yield "padding of the MAC array", (layer.mac_us - useful, f"it has {have}; the array takes {granule} at a time")
    if layer.int16:
        slower = layer.mac_us * (1 - 1 / profile.int16_factor)
        yield "int16 activations", (slower, "int8 activations, if the accuracy allows it")
    direction = "loading" if layer.load_us >= layer.store_us else "storing"
    yield f"waits for DDR ({direction})", (layer.exposed_us, _traffic_remedy(layer))
    yield "runs on the CPU", (layer.cpu_us, _CPU_REMEDIES.get(layer.op, _CPU_REMEDY))
    issue = layer.time_us - layer.compute_us - layer.exposed_us
    yield "starting instructions", (issue, "the layer is small or cut into many stripes: fuse it, or use a lower level")
