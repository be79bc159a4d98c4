"""Block-wise reconstruction: where a model is cut, what may be learned, and that it never harms."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import float_networks as nets
import numpy as np
import onnx
import pytest
import wide_networks
from onnx import numpy_helper

import needs
import openbpu
from openbpu import frontend, ptq
from openbpu.errors import ConfigError, ModelWarning, SampleWarning
from openbpu.ptq.placement import place
from openbpu.ptq.reconstruction import step
from openbpu.ptq.reconstruction.spans import spans

torch = needs.module("torch", "pip install 'openbpu[qat]'")
walk = importlib.import_module("openbpu.ptq.reconstruction.walk")
learning = importlib.import_module("openbpu.ptq.reconstruction.learning")
PLAIN = {"calibration": "max", "refinement": ()}
LEARNED = {"calibration": "max", "refinement": ("reconstruction",)}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "STEPS", 24)


def residual() -> onnx.ModelProto:
    return frontend.prepare(nets.residual())


def constants(qdq: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in qdq.graph.initializer}


def test_spans_end_where_one_tensor_leaves() -> None:
    model = frontend.prepare(wide_networks.bottlenecks())
    placement = place(model)
    found = spans(model, placement.groups)
    assert [n.name for span in found for n in span.nodes] == [n.name for n in model.graph.node]
    assert len(found) > 1
    for span in found[:-1]:
        assert len(span.outputs) == 1 and span.outputs[0] in placement.groups and span.layers >= 3
    read = {name: span for span in found for name in span.inputs}
    assert all(span.outputs[0] in read for span in found[:-1])


def test_learning_helps_other_samples_and_leaves_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "STEPS", 100)
    model, taught, others = residual(), nets.samples(24), nets.samples(16, seed=9)
    plain, learned = (ptq.quantize(model, taught, **options) for options in (PLAIN, LEARNED))
    want, before, after = (np.stack([nets.run(m, x)[0] for x in others]) for m in (model, plain, learned))
    assert nets.sqnr(want, after) > nets.sqnr(want, before) + 0.5
    entries = {p.key: p.value for p in learned.metadata_props}
    assert entries["openbpu.refinement"] == "reconstruction"
    count, _, of, _ = entries["openbpu.reconstruction"].split()
    assert 1 <= int(count) <= int(of)
    assert [n.op_type for n in plain.graph.node] == [n.op_type for n in learned.graph.node]
    old, new = constants(plain), constants(learned)
    assert old.keys() == new.keys()
    for name, array in new.items():
        assert array.dtype == old[name].dtype and array.shape == old[name].shape
        if name.endswith("/weight"):
            assert np.abs(array.astype(int) - old[name]).max() <= 1 and array.min() >= -127
        elif name.endswith(("weight_scale", "zero_point")):
            np.testing.assert_array_equal(array, old[name])
        elif name.endswith("/scale"):
            assert 0.7 < array / old[name] < 1.4
    assert any(not np.array_equal(new[name], old[name]) for name in new if name.endswith("/weight"))
    session = openbpu.Session(openbpu.compile(learned))
    for x, y in zip(others[:4], after, strict=False):
        assert nets.sqnr(y, next(iter(session.run({session.inputs[0].name: x}).values()))) > 30


def test_biases_lie_on_the_grid_of_their_sums() -> None:
    learned = ptq.quantize(residual(), nets.samples(24), **LEARNED)
    values = constants(learned)
    made = {name: node for node in learned.graph.node for name in node.output}
    checked = 0
    for node in learned.graph.node:
        if node.op_type == "Conv" and len(node.input) > 2:
            x, w, b = (values[made[name].input[1]] for name in node.input)
            np.testing.assert_allclose(b, x * w, rtol=1e-6)
            checked += 1
    assert checked > 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_inputs_give_the_same_bytes(threads: int, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        state = torch.get_rng_state()
        found = ptq.quantize(residual(), nets.samples(16), **LEARNED).SerializeToString(deterministic=True)
        assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
        assert not torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(3 - threads)
        again = ptq.quantize(residual(), nets.samples(16), **LEARNED).SerializeToString(deterministic=True)
    finally:
        torch.set_num_threads(before)
    assert found == again


def test_an_interrupt_leaves_torch_as_it_was() -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "learn spans":
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        ptq.quantize(residual(), nets.samples(16), progress=stop, **LEARNED)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_operators_without_a_form_are_named_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbpu.ptq.reconstruction.step._better", lambda errors, before: True)
    net = nets.Net(3)
    x = net.op("Relu", net.conv("x", 3, 8))
    x = net.op("Relu", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 8))
    x = net.op("Softsign", net.conv(x, 8, 8))
    x = net.op("Relu", net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 8))
    model = frontend.prepare(net.model(net.conv(x, 8, 4, out="y")))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learned, plain = (ptq.quantize(model, nets.samples(16), **o) for o in (LEARNED, PLAIN))
    said = [str(w.message) for w in caught if issubclass(w.category, ModelWarning)]
    assert any("reconstruction left" in text for text in said), said
    old, new = constants(plain), constants(learned)
    same = [np.array_equal(new[name], old[name]) for name in new if name.endswith(("/weight", "/bias"))]
    assert any(same) and not all(same)


def test_a_gain_must_be_more_than_chance() -> None:
    random = np.random.default_rng(2)
    before = np.exp(random.standard_normal(12))
    assert step._better(0.9 * before, before)
    assert not step._better(before, before) and not step._better(1.1 * before, before)
    assert not step._better(before * np.where(np.arange(12) == before.argmax(), 0.2, 1.05), before)


def test_few_samples_teach_nothing() -> None:
    model, few = residual(), nets.samples(8)
    with pytest.warns(SampleWarning, match="learns from 12 samples"):
        learned = ptq.quantize(model, few, **LEARNED)
    plain = ptq.quantize(model, few, **PLAIN)
    assert {p.key: p.value for p in learned.metadata_props}["openbpu.refinement"] == ""
    assert learned.graph == plain.graph


def test_what_samples_that_judge_deny_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning that ruins every span: all of them and the model stay as they were."""
    monkeypatch.setattr(learning, "_RATES", (1.0, 0.3, 50.0))
    monkeypatch.setattr(learning, "_SHARES", (1.0,))
    model = residual()
    learned, plain = (ptq.quantize(model, nets.samples(16), **options) for options in (LEARNED, PLAIN))
    assert learned.graph == plain.graph


