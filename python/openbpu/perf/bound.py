"""What a program takes at least, known before it is written: a replay in which loads and stores share no port."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from openbpu.ir.profile import TargetProfile
from openbpu.target.cycles import Task, unit_cycles

_QUEUES = ("LD", "ST", "MAC", "VEC")


def least_cycles(tasks: Iterable[Task], traffic: int, host: Sequence[int], machine: TargetProfile) -> int:
    """No replay of a program with these instructions is shorter, whatever the order of its transfers.

    `traffic` are all bytes that the BPU moves from and to DDR. `host` holds the cycles of the instructions on the CPU,
    in order; those behind its end count as nothing. Operands in DDR cost nothing, bursts are not rounded up, and LD and
    ST have a port each.
    """
    ends: dict[str, list[int]] = {queue: [] for queue in _QUEUES}
    free, port = dict.fromkeys(_QUEUES, 0), dict.fromkeys(_QUEUES, 0)
    issue, latency, rate = machine.instruction_cycles, machine.ddr_latency_cycles, machine.ddr_bytes_per_cycle
    barrier = calls = 0
    known: dict[tuple[object, ...], int] = {}  # stripes of a layer cost the same
    for task in tasks:
        queue = task.queue
        if queue == "CPU":
            barrier = max(barrier, *(max(times, default=0) for times in ends.values()))
            barrier += host[calls] if calls < len(host) else 0
            calls += 1
            continue
        start = max(free[queue], barrier)
        for other, count in zip(_QUEUES, task.waits, strict=True):
            if count:
                start = max(start, ends[other][count - 1])
        begin = start + issue
        if queue in ("LD", "ST"):
            port[queue] = max(begin + latency, port[queue]) + math.floor(task.bytes / rate)
            ends[queue].append(port[queue])
            free[queue] = begin
            continue
        key = (task.op, task.box, task.depth, task.wide, id(task.aux))
        if key not in known:
            known[key] = unit_cycles(task, machine)
        free[queue] = begin + known[key]
        ends[queue].append(free[queue])
    last = max(barrier, *(max(times, default=0) for times in ends.values()))
    return max(last, sum(host[:calls]) + math.floor(traffic / rate))
