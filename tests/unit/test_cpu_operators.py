"""CPU operators beyond onnx's cases: shapes that take blocks and threads, bits on every ISA, errors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from cpu_operators import one_node
from openbpu import _native
from openbpu.errors import ExecutableError
from openbpu.target import ProgramBuilder, cpu_doc

_RANDOM = np.random.default_rng(7)


def _noise(*shape: int) -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int, groups: int) -> np.ndarray:
    """In float64, tap by tap."""
    n, c, height, width = x.shape
    co, ci, kh, kw = w.shape
    padded = np.zeros((n, c, height + 2 * pad, width + 2 * pad))
    padded[:, :, pad : pad + height, pad : pad + width] = x
    oh, ow = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.zeros((n, co, oh, ow)) + b[None, :, None, None]
    for g in range(groups):
        rows = slice(g * co // groups, (g + 1) * co // groups)
        for ky in range(kh):
            for kx in range(kw):
                part = padded[:, g * ci : (g + 1) * ci, ky : ky + oh * stride : stride, kx : kx + ow * stride : stride]
                y[:, rows] += np.einsum("oc,nchw->nohw", w[rows, :, ky, kx].astype(float), part[:, :, :oh, :ow])
    return y


def _program(
    op: str, inputs: dict[str, Any], shape: tuple[int, ...], constant: tuple[str, ...], **attributes: Any
) -> bytes:
    builder = ProgramBuilder("net")
    operands = []
    for key, array in inputs.items():
        if key in constant:
            operands.append(builder.const_tensor(array))
        else:
            port = builder.input(key, array.shape, array.dtype.name)
            operands.append(builder.tensor("in", array.shape, array.dtype.name, port=port))
    port = builder.output("y", shape)
    builder.cpucall(op, operands, [builder.tensor("out", shape, port=port)], attributes)
    return builder.finish(0)


def _everywhere(data: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The result, which must have the same bits on every ISA and with every number of threads."""
    result = one_node.run(data, inputs)[0]
    for isa in _native.available_isas():
        for threads in (1, 2, 3):
            assert one_node.run(data, inputs, isa, threads)[0].tobytes() == result.tobytes(), (isa, threads)
    return result


_CONVS = [
    # channels, outputs, size, kernel, stride, pad, groups
    (3, 20, 37, 3, 2, 1, 1),
    (40, 130, 15, 3, 1, 1, 1),
    (300, 24, 7, 1, 1, 0, 1),
    (24, 36, 9, 3, 1, 1, 3),
    (20, 20, 31, 3, 1, 1, 20),
    (20, 40, 30, 5, 2, 2, 20),
]


