"""What mixtures of types cost: gaps that are filled, weights, and the estimate of the compiler."""

from __future__ import annotations

import float_networks as nets
import pytest
from float_networks import Net

import openbpu
from openbpu import frontend, lower
from openbpu.analyze.anatomy import COMPUTES, Anatomy, Unit
from openbpu.analyze.sensitivity import measure_errors
from openbpu.errors import ConfigError
from openbpu.tuning import weights_of
from openbpu.tuning.lifting import Lifting, candidates
from openbpu.tuning.regions import filled


def _units(*ways: str) -> list[Unit]:
    """A unit per string: the tensors that it touches, one letter each."""
    return [Unit(k, (f"n{k}",), "Conv", (), frozenset(way), COMPUTES) for k, way in enumerate(ways)]


def test_gaps_are_filled_by_their_width() -> None:
    chain = _units("ab", "bc", "cd", "de", "ef", "fg", "gh")
    everything = range(len(chain))
    assert filled(chain, [1, 3], everything) == [{1, 3}, {1, 2, 3}]
    assert filled(chain, [0, 2, 6], everything) == [{0, 2, 6}, {0, 1, 2, 6}, set(everything)]
    assert filled(chain, [3], everything) == [{3}] and filled(chain, [], everything) == [set()]
    # What may not be lifted is no way through
    assert filled(chain, [1, 4], [0, 1, 2, 4]) == [{1, 4}]


def test_a_branch_lies_between_if_both_its_ends_are_lifted() -> None:
    residual = _units("ab", "bc", "cd", "bde", "ef")  # 3 adds what 0 and 2 made
    assert filled(residual, [0, 3], range(5)) == [{0, 3}, {0, 1, 3}, {0, 1, 2, 3}] or filled(
        residual, [0, 3], range(5)
    ) == [{0, 3}, {0, 1, 2, 3}]
    assert filled(residual, [2, 4], range(5)) == [{2, 4}, {2, 3, 4}]


def test_weights_by_name() -> None:
    assert weights_of("macs").of(5.0, 0.5, 0.0) == 0.5
    assert weights_of("time").of(2.0, 0.5, 0.0) == 2.0
    assert weights_of("balanced").of(1.0, 1.0, 1.0) == 1.75
    with pytest.raises(ConfigError, match="balanced, time, macs, nodes"):
        weights_of("watts")


def test_what_writes_int16_counts_with_its_reader() -> None:
    model, samples = nets.residual(), nets.samples(2)
    clean = frontend.prepare(model)
    options = {"refinement": (), "calibration": "max"}
    qdq, mixed = (openbpu.quantize(model, samples, node_types=t, **options) for t in ({}, {"Add": "int16"}))
    convolutions = {node.name for node in clean.graph.node if node.op_type == "Conv"}
    wide = Anatomy(clean, mixed).in_16_bits() & convolutions
    made = [op for op in lower.lower(frontend.prepare_qdq(mixed)).ops if any(v.dtype == "int16" for v in op.outputs)]
    # Both operands of the sum are written as int16, by operators that the compiler gives 16-bit forms
    assert len(wide) == 2 and wide == {name for op in made for name in op.origin} & convolutions
    assert not Anatomy(clean, qdq).in_16_bits()

    errors = measure_errors(clean, qdq, [{"x": x} for x in samples])
    names = [node.name for node in clean.graph.node]
    costs = dict.fromkeys(names, 1.0)
    lifting = Lifting(errors, candidates(errors, names, costs, each=0.5), costs)
    ops = [unit.op for unit in (errors.sources[choice.source].unit for choice in lifting.choices) if unit is not None]
    total = ops.index("Add")
    assert lifting.price(total) == 3.5, "its own form, and those of the two that write its operands"
    lifting.lift(total)
    units = [errors.sources[choice.source].unit for choice in lifting.choices]
    writers = [k for k, unit in enumerate(units) if unit is not None and set(unit.nodes) & wide]
    # Their forms are paid for: nothing comes before the first, the depthwise convolution before the second
    assert [lifting.price(k) for k in writers] == [0.5, 0.5 + 1.0]


def test_the_cost_decides_what_is_lifted() -> None:
    net = Net(seed=5)
    x = net.op("Relu", net.conv("x", 3, 8))
    for _ in range(4):
        x = net.op("Relu", net.conv(x, 8, 8))
    model = net.model(net.conv(x, 8, 4, out="y"), shape=(1, 3, 24, 24))
    samples = nets.samples(3, (1, 3, 24, 24))
    found = {
        cost: openbpu.search(model, samples, metric="recovery", target=0.6, refinement=(), calibration="max", cost=cost)
        for cost in ("time", "macs", "nodes")
    }
    assert all(result.reached for result in found.values())
    least = {cost: result.best for cost, result in found.items()}
    assert least["time"].estimated_us <= min(t.estimated_us for t in least.values())
    assert least["macs"].wide_macs <= min(t.wide_macs for t in least.values())
    assert least["nodes"].nodes <= min(t.nodes for t in least.values())
    with pytest.raises(ConfigError, match="cost"):
        openbpu.search(model, samples, cost="watts")
