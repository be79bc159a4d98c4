"""The table at the end of `pytest bench`: what the figures mean, which pytest-benchmark's own columns cannot hold."""

from __future__ import annotations

from typing import Any

import pytest

from bench import machine


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    rows = [] if session is None else [b for b in session.benchmarks if b.extra_info]
    if not rows:
        return
    terminalreporter.section("kernels, one thread")
    terminalreporter.write_line(machine.describe())
    for benchmark in rows:
        info = benchmark.extra_info
        products = f"{info['gmac_per_second']:7.1f} GMAC/s {info['percent_of_peak']:5.1f} % of peak"
        terminalreporter.write_line(
            f"{benchmark.params['shape']:28} {info['row']:26} {info['median_us']:9.2f} us "
            f"{products if info['gmac_per_second'] else '':30} {info['gigabytes_per_second']:6.1f} GB/s"
        )
