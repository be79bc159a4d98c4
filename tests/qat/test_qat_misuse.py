"""What users get wrong, and models that are written in unusual ways: refused by name, or right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import openbpu
from openbpu import qat
from openbpu.errors import ConfigError, OpenBpuError, SampleError, UnsupportedError
from openbpu.qat.switching import quantisers, sites
from qat import nets


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


class Made(nn.Module):
    """A linear layer of four, and what a function makes of it and the input."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.layer, x)


def linear() -> tuple[torch.fx.GraphModule, Tensor]:
    """A prepared layer that was not calibrated, and inputs."""
    x = torch.randn(8, 4)
    return qat.prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), x), x


# ---- models


def _write(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    y[:, 0] = 0
    return y


UNSUPPORTED: dict[str, tuple[Callable[[nn.Module, Tensor], Any], str]] = {
    "writing of parts": (_write, "torch.where"),
    "as many rows as values say": (lambda layer, x: layer(x)[x > 0], "size follows"),
    "positions": (lambda layer, x: torch.nonzero(layer(x)), "size follows"),
    "numpy": (lambda layer, x: layer(torch.from_numpy(np.asarray(x))), "array of numpy"),
    "a mask in attention": (lambda layer, x: F.scaled_dot_product_attention(x, x, layer(x), is_causal=True), "mask"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_constructs_that_no_graph_holds_name_their_line(name: str) -> None:
    function, text = UNSUPPORTED[name]
    with pytest.raises(UnsupportedError, match=text) as caught:
        qat.prepare(nn.Sequential(Made(function)), torch.randn(3, 4))
    assert "module '0' (Made)" in caught.value.where and "test_qat_misuse.py:" in caught.value.where


def _hooked() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4))
    net[0].register_forward_hook(lambda module, inputs, result: result * 2)
    return net


class Holding(nn.Module):
    """A tensor that was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.held = torch.ones(4, requires_grad=True) * 2

    def forward(self, x: Tensor) -> Tensor:
        return x * self.held


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "hooks": (_hooked, "hooks"),
    "old spectral norm": (lambda: nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(4, 4))), "remove_spectral_norm"),
    "held tensors": (Holding, "copied"),
    "script": (lambda: torch.jit.script(nn.Sequential(nn.Linear(4, 4))), "Prepare first"),
    "lazy": (lambda: nn.LazyLinear(4), "lazy module once"),
    "no statistics": (
        lambda: nn.Sequential(nn.Unflatten(1, (4, 1)), nn.BatchNorm1d(4, track_running_stats=False)),
        "running statistics",
    ),
    "nothing to quantise": (nn.Identity, "something to quantise"),
    "a function": (lambda: torch.relu, "module of torch.nn"),
    "prepared twice": (lambda: linear()[0], "float model"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_models_that_cannot_be_prepared_are_named(name: str) -> None:
    make, text = MODELS[name]
    with pytest.raises(OpenBpuError, match=text):
        qat.prepare(make(), torch.randn(8, 4))


@pytest.mark.parametrize("inputs", [[], np.zeros((2, 4), np.float32), (torch.zeros(2, 4), 3)])
def test_example_inputs_are_tensors(inputs: Any) -> None:
    with pytest.raises(ConfigError, match="inputs are tensors"):
        qat.prepare(nn.Sequential(nn.Linear(4, 4)), inputs)


# ---- settings


@pytest.mark.parametrize("threshold", [(5, 1), (1, 2, 3), "x", float("nan"), 0, -3, (0.0, 0.0)])
def test_thresholds_are_ranges(threshold: Any) -> None:
    config = qat.Config(templates=[qat.ModuleName({"0": {"threshold": threshold}})])
    with pytest.raises(ConfigError, match="threshold"):
        qat.prepare(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4), config)


@pytest.mark.parametrize(("dtype", "levels"), [("int8", 128), ("int16", 32768)])
def test_the_scale_of_a_threshold_is_exact(dtype: str, levels: int) -> None:
    config = qat.Config(templates=[qat.ModuleName({"0": {"output": dtype, "threshold": 6.0}})])
    model = qat.prepare(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4), config)
    quantiser = sites(model)["0"].quantiser
    assert float(quantiser.positive_scale()) == np.float32(6.0 / levels) and int(quantiser.zero_point) == 0


def test_a_path_that_no_module_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean depthwise"):
        config = qat.Config(templates=[qat.ModuleName({"depthwize": "int16"})])
        qat.prepare(nets.Residual(), torch.randn(2, 1, 8, 8), config)
    config = qat.Config(templates=[qat.ModuleName({"stem": "int16", "stem.1": "int16", "x": {"threshold": 1}})])
    qat.prepare(nets.Residual(), torch.randn(2, 1, 8, 8), config)  # a norm that has joined its layer, an input


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "no list": (lambda: qat.Config(templates=qat.ModuleName({"a": "int8"})), "templates: a list"),  # type: ignore[arg-type]
    "no list of leaves": (lambda: qat.Config(leaves=nn.Linear), "leaves: a list"),  # type: ignore[arg-type]
    "rank": (lambda: qat.Sensitivity([], top=-1), "top"),
    "type": (lambda: qat.Sensitivity([], dtype="int9"), "int9"),
    "part": (lambda: qat.Sensitivity([], part="outputs"), "outputs"),
    "setting": (lambda: qat.Config(templates=[qat.ModuleName({"": 5})]).settings("a", "b"), "type or a mapping"),  # type: ignore[dict-item]
    "class": (lambda: qat.Config(templates=[qat.ModuleType({3: "int8"})]).settings("a", "b"), "classes"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_settings_are_named(name: str) -> None:
    make, text = MISTAKES[name]
    with pytest.raises(ConfigError, match=text):
        make()


def test_settings_by_class_reach_layers_and_the_clamps_that_they_take_in() -> None:
    config = qat.Config(
        templates=[qat.ModuleType({nn.Linear: {"weight": "int4"}, nn.Conv2d: "int16", "mean": "int16"})]
    )
    model = qat.prepare(nets.Residual(), torch.randn(2, 1, 8, 8), config)
    types = {name: site.quantiser.grid.name for name, site in sites(model).items()}
    assert types == dict.fromkeys(types, "int16") | {"x": "int8", "relu": "int8", "head": "int8"}
    assert model.get_submodule("head").grid.name == "int4"


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_divergence_serves_narrow_tensors_and_both_types(dtype: str) -> None:
    x = torch.randn(8, 1, 16, 16) * 1e-6
    model = qat.prepare(nets.Residual(), x, qat.Config(observer="kl", activations=dtype))
    qat.calibrate(model, [x])
    assert all(float(q.positive_scale()) > 0 for q in quantisers(model))


# ---- samples and states


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (lambda x: x, "list of batches"),
        (lambda x: [(x, torch.zeros(8))], "labels"),
        (lambda x: [{"image": x}], "tensors of input"),
        (lambda x: [x * torch.tensor(float("nan"))], "'input_1'.*finite"),
        (lambda x: [x / 0], "finite"),
        (lambda x: [], "at least one"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples: Callable[[Tensor], Any], text: str) -> None:
    model, x = linear()
    with pytest.raises(SampleError, match=text):
        qat.calibrate(model, samples(x))


def test_calibration_in_training_mode_is_refused() -> None:
    model, x = linear()
    qat.set_state(model, "calibration")
    model.train()
    with pytest.raises(ConfigError, match="set_state"):
        model(x)


def test_a_damaged_checkpoint_is_refused() -> None:
    model, x = linear()
    qat.calibrate(model, [x])
    for key, value in (("scale", 0.0), ("scale", float("nan")), ("zero_point", 1000)):
        state = {
            name: torch.full_like(t, value) if name.endswith(f"quantiser.{key}") else t
            for name, t in model.state_dict().items()
        }
        other, _ = linear()
        other.load_state_dict(state)
        with pytest.raises(ConfigError, match="checkpoint"):
            qat.set_state(other, "validation")


def test_a_batch_that_is_not_finite_leaves_the_ranges() -> None:
    model, x = linear()
    qat.calibrate(model, [x], "training")
    model(x / 0)
    assert all(bool(q.positive_scale().isfinite()) for q in quantisers(model))


def test_a_new_model_starts_in_eval_mode() -> None:
    model = qat.prepare(Made(lambda layer, x: F.dropout(F.dropout(layer(x), 0.5, False), 0.5, False)), torch.ones(8, 4))
    x = torch.randn(8, 4)
    torch.testing.assert_close(model(x), model(x))


# ---- what is held of weights


def test_weights_that_change_behind_autograd_are_seen() -> None:
    """As an average of weights does: p.data has no version."""
    model, x = linear()
    qat.calibrate(model, [x])
    with torch.no_grad():
        before = model(x)
        for parameter in model.parameters():
            parameter.data.mul_(0.5)
        assert not torch.equal(model(x), before)


def test_a_copy_has_parameters_of_its_own() -> None:
    x = torch.randn(8, 8)
    model = qat.prepare(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4)), x)
    qat.calibrate(model, [x])
    with torch.no_grad():
        before = model(x)
        other = copy.deepcopy(model)
        for parameter in other.parameters():
            parameter.mul_(0.3)
        got = other(x)
        qat.set_state(other, "float")
        torch.testing.assert_close(got, other(x), atol=0.02, rtol=0)
        assert torch.equal(model(x), before)


def test_inference_mode_computes_the_same() -> None:
    model, x = linear()
    qat.calibrate(model, [x])
    with torch.no_grad():
        want = model(x)
    with torch.inference_mode():
        assert torch.equal(model(x), want) and torch.equal(model(x), want)


# ---- other models that run as they are trained


class Scores(nn.Module):
    """Scores that only an arg-max and a comparison read; None and numbers among the outputs; one input unused."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(this, x: Tensor, unused: Tensor) -> dict[str, Any]:
        y = this.layer(x)
        return {"class": y.argmax(-1), "high": y > 0.5, "parts": [x, (None, 3)], "same": x}


class Chain(nn.Module):
    """Differences and products within functions of one tensor; equal branches, which the exporter merges."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        z = torch.exp(-y.abs()) + F.softplus(y) - torch.log1p(y.square())
        return z, F.glu(self.layer(x)[..., ::2] + self.layer(x)[..., 1::2])


class Norms(nn.Module):
    """Norms as modules and as functions, with and without parameters: each is one operator of the BPU.

    Rows of 16: in rows of up to 8 elements the integer form of epsilon is refused at some scales.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rms, self.layer = nn.RMSNorm(16, eps=1e-6), nn.LayerNorm(16)
        self.weight = nn.Parameter(torch.rand(16) + 0.5)
        self.inner = nn.Linear(1, 16)  # its parameters serve another operator
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(self.rms(x), (16,), self.weight, self.inner.bias)
        y = y + F.rms_norm(self.layer(y), (16,), self.weight, 1e-3)
        return self.head(y - F.layer_norm(F.rms_norm(y, (16,)), (16,)))


class TimeFirst(nn.Module):
    """A recurrent layer whose first axis is no batch; a number as input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 8)

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return self.layer(x)[0] * factor


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "a layer": (lambda: nn.Conv2d(3, 4, 3), (torch.ones(4, 3, 8, 8),)),
    "scores": (Scores, (torch.ones(8, 6), torch.ones(8, 2))),
    "chain": (Chain, (torch.ones(16, 8),)),
    "norms": (Norms, (torch.ones(8, 5, 16),)),
    "time first": (TimeFirst, (torch.ones(3, 4, 6), torch.tensor(1.5))),
}


@pytest.mark.parametrize("name", CASES)
def test_models_that_are_written_in_unusual_ways_run_to_the_last_bit(name: str) -> None:
    make, examples = CASES[name]
    inputs = tuple(x * torch.randn_like(x) if x.dim() else x for x in examples)
    model = qat.prepare(make(), inputs)
    qat.calibrate(model, [inputs])
    qdq = qat.export(model)
    result = qat.verify(model, openbpu.compile(qdq), [inputs], qdq)
    assert result.ok, str(result)
    assert all(r.executable.equal == r.executable.elements for r in (*result.layers, *result.outputs)), str(result)
    assert not openbpu.check(qdq).on_cpu
