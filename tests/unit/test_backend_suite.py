"""onnx's backend tests: none fails, and none is refused but those that docs/backend-suite.md lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx

from backend_suite.page import page, reasons_on
from backend_suite.suite import KINDS, run_suite

PAGE = (Path(__file__).parents[2] / "docs" / "backend-suite.md").read_text(encoding="utf-8")


def test_no_case_fails_and_the_page_is_up_to_date() -> None:
    """One test: processes that share its parts would run the suite once each.

    The page is of one version of onnx; with another one, cases are refused for reasons that it states.
    """
    outcomes = run_suite()
    counts = Counter(outcome.kind for outcome in outcomes)
    fewest = {"node": 1800, "simple": 20, "pytorch-operator": 30, "pytorch-converted": 50, "real": 9}
    assert all(counts[kind] >= fewest[kind] for kind in KINDS), counts
    failed = [f"{outcome.name}: {outcome.failed}" for outcome in outcomes if outcome.failed]
    assert not failed, "\n".join(failed)
    if f"backend test of onnx {onnx.__version__} " in PAGE:
        assert page(outcomes) == PAGE, "run: PYTHONPATH=tests python -m backend_suite.page > docs/backend-suite.md"
    else:
        assert {o.refused for o in outcomes if o.refused} <= reasons_on(PAGE)
