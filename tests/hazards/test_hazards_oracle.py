"""The oracle gives the demanded result at every hazard."""

from __future__ import annotations

import numpy as np
import pytest

from hazards.hazards import HAZARDS, Hazard


@pytest.mark.parametrize("hazard", HAZARDS, ids=str)
def test_oracle(hazard: Hazard) -> None:
    np.testing.assert_array_equal(hazard.case.expected(), hazard.result)
