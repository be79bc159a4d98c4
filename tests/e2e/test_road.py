"""The whole road on a small network, from Python: results, determinism, agreement with ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import openbpu
from openbpu._native import available_isas
from openbpu.errors import ModelWarning


@pytest.fixture(scope="module")
def qdq(float_model: onnx.ModelProto, samples: list[np.ndarray]) -> onnx.ModelProto:
    return openbpu.quantize(float_model, samples)


def _reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": x})[0])


def test_build_save_load_run(
    tmp_path: Path, float_model: onnx.ModelProto, samples: list[np.ndarray], qdq: onnx.ModelProto
) -> None:
    executable = openbpu.build(float_model, samples)
    executable.save(tmp_path / "net.bpux")
    session = openbpu.Session(openbpu.load(tmp_path / "net.bpux"))
    x = samples[3]
    got, want = session.run({"image": x})["logits"], _reference(float_model, x)
    noise = 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))
    assert noise > 20, f"SQNR {noise:.1f} dB against the float model"
    np.testing.assert_array_equal(got, openbpu.Session(openbpu.compile(qdq)).run(x)["logits"])


def test_within_two_steps_of_onnxruntime(samples: list[np.ndarray], qdq: onnx.ModelProto) -> None:
    """Eight operators in a row, each within one step of ONNX Runtime's: the last one may differ by two."""
    session = openbpu.Session(openbpu.compile(qdq))
    scale = next(p.scale for p in session.outputs if p.scale) if session.outputs[0].scale else _output_scale(qdq)
    for x in samples:
        steps = np.abs(session.run({"image": x})["logits"] - _reference(qdq, x)) / scale
        assert steps.max() < 2.01


def _output_scale(qdq: onnx.ModelProto) -> float:
    last = next(n for n in qdq.graph.node if qdq.graph.output[0].name in n.output)
    assert last.op_type == "DequantizeLinear"
    scale = next(t for t in qdq.graph.initializer if t.name == last.input[1])
    return float(onnx.numpy_helper.to_array(scale))


def test_every_isa_and_thread_count_gives_the_same_bits(samples: list[np.ndarray], qdq: onnx.ModelProto) -> None:
    executable = openbpu.compile(qdq)
    hashes = {
        (isa, threads): hashlib.sha256(
            b"".join(openbpu.Session(executable, isa=isa, threads=threads).run(x)["logits"].tobytes() for x in samples)
        ).hexdigest()
        for isa in available_isas()
        for threads in (1, 2)
    }
    assert len(set(hashes.values())) == 1, hashes


def test_same_inputs_give_the_same_bytes(float_model: onnx.ModelProto, samples: list[np.ndarray]) -> None:
    first, second = (openbpu.quantize(float_model, iter(samples)) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert openbpu.compile(first).to_bytes() == openbpu.compile(second).to_bytes()


def test_a_float_model_is_announced_with_the_remedy(float_model: onnx.ModelProto) -> None:
    with pytest.warns(ModelWarning, match="Quantise it first"):
        openbpu.compile(float_model)