@pytest.mark.parametrize("weights", ["constant", "input"])
@pytest.mark.parametrize("shape", _CONVS, ids=str)
def test_conv(shape: tuple[int, ...], weights: str) -> None:
    c, co, size, kernel, stride, pad, groups = shape
    inputs = {"x": _noise(2, c, size, size), "w": _noise(co, c // groups, kernel, kernel), "b": _noise(co)}
    expected = _conv(*inputs.values(), stride, pad, groups)
    constant = ("w", "b") if weights == "constant" else ()
    data = _program("Conv", inputs, expected.shape, constant, group=groups, strides=[stride] * 2, pads=[pad] * 4)
    # Sums of up to 360 float32 products: their errors stay well below 1e-4.
    np.testing.assert_allclose(_everywhere(data, inputs), expected, rtol=1e-4, atol=1e-4)


def test_conv_gives_the_same_bits_whether_its_columns_are_gathered() -> None:
    """Constant weights meet rows of the input where they lie, weights of the run gathered columns."""
    random = np.random.default_rng(6)
    for _ in range(60):
        groups, dimensions = int(random.integers(1, 3)), int(random.integers(1, 3))
        channels, filters = int(random.integers(2, 50)), int(random.choice([3, 17, 70, 110]))
        kernel, strides, dilations = ([int(random.integers(1, most)) for _ in range(dimensions)] for most in (5, 4, 3))
        pads = [int(random.integers(0, size)) for size in (*kernel, *kernel)]
        size = [int(random.integers(10, 45)) for _ in kernel]
        inputs = {
            "x": _noise(int(random.integers(1, 3)), channels * groups, *size),
            "w": _noise(filters * groups, channels, *kernel),
            "b": _noise(filters * groups),
        }
        extents = zip(size, pads[:dimensions], pads[dimensions:], dilations, kernel, strides, strict=True)
        out = [(n + before + behind - d * (k - 1) - 1) // step + 1 for n, before, behind, d, k, step in extents]
        shape = (len(inputs["x"]), filters * groups, *out)
        attributes = {"group": groups, "strides": strides, "pads": pads, "dilations": dilations}
        gathered = one_node.run(_program("Conv", inputs, shape, (), **attributes), inputs)[0]
        given = {"x": inputs["x"]}
        data = _program("Conv", inputs, shape, ("w", "b"), **attributes)
        for isa in _native.available_isas():
            assert one_node.run(data, given, isa, 2)[0].tobytes() == gathered.tobytes(), (shape, attributes, isa)


@pytest.mark.parametrize("weights", ["constant", "input"])
@pytest.mark.parametrize(
    "a, b", [((70, 300), (300, 150)), ((3, 50, 33), (33, 20)), ((2, 3, 20, 40), (2, 1, 40, 17)), ((600,), (600, 5))]
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], weights: str) -> None:
    inputs = {"a": _noise(*a), "b": _noise(*b)}
    expected = inputs["a"].astype(float) @ inputs["b"].astype(float)
    data = _program("MatMul", inputs, expected.shape, ("b",) if weights == "constant" else ())
    np.testing.assert_allclose(_everywhere(data, inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("op", ["Exp", "Log", "Tanh", "Sigmoid", "Erf", "Gelu", "Mish", "Softplus", "Elu", "Selu"])
def test_functions_are_exact_to_some_units(op: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 40001), np.logspace(-30, 30, 2001)]).astype(np.float32)
    if op == "Log":
        x = np.abs(x) + np.float32(1e-30)
    wide = x.astype(np.float64)
    expected = one_node.run(_double(op, x.shape), {"x": wide})[0]
    data = _program(op, {"x": x}, x.shape, ())
    with np.errstate(over="ignore"):
        expected = expected.astype(np.float32)
    # The library in float64 rounds to the nearest float32; our polynomials are a few units beside it.
    np.testing.assert_allclose(_everywhere(data, {"x": x}), expected, rtol=1e-6, atol=2e-7)


def _double(op: str, shape: tuple[int, ...]) -> bytes:
    builder = ProgramBuilder("net")
    ports = builder.input("x", shape, "float64"), builder.output("y", shape, "float64")
    operands = [builder.tensor(r, shape, "float64", port=p) for r, p in zip(("in", "out"), ports, strict=True)]
    builder.cpucall(op, operands[:1], operands[1:])
    return builder.finish(0)


def test_softmax_and_layer_norm_with_threads() -> None:
    x = _noise(64, 1000) * 4
    wide = np.exp(x.astype(float) - x.max(1, keepdims=True))
    soft = _everywhere(_program("Softmax", {"x": x}, x.shape, ()), {"x": x})
    np.testing.assert_allclose(soft, wide / wide.sum(1, keepdims=True), rtol=1e-5, atol=1e-9)
    inputs = {"x": x, "scale": _noise(1000), "bias": _noise(1000)}
    normal = (x - x.mean(1, keepdims=True, dtype=float)) / np.sqrt(x.var(1, keepdims=True, dtype=float) + 1e-5)
    seen = _everywhere(_program("LayerNormalization", inputs, x.shape, ("scale", "bias")), inputs)
    np.testing.assert_allclose(seen, normal * inputs["scale"] + inputs["bias"], rtol=1e-4, atol=1e-5)


def test_an_index_outside_its_axis_ends_the_run() -> None:
    data = one_node.program(
        helper.make_node("Gather", ["x", "i"], ["y"]),
        {"x": _noise(5, 4), "i": np.zeros(3, np.int64)},
        {"y": _noise(3, 4)},
    )
    x = _noise(5, 4)
    assert one_node.run(data, {"x": x, "i": np.array([4, -5, 0])})[0].tobytes() == x[[4, 0, 0]].tobytes()
    with pytest.raises(_native.NativeError, match="outside its axis") as caught:
        one_node.run(data, {"x": x, "i": np.array([0, 5, 0])})
    assert caught.value.args[0] == "Trap" and "Gather" in caught.value.args[1]


def test_int8_in_an_arena_is_read_as_instructions_stored_it() -> None:
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 1, 256)
    for flip in (0, 128):
        builder = ProgramBuilder("net")
        ports = builder.input("x", x.shape, "int8"), builder.output("y", x.shape, "float32")
        arena = builder.surface("ddr", x.shape)
        builder.emit("COPY", arena, builder.surface("in", x.shape, port=ports[0]))
        chain = [
            builder.tensor("ddr", x.shape, "int8"),
            builder.tensor("ddr", x.shape, base=256),
            builder.tensor("ddr", x.shape, "int8", base=1280),
            builder.tensor("out", x.shape, port=ports[1]),
        ]
        for source, target in itertools.pairwise(chain):
            builder.cpucall("Cast", [source], [target])
        program = _native.Program.from_bytes(builder.finish(2048))
        assert np.array_equal(_native.Engine(program, isa="scalar", flip=flip).run([x])[0], x.astype(np.float32))


def test_what_the_builder_refuses() -> None:
    builder = ProgramBuilder("net")
    x = builder.tensor("ddr", (4,))
    with pytest.raises(ExecutableError, match="operator of the CPU table"):
        builder.cpucall("Frobnicate", [x], [x])
    with pytest.raises(ExecutableError, match="attributes of the operator"):
        builder.cpucall("Elu", [x], [x], {"beta": 1.0})
    with pytest.raises(ExecutableError, match="must be given"):
        builder.cpucall("Concat", [x], [x])
    with pytest.raises(ExecutableError, match="must be one of none, tanh"):
        builder.cpucall("Gelu", [x], [x], {"approximate": "some"})
    builder.cpucall("Relu", [x], [x])
    with pytest.raises(ExecutableError, match="must not share bytes"):
        builder.finish(64)


def test_the_page_is_what_the_table_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cpu-operators.md").read_text()
    assert page == cpu_doc.page(), "run: python -m openbpu.target.cpu_doc > docs/cpu-operators.md"
