"""How far the law itself is from exact rounding: the figures that docs/numerics.md states, on realistic operands."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

from oracle import derive, int16, mac, tables, vec, window

SEED = 20240229
Stats = tuple[float, int]


def compare(got: np.ndarray, exact: np.ndarray) -> Stats:
    """(share of outputs that differ from round-half-up of the exact value, largest difference), saturation included."""
    ideal = np.clip(np.floor(exact + 0.5), -128, 127).astype(np.int64)
    difference = np.abs(got.astype(np.int64) - ideal)
    return float((difference != 0).mean()), int(difference.max())


def rq8_stats(rng: np.random.Generator, k: int, zx: int, zp: int) -> Stats:
    """256 rows times 64 columns: the output scale puts the accumulators' spread on a third of the int8 range."""
    x = np.clip(rng.normal(zx + 10, 40, (1, 1, 256, k)).round(), -128, 127).astype(np.int8)
    weight = np.clip(rng.normal(0, 35, (64, k)).round(), -127, 127).astype(np.int8)
    sx = float(np.float32(rng.uniform(0.005, 0.1)))
    sw = [float(np.float32(v)) for v in rng.uniform(0.0005, 0.01, 64)]
    real = (x[0, 0].astype(float) - zx) @ weight.T.astype(float) * (sx * np.array(sw))
    sy = float(np.float32(real.std() / 40))
    bias = derive.bias32(rng.normal(0, real.std() / 4, 64).tolist(), sx, sw)
    rq = derive.rq8(sx, sw, sy, zx, zp, weight, bias)
    acc = (x[0, 0].astype(np.int64) - zx) @ weight.T.astype(np.int64) + np.array(bias)
    return compare(mac.matmul(x, weight, rq)[0, 0], acc * (sx * np.array(sw) / sy) + zp)


def test_rq8_differs_by_at_most_1_and_rarely() -> None:
    rng = np.random.default_rng(SEED)
    stats = [
        rq8_stats(rng, k, zx, zp)
        for k in (9, 27, 144, 1152)
        for zx in (-128, 3)
        for zp in (-128, 0, 90)
        for _ in range(4)
    ]
    share, largest = np.mean([s for s, _ in stats]), max(m for _, m in stats)
    assert largest <= 1, f"seed {SEED}: {largest}"
    assert share < 0.0025, f"seed {SEED}: {share:.4%}"


def test_rq8_bias_is_negligible() -> None:
    """The mean error of the requantisation, not only its frequency, is below 0.002 LSB."""
    rng = np.random.default_rng(SEED)
    acc = rng.integers(-40000, 40000, (4000, 64))
    sw = rng.uniform(0.001, 0.003, 64).tolist()
    weight = np.ones((64, 512), np.int64)
    rq = derive.rq8(1.0, sw, 1.0, 0, 0, weight, [0] * 64)
    exact = acc * np.array(sw)
    inside = np.abs(exact) < 126
    ideal = np.floor(exact + 0.5)
    assert abs(float((mac.rq8(acc, rq) - ideal)[inside].mean())) < 0.002


@pytest.mark.parametrize("sign", [1, -1])
def test_add_differs_by_at_most_1_and_rarely(sign: int) -> None:
    rng = np.random.default_rng(SEED)
    shares = []
    for _ in range(60):
        sa, sb = (float(np.float32(v)) for v in rng.uniform(0.01, 0.1, 2))
        za, zb, zp = (int(v) for v in rng.integers(-128, 128, 3))
        sy = float(np.float32(max(sa, sb) * rng.uniform(1.0, 1.8)))
        a, b = rng.integers(-128, 128, (2, 1, 1, 1, 4096)).astype(np.int8)
        exact = sa / sy * (a.astype(float) - za) + sign * sb / sy * (b.astype(float) - zb) + zp
        share, largest = compare(vec.add(a, b, derive.add(sa, za, sb, zb, sy, zp, sign)), exact)
        assert largest <= 1, f"seed {SEED}: {largest} at {(sa, za, sb, zb, sy, zp)}"
        shares.append(share)
    assert np.mean(shares) < 0.0015, f"seed {SEED}: {np.mean(shares):.4%}"


def test_mul_and_mean_differ_by_at_most_1_and_rarely() -> None:
    rng = np.random.default_rng(SEED)
    shares: dict[str, list[float]] = {"mul": [], "mean": [], "rescale": []}
    for _ in range(30):
        sa, sb, sy = (float(np.float32(v)) for v in rng.uniform(0.01, 0.1, 3))
        za, zb, zp = (int(v) for v in rng.integers(-128, 128, 3))
        a, b = rng.integers(-128, 128, (2, 1, 1, 1, 4096)).astype(np.int8)
        p = (a.astype(float) - za) * (b.astype(float) - zb)
        sp = float(np.float32(sa * sb * rng.uniform(80, 300)))
        m, sh = derive.mul(sa, sb, sp)
        found = {"mul": compare(vec.mul(a, b, m, sh, za, zb, zp), p * (sa * sb / sp) + zp)}
        x = rng.integers(-128, 128, (1, 7, 7, 256)).astype(np.int8)
        mean = window.avgpool(x, derive.avgpool(sa, sy, 49, True), za, zp, (7, 7))
        exact = (x.astype(float) - za).sum((1, 2)) * (sa / (sy * 49)) + zp
        found["mean"] = compare(mean[:, 0, 0], exact)
        y = vec.rescale(a, derive.rescale([sa], [za], [sy], [zp]))
        found["rescale"] = compare(y, (a.astype(float) - za) * (sa / sy) + zp)
        for key, (share, largest) in found.items():
            assert largest <= 1, f"seed {SEED}: {key} {largest}"
            shares[key].append(share)
    means = {key: float(np.mean(v)) for key, v in shares.items()}
    assert means["mul"] < 0.003 and means["mean"] < 0.006, f"seed {SEED}: {means}"
    assert means["rescale"] == 0, f"seed {SEED}: {means}"


