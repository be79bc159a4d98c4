"""Verification that can fail, tools that find what loses, and what export writes."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import openbpu
from openbpu import qat
from openbpu.errors import ConfigError, ModelWarning, SampleError
from openbpu.qat.switching import quantisers, sites
from qat import nets


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def calibrated(config: qat.Config | None = None) -> tuple[torch.fx.GraphModule, Tensor]:
    """A calibrated network in state validation, and inputs."""
    x = torch.randn(16, 1, 16, 16)
    model = qat.prepare(nets.settled(nets.Residual(), [x]), x, config)
    qat.calibrate(model, [x])
    return model, x


# ---- verification


def test_verification_finds_another_model() -> None:
    model, x = calibrated()
    qdq = qat.export(model)
    executable = openbpu.compile(qdq)
    assert qat.verify(model, executable, [x[:2]], qdq).ok
    with torch.no_grad():
        model.get_submodule("head").weight.mul_(1.2)
    changed = qat.verify(model, executable, [x[:4]], qdq)
    assert not changed.ok and "NOT equal" in str(changed)
    assert {row.name: row.executable.ok for row in changed.layers}["mean"]
    with pytest.raises(SampleError, match="sample"):
        qat.verify(model, executable, [])
    qat.set_state(model, "float")
    with pytest.raises(ConfigError, match="validation"):
        qat.verify(model, executable, [x])


def test_validation_is_the_executable_for_a_whole_batch() -> None:
    model, x = calibrated()
    session = openbpu.Session(openbpu.compile(qat.export(model)))
    with torch.no_grad():
        want = model(x)
    for row, image in zip(want, x, strict=True):
        (got,) = session.run(image[None].numpy()).values()
        assert torch.equal(torch.from_numpy(got)[0], row)


# ---- export


def test_the_exported_model_is_plain_qdq(tmp_path: Path) -> None:
    model, _ = calibrated()
    qdq = qat.export(model, tmp_path / "net.onnx", input_names=["image"], output_names=["scores"])
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
    assert [i.name for i in qdq.graph.input] == ["image"] and [o.name for o in qdq.graph.output] == ["scores"]
    types = {t.data_type for t in qdq.graph.initializer if onnx.numpy_helper.to_array(t).ndim > 1}
    assert types == {onnx.TensorProto.INT8}
    assert {node.domain for node in qdq.graph.node} == {""}
    assert str(Path(__file__).parent) not in qdq.SerializeToString().decode("latin-1")
    assert not openbpu.check(qdq).on_cpu
    assert (
        qdq.SerializeToString() == qat.export(model, input_names=["image"], output_names=["scores"]).SerializeToString()
    )


class TwoInputs(nn.Module):
    """Two inputs, a dict of outputs, one of them moved behind its quantisation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Conv1d(3, 8, 3)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        left, right = torch.tanh(self.a(x)), self.b(y).amax(-1)
        return {"sum": left + right, "parts": torch.stack([left, right], 1).flatten(1)}


class Encoder(nn.Module):
    """The transformer of torch.nn."""

    def __init__(self, norm_first: bool, batch_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 24, 0.1, F.gelu, norm_first=norm_first, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.batch_first = batch_first
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_first:
            x = x.transpose(0, 1)
        x = self.encoder(x)
        return self.head(x.mean(1 if self.batch_first else 0))


class Arithmetic(nn.Module):
    """Quotient, maximum, minimum of two tensors; a product of matrices with a clamp."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.a(x), self.b(x)
        ratio = left / (right.abs() + 0.5)
        both = torch.maximum(ratio, right) - torch.minimum(left, ratio)
        return F.relu(torch.matmul(both, left.transpose(-1, -2)) * 0.3)


class Odd(nn.Module):
    """Layers that are rarer: groups, dilation, reflection, one-dimensional, per-channel constants, a lone norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2, padding_mode="reflect")
        self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.gamma = nn.Parameter(torch.randn(1, 6, 1, 1))
        self.position = nn.Parameter(torch.randn(1, 6, 12, 12))
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.up(F.silu(self.first(x))), 0.1)
        y = self.norm(y) * self.gamma + self.position - y
        y = F.avg_pool2d(F.pad(y, (0, 0, 2, 2)), 2)
        parts = self.shuffle(torch.cat([y, y[:, :2]], 1)).chunk(2, -1)
        return torch.softmax((parts[0] * parts[1]).mean((2, 3)), -1)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "two inputs": (TwoInputs, ((6,), (3, 9))),
    "encoder": (lambda: Encoder(False, True), ((5, 16),)),
    "encoder, norm first": (lambda: Encoder(True, False), ((5, 16),)),
    "arithmetic": (Arithmetic, ((5, 6),)),
    "odd": (Odd, ((4, 6, 6),)),
}


