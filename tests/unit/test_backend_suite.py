"""onnx's backend tests: none fails, and none is refused but those that docs/backend-suite.md lists."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from backend_suite.page import page, reasons_on
from backend_suite.suite import KINDS, Outcome, run_suite

PAGE = (Path(__file__).parents[2] / "docs" / "backend-suite.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_suite()


@pytest.mark.parametrize("kind", KINDS)
def test_no_case_fails(outcomes: list[Outcome], kind: str) -> None:
    own = [o for o in outcomes if o.kind == kind]
    assert len(own) >= {"node": 1800, "simple": 20, "pytorch-operator": 30, "pytorch-converted": 50, "real": 9}[kind]
    failed = [f"{o.name}: {o.failed}" for o in own if o.failed]
    assert not failed, "\n".join(failed)


def test_the_page_is_up_to_date(outcomes: list[Outcome]) -> None:
    """The page is of one version of onnx; with another one, cases are refused for reasons that it states."""
    if f"backend test of onnx {onnx.__version__} " in PAGE:
        assert page(outcomes) == PAGE, "run: PYTHONPATH=tests python -m backend_suite.page > docs/backend-suite.md"
    else:
        assert {o.refused for o in outcomes if o.refused} <= reasons_on(PAGE)
