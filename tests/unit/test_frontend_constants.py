"""Constants that exporters write out in full, and what becomes of them: same outputs, on the BPU."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import openbpu
from openbpu import frontend


class _Net(nets.Net):
    """Operands may be arrays."""

    def op(self, kind: str, *inputs: str | np.ndarray, out: str = "", **attributes: object) -> str:
        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        return super().op(kind, *names, out=out, **attributes)


def _prepared(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The clean model; its outputs are those of the given one."""
    clean = frontend.prepare(frontend.load(model))
    onnx.checker.check_model(clean, full_check=True)
    for x in nets.samples(3, shape):
        for want, got in zip(nets.run(model, x), nets.run(clean, x), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())
    return clean


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_what_changes_nothing_vanishes() -> None:
    net = _Net(1)
    x = net.op("Add", "x", np.zeros((2, 5, 8), np.float32))
    x = net.op("Relu", net.op("Mul", np.ones(8, np.float32), x))
    x = net.op(
        "Reshape", net.op("Div", net.op("Sub", x, np.zeros(1, np.float32)), np.ones(1, np.float32)), _shape(-1, 5, 8)
    )
    net.op("Sigmoid", x, out="y")
    assert _kinds(_prepared(net.model("y", shape=(2, 5, 8)), (2, 5, 8))) == ["Relu", "Sigmoid"]


def test_what_gives_the_result_its_shape_stays() -> None:
    net = _Net(1)
    net.op("Relu", net.op("Add", "x", np.zeros((4, 5, 8), np.float32)), out="y")
    assert _kinds(_prepared(net.model("y", shape=(1, 5, 8)), (1, 5, 8))) == ["Add", "Relu"]


def test_outputs_keep_their_names() -> None:
    net = _Net(1)
    net.op("Add", net.op("Relu", "x"), np.zeros(8, np.float32), out="y")
    clean = _prepared(net.model("y", shape=(2, 8)), (2, 8))
    assert [o.name for o in clean.graph.output] == ["y"]


def test_one_value_everywhere_is_a_scalar() -> None:
    net = _Net(1)
    x = net.op("Relu", net.op("Sub", np.full((5, 8), 0.5, np.float32), "x"))
    net.op("Mul", np.full(8, -3, np.float32), net.op("Sigmoid", x), out="y")
    clean = _prepared(net.model("y", shape=(2, 5, 8)), (2, 5, 8))
    assert [tuple(t.dims) for t in clean.graph.initializer] == [(), ()]


@pytest.mark.parametrize("gain", [np.linspace(0.1, 2, 6, dtype=np.float32), np.float32(0.125)], ids=["row", "number"])
@pytest.mark.parametrize("form", ["MatMul", "MatMul and Add", "Gemm", "Gemm, transposed", "Div"])
def test_a_factor_behind_a_product_goes_into_its_weights(form: str, gain: np.ndarray) -> None:
    net = _Net(1)
    shape = (3, 8) if "Gemm" in form else (2, 3, 8)
    if form == "Gemm":
        y = net.op("Gemm", "x", net.normal(8, 6), net.normal(6))
    elif "transposed" in form:
        y = net.op("Gemm", "x", net.normal(6, 8), transB=1)
    else:
        y = net.op("MatMul", "x", net.normal(8, 6))
        y = net.op("Add", net.normal(6), y) if "Add" in form else y
    y = net.op("Div", y, gain) if form == "Div" else net.op("Mul", gain, y)
    net.op("Relu", y, out="y")
    assert not {"Mul", "Div"} & set(_kinds(_prepared(net.model("y", shape=shape), shape)))


def test_a_factor_stays_behind_a_product_that_others_read() -> None:
    net = _Net(1)
    y = net.op("MatMul", "x", net.normal(8, 6))
    net.op("Add", net.op("Mul", y, net.normal(6)), net.op("Relu", y), out="y")
    assert _kinds(_prepared(net.model("y", shape=(2, 8)), (2, 8))).count("Mul") == 1


@pytest.mark.parametrize("form", ["added", "chosen"])
@pytest.mark.parametrize("least", [-np.inf, np.finfo(np.float32).min, -1e5], ids=str)
def test_causal_attention_runs_on_the_bpu(least: float, form: str) -> None:
    net = _Net(1)
    scores = net.op("MatMul", "x", net.op("Transpose", "x", perm=[0, 2, 1]))
    if form == "added":
        masked = net.op("Add", scores, np.where(np.tri(8, dtype=bool), 0, least).astype(np.float32)[None])
    else:
        masked = net.op("Where", np.tri(8, dtype=bool)[None], scores, np.array(least, np.float32))
    weights = net.op("Softmax", masked, axis=-1)
    net.op("MatMul", net.op("MatMul", weights, "x"), net.normal(6, 4), out="y")
    model, shape = net.model("y", shape=(2, 8, 6)), (2, 8, 6)
    _prepared(model, shape)
    samples = nets.samples(4, shape)
    qdq = openbpu.quantize(model, samples)
    assert not openbpu.check(qdq).on_cpu
    session = openbpu.Session(openbpu.compile(qdq))
    want = np.concatenate([nets.run(model, x)[0] for x in samples]).ravel()
    got = np.concatenate([session.run({"x": x})["y"] for x in samples]).ravel()
    assert want @ got / np.sqrt((want @ want) * (got @ got)) > 0.999


def test_a_row_that_is_masked_throughout_keeps_its_mask() -> None:
    net = _Net(1)
    mask = np.full((4, 4), np.finfo(np.float32).min, np.float32)
    mask[1:] = 0
    net.op("Softmax", net.op("Add", "x", mask), axis=-1, out="y")
    clean = _prepared(net.model("y", shape=(4, 4)), (4, 4))
    assert min(numpy_helper.to_array(t).min() for t in clean.graph.initializer) < -1e38


def test_uniform_constants_of_quantised_models_need_no_pair() -> None:
    net = _Net(1)
    net.op("Relu", net.op("Mul", net.conv("x", 3, 4), net.normal(1, 4, 8, 8)), out="y")
    qdq = openbpu.quantize(net.model("y", shape=(1, 3, 8, 8)), nets.samples(2, (1, 3, 8, 8)))
    product = next(node for node in qdq.graph.node if node.op_type == "Mul")
    product.input[1] = "uniform"
    qdq.graph.initializer.append(numpy_helper.from_array(np.full((1, 4, 8, 8), 0.7, np.float32), "uniform"))
    assert not openbpu.check(qdq).on_cpu


def _shape(*extents: int) -> np.ndarray:
    return np.array(extents, np.int64)
