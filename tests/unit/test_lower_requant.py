"""The compiler's derivations against the oracle's, which was written from the law and shares no code."""

from __future__ import annotations

import numpy as np
import pytest

from openbpu.lower import requant
from openbpu.lower.rules.coordinates import Axis
from oracle import derive, tables

ZERO_POINTS = (-128, -7, 0, 3, 127)


def _scale(random: np.random.Generator, low: float = -9, high: float = 1) -> float:
    return float(np.float32(2.0 ** random.uniform(low, high)))


@pytest.mark.parametrize("seed", range(40))
def test_rq8(seed: int) -> None:
    random = np.random.default_rng(seed)
    channels, inner = int(random.integers(1, 20)), int(random.integers(1, 300))
    weight = random.integers(-128, 128, (channels, inner)).astype(np.int8)
    weight[random.integers(channels)] = 0
    sx, sy = _scale(random), _scale(random)
    sw = np.array([_scale(random, -14, -4) for _ in range(channels)])
    zx, zp = (int(random.choice(ZERO_POINTS)) for _ in range(2))
    bias = random.integers(-(1 << 16), 1 << 16, channels)
    got = requant.rq8(sx, zx, weight, sw, bias * (sx * sw), sy, zp)
    try:
        want = derive.rq8(sx, sw.tolist(), sy, zx, zp, weight, bias.tolist())
    except derive.Infeasible:  # the compiler has made weights coarser: test_coarser_channels_obey_the_law
        assert got.changed
        return
    assert not got.changed and got.constant == want.constant and got.L == want.L
    np.testing.assert_array_equal(got.m, want.m)
    np.testing.assert_array_equal(got.s, want.s)
    np.testing.assert_array_equal(got.B, want.B)
    np.testing.assert_array_equal(got.weight, derive.deployed(weight, want))


@pytest.mark.parametrize("seed", range(20))
def test_coarser_channels_obey_the_law(seed: int) -> None:
    """What the compiler makes of a channel without a form has one, with scales and weights changed alike."""
    random = np.random.default_rng(seed)
    inner = int(random.integers(2000, 6000))
    weight = random.integers(0, 128, (3, inner)).astype(np.int8)
    sw = np.array([2.0**-10, 2.0**-25, 2.0**-26])
    sx, sy, zx, zp = 0.5, 0.25, 4, int(random.choice((-128, 100, 127)))
    got = requant.rq8(sx, zx, weight, sw, np.zeros(3), sy, zp)
    assert got.changed and 0 not in got.changed
    factor = np.array([1.0, *(2.0 ** int(np.round(np.log2(weight[c].max() / got.weight[c].max()))) for c in (1, 2))])
    want = derive.rq8(sx, (sw * factor).tolist(), sy, zx, zp, got.weight, [0, 0, 0])
    np.testing.assert_array_equal(got.B, want.B)


def test_channel_with_a_huge_scale_spares_the_others() -> None:
    """One channel would need L = 12, for which the others have no room: it alone changes, and saturates as it must."""
    random = np.random.default_rng(4)
    weight = random.integers(-127, 128, (4, 800)).astype(np.int8)
    sw = np.array([0.001, 0.002, 40.0, 0.001])
    got = requant.rq8(0.5, 3, weight, sw, np.zeros(4), 1.0, -10)
    assert got.changed == (2,)
    np.testing.assert_array_equal(got.weight, weight)
    want = derive.rq8(0.5, [0.001, 0.002, 40.0 / 2 ** (12 - got.L), 0.001], 1.0, 3, -10, weight, [0] * 4)
    np.testing.assert_array_equal(got.B, want.B)


def test_rq8_refuses_what_cannot_be_proved() -> None:
    weight = np.full((1, 65535), 127, np.int8)
    with pytest.raises(requant.Infeasible, match="2\\^8"):
        requant.rq8(1.0, 0, weight, np.array([300.0]), np.zeros(1), 1.0, 0)


@pytest.mark.parametrize("seed", range(30))
def test_element_wise(seed: int) -> None:
    random = np.random.default_rng(seed)
    sa, sb, sy = (_scale(random) for _ in range(3))
    za, zb, zp = (int(random.choice(ZERO_POINTS)) for _ in range(3))
    for sign in (1, -1):
        add, want = requant.add(sa, za, sb, zb, sy, zp, 1, sign), derive.add(sa, za, sb, zb, sy, zp, sign)
        assert (add.ma, add.mb, add.C, add.sh) == (want.ma, want.mb, want.C, want.sh)
    assert requant.multiplier(sa * sb / sy) == derive.mul(sa, sb, sy)
    k = int(random.integers(1, 2000))
    try:
        dynamic = derive.rq8_dynamic(sa, sb, sy, zp, k, za, zb)
    except derive.Infeasible:
        with pytest.raises(requant.Infeasible):
            requant.rq8_dynamic(sa, za, sb, zb, sy, zp, k)
    else:
        got = requant.rq8_dynamic(sa, za, sb, zb, sy, zp, k)
        assert (got.B[0], got.m[0], got.s[0], got.L) == (dynamic.B[0], dynamic.m[0], dynamic.s[0], dynamic.L)
    rescale = derive.rescale([sa], [za], [sy], [zp])
    assert requant.rescale(sa, za, sy, zp) == (rescale.bias[0], rescale.m[0], rescale.sh[0])
    taps = int(random.integers(1, 50))
    m, sh = requant.mean(sa, sy, taps, list(range(1, taps + 1)))
    assert list(zip(m, sh, strict=True)) == derive.avgpool(sa, sy, taps, False)
    exp, C = requant.softmax(sa, sy)
    want_exp, want_C = derive.softmax(sa, sy)
    np.testing.assert_array_equal(exp, want_exp)
    assert want_C == C
    table = requant.table(np.tanh((np.arange(-128, 128) - za) * sa), sy, zp)
    np.testing.assert_array_equal(table, derive.lut8(np.tanh, sa, za, sy, zp))


@pytest.mark.parametrize("ratio", [1 - 2.0**-17, 1 - 2.0**-16, 0.99999, 2.0**-40, 0.5 - 2.0**-18])
def test_mantissas_that_round_up(ratio: float) -> None:
    for bits in (15, 31):
        assert requant.scalar_mantissa(ratio, bits) == derive.mantissa(ratio, bits)
        m, e = requant.mantissa(np.array([ratio]), bits)
        assert (int(m[0]), int(e[0])) == derive.mantissa(ratio, bits)


@pytest.mark.parametrize("ratio", [0.0, float("inf"), float("nan")])
def test_impossible_ratios(ratio: float) -> None:
    with pytest.raises(requant.Infeasible):
        requant.scalar_mantissa(ratio, 15)


@pytest.mark.parametrize(
    "mode", ["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners"]
)
def test_resize_tables(mode: str) -> None:
    random = np.random.default_rng(3)
    for _ in range(30):
        before = int(random.integers(1, 40))
        scale = float(np.float32(random.choice((2.0, 0.5, 1 / 3, 1.7, 0.8333333))))
        after = max(1, int(before * scale))
        given = scale if random.integers(2) else None
        axis = Axis(before, after, given, mode)
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            want = tables.nearest(before, after, given, mode, rounding)
            assert axis.nearest(rounding).tolist() == want
        index, weight = axis.linear()
        assert np.concatenate([index, weight], 1).tolist() == [
            list(t) for t in tables.bilinear(before, after, given, mode)
        ]