def test_a_gain_that_the_whole_does_not_have_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbpu.ptq.reconstruction.step._better", lambda errors, before: False)
    model = residual()
    learned, plain = (ptq.quantize(model, nets.samples(16), **options) for options in (LEARNED, PLAIN))
    assert learned.graph == plain.graph


def test_int16_tensors_keep_their_scales() -> None:
    model = residual()
    convs = [n.name for n in model.graph.node if n.op_type == "Conv"]
    wide = {"int16": convs[1:3]}
    learned, plain = (ptq.quantize(model, nets.samples(16), **options, **wide) for options in (LEARNED, PLAIN))
    old, new = constants(plain), constants(learned)
    types = {name.removesuffix("zero_point") + "scale": a.dtype for name, a in new.items() if a.dtype == np.int16}
    assert types
    for name in types:
        np.testing.assert_array_equal(old[name], new[name])


def test_shared_parameters_stay_shared() -> None:
    """Groups of concat and resize have one scale after learning too."""
    model = frontend.prepare(nets.unet())
    placement = place(model)
    with pytest.warns(ModelWarning, match="Resize with mode linear"):
        learned = ptq.quantize(model, nets.samples(16), **LEARNED)
    values = constants(learned)
    for tensors in placement.members().values():
        assert len({float(values[f"{name}/scale"]) for name in tensors}) == 1


@pytest.mark.parametrize("make", ["residual", "squeeze_excite", "unet", "mirrored", "detector", "attention", "norms"])
def test_networks_of_all_kinds_are_no_worse(make: str) -> None:
    model = frontend.prepare(getattr(nets, make)())
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    taught, others = nets.samples(16, shape), nets.samples(12, shape, seed=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, learned = (ptq.quantize(model, taught, **options) for options in (PLAIN, LEARNED))
    for k in range(len(model.graph.output)):
        want, before, after = (np.stack([nets.run(m, x)[k] for x in others]) for m in (model, plain, learned))
        assert nets.sqnr(want, after) > nets.sqnr(want, before) - 0.3


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"PyTorch.*openbpu\[qat\]"):
        ptq.quantize(residual(), nets.samples(2), **LEARNED)
