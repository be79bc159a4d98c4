"""How activation ranges are chosen: each method on known distributions, "auto" by the outputs of the consumers."""

from __future__ import annotations

import float_networks as nets
import numpy as np
import onnx
import pytest

from openbpu import frontend, ptq
from openbpu.errors import ConfigError
from openbpu.ir.quant import QuantParams
from openbpu.ptq import blocks
from openbpu.ptq.calibration import Statistics, _counts
from openbpu.ptq.histogram_losses import Divergences, SquaredErrors
from openbpu.ptq.output_error import judged
from openbpu.ptq.placement import place
from openbpu.ptq.ranges import PERCENTILE, candidates, clipped, parameters, searched, squared_error
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.stretches import stretches
from openbpu.ptq.view import ModelView


def statistics(values: np.ndarray, bins: int = 4096) -> Statistics:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return Statistics(low, high, np.histogram(values, bins, (low, high))[0])


def heavy_tailed(seed: int = 1) -> np.ndarray:
    """Normal values and a few at 100 deviations."""
    values = np.random.default_rng(seed).standard_normal(200_000)
    values[:3] = 100.0
    return values


def top(quant: QuantParams) -> float:
    return (quant.qmax - quant.z) * quant.s


def test_methods_on_a_heavy_tail() -> None:
    found = statistics(heavy_tailed())
    (largest,), (percentile,), (mse,), (kl,) = (
        candidates(found, method, False, PERCENTILE) for method in ("max", "percentile", "mse", "kl")
    )
    assert top(largest) == pytest.approx(100, rel=0.02)
    assert top(percentile) == pytest.approx(100, rel=0.02)  # 3 of 200,000 values are more than half of 0.001 %
    assert 3 < top(kl) < 12
    assert squared_error(found, mse) < 0.95 * squared_error(found, largest)
    (tighter,) = candidates(found, "percentile", False, 0.999)
    assert 3 < top(tighter) < 5


@pytest.mark.parametrize("symmetric", [False, True])
def test_searches_find_what_an_exhaustive_one_finds(symmetric: bool) -> None:
    """Within 5 % of the least squared error over 200 x 200 pairs of ends."""
    random = np.random.default_rng(2)
    found = statistics(np.concatenate([random.laplace(0.3, 1, 50_000), random.uniform(-9, 4, 50)]))
    shares = np.linspace(0.05, 1, 60)
    pairs = [(a, b) for a in shares for b in shares]
    least = min(squared_error(found, parameters(found.low * a, found.high * b, symmetric)) for a, b in pairs)
    assert squared_error(found, searched(found, SquaredErrors(found), symmetric)) < 1.05 * least


def test_divergence_of_what_is_kept_and_of_what_is_cut() -> None:
    found = statistics(np.random.default_rng(3).uniform(0, 1, 400_000))
    whole, half = Divergences(found)([parameters(0, 1, False), parameters(0, 0.5, False)])
    assert 0 <= whole < 0.01 and half > 0.5


@pytest.mark.parametrize("bins", [129, 255, 4096])
@pytest.mark.parametrize("losses", [SquaredErrors, Divergences])
def test_few_values_keep_their_range(bins: int, losses: type[SquaredErrors | Divergences]) -> None:
    """Many ranges lose nothing of 0, 1 and 3: the widest of them is taken, whatever order sums were made in."""
    for seed in range(20):
        drawn = np.random.default_rng(seed).choice([0.0, 1.0, 3.0], 768)
        found = Statistics(0.0, 3.0, np.histogram(drawn, bins, (0.0, 3.0))[0])
        assert searched(found, losses(found), True).s * 127 > 2.9


def by_bins(found: Statistics, quant: QuantParams) -> tuple[float, float]:
    """Squared error and divergence as their definitions say, bin by bin."""
    x, counts = found.centres, found.counts.astype(np.float64)
    level = np.clip(np.rint(x / quant.s) + quant.z, quant.qmin, quant.qmax)
    clips, value = (level == quant.qmin) | (level == quant.qmax), (level - quant.z) * quant.s
    squares = counts @ np.where(clips, (value - x) ** 2, quant.s**2 / 12) / counts.sum()
    zero = int(-found.low / ((found.high - found.low) / len(counts)))
    around = [k for k in range(zero - 2, zero + 3) if k != zero and 0 <= k < len(counts)]
    counts[min(zero, len(counts) - 1)] = counts[around].mean()
    kept = [k for k in range(len(counts)) if abs(value[k] - x[k]) <= quant.s]
    before = {k: counts[k] for k in kept}
    before[kept[0]] += counts[: kept[0]].sum()
    before[kept[-1]] += counts[kept[-1] + 1 :].sum()
    after = {}
    for k in kept:
        same = [j for j in kept if level[j] == level[k] and before[j]]
        after[k] = sum(counts[j] for j in same) / len(same) if before[k] else 0.0
    whole = sum(after.values())
    if not whole:
        return squares, np.inf
    terms = [p * np.log(p / counts.sum() / max(after[k] / whole, 1e-12)) for k, p in before.items() if p]
    return squares, sum(terms) / counts.sum()


