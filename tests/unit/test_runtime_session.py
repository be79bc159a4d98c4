"""Sessions: same bits on every way to them, ownership, inputs, errors, what they tell of themselves."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import runtime_programs as programs

from openbpu import _native
from openbpu.errors import ConfigError, ExecutableError, SampleError
from openbpu.runtime import Executable, Session


@pytest.fixture(scope="module")
def executable() -> Executable:
    return Executable(programs.convolution())


@pytest.fixture(scope="module")
def expected(executable: Executable) -> np.ndarray:
    y = Session(executable, isa="scalar").run(programs.image())["features"]
    assert len(np.unique(y)) > 50, "the program computes something"
    return y


# ---- results


@pytest.mark.parametrize("isa", ["auto", *_native.available_isas()])
@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_every_isa_and_thread_count_gives_the_same_bytes(
    executable: Executable, expected: np.ndarray, isa: str, threads: int
) -> None:
    session = Session(executable, isa=isa, threads=threads)
    for _ in range(3):
        assert session.run(programs.image())["features"].tobytes() == expected.tobytes()
    assert session.threads == threads or (threads == 0 and session.threads >= 1)


@pytest.mark.parametrize("flip", [0, 128])
@pytest.mark.parametrize("isa", _native.available_isas())
def test_storage_changes_nothing(executable: Executable, expected: np.ndarray, isa: str, flip: int) -> None:
    engine = _native.Engine(executable.native, isa=isa, flip=flip)
    assert engine.run([programs.image()])[0].tobytes() == expected.tobytes()


def test_many_sessions_in_parallel_threads(executable: Executable) -> None:
    reference = {k: Session(executable, isa="scalar").run(programs.image(k))["features"].tobytes() for k in range(4)}
    wrong: list[int] = []

    def caller(k: int) -> None:
        session = Session(executable, threads=1 + k % 2)
        for _ in range(20):
            if session.run(programs.image(k))["features"].tobytes() != reference[k]:
                wrong.append(k)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_one_session_from_several_threads(executable: Executable) -> None:
    session = Session(executable, threads=2)
    reference = [Session(executable, isa="scalar").run(programs.image(k))["features"].tobytes() for k in range(3)]
    wrong: list[int] = []

    def caller(k: int) -> None:
        for _ in range(20):
            if session.run(programs.image(k))["features"].tobytes() != reference[k]:
                wrong.append(k)
            session.explain()

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_results_own_their_memory(executable: Executable, expected: np.ndarray) -> None:
    session = Session(executable)
    first = session.run(programs.image())["features"]
    kept = first.copy()
    assert first.flags.owndata and first.flags.writeable
    second = session.run(programs.image(1))["features"]
    np.testing.assert_array_equal(first, kept)
    second[...] = 1e9
    np.testing.assert_array_equal(session.run(programs.image())["features"], expected)
    del session
    np.testing.assert_array_equal(first, kept)


def test_the_session_outlives_the_executable(expected: np.ndarray) -> None:
    session = Session(programs.convolution())
    np.testing.assert_array_equal(session.run(programs.image())["features"], expected)


# ---- inputs


def test_layouts_and_types_that_are_converted(executable: Executable, expected: np.ndarray) -> None:
    session = Session(executable)
    x = programs.image()
    fortran = np.asfortranarray(x)
    wide = np.zeros((1, 3, 20, 48), np.float32)
    wide[..., ::2] = x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for same in (
        x,
        {"image": x},
        fortran,
        wide[..., ::2],
        unaligned,
        x.astype(np.float64),
        x.astype(">f4"),
        x.tolist(),
    ):
        np.testing.assert_array_equal(session.run(same)["features"], expected)
    half = x.astype(np.float16)
    np.testing.assert_array_equal(session.run(half)["features"], session.run(half.astype(np.float32))["features"])


def test_nan_and_infinity_are_taken(executable: Executable) -> None:
    session = Session(executable)
    zero, nan, high = (np.full(programs.IMAGE, v, np.float32) for v in (0, np.nan, np.inf))
    np.testing.assert_array_equal(session.run(nan)["features"], session.run(zero)["features"])
    np.testing.assert_array_equal(
        session.run(high)["features"], session.run(np.full(programs.IMAGE, 1e6, np.float32))["features"]
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_ports_of_every_type(dtype: str) -> None:
    session = Session(programs.copies(("a", "z", dtype)))
    x = np.array([[0, 1, 0], [1, 1, 0]], dtype) if dtype == "bool" else np.array([[0, 1, 2], [3, 100, 127]], dtype)
    z = session.run(x)["z"]
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, x)


_X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "ports,inputs,words",
    [
        ([("image", "y", "float32")], {"imag": _X}, ["imag", "did you mean image"]),
        ([("image", "y", "float32")], {"zebra": _X}, ["zebra", "the inputs are image"]),
        ([("image", "y", "float32")], {}, ["none for image"]),
        ([("a", "y", "float32"), ("b", "z", "float32")], {"a": _X}, ["none for b"]),
        ([("a", "y", "float32"), ("b", "z", "float32")], _X, ["several inputs", "give a, b"]),
        ([("a", "y", "float32")], _X[0], ["input a", "(2, 3)", "(3,)"]),
        ([("a", "y", "float32")], np.zeros((3, 2), np.float32), ["input a", "(2, 3)", "(3, 2)"]),
        ([("a", "y", "float32")], _X.astype(np.uint8), ["input a", "float32", "uint8", "preprocessing"]),
        ([("a", "y", "float32")], _X.astype(np.int64), ["input a", "float32", "int64"]),
        ([("a", "y", "float32")], _X.astype(np.complex64), ["input a", "complex64"]),
        ([("a", "y", "float32")], [["one", "two", "three"]] * 2, ["input a"]),
        ([("a", "y", "float32")], [[1.0], [1.0, 2.0]], ["input a", "array"]),
        ([("a", "y", "float32")], None, ["input a"]),
        ([("a", "y", "int8")], _X, ["input a", "int8", "float32", "/ 0.5"]),
        ([("a", "y", "int8")], _X.astype(np.uint8), ["input a", "uint8", "wrap", "- 128"]),
        ([("a", "y", "uint8")], _X.astype(np.int8), ["input a", "int8", "wrap", "+ 128"]),
        ([("a", "y", "int64")], _X.astype(np.int32), ["input a", ".astype('int64')"]),
    ],
)
def test_wrong_inputs_say_what_to_do(ports: list[tuple[str, str, str]], inputs: Any, words: list[str]) -> None:
    session = Session(programs.copies(*ports))
    with pytest.raises(SampleError) as caught:
        session.run(inputs)
    for word in words:
        assert word.lower() in str(caught.value).lower(), str(caught.value)


# ---- options and failures


@pytest.mark.parametrize(
    "options,words",
    [
        ({"isa": "sse9"}, ["sse9", "scalar"]),
        ({"isa": None}, ["isa"]),
        ({"threads": -1}, ["threads", "-1"]),
        ({"threads": 10**6}, ["threads", "1000000"]),
        ({"threads": 10**12}, ["threads"]),
        ({"threads": "two"}, ["threads"]),
        ({"entry": "nett"}, ["nett", "holds net"]),
    ],
)
def test_wrong_options(executable: Executable, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Session(executable, **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_model_of_a_wrong_type() -> None:
    with pytest.raises(ConfigError, match="int"):
        Session(5)  # type: ignore[arg-type]


def test_a_trap_is_an_error_of_the_run() -> None:
    session = Session(programs.trap(7))
    for call in (lambda: session.run({}), lambda: session.profile(runs=1)):
        with pytest.raises(ExecutableError, match="trap 7"):
            call()


# ---- what a session tells


def test_ports(executable: Executable) -> None:
    session = Session(programs.copies(("a", "y", "int8")))
    (a,), (y,) = session.inputs, session.outputs
    assert (a.name, a.direction, a.dtype, a.shape, a.scale, a.zero_point) == ("a", "input", "int8", (2, 3), 0.5, 1)
    assert (y.name, y.direction) == ("y", "output")
    assert [p.name for p in Session(executable).inputs] == ["image"]


def test_explain(executable: Executable) -> None:
    explanation = Session(executable, isa="scalar").explain()
    assert [s.op for s in explanation.steps] == ["QUANTIZE", "CONV2D", "DEQUANTIZE"]
    conv = explanation.steps[1]
    assert (conv.layer, conv.nodes, conv.row, conv.reason) == ("features", ("/conv", "/relu"), "conv_scalar", "")
    assert conv.macs == 20 * 24 * 32 * 27
    for word in ("scalar", "CONV2D", "conv_scalar", "features", "/conv, /relu"):
        assert word in str(explanation)
    assert json.loads(explanation.to_json())["steps"][1]["row"] == "conv_scalar"


def test_a_row_of_another_isa_comes_with_a_reason(executable: Executable) -> None:
    for isa in _native.available_isas():
        for step in Session(executable, isa=isa).explain().steps:
            assert (step.reason == "") == step.row.split("_")[1].startswith(isa[:6]), step


def test_profile(executable: Executable) -> None:
    session = Session(executable, isa="scalar")
    for inputs in (None, programs.image()):
        profile = session.profile(inputs, runs=3)
        assert len(profile.steps) == 3 and profile.runs == 3
        assert all(step.nanoseconds > 0 for step in profile.steps)
        assert profile.total_nanoseconds == sum(step.nanoseconds for step in profile.steps)
        assert profile.steps[1].gmac_per_second == profile.steps[1].macs / profile.steps[1].nanoseconds
    data = json.loads(profile.to_json())
    assert sum(step["percent"] for step in data["steps"]) == pytest.approx(100)
    assert "CONV2D" in str(profile) and "GMAC/s" in str(profile) and "3 runs" in str(profile)
    events = [event for event in profile.chrome_trace()["traceEvents"] if event["ph"] == "X"]
    assert [event["cat"] for event in events] == ["QUANTIZE", "CONV2D", "DEQUANTIZE"]
    assert events[1]["ts"] == pytest.approx(events[0]["ts"] + events[0]["dur"])
    with pytest.raises(ConfigError, match="runs"):
        session.profile(runs=0)
    with pytest.raises(SampleError):
        session.profile({"wrong": programs.image()})


def test_the_engine_itself_refuses_wrong_arrays(executable: Executable) -> None:
    """The native layer does not rely on the checks above it."""
    engine = _native.Engine(executable.native)
    x = programs.image()
    for bad in ([], [x, x], [x[0]], [x.astype(np.float64)], [np.asfortranarray(x)], [x.astype(">f4")]):
        with pytest.raises(_native.NativeError):
            engine.run(bad)
    with pytest.raises(_native.NativeError):
        _native.Engine(executable.native, flip=3)
