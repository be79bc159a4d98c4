"""Copies that hold no more than what they show, and memory that goes back."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from openbpu import memory
from openbpu.ir.onnx_graph import compact


def _model() -> onnx.ModelProto:
    graph = helper.make_graph([], "nothing", [], [])
    graph.initializer.append(numpy_helper.from_array(np.arange(6, dtype=np.float32), "numbers"))
    model = helper.make_model(graph)
    model.metadata_props.add(key="key", value="value")
    return model


def test_a_compact_model_is_equal_and_another_one() -> None:
    model = _model()
    copy = compact(model)
    assert copy.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    del model.graph.initializer[:]
    assert np.array_equal(numpy_helper.to_array(copy.graph.initializer[0]), np.arange(6, dtype=np.float32))


def test_giving_back_twice_leaves_what_is_in_use() -> None:
    kept = [np.full(1 << 16, k, np.uint8) for k in range(64)]
    memory.give_back()
    memory.collect()
    assert [int(array.sum()) for array in kept] == [k << 16 for k in range(64)]


def test_without_the_call_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.give_back()
    memory.collect()
