"""The worked examples of docs/numerics.md: every commented value holds, and the oracle agrees with the outcome."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from math import exp, floor, frexp, isqrt, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle import camera, derive, int16, mac, ports, tables, vec, window

PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"
BLOCKS = dict(re.findall(r"^```python\n# example: (\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
TOOLS: dict[str, Any] = {
    "floor": floor,
    "frexp": frexp,
    "isqrt": isqrt,
    "sqrt": sqrt,
    "exp": exp,
    "rne": round,
    "rhu": lambda v: floor(v + 0.5),
    "clamp": lambda v, lo, hi: min(max(v, lo), hi),
    "f32": lambda v: float(np.float32(v)),
}


def promised(line: str) -> Any:
    """The value after `#`, or None if the comment is prose."""
    try:
        return ast.literal_eval(line.rpartition("# ")[2])
    except (SyntaxError, ValueError):
        return None


def run(block: str) -> dict[str, Any]:
    """Executes a block statement by statement and compares each assignment with its comment."""
    names = dict(TOOLS)
    for statement in ast.parse(block).body:
        exec(compile(ast.Module([statement], []), str(PAGE), "exec"), names)
        line = block.splitlines()[statement.end_lineno - 1]
        value = promised(line) if "# " in line else None
        if value is None:
            continue
        target = statement.targets[0]
        got = eval(ast.unparse(target), names)
        assert got == (value if isinstance(value, int) else pytest.approx(value, rel=1e-9)), line
    return names


def int8(values: Any) -> np.ndarray:
    return np.array(values, np.int8).reshape(1, 1, 1, -1)


def check_ports(n: dict[str, Any]) -> None:
    assert ports.quantise(np.array([0.6, 1.0], np.float32), 0.4, 3).tolist() == [n["q"], n["r"]]
    assert float(ports.dequantise(np.array([n["q"]], np.int8), 0.4, 3)[0]) == n["x"]


def check_rq8(n: dict[str, Any]) -> None:
    weight = np.array([n["w"]])
    rq = derive.rq8(n["sx"], [n["sw"]], n["sy"], n["zx"], n["zp"], weight, [n["bias"]])
    assert (rq.B[0], rq.m[0], rq.s[0], rq.L) == (n["B"], n["m"], n["s"], n["L"])
    assert mac.matmul(int8(n["x"]), weight, rq).item() == n["y"]


def check_tconv(n: dict[str, Any]) -> None:
    weight = np.array(n["w"]).reshape(1, 1, 3, 1)
    identity = derive.Rq8(np.array([1 << 7]), np.array([16384]), np.array([0]), 8)
    got = mac.tconv2d(int8(n["x"]).reshape(1, 1, 2, 1), weight, identity, n["zx"], stride=(1, 2))
    assert got.ravel().tolist() == n["acc"]


def check_matmuld(n: dict[str, Any]) -> None:
    rq = derive.rq8_dynamic(n["sa"], n["sb"], n["sy"], n["zp"], 3, n["za"], n["zb"])
    assert (rq.B[0], rq.m[0], rq.s[0]) == (n["B"], n["m"], n["s"])
    assert mac.matmuld(int8(n["a"]), int8(n["b"]), rq, n["za"], n["zb"], True).item() == n["y"]


def check_rescale(n: dict[str, Any]) -> None:
    p = derive.rescale([n["sx"]], [n["zx"]], [n["sy"]], [n["zp"]])
    assert (p.bias[0], p.m[0], p.sh[0]) == (n["bias"], n["m"], n["sh"])
    assert vec.rescale(int8((-128, -8, 0, 55, 127)), p).ravel().tolist() == n["y"]


def check_add(n: dict[str, Any]) -> None:
    p = derive.add(n["sa"], n["za"], n["sb"], n["zb"], n["sy"], n["zp"])
    assert (p.ma, p.mb, p.C, p.sh) == (n["ma"], n["mb"], n["C"], n["sh"])
    assert vec.add(int8(n["a"]), int8(n["b"]), p).item() == n["y"]


def check_mul(n: dict[str, Any]) -> None:
    m, sh = derive.mul(n["sa"], n["sb"], n["sy"])
    assert (m, sh) == (n["m"], n["sh"])
    a, b = int8((101, 12 - 35, 12 + 65)), int8((77, -128 + 13, -128 + 77))
    assert vec.mul(a, b, m, sh, n["za"], n["zb"], n["zp"]).ravel().tolist() == [n["y"], n["z"], n["q"]]


def check_div(n: dict[str, Any]) -> None:
    table, sh = derive.ratio(n["sa"], n["sb"], n["zb"], n["sy"])
    assert (table.tolist(), sh) == (n["T"], n["sh"])
    got = vec.divide(int8((40, 9, -1, 10)), int8((72, 100, -28, -28)), table, sh, n["za"], n["zp"])
    assert got.ravel().tolist() == n["y"]


def check_choice(n: dict[str, Any]) -> None:
    a, b = int8(n["a"]), int8(n["b"])
    assert vec.extreme(a, b, True).ravel().tolist() == n["largest"]
    assert vec.extreme(a, b, False, -5, 50).ravel().tolist() == n["smallest"]
    assert vec.select(a, b, int8(n["condition"])).ravel().tolist() == n["chosen"]


def check_cmp(n: dict[str, Any]) -> None:
    table = derive.ranks(n["sa"], n["za"], n["sb"], n["zb"])
    assert table.tolist() == n["T"]
    assert vec.compare(int8((3, 6, 4)), int8((3, 4, 3)), table, 0).ravel().tolist() == n["equal"]
    assert vec.compare(int8((3, 2, -10)), int8((3, 3, -9)), table, 1).ravel().tolist() == n["less"]


def check_reduce(n: dict[str, Any]) -> None:
    m, sh = derive.product(n["sx"] / n["sy"] / 2**15)
    assert (m, sh) == (n["m"], n["sh"])
    assert vec.reduce(int8(n["x"]), 5, m, sh, n["zx"], n["zp"]).item() == n["norm"]
    assert vec.argmax(int8(n["x"])).item() == n["first"]


def check_avgpool(n: dict[str, Any]) -> None:
    x = np.array(n["x"], np.int8).reshape(1, 3, 2, 1)
    for count_pad, y in ((False, n["y"]), (True, n["y_counting_pad"])):
        scales = derive.avgpool(n["sx"], n["sy"], 9, count_pad)
        got = window.avgpool(x, scales, n["zx"], n["zp"], (3, 3), pads=(0, 1, 0, 0))
        assert got.ravel().tolist() == [y]


def check_lut(n: dict[str, Any]) -> None:
    table = derive.lut8(lambda v: v / (1 + exp(-v)), n["sx"], n["zx"], n["sy"], n["zp"])
    assert vec.lut8(int8((40, -20)), table).ravel().tolist() == [n["T"], n["U"]]
    knots = np.zeros(513, np.int16)
    for i, value in n["knots"].items():
        knots[i] = value
    assert vec.lut16(np.array([n["at"]]), knots).item() == n["y"]


def check_softmax(n: dict[str, Any]) -> None:
    table, C = derive.softmax(n["sx"], n["sy"])
    assert [int(table[d]) for d in n["d"]] == n["E"] and n["C"] == C
    assert vec.softmax(int8(n["x"]), table, C, n["zp"]).ravel().tolist() == n["y"]


def check_norm(n: dict[str, Any]) -> None:
    p = derive.norm(n["sx"], None, n["eps"], [n["gamma"]] * 5, [n["beta"]] * 5, n["sy"], n["zp"])
    assert (p.eps, p.F, p.sh, p.g[0], p.b[0]) == (n["eps_q"], n["F"], n["sh"], n["g"], n["b"])
    assert vec.norm(int8(n["x"]), p).ravel().tolist() == n["y"]


def check_gridsample(n: dict[str, Any]) -> None:
    x = np.array(n["row"], np.int8).reshape(1, 1, 5, 1)
    grid = np.array([[[[n["g"], 0.0]]]], np.float32)
    assert window.grid_sample(x, grid, 0, False, False, False).item() == n["y"]


def check_csc(n: dict[str, Any]) -> None:
    p = camera.derive([n["A"]], [n["o"]], [n["g"]], [n["h"]], n["sy"], n["zp"])
    assert (list(p.m[0]), p.b[0], p.sh, p.lo[0], p.hi[0]) == (n["m"], n["b"], n["sh"], n["lo"], n["hi"])
    luma, chroma = int8(n["x"][:1]), int8(n["x"][1:])
    assert camera.csc(luma, chroma, p).item() == n["y"]


def check_roiresize(n: dict[str, Any]) -> None:
    roi = np.array([n["f"], 0, n["f"] + n["L"] - 1, 0], np.int32).reshape(1, 1, 1, 4)
    x = np.array(n["row"], np.int8).reshape(1, 1, -1, 1)
    assert camera.roi_resize(x, roi, (1, n["O"]), 0).ravel().tolist() == n["y"]


def check_resize(n: dict[str, Any]) -> None:
    table = tables.bilinear(n["I"], n["O"], None, "half_pixel")
    assert table[1] == (0, 1, n["w0"], n["w1"])
    x = np.array([*n["row"], 0], np.int8).reshape(1, 1, 3, 1)
    assert window.resize_bilinear(x, [(0, 0, 2048, 0)], [table[1]]).item() == n["y"]


def check_norm16(n: dict[str, Any]) -> None:
    p = int16.norm_parameters(n["sx"], True, n["eps"], [n["gamma"]] * 5, [n["beta"]] * 5, n["sy"])
    assert (p.eps, p.F, p.sh, p.g[0], p.b[0]) == (n["eps_q"], n["F"], n["sh"], n["g"], n["b"])
    assert int16.norm(np.array([n["x"]], np.int16), p).ravel().tolist() == n["y"]


def check_int16(n: dict[str, Any]) -> None:
    weight = np.array([n["w"]])
    p, _ = int16.linear(n["sx"], [n["sw"]], n["sy"], 0, weight, [n["bias"]])
    assert (p.bias[0], p.m[0], p.sh[0]) == (n["offset"], n["m"], n["sh"])
    assert int16.matmul(np.array([n["x"]], np.int16), weight, p).item() == n["y"]
    p = int16.sum_of_two(1.5, 0.4, 1.0, 0)
    assert p.m.tolist() == [n["ma"], n["mb"]] and p.sh[0] == 28
    assert int16.add(np.array([20000], np.int16), np.array([15000], np.int16), p, -1).item() == n["t"]
    knots = np.zeros(2049, np.int16)
    knots[100], knots[101] = n["knots"][100], n["knots"][101]
    assert vec.lut16(np.array([n["at"]]), knots).item() == n["u"]
    p = int16.scaling([int16.entry(128.0, -27, 0, 128)])
    assert int16.rescale(np.array([-100], np.int8), p).item() == n["v"]


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")
}


def test_every_example_has_a_check() -> None:
    assert set(BLOCKS) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_example(name: str) -> None:
    CHECKS[name](run(BLOCKS[name]))
