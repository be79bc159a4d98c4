"""What a built program would cost: the performance summary, and its files beside the program."""

from __future__ import annotations

from openbpu import pipeline
from openbpu.perf import PerfReport
from openbpu.workflow.build import Result
from openbpu.workflow.stages import stage


def summarise(result: Result) -> PerfReport:
    """The estimate for a result that has a program; written as {prefix}.json and .html."""
    assert result.executable is not None
    with stage("statistics"):
        report = pipeline.estimate(result.executable)
        result.folder.write(result.folder.file(".json"), report.to_json().encode())
        result.folder.write(result.folder.file(".html"), report.to_html().encode())
    return report