@pytest.mark.parametrize("name", CASES)
def test_other_constructs_run_as_they_are_trained(name: str) -> None:
    make, shapes = CASES[name]
    net, inputs = make(), tuple(torch.randn(16, *shape) for shape in shapes)
    net.train()(*inputs)
    model = qat.prepare(net.eval(), inputs)
    for got, want in zip(_flat(model(*inputs)), _flat(net(*inputs)), strict=True):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    qat.calibrate(model, [inputs], "training")
    sum(t.square().sum() for t in _flat(model(*inputs))).backward()
    qat.set_state(model, "validation")
    qdq = qat.export(model)
    result = qat.verify(model, openbpu.compile(qdq), [inputs], qdq)
    print(openbpu.check(qdq).line)
    assert result.ok, str(result)


def _flat(result: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return list(result.values()) if isinstance(result, dict) else [result]


TYPES = {
    "int16": qat.Config(activations="int16"),
    "one layer int16": qat.Config(templates=[qat.ModuleName({"depthwise": "int16"})]),
    "one operand int16": qat.Config(templates=[qat.ModuleName({"project": {"input": "int16"}})]),
    "one layer float": qat.Config(templates=[qat.ModuleName({"project": "float"})]),
    "symmetric": qat.Config(symmetric=True),
    "all float": qat.Config(activations="float"),
}


@pytest.mark.parametrize("name", TYPES)
def test_other_types_run_as_they_are_trained(name: str) -> None:
    model, x = calibrated(TYPES[name]) if name != "all float" else (_float_model(), torch.randn(4, 1, 16, 16))
    qdq = qat.export(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        result = qat.verify(model, openbpu.compile(qdq), [x[:4]], qdq)
    assert result.ok, str(result)


class TwoBlocks(nn.Module):
    """Two blocks of a transformer, the second with a norm about zero, and other functions behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nets.Block(32, 4), nets.Block(32, 4)
        self.second.norm2 = nn.RMSNorm(32)
        self.tail, self.act = nn.Linear(32, 16), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.act(self.tail(self.second(self.first(x)))))


@pytest.mark.parametrize(("make", "shape"), [(nets.UNet, (3, 16, 16)), (nets.ViT, (3, 16, 16)), (TwoBlocks, (17, 32))])
def test_sixteen_bits_run_to_the_last_bit(make: type[nn.Module], shape: tuple[int, ...]) -> None:
    """Convolutions, sums, concat and interpolation, norms, products, softmax and functions; chains to a step."""
    torch.manual_seed(3)
    x = torch.randn(8, *shape)
    model = qat.prepare(nets.settled(make(), [x]), x, qat.Config(activations="int16"))
    qat.calibrate(model, [x])
    qdq = qat.export(model)
    result = qat.verify(model, openbpu.compile(qdq), [x[:4]], qdq)
    before = list(itertools.takewhile(lambda row: "tanh" not in row.name, result.layers))
    assert all(row.executable.equal == row.executable.elements for row in before), str(result)
    assert result.ok and len(before) >= 8, str(result)
    assert not openbpu.check(qdq).on_cpu


def _float_model() -> nn.Module:
    """A prepared model in which nothing is quantised."""
    model = qat.prepare(nets.Residual(), torch.randn(4, 1, 16, 16), TYPES["all float"])
    qat.set_state(model, "validation")
    return model


# ---- tools


def test_similarity_falls_where_weights_are_coarse() -> None:
    model, x = calibrated(qat.Config(templates=[qat.ModuleName({"project": {"weight": "int2"}})]))
    rows = {row.name: row for row in qat.similarity(model, [x])}
    assert list(rows) == [*sites(model), "output 0"]
    assert rows["depthwise.2"].sqnr > 30 > rows["project.0"].sqnr
    assert rows["depthwise.2"].cosine > 0.999
    assert qat.state_of(model) is qat.State.VALIDATION
    weights = {row.name: row.sqnr for row in qat.compare_weights(model)}
    assert min(weights, key=weights.__getitem__) == "project.0" and weights["head"] > 35


def test_the_most_sensitive_is_lifted() -> None:
    model, x = calibrated(qat.Config(templates=[qat.ModuleName({"down": {"weight": "int3"}})]))
    losses = qat.sensitivity(model, [x])
    assert (losses[0].name, losses[0].part) == ("down.0", "weight")
    assert [row.sqnr for row in losses] == sorted(row.sqnr for row in losses)
    lift = qat.Sensitivity([row for row in losses if row.part == "output"], top=2)
    lifted = qat.prepare(nets.Residual(), x, qat.Config(templates=[lift]))
    wide = {name for name, site in sites(lifted).items() if site.quantiser.grid.name == "int16"}
    assert wide == {row.name for row in lift.table[:2]}


def test_statistics_tell_what_is_clamped() -> None:
    model, x = calibrated(qat.Config(templates=[qat.ModuleName({"stem": {"threshold": 0.5}})]))
    rows = {row.name: row for row in qat.statistics(model, [x])}
    assert rows["stem.2"].clamped > 0.1 > 0.01 > rows["down.2"].clamped
    assert rows["stem.2"].high > 0.5 >= rows["stem.2"].range_high - 0.01


def test_findings_name_shared_unfused_and_float_modules() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm, self.group = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return self.group(self.layer(self.norm(y)) + F.relu(y))

    model = qat.prepare(Careless(), torch.randn(2, 4, 5, 5))
    found = {(finding.name, finding.what.split()[0]) for finding in qat.findings(model)}
    assert found == {("layer#2", "the"), ("norm", "this"), ("relu", "this"), ("group", "GroupNorm")}
    assert all(Path(__file__).name in finding.place for finding in qat.findings(model))


def test_the_report_is_one_page(tmp_path: Path) -> None:
    model, x = calibrated()
    qdq = qat.export(model)
    verification = qat.verify(model, openbpu.compile(qdq), [x[:2]], qdq)
    qat.report(model, [x], tmp_path / "report.html", verification)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The executable equals the trained model" in page and "<h2>Worst layers</h2>" in page
    for name in sites(model):
        assert name in page
    qat.report(model, [x], tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [layer["tensor"] for layer in written["layers"]] == list(sites(model)) and written["samples"] == 16
    with pytest.raises(SampleError, match="sample"):
        qat.report(model, [], tmp_path / "none.html")


def test_the_report_names_causes() -> None:
    """The same page as that of post-training quantisation: what is added where, and why."""
    settings = {"stem": {"threshold": 0.5}, "project": {"weight": "int2"}}
    model, x = calibrated(qat.Config(templates=[qat.ModuleName(settings)]))
    found = qat.accuracy(model, [x])
    layers = {layer.tensor: layer for layer in found.layers}
    assert layers["stem.2"].cause == "clamping" and "minmax" in layers["stem.2"].remedy
    assert layers["project.0"].cause == "weights" and layers["project.0"].op == "conv2d"
    assert layers["down.2"].cause == "rounding" and layers["down.2"].own_db > 30
    assert {layer.tensor for layer in found.worst[:2]} == {"stem.2", "project.0"}
    assert layers["depthwise.2"].inherited_db == layers["stem.2"].sqnr_db
    assert layers["relu"].inherited_db == min(layers[n].sqnr_db for n in ("stem.2", "project.0"))
    assert layers["relu"].op == "relu" and layers["x"].op == "input"
    assert found.outputs[0].sqnr_db == qat.similarity(model, [x])[-1].sqnr


def test_tools_need_a_calibrated_model() -> None:
    x = torch.randn(2, 1, 16, 16)
    with pytest.raises(ConfigError, match="calibrated"):
        qat.similarity(qat.prepare(nets.Residual(), x), [x])


# ---- training


@pytest.mark.parametrize("ranges", ["moving", "fixed", "learned"])
def test_ranges_follow_as_configured(ranges: str) -> None:
    model, x = calibrated(qat.Config(ranges=ranges))
    before = [float(q.positive_scale().detach()) for q in quantisers(model)]
    qat.set_state(model, "training")
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model(x * 3).square().mean().backward()
    optimiser.step()
    moved = [float(q.positive_scale().detach()) != b for q, b in zip(quantisers(model), before, strict=True)]
    assert any(moved) == (ranges != "fixed")


def test_training_recovers_coarse_weights() -> None:
    """Two-bit weights: training towards the float network leaves a tenth of the error of calibration alone."""
    x = torch.randn(64, 1, 16, 16)
    net = nets.settled(nets.Residual(), [x])
    config = qat.Config(weights="int2", ranges="learned", batch_norm="freeze")
    errors = []
    for steps in (0, 60):
        model = nets.trained(net, [x], config, steps, rate=1e-3)
        with torch.no_grad():
            errors.append(float((model(x) - net(x)).square().mean()))
    assert errors[1] < errors[0] / 10
