"""Hazards of compile time: renormalised mantissas, shared shifts, proofs that must fail, whole tables."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from oracle import derive, mac, tables
from oracle.derive import Infeasible

MODES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")


def one(M: float, zx: int = 0, zp: int = 0, w: tuple[int, ...] = (1,), bias: int = 0) -> derive.Rq8:
    return derive.rq8(M, [1.0], 1.0, zx, zp, np.array([w]), [bias])


@pytest.mark.parametrize("bits", [15, 31])
@pytest.mark.parametrize("exponent", [-20, 0, 7])
def test_mantissa_is_halved_when_it_rounds_up(bits: int, exponent: int) -> None:
    just_below = (1 - 2.0 ** -(bits + 2)) * 2.0**exponent
    assert derive.mantissa(just_below, bits) == (1 << (bits - 1), exponent + 1)
    last = (1 - 2.0**-bits) * 2.0**exponent
    assert derive.mantissa(last, bits) == ((1 << bits) - 1, exponent)


def test_mantissa_tie_rounds_up() -> None:
    assert derive.mantissa((16384.5) / 32768, 15) == (16385, 0)


@pytest.mark.parametrize("M", [0.0, -1.0, float("nan"), float("inf")])
def test_ratio_must_be_positive_and_finite(M: float) -> None:
    with pytest.raises(Infeasible):
        derive.mantissa(M, 15)


def test_L_rises_from_2_to_the_minus_7() -> None:
    assert [one(M).L for M in (2.0**-8, 2.0**-7 * (1 - 2.0**-20), 2.0**-7, 0.5, 255.0)] == [0, 1, 1, 7, 15]
    assert [one(M, w=(127,)).s[0] for M in (2.0**-9, 2.0**-8, 2.0**-7)] == [1, 0, 0]
    with pytest.raises(Infeasible, match="L = 16"):
        one(256.0)


def test_constant_channel_leaves_L_and_s_alone() -> None:
    weight = np.array([[3, -3], [0, 0], [1, 1]])
    rq = derive.rq8(1.0, [2.0**-6, 1e9, 1e-30], 1.0, 0, 11, weight, [0, 5, 0])
    assert rq.constant == (1, 2)
    assert rq.L == 2
    assert rq.B.tolist()[1:] == [(127 << 8) + 128, (11 << 8) + 128]
    assert derive.deployed(weight, rq).tolist() == [[3, -3], [0, 0], [0, 0]]


def test_constant_channel_border() -> None:
    assert one(0.5 / 255 * (1 - 2.0**-40)).constant == (0,)
    assert one(0.5 / 255 * (1 + 2.0**-40)).constant == ()


def test_shift_limits_follow_from_the_proof() -> None:
    assert one(2.0**-23, zp=-128, w=(127,) * 600).s[0] == 15
    assert one(2.0**-30, zp=0, w=(127,) * 70000).s[0] == 22
    with pytest.raises(Infeasible, match=r"reaches 2\^31"):
        one(2.0**-24, zp=-128, w=(127,) * 2000).s[0]


def test_proof_holds_up_to_the_last_unit() -> None:
    derive.prove((1 << 31) - 1 - 1000, -1000, 0, "sum")
    with pytest.raises(Infeasible):
        derive.prove((1 << 31) - 1000, -1000, 0, "sum")
    with pytest.raises(Infeasible):
        derive.prove(1 << 23, 1 << 30, 7, "sum")


def test_oracle_refuses_an_accumulator_beyond_int32() -> None:
    rq = derive.Rq8(np.array([0]), np.array([16384]), np.array([22]), 0)
    with pytest.raises(OverflowError):
        mac.rq8(np.array([[1 << 31]]), rq)
    with pytest.raises(OverflowError):
        mac.rq8(np.array([[1 << 30]]), derive.Rq8(rq.B, rq.m, rq.s, 1))


def test_zero_point_outside_B_would_be_wrong() -> None:
    """Adding zp after the clamp of t displaces a saturated result by up to |zp|."""
    rq, plain = one(2.0, zp=100), one(2.0, zp=0)
    acc = np.array([[-128]])
    right = int(mac.rq8(acc, rq)[0, 0])
    t = int(np.clip(((acc << plain.L) + plain.B) >> plain.s, -32768, 32767)[0, 0])
    late = max(-128, ((t * int(plain.m[0])) >> 22) + 100)
    assert (right, late) == (-128, -28)


def test_shift_of_a_sum_is_found_after_rounding() -> None:
    assert derive.add(0.99999, 0, 0.5, 0, 1.0, 0).sh == 14
    assert derive.add(32767 / 32768, 0, 0.5, 0, 1.0, 0) == derive.Add(32767, 16384, 1 << 14, 15)
    assert derive.add(2.0**-9, 0, 2.0**-30, 0, 1.0, 0) == derive.Add(8192, 0, 1 << 21, 22)
    assert derive.add(32767.0, 0, 1.0, 0, 1.0, 0).sh == 0
    with pytest.raises(Infeasible):
        derive.add(32768.0, 0, 1.0, 0, 1.0, 0)


@pytest.mark.parametrize("zeros", [(-128, -128, -128), (127, 127, 127), (-128, 127, 127), (127, -128, -128)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ratio", [2.0**-30, 2.0**-8, 1.0, 100.0, 32767.0])
def test_sums_stay_below_2_to_the_30(zeros: tuple[int, int, int], sign: int, ratio: float) -> None:
    za, zb, zp = zeros
    p = derive.add(ratio, za, ratio, zb, 1.0, zp, sign)
    partial = [abs(p.C), 128 * p.ma, 128 * abs(p.mb), 128 * p.ma + 128 * abs(p.mb) + abs(p.C)]
    assert max(partial) <= (1 << 29) + (1 << 24) + (1 << 21)


@pytest.mark.parametrize("M", [2.0**-33, 2.0**14])
def test_product_ratio_out_of_range(M: float) -> None:
    with pytest.raises(Infeasible):
        derive.product(M)


def test_product_shift_limits() -> None:
    assert derive.product(2.0**-32) == (16384, 46)
    assert derive.product(2.0**13) == (16384, 1)


@pytest.mark.parametrize("M", [2.0**-54, 2.0**-40, 0.3, 1 - 2.0**-33, 1.0, 1000.0, 2.0**20])
@pytest.mark.parametrize("zeros", [(-128, 127), (127, -128)])
def test_rq16_stays_in_int64_and_is_the_widest(M: float, zeros: tuple[int, int]) -> None:
    bias, m, sh = derive.rq16_entry(M, *zeros, 0, 128)
    assert 128 * m + abs(bias) < 1 << 63
    assert 1 <= sh <= 62 and 0 < m < 1 << 31
    assert abs(Fraction(m, 1 << sh) / Fraction(M) - 1) <= Fraction(1, m)


@pytest.mark.parametrize("M", [2.0**-60, 2.0**32])
def test_rq16_ratio_out_of_range(M: float) -> None:
    with pytest.raises(Infeasible):
        derive.rq16_entry(M, 0, 127, 0, 128)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (5, 1), (3, 7), (7, 3), (16, 32), (14, 224), (2, 3)])
def test_bilinear_tables_are_whole(mode: str, sizes: tuple[int, int]) -> None:
    length_in, length_out = sizes
    for i0, i1, w0, w1 in tables.bilinear(length_in, length_out, None, mode):
        assert w0 + w1 == 2048 and 0 <= w1 <= 2048
        assert 0 <= i0 <= i1 <= min(i0 + 1, length_in - 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_nearest_tables_are_inside_and_rise(mode: str, rounding: str) -> None:
    for length_in, length_out in ((1, 4), (4, 1), (5, 13), (13, 5)):
        found = tables.nearest(length_in, length_out, None, mode, rounding)
        assert found == sorted(found) and found[0] >= 0 and found[-1] < length_in


@pytest.mark.parametrize("sizes", [(6, 5), (5, 6), (7, 3), (3, 10), (30, 31), (224, 97)])
def test_float32_scale_decides_like_the_fraction(sizes: tuple[int, int]) -> None:
    length_in, length_out = sizes
    scale = float(np.float32(length_out / length_in))
    for mode in ("half_pixel", "asymmetric"):
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            given = tables.nearest(length_in, length_out, scale, mode, rounding)
            assert given == tables.nearest(length_in, length_out, None, mode, rounding)
        assert tables.bilinear(length_in, length_out, scale, mode) == tables.bilinear(length_in, length_out, None, mode)