@pytest.mark.parametrize("low,high", [(-1.1, 3.0), (0.0, 6.0), (-2.0, 0.0)])
@pytest.mark.parametrize("values", [60, 20_000])
def test_losses_by_running_sums_are_those_of_the_bins(low: float, high: float, values: int) -> None:
    """Within what sums in another order give: 1e-9."""
    drawn = low + (high - low) * np.random.default_rng(6).beta(2, 5, values)
    found = Statistics(low, high, np.histogram(drawn, 512, (low, high))[0])
    quants = [parameters(low * a, high * b, s) for a in (1, 0.6, 0.05) for b in (1, 0.3) for s in (False, True)]
    wanted = np.array([by_bins(found, quant) for quant in quants])
    assert SquaredErrors(found)(quants) == pytest.approx(wanted[:, 0], rel=1e-9)
    assert Divergences(found)(quants) == pytest.approx(wanted[:, 1], rel=1e-9, abs=1e-12)


def test_zeros_behind_a_clamp_do_not_decide() -> None:
    values = np.random.default_rng(4).standard_normal(100_000)
    (plain,), (clamped,) = (
        candidates(statistics(v), "kl", False, PERCENTILE) for v in (np.abs(values), np.maximum(values, 0))
    )
    assert clamped.s == pytest.approx(plain.s, rel=0.15)


def test_one_value_only() -> None:
    for method in ptq.CALIBRATIONS:
        for values in (np.zeros(10), np.full(10, 3.0), np.full(10, -2.0)):
            for symmetric in (False, True):
                for quant in candidates(statistics(values), method, symmetric, PERCENTILE):
                    seen = (np.clip(np.rint(values / quant.s) + quant.z, -128, 127) - quant.z) * quant.s
                    np.testing.assert_allclose(seen, values, atol=quant.s)


def test_percentiles_of_one_sided_values_keep_zero() -> None:
    low, high = clipped(statistics(np.random.default_rng(5).uniform(2, 3, 1000)), 90)
    assert low == 0 and 2.8 < high < 3


# ---- auto: what the consumers make of it


def one_reader(op: str) -> onnx.ModelProto:
    """A rare value at 60 in the first channel, read by a norm-like clamp ("Clip") or by a sum ("Conv")."""
    net = nets.Net(6)
    x = net.op("Mul", "x", net.constant(1.0))
    if op == "Clip":
        y = net.op("Clip", net.op("MaxPool", x, kernel_shape=[1, 1]), net.constant(-3.0), net.constant(3.0))
        return frontend.prepare(net.model(net.op("Conv", y, net.normal(4, 3, 1, 1), out="y")))
    return frontend.prepare(net.model(net.op("Conv", x, net.normal(4, 3, 1, 1), out="y")))


def rare_and_large(count: int = 4) -> list[np.ndarray]:
    found = nets.samples(count)
    for sample in found:
        sample[0, 0, 3, 3] = 60.0
    return found


def test_what_a_clamp_cuts_anyway_costs_no_range() -> None:
    """Both see the same values; only behind the clamp do fine steps matter more than the large values."""
    scales = {}
    for op in ("Clip", "Conv"):
        qdq = ptq.quantize(one_reader(op), rare_and_large(), refinement=())
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in qdq.graph.initializer}
        scales[op] = float(constants["x/scale"])
    assert scales["Conv"] > 60 / 256
    assert scales["Clip"] < 0.9 * scales["Conv"]


def test_errors_are_those_of_the_consumers() -> None:
    net = nets.Net(7)
    net.op("Conv", "x", net.constant(np.eye(3)[:, :, None, None]), out="y")
    model = frontend.prepare(net.model("y"))
    samples = SampleStream(nets.samples(3), model)
    assert len(list(samples)) == 3
    quants, nearer = ([QuantParams.per_tensor(s) for s in scales] for scales in ((0.01, 0.02, 0.1), (0.018, 0.025)))
    found = judged(model, samples, place(model), {"x": quants}, lambda *_: None, lambda *_: nearer)["x"]
    assert [*found.candidates] == [*quants, *nearer]
    values = np.stack(nets.samples(3)).astype(np.float64)
    wanted = []
    for quant in found.candidates:
        seen = np.clip(np.rint(values / quant.s), -128, 127) * quant.s
        wanted.append(np.sum((seen - values) ** 2) / np.sum(values**2))
    assert found.best == found.candidates[np.argmin(wanted)]
    measured = np.isfinite(found.errors)  # others have more error than the best before all samples were seen
    assert measured.sum() >= 2
    assert found.errors[measured] == pytest.approx(np.array(wanted)[measured], rel=1e-4)


