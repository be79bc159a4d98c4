"""docs/operators.md is what the op table says."""

from __future__ import annotations

from pathlib import Path

from openbpu.lower.operators_page import page


def test_the_page_is_up_to_date() -> None:
    committed = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    assert committed == page(), "run: python -m openbpu.lower.operators_page > docs/operators.md"
