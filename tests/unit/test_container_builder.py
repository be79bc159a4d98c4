"""ProgramBuilder: packings, sharing, derived fields, and the errors of what cannot be written."""

from __future__ import annotations

import numpy as np
import pytest
import runtime_programs as programs

from golden import v1
from openbpu import _native
from openbpu.errors import ExecutableError
from openbpu.target import ProgramBuilder, packing
from openbpu.target.records import RECORDS, record


def test_the_same_calls_give_the_same_bytes() -> None:
    assert programs.convolution() == programs.convolution()
    assert programs.convolution(1) != programs.convolution(2)


@pytest.mark.parametrize("groups,co,kh,kw,ci", [(1, 20, 3, 2, 5), (2, 6, 1, 1, 3), (3, 51, 1, 3, 16)])
def test_conv_weights(groups: int, co: int, kh: int, kw: int, ci: int) -> None:
    weight = v1.noise((co, kh, kw, ci), -128, 127, 1).astype(np.int8)
    data, dims = packing.conv_weights(weight, groups)
    assert dims == (groups, co // groups, kh * kw, ci)
    blocks, quads = -(-dims[1] // 16), -(-ci // 4)
    packed = np.frombuffer(data, np.int8).reshape(groups, blocks, kh * kw, quads, 16, 4)
    expected = np.zeros_like(packed)
    for o, y, x, i in np.ndindex(weight.shape):
        group, c = divmod(o, dims[1])
        expected[group, c // 16, y * kw + x, i // 4, c % 16, i % 4] = weight[o, y, x, i]
    np.testing.assert_array_equal(packed, expected)


def test_depthwise_weights() -> None:
    weight = v1.noise((18, 2, 3), -128, 127, 1).astype(np.int8)
    data, dims = packing.depthwise_weights(weight)
    assert dims == (18, 6)
    packed = np.frombuffer(data, np.int8).reshape(2, 6, 16)
    expected = np.zeros_like(packed)
    for c, y, x in np.ndindex(weight.shape):
        expected[c // 16, y * 3 + x, c % 16] = weight[c, y, x]
    np.testing.assert_array_equal(packed, expected)


def test_rq8_is_padded_to_whole_blocks() -> None:
    data, dims = packing.rq8(np.arange(17) - 8, np.full(17, 20000), np.arange(17))
    assert dims == (17,) and len(data) == 32 * 7
    B, m, s = np.frombuffer(data[:128], "<i4"), np.frombuffer(data[128:192], "<i2"), np.frombuffer(data[192:], "<u1")
    assert B.tolist() == [*range(-8, 9), *[0] * 15]
    assert m.tolist() == [20000] * 17 + [16384] * 15
    assert s.tolist() == [*range(17), *[0] * 15]


def test_tables() -> None:
    data, dims = packing.rq16(np.array([-(2**40)]), np.array([2**31 - 1]), np.array([62]))
    assert np.frombuffer(data, RECORDS["Rq16Entry"])[0].tolist()[:3] == (-(2**40), 2**31 - 1, 62) and dims == (1,)
    data, dims = packing.pool(np.array([16384, 32767]), np.array([1, 46]))
    assert np.frombuffer(data, RECORDS["PoolEntry"]).tolist() == [(16384, 1), (32767, 46)] and dims == (2,)
    data, dims = packing.resize(np.array([[3, 4]]), np.array([[48, 2000]]))
    assert np.frombuffer(data, RECORDS["ResizeEntry"]).tolist() == [(3, 4, 48, 2000)] and dims == (1,)
    assert packing.lut8(np.arange(-128, 128)) == (bytes([*range(128, 256), *range(128)]), (256,))
    assert packing.exp(np.full(256, 65535)) == (b"\xff\xff" * 256, (256,))


@pytest.mark.parametrize(
    "pack,message",
    [
        (lambda: packing.conv_weights(np.full((1, 1, 1, 1), 128)), "weights.*-128 to 127"),
        (lambda: packing.conv_weights(np.full((1, 1, 1, 1), 0.5)), "weights.*float64"),
        (lambda: packing.depthwise_weights(np.full((1, 1, 1), -129)), "weights"),
        (lambda: packing.rq8(np.array([2**31]), np.array([16384]), np.array([0])), "B"),
        (lambda: packing.rq8(np.array([0]), np.array([32768]), np.array([0])), "m"),
        (lambda: packing.rq8(np.array([0]), np.array([16384]), np.array([256])), "s"),
        (lambda: packing.rq16(np.array([0]), np.array([2**31]), np.array([1])), r"Rq16Entry\.m"),
        (lambda: packing.pool(np.array([16384]), np.array([-1])), r"PoolEntry\.sh"),
        (lambda: packing.resize(np.array([[0, 0]]), np.array([[40000, 0]])), r"ResizeEntry\.w0"),
        (lambda: packing.lut8(np.arange(256)), "LUT8"),
        (lambda: packing.exp(np.full(256, 65536)), "EXP"),
    ],
)
def test_values_that_do_not_fit_are_refused(pack: object, message: str) -> None:
    with pytest.raises(ExecutableError, match=message):
        pack()  # type: ignore[operator]


def test_equal_things_are_stored_once() -> None:
    b = ProgramBuilder("shared")
    assert b.surface("ddr", (1, 2, 3, 4)).id == b.surface("ddr", (1, 2, 3, 4), strides=(24, 12, 4, 1)).id
    assert b.surface("ddr", (1, 2, 3, 4)).id != b.surface("ddr", (1, 2, 3, 4), zero_point=1).id
    table = packing.lut8(np.zeros(256, np.int8))
    first = b.const("LUT8", table)
    assert first == b.const("LUT8", table) != b.const("RAW", table)
    assert b.const_offset(first) == 0 and b.const_offset(first + 1) == 256
    x = b.surface("ddr", (1, 4, 4, 8))
    y = b.surface("ddr", (1, 2, 2, 8), base=128)
    window = {f"{name}_{axis}": 2 for name in ("kernel", "stride") for axis in "hw"} | {
        "dilation_h": 1,
        "dilation_w": 1,
    }
    for _ in range(2):
        b.emit("MAXPOOL", y, x, aux=window)
    summary = _native.Program.from_bytes(b.finish(256)).summary()
    assert (summary["surfaces"], summary["constants"]) == (4, 2)


def test_flags_and_boxes_are_derived() -> None:
    b = ProgramBuilder("flags")
    x, y = b.surface("sram", (1, 2, 2, 16)), b.surface("sram", (1, 2, 2, 16), base=64)
    table = b.const("LUT8", packing.lut8(np.zeros(256, np.int8)))
    b.emit("LUT8", y, x, table=table)
    b.emit("LUT8", b.surface("ddr", (1, 2, 2, 16)), x, table=table, box=(1, 1, 0, 2, 8, 8))
    lines = _native.Program.from_bytes(b.finish(64, sram_bytes=128)).disassemble().splitlines()
    assert "box" not in lines[1] and lines[2].endswith("box=y1+1,x0+2,c8+8")


def test_macs_are_counted_by_the_writer() -> None:
    entry = _native.Program.from_bytes(programs.convolution()).summary()["entries"][0]
    assert entry["macs"] == 20 * 24 * 32 * 27


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"h": 65536 * 65536}, r"Surface\.h.*4294967295"),
        ({"zero_point": 2.5}, r"Surface\.zero_point"),
        ({"height": 3}, "Surface.*height"),
    ],
)
def test_records_refuse_what_they_cannot_hold(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ExecutableError, match=message):
        record("Surface", fields)


def test_instructions_refuse_what_they_cannot_hold() -> None:
    b = ProgramBuilder("wide")
    x = b.surface("ddr", (1, 1, 70000, 1))
    with pytest.raises(ExecutableError, match=r"Instruction\.box_w.*70000"):
        b.emit("FILL", x)
    with pytest.raises(ExecutableError, match=r"Instruction\.ma"):
        b.emit("ADD", x, x, x, box=(0, 1, 0, 1, 0, 1), ma=32768)
    with pytest.raises(ExecutableError, match="at most 8 dimensions"):
        b.input("x", (1,) * 9)


def test_finish_refuses_a_program_that_breaks_a_rule() -> None:
    b = ProgramBuilder("bad")
    b.emit("FILL", b.surface("ddr", (1, 1, 1, 65)), C=1)
    with pytest.raises(ExecutableError, match=r"instruction 0 \(FILL\), field out.*inside its region") as caught:
        b.finish(64)
    assert "defect of the compiler" in caught.value.remedy
