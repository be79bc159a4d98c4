"""Runs side by side, and the noise of many small outputs in one go."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from openbpu.ptq.blocks import energy, noises
from openbpu.ptq.parallel import side_by_side


def test_results_come_in_the_order_of_the_functions() -> None:
    with side_by_side() as run_all:
        assert run_all(partial(pow, k, 2) for k in range(50)) == [k * k for k in range(50)]
        assert run_all([]) == []


def test_what_raises_ends_it() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), side_by_side() as run_all:
        run_all([partial(divmod, 1, 0), partial(divmod, 1, 1)])
    assert threading.active_count() == before


@pytest.mark.parametrize("sizes", [[], [3], [1, 7, 4096], [5, 5, 20000]])
def test_noises_are_energies_of_differences(sizes: list[int]) -> None:
    random = np.random.default_rng(0)
    floats = [random.standard_normal((1, n)).astype(np.float32) for n in sizes]
    results = [y + random.standard_normal(y.shape).astype(np.float32) for y in floats]
    # Sums of float64 in another order: 1e-12 is far above what that changes.
    np.testing.assert_allclose(
        noises(results, floats), [energy(x - y) for x, y in zip(results, floats, strict=True)], 1e-12
    )