@pytest.mark.parametrize("n", [2, 10, 197, 500])
def test_softmax_is_within_1(n: int) -> None:
    rng = np.random.default_rng(SEED)
    for sx in (0.02, 0.1, 0.5):
        x = rng.integers(-128, 128, (1, 1, 20, n)).astype(np.int8)
        table, C = derive.softmax(sx, 1 / 256)
        e = np.exp(sx * (x.astype(float) - x.max(-1, keepdims=True)))
        share, largest = compare(vec.softmax(x, table, C, -128), 256 * e / e.sum(-1, keepdims=True) - 128)
        assert largest <= 1, f"seed {SEED}: {largest}"
        assert share < 0.01, f"seed {SEED}: {share:.3%}"


@pytest.mark.parametrize("zx", [None, -20])
def test_norms_are_within_1_and_rarely_off(zx: int | None) -> None:
    rng = np.random.default_rng(SEED)
    for n in (5, 64, 384, 1024):
        x = np.clip(rng.normal(-10, 30, (1, 1, 40, n)).round(), -128, 127).astype(np.int8)
        x[0, 0, :20] = np.clip(rng.normal(0, 2, (20, n)).round(), -128, 127)
        gamma, beta = rng.normal(1, 0.3, n), rng.normal(0, 0.3, n)
        sy = float(np.float32(8 / 255))  # results of up to 4 deviations fill the range
        p = derive.norm(0.05, zx, 1e-5, gamma.tolist(), beta.tolist(), sy, 4)
        real = x.astype(float) * 0.05
        centre = real.mean(-1, keepdims=True) if zx is None else zx * 0.05
        z = (real - centre) / np.sqrt(((real - centre) ** 2).mean(-1, keepdims=True) + 1e-5)
        share, largest = compare(vec.norm(x, p), (z * gamma + beta) / sy + 4)
        # Rows of five small integers are full of ties.
        assert largest <= 1 and (n == 5 or share < 0.03), f"seed {SEED}: {n}: {largest}, {share:.3%}"


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("spread", [3, 100, 8000])
def test_int16_norms_round_correctly_but_for_ties(spread: float, centred: bool) -> None:
    rng = np.random.default_rng(SEED)
    for n in (16, 192, 768, 5000):
        x = np.clip(rng.normal(rng.uniform(-9000, 9000) * centred, spread, (2, n)).round(), -32768, 32767)
        gamma, beta = rng.normal(0, 1, n), rng.normal(0, 1, n)
        real = x / 4096
        centre = real.mean(-1, keepdims=True) if centred else 0.0
        exact = (real - centre) / np.sqrt(((real - centre) ** 2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
        sy = float(np.float32(np.abs(exact).max() / 32000))
        p = int16.norm_parameters(1 / 4096, centred, 1e-5, gamma.tolist(), beta.tolist(), sy)
        worst = float(np.abs(int16.norm(x.astype(np.int16), p) - exact / sy).max())
        assert worst < 0.52, f"seed {SEED}: {n}: {worst}"


def test_bilinear_is_within_its_bound() -> None:
    rng = np.random.default_rng(SEED)
    x = rng.integers(-128, 128, (1, 9, 11, 8)).astype(np.int8)
    rows, columns = tables.bilinear(9, 25, None, "half_pixel"), tables.bilinear(11, 17, None, "half_pixel")

    def matrix(length_in: int, length_out: int) -> np.ndarray:
        at = np.clip((np.arange(length_out) + 0.5) * length_in / length_out - 0.5, 0, length_in - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(length_in)))

    exact = np.einsum("yh,xw,nhwc->nyxc", matrix(9, 25), matrix(11, 17), x.astype(float))
    error = np.abs(window.resize_bilinear(x, rows, columns) - exact)
    assert error.max() < 0.625


def test_lut16_interpolates_within_a_step() -> None:
    table = derive.lut16(lambda v: v / (1 + exp(-v)), 8 / 32768, 0, 8 / 32768, 0)
    x = np.arange(-32768, 32768)
    real = x * (8 / 32768)
    exact = real / (1 + np.exp(-real)) / (8 / 32768)
    assert np.abs(vec.lut16(x, table) - exact).max() < 2