def test_copies_of_int16_tensors_are_judged_by_who_reads_them() -> None:
    net = nets.Net(7)
    x = net.op("Relu", net.conv("x", 3, 4))
    y, z = net.conv(x, 4, 5, out="y"), net.conv(x, 4, 6, out="z")
    model = frontend.prepare(net.model(y, z))
    first, second = (n.name for n in model.graph.node if n.output[0] in ("y", "z"))
    samples = SampleStream(nets.samples(2), model)
    assert len(list(samples)) == 2
    quants = {x: [QuantParams.per_tensor(s) for s in (0.01, 0.1)]}

    def found(*int16: str) -> np.ndarray | None:
        alone = judged(model, samples, place(model, int16=int16), quants, lambda *_: None).get(x)
        return alone.errors if alone else None

    both, one, other = found(), found(first), found(second)
    assert both is not None and one is not None and other is not None
    assert one + other == pytest.approx(both, rel=1e-5)  # relative errors of both outputs add up
    assert found(first, second) is None


def test_auto_is_at_least_as_good_as_the_worst_method() -> None:
    model, samples = frontend.prepare(nets.attention()), nets.samples(6, (1, 20, 32))
    want = nets.run(model, samples[0])[0]
    found = {
        method: nets.sqnr(
            want, nets.run(ptq.quantize(model, samples, calibration=method, refinement=()), samples[0])[0]
        )
        for method in ptq.CALIBRATIONS
    }
    assert found["auto"] > min(found.values()) and found["auto"] > max(found.values()) - 3, found


def test_spread_samples_come_from_everywhere() -> None:
    net = nets.Net(8)
    model = frontend.prepare(net.model(net.op("Relu", "x", out="y")))
    stream = SampleStream((np.full((1, 3, 32, 32), i + 0.5) * np.arange(32) for i in range(10)), model)
    assert len(list(stream)) == 10
    assert [float(f["x"].flat[1]) for f in stream.spread(4)] == [0.5, 2.5, 5.5, 7.5]
    assert len(list(stream.spread(64))) == 10


@pytest.mark.parametrize(
    "option,value", [("calibration", "entropy"), ("percentile", 0.4), ("percentile", 1.1), ("bins", 100)]
)
def test_wrong_options(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=option):
        ptq.quantize(frontend.prepare(nets.residual()), nets.samples(1), **{option: value})


@pytest.mark.parametrize("classes,looks_inside", [(2, True), (1000, False)])
def test_a_handful_of_outputs_does_not_decide_alone(classes: int, looks_inside: bool) -> None:
    """Two numbers of four samples are chance: the tensors on the way to them count as well."""
    net = nets.Net(9)
    x = net.op("Relu", net.conv(net.op("Relu", net.conv("x", 3, 8)), 8, 8))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    model = frontend.prepare(net.model(net.op("MatMul", x, net.normal(8, classes), out="y")))
    placement = place(model)
    found = stretches(model, ModelView(model), placement, set(placement.groups.values()), 10**6)
    (outputs,) = (s.block.outputs for s in found if s.tensor == "x")
    assert (len(outputs) > 1) == looks_inside and "y" in outputs


def test_models_that_no_protobuf_can_be_are_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their weights go through a file, and are still in the model afterwards."""
    model = frontend.prepare(nets.residual())
    before, samples = model.SerializeToString(deterministic=True), nets.samples(4)
    wanted = ptq.quantize(model, samples).SerializeToString(deterministic=True)
    monkeypatch.setattr(blocks, "_LARGEST_MESSAGE", 0)
    assert ptq.quantize(model, samples).SerializeToString(deterministic=True) == wanted
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (0.0, 1e-6), (-3.4e38, 3.4e38), (0.999999, 1.000001)])
def test_histograms_are_those_of_numpy(low: float, high: float) -> None:
    """But for values on an edge between two bins, at most one in a thousand; what lies beyond counts at the ends."""
    random = np.random.default_rng(0)
    values = random.uniform(low, high, 100_000).astype(np.float32)
    wanted = np.histogram(np.clip(values.astype(np.float64), low, high), 512, (low, high))[0]
    found = _counts(values, low, high, 512)
    assert found.sum() == len(values)
    assert np.abs(found - wanted).sum() <= 200
    outside = _counts(np.array([low - (high - low), high + (high - low)], np.float64), low, high, 512)
    assert outside[0] == outside[-1] == 1
