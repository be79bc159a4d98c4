"""One operator at a time: `pytest bench`.

The clock of these benchmarks is the engine's own, of the one step in question: the float border, the result arrays and
Python are left out. Every shape is a model of one operator that goes down the whole road (quantise, compile, run).
A table at the end adds the kernel row, GMAC/s, and the share of the instruction peak measured in the same session;
--benchmark-json keeps all of it. The C++ benchmarks beside this file call the kernels without an engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import openbpu
from bench.kernels.shapes import SHAPES, useful_macs
from bench.models.engines import image, samples
from openbpu import _native

pytest.importorskip("pytest_benchmark", reason="pip install 'openbpu[bench]'")

SIMD = [isa for isa in _native.available_isas() if isa != "scalar"]
ROUNDS = 60


class StepClock:
    """Seconds that the engine has spent in the steps under test; what pytest-benchmark reads as the time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = StepClock()


@pytest.fixture(scope="session")
def peaks() -> dict[str, float]:
    return {isa: max(_native.peak_gmacs(isa) for _ in range(5)) for isa in SIMD}


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("isa", SIMD)
@pytest.mark.parametrize("shape", SHAPES)
def test_operator(benchmark: Any, peaks: dict[str, float], shape: str, isa: str) -> None:
    operation, make = SHAPES[shape]
    model = make()
    x = image(model)
    executable = openbpu.build(model, samples(x.shape, 2), calibration="max", refinement=())
    session = openbpu.Session(executable, isa=isa)
    assert all(np.any(array) for array in session.run(x).values())

    def run() -> Any:
        steps = session.profile(x, runs=1).steps
        step = max((s for s in steps if s.op == operation), key=lambda s: s.nanoseconds)
        CLOCK.seconds += step.nanoseconds / 1e9
        return step

    step = benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=3)
    seconds = benchmark.stats.stats.median
    macs = useful_macs(model) or step.macs
    rate = macs / seconds / 1e9
    assert rate <= 1.05 * peaks[isa], "faster than the instruction peak: the measurement is void"
    benchmark.extra_info.update(
        row=step.row,
        median_us=round(seconds * 1e6, 2),
        gmac_per_second=round(rate, 1),
        percent_of_peak=round(100 * rate / peaks[isa], 1),
        gigabytes_per_second=round(step.bytes / seconds / 1e9, 1),
        peak_gmac_per_second=round(peaks[isa], 1),
    )
