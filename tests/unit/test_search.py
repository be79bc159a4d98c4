"""The search for mixed precision: what it predicts, lifts, measures, and says when it fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import float_networks as nets
import numpy as np
import onnx
import pytest
from float_networks import Net

import openbpu
from openbpu import frontend
from openbpu.analyze.anatomy import COMPUTES, Unit
from openbpu.analyze.sensitivity import Errors, Source, measure_errors, shrunk
from openbpu.errors import ConfigError, MetricError, ModelError
from openbpu.evaluation import Metric, resolved
from openbpu.tuning.lifting import Candidate, Lifting, candidates

NETWORKS = {
    "silu": (nets.activation("silu"), (1, 3, 32, 32)),
    "squeeze_excite": (nets.squeeze_excite(), (1, 3, 32, 32)),
    "detector": (nets.detector(), (1, 3, 32, 32)),
    "attention": (nets.attention(), (1, 20, 32)),
}


def _outliers() -> onnx.ModelProto:
    """A network of which one tensor does not fit 8 bits: a channel a hundred times larger, taken out again later."""
    net = Net(seed=9)
    x = net.op("Relu", net.conv("x", 3, 8))
    gain = np.ones((1, 8, 1, 1), np.float32)
    gain[0, 0] = 300
    large = net.op("Mul", x, net.constant(gain), out="large")
    small = net.op("Mul", net.op("Relu", large), net.constant(1 / gain))
    for _ in range(3):
        small = net.op("Relu", net.conv(small, 8, 8))
    return net.model(net.conv(small, 8, 4, out="y"), shape=(1, 3, 16, 16))


@pytest.mark.parametrize("name", NETWORKS)
def test_errors_one_at_a_time_predict_all_together(name: str) -> None:
    model, shape = NETWORKS[name]
    samples = nets.samples(4, shape)
    clean = frontend.prepare(model)
    qdq, wide = (openbpu.quantize(model, samples, all_nodes_type=t) for t in ("int8", "int16"))
    errors = measure_errors(clean, qdq, [{"x": x} for x in samples], floor=wide)
    for kept, measured in ((range(len(errors.sources)), qdq), ((), wide)):
        real = [output.sqnr_db for output in openbpu.accuracy(model, measured, samples).outputs]
        # Errors are taken to add up like vectors, which holds for small ones only
        assert -10 * np.log10(errors.noise(kept)) == pytest.approx(real, abs=2)


def test_a_part_of_the_lifting_is_predicted_too() -> None:
    model, samples = nets.activation("silu"), nets.samples(4)
    clean = frontend.prepare(model)
    qdq, wide = (openbpu.quantize(model, samples, all_nodes_type=t, refinement=("bias",)) for t in ("int8", "int16"))
    errors = measure_errors(clean, qdq, [{"x": x} for x in samples], floor=wide)
    names = [node.name for node in clean.graph.node]
    costs = dict.fromkeys(names, 1.0)
    lifting = Lifting(errors, candidates(errors, names, costs), costs)
    order, levels = lifting.path(100)
    assert sorted(order) == list(range(len(lifting.choices))) and levels == sorted(levels)
    units = [errors.sources[lifting.choices[k].source].unit for k in order[:2]]
    types = {name: "int16" for unit in units if unit is not None for name in unit.nodes}
    mixed = openbpu.quantize(model, samples, node_types=types, refinement=("bias",))
    assert levels[2] == pytest.approx(openbpu.accuracy(model, mixed, samples).sqnr_db, abs=1.0)
    lifting.reset(order[:2])
    assert levels[2] == pytest.approx(-10 * np.log10(lifting.noise.max()))


def test_products_that_may_be_chance_shrink() -> None:
    """Two errors with the same part in all samples, and two that share nothing."""
    random, count = np.random.default_rng(0), 32
    common = random.standard_normal((count, 1, 200))
    signal, weights = random.standard_normal((2, count, 1, 200))
    alike = common + 0.3 * random.standard_normal((count, 2, 200))
    unlike = random.standard_normal((count, 30, 200))
    vectors = np.concatenate([signal, weights, alike, unlike], axis=1)
    products = (vectors @ vectors.transpose(0, 2, 1))[:, None]
    total, squares = products.sum(axis=0), (products**2).sum(axis=0)
    found = shrunk(total, squares, count)
    assert found[0, 2, 3] == pytest.approx(total[0, 2, 3], rel=0.01)
    assert np.array_equal(np.diagonal(found[0]), np.diagonal(total[0]))
    pairs = np.triu_indices(30, 1)
    before, after = (np.abs(m[0, 4:, 4:][pairs]).sum() for m in (total, found))
    assert after < 0.5 * before
    assert np.array_equal(shrunk(total, squares, 1), total)  # nothing is known of chance


def _even(noises: Sequence[float], shares: Sequence[float], budget: float) -> Lifting:
    """Sources whose errors have nothing in common, each a candidate that costs its share."""
    size = 2 + len(noises)
    products = np.zeros((1, size, size))
    products[0, range(size), range(size)] = [1000.0, 1.0, *noises]
    units = [Unit(k, (f"n{k}",), "Conv", (), frozenset(), COMPUTES) for k in range(len(noises))]
    sources = tuple(Source(unit, "", frozenset()) for unit in units)
    choices = [Candidate(k, share, 0.0, frozenset(), share) for k, share in enumerate(shares)]
    return Lifting(Errors(("y",), sources, products), choices, {u.name: shares[u.index] for u in units}, budget)


def test_the_order_ends_with_the_budget() -> None:
    lifting = _even([10.0, 20.0, 8.0, 2.0], [0.03, 0.10, 0.06, 0.0], budget=0.1)
    order, levels = lifting.path(100)
    # The best for its cost leaves no room for what is worth most; what fits behind it comes all the same
    assert order == [3, 0, 2] and levels == sorted(levels)
    assert levels[-1] == pytest.approx(-10 * np.log10((1 + 20) / 1000))
    assert _even([10.0, 20.0], [0.03, 0.10], budget=0.01).path(100)[0] == []
    # What has no multiply-accumulates of its own is nearly free, however many write int16 for it
    assert lifting.price(3) < 0.1 * lifting.price(0)


def test_the_best_mixture_within_a_budget() -> None:
    model, samples = _outliers(), nets.samples(4, (1, 3, 16, 16))
    # The convolutions that read what the outlier left of a tensor have most of the multiply-accumulates
    result = openbpu.search(model, samples, metric="recovery", max_macs=0.3, refinement=())
    best = result.best
    assert result.reached and 0 < best.int16_macs <= 0.3 and best.value > 0.5
    assert "is the best found with up to 30 % of the MACs" in result.line
    data = json.loads(result.to_json())
    assert data["target"] is None and data["max_macs"] == 0.3
    # Of a target within the budget what is cheaper, of one out of reach what is best
    less = openbpu.search(model, samples, metric="recovery", target=0.5, max_macs=0.3, refinement=())
    assert less.reached and less.best.int16_macs <= best.int16_macs and less.best.value >= 0.5
    more = openbpu.search(model, samples, metric="recovery", target=0.9999, max_macs=0.3, refinement=())
    assert not more.reached and more.node_types == result.node_types and "does NOT reach" in more.line
    assert openbpu.search(model, samples, metric="recovery", max_macs=0, refinement=()).best.int16_macs == 0


def test_the_node_that_needs_it_is_lifted_and_the_executable_measured() -> None:
    model, samples = _outliers(), nets.samples(4, (1, 3, 16, 16))
    int8 = openbpu.accuracy(model, openbpu.quantize(model, samples), samples)
    result = openbpu.search(model, samples, metric="cosine", target=0.999)
    assert int8.cosine < 0.99 and result.reached and result.best.cosine >= 0.999
    nodes = len(frontend.prepare(model).graph.node)
    assert 0 < result.best.nodes < nodes / 2 and result.best.int16_macs < 0.5
    assert result.trials[0].nodes == 0 and not result.trials[0].reached and result.trials[1].int16_macs == 1
    # What is said of it was measured on the executable
    session = openbpu.Session(result.executable)
    wanted = np.concatenate([a.ravel() for a in nets.run(model, *samples)]).astype(np.float64)
    found = np.concatenate([session.run(x)["y"].ravel() for x in samples]).astype(np.float64)
    cosine = wanted @ found / np.linalg.norm(wanted) / np.linalg.norm(found)
    assert result.best.cosine == pytest.approx(cosine, abs=1e-6)
    # The types alone make the same model, and the same search finds the same
    again = openbpu.quantize(model, samples, node_types=result.node_types)
    assert again.SerializeToString(deterministic=True) == result.model.SerializeToString(deterministic=True)
    assert openbpu.search(model, samples, metric="cosine", target=0.999).node_types == result.node_types


def test_a_share_of_what_int16_brings() -> None:
    model, samples = nets.attention(), nets.samples(4, (1, 20, 32))
    result = openbpu.search(model, samples, metric="recovery", target=0.7)
    most, least, best = (10 ** (-t.sqnr_db / 10) for t in (*result.trials[:2], result.best))
    assert result.reached and result.best.value == pytest.approx((most - best) / (most - least))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        openbpu.search(model, samples, metric="recovery", target=1.0)


def test_a_model_without_error_has_nothing_to_recover() -> None:
    net = Net(seed=1)
    model = net.model(net.op("Transpose", "x", perm=[0, 2, 3, 1]), shape=(1, 3, 8, 8))
    samples = [np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8) - 64]
    for metric in ("recovery", "sqnr", "cosine"):
        assert openbpu.search(model, samples, metric=metric, target=0.5).reached


def test_int8_that_is_good_enough_is_left_alone() -> None:
    result = openbpu.search(nets.residual(), nets.samples(4), target=0.99)
    assert result.reached and result.node_types == {} and len(result.trials) == 1 and not result.sensitivities


def test_a_target_out_of_reach_is_said() -> None:
    result = openbpu.search(nets.attention(), nets.samples(4, (1, 20, 32)), metric="sqnr", target=90)
    assert not result.reached and "NOT" in result.line
    assert result.best.value == max(trial.value for trial in result.trials)


def test_types_that_are_given_stay() -> None:
    model = _outliers()
    first = frontend.prepare(model).graph.node[0].name
    result = openbpu.search(
        model, nets.samples(4, (1, 3, 16, 16)), target=0.999, node_types={first: "int8"}, refinement=()
    )
    assert first in {n.name for n in frontend.prepare(model).graph.node} and first not in result.node_types
    with pytest.raises(ConfigError, match="no such node"):
        openbpu.search(model, nets.samples(2, (1, 3, 16, 16)), node_types={"nothing": "int16"})


def test_a_metric_of_ones_own_with_labels_and_an_executor() -> None:
    model, samples = _outliers(), nets.samples(3, (1, 3, 16, 16))
    labels = [np.asarray(nets.run(model, x)[0][0]) for x in samples]

    def closeness(outputs: Sequence[dict[str, np.ndarray]], references: Sequence[Any]) -> float:
        assert references is labels
        return -float(np.mean([np.abs(o["y"] - r).mean() for o, r in zip(outputs, references, strict=True)]))

    int8 = openbpu.search(model, samples, metric=closeness, target=-1e9, labels=labels)
    assert int8.reached and int8.metric == "closeness"
    with ThreadPoolExecutor(2) as pool:
        better = openbpu.search(
            model, samples, metric=closeness, target=int8.best.value / 3, labels=labels, rounds=3, executor=pool
        )
    assert better.reached and better.best.nodes > 0
    alone = openbpu.search(model, samples, metric=closeness, target=int8.best.value / 3, labels=labels, rounds=3)
    assert alone.node_types == better.node_types and [t.value for t in alone.trials] == [t.value for t in better.trials]


def _throws(outputs: Sequence[Any], references: Sequence[Any]) -> float:
    raise KeyError("logits")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (_throws, "KeyError: 'logits'.*test_search.py, line"),
        (lambda outputs, references: float("nan"), "finite number.*got nan"),
        (lambda outputs, references: "high", "finite number.*str high"),
        (lambda outputs, references: None, "finite number.*NoneType"),
        (lambda outputs, references: np.zeros(3), "finite number.*ndarray"),
    ],
)
def test_a_metric_that_fails_is_named_before_the_long_work(function: Any, text: str) -> None:
    stages: list[str] = []
    with pytest.raises(MetricError, match=text):
        openbpu.search(
            nets.residual(), nets.samples(2), metric=function, target=1, progress=lambda s, d, t: stages.append(s)
        )
    assert not stages


def test_metrics_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metric_of_test.py").write_text("def f(o, r):\n    return len(o)\nx = 1\n")
    (tmp_path / "broken_metric_of_test.py").write_text("1 / 0\n")
    assert resolved("own_metric_of_test:f")([1, 2], []) == 2
    assert resolved(Metric("a", lambda o, r: np.float32(1)))([], []) == 1
    for name, text in (
        ("own_metric_of_test", "module:function"),
        ("own_metric_of_test:g", "must exist"),
        ("own_metric_of_test:x", "must be a function"),
        ("no_such_module_here:f", "must exist"),
        ("broken_metric_of_test:f", "must import.*ZeroDivisionError"),
    ):
        with pytest.raises(ConfigError, match=text):
            resolved(name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": float("nan")}, "finite number"),
        ({"target": 1.0}, "below 1"),
        ({"target": 0.9, "rounds": 0}, "at least one"),
        ({"metric": "top5", "target": 0.9}, "module:function"),
        ({"target": 0.9, "labels": [1]}, "one label per"),
        ({"target": 0.9, "march": "none"}, "unknown march"),
        ({"target": 0.9, "max_macs": 1.1}, "from 0 to 1"),
        ({"metric": "sqnr"}, "a target, or max_macs"),
    ],
)
def test_wrong_goals_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        openbpu.search(nets.residual(), nets.samples(2), **options)


def test_outputs_without_numbers_to_compare_are_refused() -> None:
    net = Net(seed=1)
    model = net.model(net.op("ArgMax", net.conv("x", 3, 4), axis=1), shape=(1, 3, 8, 8))
    with pytest.raises(ModelError, match="float32"):
        openbpu.search(model, nets.samples(2, (1, 3, 8, 8)))


def test_the_result_for_programs(tmp_path: Path) -> None:
    result = openbpu.search(_outliers(), nets.samples(2, (1, 3, 16, 16)), target=0.999, refinement=())
    result.save(tmp_path / "search.json")
    data = json.loads((tmp_path / "search.json").read_text())
    assert data["reached"] and data["trials"][data["chosen"]]["nodes"] == len(data["node_types"])
    assert any(row["lifted"] == "int16" for row in data["sensitivities"])
