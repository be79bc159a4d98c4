"""Calibration samples: what is accepted, what is refused and how, and that memory stays bounded."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import float_networks as nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from openbpu import frontend, ptq
from openbpu.errors import ModelError, SampleError, SampleWarning

X = nets.samples(1)[0]


def small() -> onnx.ModelProto:
    net = nets.Net(1)
    net.op("Relu", net.conv("x", 3, 4, stride=2), out="y")
    return frontend.prepare(net.model("y"))


def quantised(samples: Any, model: onnx.ModelProto | None = None, **options: Any) -> bytes:
    return ptq.quantize(model or small(), samples, **options).SerializeToString(deterministic=True)


def test_arrays_dicts_lists_and_generators_give_the_same_model() -> None:
    samples = nets.samples(4)
    want = quantised(samples)
    assert quantised([{"x": x} for x in samples]) == want
    assert quantised(x for x in samples) == want
    assert quantised([x.tolist() for x in samples]) == want
    assert quantised([x.astype(np.float64) for x in samples]) == want


def test_integers_are_numbers_too() -> None:
    samples = [np.round(x * 50).astype(np.int16) for x in nets.samples(2)]
    assert quantised(samples) == quantised([x.astype(np.float32) for x in samples])


@pytest.mark.parametrize(
    "samples,message",
    [
        ([], "at least one"),
        (iter(()), "at least one"),
        (None, "iterable"),
        (X, "put a single sample into a list"),
        ({"x": X}, "put a single sample into a list"),
        ("folder", "iterable"),
        ([X[0]], r"sample 0, input x: .*\(1, 3, 32, 32\).*\(3, 32, 32\).*x\[None\]"),
        ([X, X[:, :, 1:]], r"sample 1, input x: .*\(1, 3, 31, 32\)"),
        ([{"z": X}], "exactly the inputs x"),
        ([{"x": X, "z": X}], "exactly the inputs x"),
        ([{}], "exactly the inputs x"),
        ([X, np.where(X > 2, np.nan, X)], "sample 1.*NaN"),
        ([np.where(X > 2, np.inf, X)], "sample 0.*inf"),
        ([X.astype(np.float64) * 1e300], "sample 0.*inf"),
        ([np.array(["text"])], "real numbers"),
        ([X * 1j], "complex64"),
        ([np.array([None])], "object"),
        ([[[1, 2], [3]]], "sample 0"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_does_not_fit_is_refused(samples: Any, message: str) -> None:
    with pytest.raises(SampleError, match=f"(?i){message}"):
        quantised(samples)


def test_several_inputs_need_names() -> None:
    net = nets.Net(2)
    net.op("Add", net.conv("x", 3, 4), net.conv("w", 3, 4), out="y")
    model = frontend.prepare(net.model("y", w=nets.IMAGE))
    with pytest.raises(SampleError, match="dict with arrays for x, w"):
        quantised([X], model)
    quantised([{"w": X, "x": -X}], model)


def test_integer_inputs_keep_their_type() -> None:
    """Token ids go through Gather, which stays in float."""
    random = np.random.default_rng(3)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"], name="product"),
    ]
    tables = {"table": random.standard_normal((20, 8)), "w": random.standard_normal((8, 4))}
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 4])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in tables.items()],
    )
    model = frontend.prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    ids = np.arange(6, dtype=np.int32)[None]
    qdq = ptq.quantize(model, [ids, ids + 3])
    feed = {"ids": ids.astype(np.int64)}
    assert nets.sqnr(nets.run(model, feed)[0], nets.run(qdq, feed)[0]) > 25
    with pytest.raises(SampleError, match="int64"):
        ptq.quantize(model, [ids + 0.5])


def test_flat_samples_are_warned_of_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantised([X, np.full_like(X, 3), np.zeros_like(X)])
    assert [str(w.message) for w in caught if "one value only" in str(w.message)] == [
        "of 3 samples, 2 arrays hold one value only: sample 1, input x (3), sample 2, input x (0); "
        "ranges may be too narrow"
    ]


def test_samples_that_are_one_sample_again_and_again_are_warned_of() -> None:
    buffer = np.empty_like(X)

    def reused(values: list[np.ndarray]) -> Iterator[np.ndarray]:
        for value in values:
            buffer[:] = value
            yield buffer

    with pytest.warns(SampleWarning, match="all 5 calibration samples are the same"):
        quantised([X] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SampleWarning)
        quantised([X, X, X + 1])
        quantised(reused([X, X + 1]))


def test_a_batch_in_place_of_a_sample_is_told_how_to_be_given() -> None:
    with pytest.raises(SampleError, match=r"Give 1 at a time: x\[k : k \+ 1\]"):
        quantised([np.concatenate([X, X])])
    with pytest.raises(SampleError, match="A photograph needs a recipe"):
        quantised([Path("photograph.png")])


def test_progress_knows_the_number_of_samples_from_the_start() -> None:
    told: list[tuple[str, int, int]] = []
    ptq.quantize(small(), nets.samples(5), refinement=(), progress=lambda *step: told.append(step))
    assert told[0] == ("calibrate: ranges", 1, 5)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_that_are_infinite_are_named(name: str) -> None:
    model = small()
    index = 1 if name == "weight" else 2
    wanted = next(node.input[index] for node in model.graph.node if node.op_type == "Conv")
    for tensor in model.graph.initializer:
        if tensor.name == wanted:
            array = numpy_helper.to_array(tensor).copy()
            array.flat[0] = np.inf
            tensor.CopyFrom(numpy_helper.from_array(array, wanted))
    with pytest.raises(ModelError, match=f"tensor {wanted}: weights must be finite; got inf"):
        ptq.quantize(model, [X, X + 1])


def test_one_sample_is_warned_of_and_works() -> None:
    with pytest.warns(SampleWarning, match="one calibration sample only"):
        qdq = ptq.quantize(small(), [X])
    assert nets.sqnr(nets.run(small(), X)[0], nets.run(qdq, X)[0]) > 30


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_samples_of_absurd_magnitude(factor: float) -> None:
    """Each range is what the samples say: the model is sound for inputs of that magnitude, or says why not."""
    samples = [(x * factor).astype(np.float32) for x in nets.samples(4)]
    qdq = ptq.quantize(small(), samples)
    found = nets.run(qdq, *samples)[0]
    assert np.isfinite(found).all()
    if factor >= 1:
        assert nets.sqnr(nets.run(small(), *samples)[0], found) > 25


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_samples_that_are_all_equal() -> None:
    for value in (0.0, 1.0, -3.0):
        found = nets.run(ptq.quantize(small(), [np.full_like(X, value)] * 3), np.full_like(X, value))[0]
        want = nets.run(small(), np.full_like(X, value))[0]
        np.testing.assert_allclose(found, want, atol=0.1 * np.abs(want).max() + 1e-3)


def test_an_interrupt_passes_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopped() -> Iterator[np.ndarray]:
        yield X
        assert list(tmp_path.iterdir()), "a one-shot iterator is spooled"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantised(stopped())
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    """Peak of Python and numpy allocations with 20 and with 200 samples of 1.2 MB each; 16 are held together."""
    net = nets.Net(4)
    net.conv(net.op("MaxPool", "x", kernel_shape=[8, 8], strides=[8, 8]), 3, 4, out="y")
    model = frontend.prepare(net.model("y", shape=(1, 3, 320, 320)))
    size = 3 * 320 * 320 * 4

    def peak(count: int) -> int:
        random = np.random.default_rng(0)
        samples = (random.standard_normal((1, 3, 320, 320), np.float32) for _ in range(count))
        tracemalloc.start()
        try:
            ptq.quantize(model, samples, refinement=())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(200) < peak(20) + 2 * size
