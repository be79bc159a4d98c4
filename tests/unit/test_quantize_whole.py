"""What is chosen tensor by tensor is checked on the whole model, on samples that did not decide."""

from __future__ import annotations

import warnings

import float_networks as nets
import numpy as np
import onnx
import pytest

from openbpu import frontend, ptq
from openbpu.errors import ModelWarning
from openbpu.ir.quant import QuantParams
from openbpu.ptq import forms, output_error, quantizer
from openbpu.ptq.calibration import calibrate
from openbpu.ptq.choice import simpler
from openbpu.ptq.forms import Ground, Options
from openbpu.ptq.placement import place
from openbpu.ptq.ranges import candidates
from openbpu.ptq.refinement import Refinements
from openbpu.ptq.samples import SampleStream
from openbpu.ptq.stretches import SAMPLES
from openbpu.ptq.whole import Whole, confirmed, loss_of

FIXED = ("max", "percentile", "mse")


def reader() -> onnx.ModelProto:
    net = nets.Net(6)
    x = net.op("Relu", net.op("Mul", "x", net.constant(1.0)))
    return frontend.prepare(net.model(net.op("Conv", x, net.normal(4, 3, 1, 1), out="y")))


def misleading(count: int = 16) -> list[np.ndarray]:
    """A large value in every sample but those that decide about single tensors: each fourth."""
    found = nets.samples(count)
    for index, sample in enumerate(found):
        if index % (count // SAMPLES):
            sample[0, 0, 3, 3] = 60.0
    return found


def sqnr(model: onnx.ModelProto, samples: list[np.ndarray], **options: object) -> float:
    qdq = ptq.quantize(model, samples, **options)
    want, got = (np.stack([nets.run(m, sample)[0] for sample in samples]) for m in (model, qdq))
    return nets.sqnr(want, got)


def test_single_tensors_mislead_and_the_whole_does_not() -> None:
    model, samples = reader(), misleading()
    stream = SampleStream(samples, model)
    placement = place(model)
    placement, statistics = calibrate(model, stream, placement, lambda *_: None)
    proposed = {group: candidates(s, "auto", False, 0.99999) for group, s in statistics.items()}
    alone = output_error.judged(model, stream, placement, proposed, lambda *_: None)
    assert any(judged.best.s < 0.7 * proposed[group][0].s for group, judged in alone.items())
    best = max(sqnr(model, samples, calibration=method, refinement=()) for method in FIXED)
    assert best > 18
    assert sqnr(model, samples, refinement=()) > best - 0.3
    assert sqnr(model, samples, refinement=("scales",)) > best - 0.3


@pytest.mark.parametrize("calibration", ["max", "percentile", "mse"])
def test_scales_are_given_up_where_they_mislead(calibration: str) -> None:
    model, samples = reader(), misleading()
    without, given = (sqnr(model, samples, calibration=calibration, refinement=steps) for steps in ((), ("scales",)))
    assert given > without - 0.3


@pytest.mark.parametrize("refinement", [(), ("scales",), ("scales", "bias")])
def test_int8_copies_of_int16_tensors_do_not_mislead(refinement: tuple[str, ...]) -> None:
    model, samples = reader(), misleading()
    lifted = [node.name for node in model.graph.node if node.op_type != "Conv"]
    best, found = (
        max(sqnr(model, samples, calibration=method, refinement=steps, int16=lifted) for method in methods)
        for methods, steps in ((FIXED, ()), (["auto"], refinement))
    )
    assert best > 18
    assert found > best - 0.3


def test_rivals_have_copies_of_their_own_and_the_chosen_ones() -> None:
    model = reader()
    placement = place(model, int16=[node.name for node in model.graph.node if node.op_type != "Conv"])
    stream = SampleStream(nets.samples(8), model)
    placement, statistics = calibrate(model, stream, placement, lambda *_: None)
    ground = Ground(model, placement, statistics, Options("max", False, 0.99999))
    copied = placement.groups[next(node.input[0] for node in model.graph.node if node.op_type == "Conv")]
    own = ground.uniform(["max"])["max"]
    chosen = {group: QuantParams.per_tensor(quant.s / 2, quant.z) for group, quant in own.items()}
    assert simpler(ground, own, True) == simpler(ground, chosen, False) == []
    with_own, with_chosen = simpler(ground, chosen, True)
    assert not with_own.scaled and with_own.ranges[copied] == own[copied]
    assert with_chosen.scaled and with_chosen.ranges[copied] == chosen[copied]
    narrow = own.keys() - placement.wide
    assert narrow and all(rival.ranges[g] == own[g] for rival in (with_own, with_chosen) for g in narrow)
    unread = (placement.wide - {copied}) & own.keys()
    assert unread and all(with_own.ranges[g] == chosen[g] for g in unread)


def test_ranges_that_make_the_same_model_are_refined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With int16 throughout nothing reads int8, whatever ranges copies would have."""
    refined: list[onnx.ModelProto] = []
    monkeypatch.setattr(quantizer, "refine", lambda reference, form, *rest: refined.append(form) or Refinements())
    model = reader()
    ptq.quantize(model, misleading(), int16=[node.name for node in model.graph.node])
    assert len(refined) == 1


def test_the_ranges_that_the_whole_confirms_are_refined() -> None:
    model, samples, steps = reader(), misleading(), ("rounding", "bias")
    plain = max(sqnr(model, samples, calibration=method, refinement=()) for method in FIXED)
    best = max(sqnr(model, samples, calibration=method, refinement=steps) for method in FIXED)
    assert best > plain + 0.2
    assert sqnr(model, samples, refinement=steps) > best - 0.1


def test_samples_that_decided_do_not_judge() -> None:
    model = reader()
    stream = SampleStream(misleading(), model)
    assert len(list(stream)) == 16
    decided = stream.places(SAMPLES)
    assert decided == [0, 4, 8, 12]
    others = list(stream.spread(16, without=decided))
    assert len(others) == 12 and all(feed["x"].max() == 60 for feed in others)
    assert len(list(stream.spread(5, without=decided))) == 5


@pytest.mark.parametrize("ending", ["Softmax", "Sigmoid"])
def test_what_saturates_is_judged_in_front_of_it(ending: str) -> None:
    """Two forms of the same sure answer differ in what stands before."""
    net = nets.Net(3)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv("x", 3, 8)))
    scores = net.op("MatMul", x, net.normal(8, 2, scale=100.0))
    net.op(ending, scores, out="y")
    model = frontend.prepare(net.model("y"))
    samples = nets.samples(8)
    stream = SampleStream(samples, model)
    assert len(list(stream)) == 8
    whole = Whole(model, stream)
    coarse, fine = (onnx.ModelProto.FromString(model.SerializeToString()) for _ in range(2))
    for form, factor in ((coarse, 1.2), (fine, 1.01)):
        weight = next(t for t in form.graph.initializer if list(t.dims) == [8, 2])
        weight.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(factor), weight.name)
        )
    exact, near, far = (whole.loss(form) for form in (model, fine, coarse))
    assert confirmed(exact, near) and confirmed(near, far) and not confirmed(far, near)


def test_a_gain_on_most_samples_does_not_make_up_for_the_worst() -> None:
    plain = loss_of(np.array([0.01, 0.01, 0.01, 0.1]))
    assert confirmed(loss_of(np.array([0.009, 0.009, 0.009, 0.09])), plain)
    assert confirmed(loss_of(np.array([0.002, 0.002, 0.002, 0.11])), plain)
    assert not confirmed(loss_of(np.array([0.005, 0.005, 0.005, 0.2])), plain)
    assert not confirmed(plain, plain)


@pytest.mark.parametrize(("chosen", "uniform", "kept"), [(-2.0, -3.0, False), (-3.0, -2.0, True)])
def test_the_better_of_two_refined_forms_is_kept(
    monkeypatch: pytest.MonkeyPatch, chosen: float, uniform: float, kept: bool
) -> None:
    """Whichever was better before: the choice tensor by tensor here."""
    # chosen, uniform ones ("percentile" is the same as "max" here), then the two refined ones
    losses = [-1.0, -0.9, -0.8, chosen, uniform]
    monkeypatch.setattr(Whole, "loss", lambda self, form: losses.pop(0))
    qdq = ptq.quantize(reader(), nets.samples(16), refinement=("scales", "bias"))
    taken = next(p.value for p in qdq.metadata_props if p.key == "openbpu.refinement")
    assert taken == ("scales+bias" if kept else "bias")
    assert not losses


def test_only_the_model_that_is_kept_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of scales that had to grow: those of forms that were given up are not in the model."""
    made, make = [], forms.form

    def warning(model: object, placement: object, ranges: dict[str, QuantParams], *rest: object) -> onnx.ModelProto:
        made.append(ranges)
        warnings.warn(ModelWarning(str(ranges)), stacklevel=2)
        return make(model, placement, ranges, *rest)

    monkeypatch.setattr(forms, "form", warning)
    with pytest.warns(ModelWarning) as caught:
        ptq.quantize(reader(), misleading(), refinement=("scales", "bias"))
    assert len(made) > 4 and made[0] != made[-1]
    assert [str(w.message) for w in caught if w.category is ModelWarning] == [str(made[-1])]


def test_layers_left_in_float_are_judged_in_float() -> None:
    """ONNX Runtime gives a float layer between Q/DQ pairs int8 weights per tensor, unless told not to."""
    net = nets.Net(5)
    x = net.op("Relu", net.conv("x", 3, 8))
    left = net.op("Conv", x, net.constant(net.random.standard_normal((8, 8, 3, 3)) ** 3), out="left")
    net.conv(net.op("Relu", left), 8, 4, out="y")
    model = frontend.prepare(net.model("y"))
    name = next(node.name for node in model.graph.node if "left" in node.output)
    samples = nets.samples(4)
    form = ptq.quantize(model, samples, refinement=(), run_on_cpu=(name,))
    stream = SampleStream(samples, model)
    assert len(list(stream)) == 4
    want, got = nets.run(model, *samples)[0], nets.run(form, *samples)[0]
    noise = np.square(want.astype(np.float64) - got).reshape(4, -1).sum(axis=1)
    signal = np.square(want.astype(np.float64)).reshape(4, -1).sum(axis=1).mean()
    np.testing.assert_allclose(Whole(model, stream).errors(form), noise / signal, rtol=1e-3)  # of float sums


@pytest.mark.parametrize("refinement", [(), ("scales",)])
def test_how_much_is_judged_at_a_time_does_not_matter(
    refinement: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups in a portion together; one tensor at a time, so that a group of several has several portions; and the
    tensors of one sample at a time."""
    net = nets.Net(8)
    parts = [net.op("Relu", net.conv("x", 3, 4)) for _ in range(2)]
    model = frontend.prepare(net.model(net.conv(net.op("Concat", *parts, axis=1), 8, 5, out="y")))
    assert len(set(place(model).groups.values())) < len(place(model).groups)
    samples, found = nets.samples(6), set()
    for sessions, portion in ((8, 1 << 28), (1, 1 << 28), (8, 1)):
        monkeypatch.setattr(output_error, "_SESSIONS", sessions)
        monkeypatch.setattr(output_error, "PORTION_BYTES", portion)
        found.add(ptq.quantize(model, samples, refinement=refinement).SerializeToString(deterministic=True))
    assert len(found) == 1


def test_candidates_that_are_given_up_are_not_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured to the end, all of them, the same ones are chosen."""
    model = reader()
    stream, placement = SampleStream(misleading(), model), place(model)
    placement, statistics = calibrate(model, stream, placement, lambda *_: None)
    proposed = {group: candidates(s, "auto", False, 0.99999) for group, s in statistics.items()}
    early = output_error.judged(model, stream, placement, proposed, lambda *_: None)
    monkeypatch.setattr(output_error._Batch, "bounds", lambda *_: {})
    every = output_error.judged(model, stream, placement, proposed, lambda *_: None)
    assert all(np.isfinite(judged.errors).all() for judged in every.values())
    assert not all(np.isfinite(judged.errors).all() for judged in early.values())
    assert {g: judged.best for g, judged in early.items()} == {g: judged.best for g, judged in every.items()}
