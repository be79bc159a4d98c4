"""Ends of detectors: boxes and scores keep scales of their own, the arithmetic of boxes has 16 bits."""

from __future__ import annotations

import json

import detector_heads as heads
import float_networks as nets
import numpy as np
import onnx
import pytest

import openbpu
from openbpu import ptq

_RECORDS = (ptq.FLOAT_RECORD, ptq.WIDE_RECORD)


def lists(qdq: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Names of the nodes that the quantiser made float, and int16."""
    found = {p.key: set(json.loads(p.value)) for p in qdq.metadata_props if p.key in _RECORDS}
    return found.get(_RECORDS[0], set()), found.get(_RECORDS[1], set())


def operators(model: onnx.ModelProto, names: set[str]) -> list[str]:
    return sorted(node.op_type for node in model.graph.node if node.name in names)


def errors(name: str, **options: object) -> tuple[float, float]:
    """SQNR in dB of boxes and of scores, of the executable, on samples that did not calibrate."""
    model, samples = heads.HEADS[name](), nets.samples(12, heads.SHAPE)
    qdq = openbpu.quantize(model, samples[:8], calibration="max", **options)
    session = openbpu.Session(openbpu.compile(qdq))
    want = np.concatenate([nets.run(model, x)[0][0] for x in samples[8:]])
    got = np.concatenate([session.run({"x": x})["y"] for x in samples[8:]])
    pairs = zip(heads.split(name, want), heads.split(name, got), strict=True)
    boxes, scores = (nets.sqnr(a, b) for a, b in pairs)
    return boxes, scores


@pytest.mark.parametrize("name", heads.HEADS)
def test_scores_survive_beside_boxes(name: str) -> None:
    boxes, scores = errors(name, refinement=("wide-tails",))
    shared_boxes, shared_scores = errors(name, refinement=())
    assert boxes > 25 and scores > 25
    assert scores > shared_scores + 15 and boxes > shared_boxes - 0.5


def test_the_arithmetic_of_boxes_and_the_concats_are_int16() -> None:
    model = heads.anchored()
    qdq = openbpu.quantize(model, nets.samples(4, heads.SHAPE), calibration="max", refinement=("wide-tails",))
    floats, wide = lists(qdq)
    assert not floats and not openbpu.check(qdq).on_cpu
    assert operators(model, wide) == sorted([*2 * ["Add", "Concat", "Mul", "Mul", "Mul", "Mul", "Pow"], "Concat"])


def test_a_concat_that_is_decoded_is_int16() -> None:
    model = heads.decoded_behind()
    qdq = openbpu.quantize(model, nets.samples(4, heads.SHAPE), calibration="max", refinement=("wide-tails",))
    floats, wide = lists(qdq)
    assert not floats
    assert {"Exp", "Concat"} <= set(operators(model, wide)) and "Sigmoid" not in operators(model, wide)


def test_where_16_bits_are_too_few_the_last_concat_is_float() -> None:
    model, samples = heads.distances(pixels=300), nets.samples(12, heads.SHAPE)
    qdq = openbpu.quantize(model, samples[:8], calibration="max", refinement=("wide-tails",))
    floats, _ = lists(qdq)
    on_cpu = openbpu.check(qdq).on_cpu
    assert operators(model, floats) == ["Concat"] and {decision.node for decision in on_cpu} == floats
    assert all("range for one scale" in decision.reason and "wide-tails" in decision.remedy for decision in on_cpu)
    session = openbpu.Session(openbpu.compile(qdq))
    for x in samples[8:]:
        want, got = nets.run(model, x)[0][0], session.run({"x": x})["y"]
        pairs = zip(heads.split("distances", want), heads.split("distances", got), strict=True)
        assert all(nets.sqnr(a, b) > 20 for a, b in pairs)


def test_parts_that_are_alike_share_a_scale() -> None:
    samples = nets.samples(4, heads.SHAPE)
    qdq, bare = (ptq.quantize(heads.even(), samples, refinement=steps) for steps in (("wide-tails",), ()))
    assert lists(qdq) == (set(), set())
    assert [n.op_type for n in qdq.graph.node] == [n.op_type for n in bare.graph.node]


def test_types_that_were_asked_for_stay() -> None:
    samples = nets.samples(4, heads.SHAPE)
    for options in ({"node_types": {"Concat": "int8"}}, {"refinement": ("bias",)}):
        qdq = openbpu.quantize(heads.distances(), samples, calibration="max", **options)
        assert lists(qdq) == (set(), set())
        assert not openbpu.check(qdq).on_cpu


def test_the_search_lifts_none_of_them() -> None:
    model, samples = heads.distances(), nets.samples(6, heads.SHAPE)
    steps = ("wide-tails",)
    result = openbpu.search(model, samples, metric="sqnr", target=45, rounds=2, calibration="max", refinement=steps)
    floats, wide = lists(result.model)
    assert wide and not (floats | wide) & result.node_types.keys()
