"""From instructions on whole tensors to those of a machine with a small SRAM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openbpu.schedule import arena
from openbpu.schedule.flow import Flow
from openbpu.schedule.options import Options
from openbpu.schedule.partition import Partition, Partitioner, ideal_traffic, naive_traffic
from openbpu.schedule.program import Instruction
from openbpu.schedule.stripes import Striper

_TRIES = 8
_STEP = 0.96  # of the room, when the buffers of a plan do not go together


def striped(
    partitioner: Partitioner, sram_bytes: int, options: Options
) -> tuple[list[Instruction], arena.Plan, dict[str, Any]]:
    """The program for that much SRAM, with addresses there, and what the compiler says of it.

    Raises UnsupportedError for a layer that fits in no split.
    """
    flow, room = partitioner.flow, sram_bytes
    for _ in range(_TRIES):
        found = options.partitioned(partitioner, room)
        result = Striper(flow, found).code()
        lives = arena.lifetimes(result, "sram")
        plan = arena.plan(lives)
        if plan.bytes <= sram_bytes:
            size = arena.place_early(result, lives, sram_bytes)
            plan = replace(plan, bytes=size or plan.bytes, tight=plan.bytes)
            return result, plan, _notes(flow, found)
        room = int(room * _STEP)
    raise AssertionError(f"no plan of {sram_bytes} bytes was found")


def _notes(flow: Flow, found: Partition) -> dict[str, Any]:
    return {
        "traffic_bytes": found.traffic,
        "naive_traffic_bytes": naive_traffic(flow.nodes),
        "ideal_traffic_bytes": ideal_traffic(flow),
        "segments": len(found.segments),
        "resident_buffers": len(found.resident),
    }
