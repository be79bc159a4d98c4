"""The same model, to the byte, whatever the number of threads: sums in another order may move a weight by a level."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openbpu.ptq import factors, moments, second_order

_WIDE = 3 * factors.BLOCK + 17


def covariance(random: np.random.Generator, *shape: int) -> np.ndarray:
    found = random.standard_normal((*shape, shape[-1] + 50))
    return found @ found.swapaxes(-1, -2) / found.shape[-1] + 0.1 * np.eye(shape[-1])


@pytest.mark.parametrize("shape", [(9,), (_WIDE,), (4, 25), (3, factors.BLOCK + 5)], ids=str)
def test_factors_are_those_of_linear_algebra(shape: tuple[int, ...]) -> None:
    matrix = covariance(np.random.default_rng(1), *shape)
    lower = factors.lower_factor(matrix.copy())
    np.testing.assert_allclose(lower @ lower.swapaxes(-1, -2), matrix, atol=1e-5)
    upper = lower.swapaxes(-1, -2).copy()
    np.testing.assert_allclose(
        factors.inverted_upper(upper.copy()) @ upper, np.broadcast_to(np.eye(shape[-1]), matrix.shape), atol=1e-5
    )
    right = matrix[..., :7, :]
    np.testing.assert_allclose(
        factors.solved(lower, right), np.linalg.solve(matrix, right.swapaxes(-1, -2)).swapaxes(-1, -2), atol=1e-5
    )


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    matrix = covariance(np.random.default_rng(2), _WIDE)
    matrix[200, 200] = -1.0
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        factors.lower_factor(matrix)


def test_a_product_is_the_same_in_any_order() -> None:
    """Within a block sums are exact, whatever the sizes of the numbers."""
    random = np.random.default_rng(3)
    sizes = 10.0 ** random.integers(-8, 8, (40, 1))
    a, b = (
        random.standard_normal((40, factors.BLOCK)) * sizes,
        random.standard_normal((factors.BLOCK, 30)) * sizes[:30, 0],
    )
    order = random.permutation(factors.BLOCK)
    found = factors.product(a, b)
    np.testing.assert_array_equal(found, factors.product(a[:, order], b[order]))
    reach = np.abs(a).max(axis=1, keepdims=True) * np.abs(b).max(axis=0)
    assert (np.abs(found - a @ b) < 1e-5 * reach).all()


@pytest.mark.parametrize("levels", [255, 65535], ids=["int8", "int16"])
def test_moments_are_exact(levels: int) -> None:
    """Rows in any order, and in portions of any size, give the same covariance."""
    random = np.random.default_rng(4)
    x = (np.float32(0.037) * random.integers(-levels // 3, levels // 2, (5000, 24))).astype(np.float32)
    found = []
    for rows, portion in ((np.arange(5000), 5000), (random.permutation(5000), 700)):
        collected = moments.Moments(moments.Grid(float(np.float32(0.037)), middle=levels // 12))
        for start in range(0, 5000, portion):
            collected.add(x[rows[start : start + portion], None])
        found.append(second_order.damped(collected)[0])
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(np.diag(found[0]), 1.01 * x.astype(np.float64).var(axis=0), rtol=0.05)


_WORK = """
import hashlib
import float_networks as nets
import numpy as np
from openbpu import frontend, ptq
from openbpu.ptq import factors, moments, second_order

x = np.random.default_rng(1).integers(-128, 128, (4000, 432)) * np.float32(0.04)
collected = moments.Moments(moments.Grid(float(np.float32(0.04))))
collected.add(x.astype(np.float32)[:, None])
covariance = second_order.damped(collected)[0]
lower = factors.lower_factor(covariance.copy())
found = [covariance, lower, factors.inverted_upper(lower.T.copy())]

net = nets.Net(5)
x = net.op("Relu", net.conv("x", 3, 48, stride=2))
x = net.op("Relu", net.conv(x, 48, 48, group=48))
x = net.op("Relu", net.conv(x, 48, 40))  # 432 inputs of each output: four blocks
model = frontend.prepare(net.model(net.conv(x, 40, 13, 1, out="y")))
qdq = ptq.quantize(model, nets.samples(6), int16=[model.graph.node[-1].name])
for data in (*(array.tobytes() for array in found), qdq.SerializeToString(deterministic=True)):
    print("bytes", hashlib.sha256(data).hexdigest())
"""


def test_one_thread_and_three_give_the_same_bytes() -> None:
    """Moments, both factors, and a whole model with weights rounded by them; LAPACK's factors differ."""
    found = []
    for threads in ("1", "3"):
        own = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        own["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        command = [sys.executable, "-c", _WORK]
        ended = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=True)
        found.append([line for line in ended.stdout.splitlines() if line.startswith("bytes")])
    assert found[0] == found[1] and len(found[0]) == 4
