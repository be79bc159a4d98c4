"""Capture, placement, configuration, states, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openbpu import qat
from openbpu.errors import ConfigError, SampleError, UnsupportedError
from openbpu.qat.switching import quantisers, sites
from qat import nets

HERE = Path(__file__).name


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def line_of(marker: str) -> int:
    """The line of this file that ends with a comment."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(i for i, text in enumerate(lines, 1) if text.endswith(f"# {marker}"))


# ---- placement


def test_a_convolution_takes_in_its_batch_normalisation_and_clamp() -> None:
    model = qat.prepare(nets.Residual(), torch.randn(2, 1, 16, 16))
    names = list(sites(model))
    assert names == ["x", "stem.2", "depthwise.2", "project.0", "relu", "down.2", "mean", "head"]
    rows = {row.name: row for row in qat.preparation(model).rows}
    assert "with stem.1" in rows["stem.0"].note and "takes in stem.2" in rows["stem.0"].note
    assert rows["stem.0"].weight == "int8" and rows["stem.0"].result == "" and rows["stem.2"].result == "int8"
    assert "conv2d" in qat.preparation(model).table()
    kept = {n for n, _ in nets.Residual().named_parameters() if ".1." not in n}
    assert kept <= {n for n, _ in model.named_parameters()}


def test_concat_and_interpolation_share_parameters() -> None:
    model = qat.prepare(nets.UNet(), torch.randn(2, 3, 16, 16))
    found = sites(model)
    assert found["cat"].quantiser is found["up"].quantiser is found["second.2"].quantiser
    assert found["interpolate"].quantiser is found["join.2"].quantiser is found["cat#2"].quantiser
    assert found["interpolate"].quantiser is not found["cat"].quantiser


def test_functions_of_one_tensor_are_one_table() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * F.relu6(x + 3) / 6
            return y * torch.sigmoid(y)

    model = qat.prepare(Swish(), torch.randn(2, 8))
    assert len(sites(model)) == 2


def test_functional_layers_and_in_place_operators() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
            self.inner = nn.Module()
            self.inner.weight = nn.Parameter(torch.randn(5, 4))
            self.inner.bias = nn.Parameter(torch.randn(5))

        def forward(self, x: Tensor) -> Tensor:
            y = F.conv2d(x, self.weight, padding=1)
            z = F.relu_(y)
            y += 1  # the clamped values
            return F.linear((y + z).mean((2, 3)), self.inner.weight, self.inner.bias)

    net, x = Functional().eval(), torch.randn(2, 3, 8, 8)
    model = qat.prepare(net, x)
    torch.testing.assert_close(model(x), net(x))
    assert "inner.weight" in dict(model.named_parameters())


def test_python_that_looks_at_shapes_runs_for_any_batch() -> None:
    class Shapes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            assert c == 6 and len(x.shape) == 3
            rows = [self.layer(x[:, i]) for i in range(n)]
            return torch.stack(rows, 1).reshape(b * n, c).view(b, -1)

    net, x = Shapes(), torch.randn(2, 3, 6)
    model = qat.prepare(net, x, qat.Config(shared="separate"))
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, 6)
        torch.testing.assert_close(model(x), net(x))


# ---- what is refused


def test_control_flow_on_data_names_module_and_line() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x  # branch

    net = nn.Sequential(nn.Linear(4, 4), Branch())
    with pytest.raises(UnsupportedError) as caught:
        qat.prepare(net, torch.randn(2, 4))
    assert "'1' (Branch)" in caught.value.where and f"{HERE}:{line_of('branch')}" in caught.value.where
    assert "torch.where" in caught.value.remedy


def test_numbers_from_data_are_refused() -> None:
    class Item(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.max().item()  # item

    with pytest.raises(UnsupportedError, match=rf"{HERE}:{line_of('item')}.*depend on data"):
        qat.prepare(Item(), torch.randn(2, 4))


def test_an_unknown_operator_is_refused_or_left_in_float() -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(self.layer(x))  # unknown

    with pytest.raises(UnsupportedError) as caught:
        qat.prepare(Unknown(), torch.randn(2, 4))
    assert f"{HERE}:{line_of('unknown')}" in caught.value.where and "ModuleName" in caught.value.remedy
    config = qat.Config(templates=[qat.ModuleName({"special_bessel_j0": "float"})])
    assert list(sites(qat.prepare(Unknown(), torch.randn(2, 4), config))) == ["x", "layer"]


def test_a_graph_of_one_batch_is_refused() -> None:
    class Rows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows = [x[i] for i in range(x.shape[0])]  # rows of the batch
            return torch.stack(rows) + 1

    with pytest.raises(UnsupportedError, match=rf"{HERE}:{line_of('rows of the batch')}.*batch"):
        qat.prepare(Rows(), torch.randn(2, 4))


def test_calls_of_one_module_with_different_ranges_are_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            a = self.layer(x)
            return a + self.layer(x * 1000)  # twice

    net, x = Twice(), torch.randn(8, 4)
    with pytest.raises(UnsupportedError, match=rf"{HERE}:{line_of('twice')}.*separate"):
        qat.calibrate(qat.prepare(net, x), [x])
    model = qat.prepare(net, x, qat.Config(shared="separate"))
    qat.calibrate(model, [x])
    assert len(sites(model)) == 5


def test_computed_weights_masks_and_states_are_refused() -> None:
    net = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU())
    with pytest.raises(UnsupportedError, match=r"module '0'.*remove_parametrizations"):
        qat.prepare(net, torch.randn(2, 4))

    class Masked(nn.Module):
        def __init__(self, layer: nn.Module, extra: torch.Tensor) -> None:
            super().__init__()
            self.layer, self.extra = layer, extra

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(self.layer, qat.expanding.Recurrent):
                return self.layer(x, self.extra)[0]
            return self.layer(x, x, x, attn_mask=self.extra)[0]

    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    with pytest.raises(UnsupportedError, match=r"module 'layer'.*masked"):
        qat.prepare(Masked(attention, torch.zeros(3, 3)), torch.randn(2, 3, 8))
    with pytest.raises(UnsupportedError, match=r"module 'layer'.*initial state"):
        qat.prepare(Masked(nn.GRU(8, 8, batch_first=True), torch.zeros(1, 2, 8)), torch.randn(2, 3, 8))
    with pytest.raises(UnsupportedError, match="RNN"):
        qat.prepare(nn.Sequential(nn.RNN(4, 4)), torch.randn(2, 3, 4))


def test_mixed_precision_is_refused() -> None:
    model = qat.prepare(nets.Residual(), torch.randn(2, 1, 16, 16))
    qat.set_state(model, "calibration")
    with pytest.raises(ConfigError, match="mixed precision"), torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 1, 16, 16))


# ---- configuration


def test_templates_override_in_their_order() -> None:
    config = qat.Config(
        templates=[
            qat.ModuleType({nn.Linear: {"weight": "int4"}, "relu": {"threshold": 6.0}}),
            qat.ModuleName({"head": {"weight": "int6", "threshold": (-3.0, 5.0)}, "down": "int16"}),
        ]
    )
    model = qat.prepare(nets.Residual(), torch.randn(2, 1, 16, 16), config)
    found = sites(model)
    assert model.get_submodule("head").grid.name == "int6"
    assert found["down.2"].quantiser.grid.name == "int16" and found["stem.2"].quantiser.grid.name == "int8"
    assert float(found["relu"].quantiser.positive_scale()) == pytest.approx(6 / 127.5, rel=0.01)
    assert float(found["head"].quantiser.positive_scale()) == pytest.approx(8 / 255)
    with pytest.raises(ConfigError, match="int3x"):
        qat.prepare(nets.Residual(), torch.randn(2, 1, 16, 16), qat.Config(weights="int3x"))
    with pytest.raises(ConfigError, match="heaviness"):
        wrong = qat.Config(templates=[qat.ModuleName({"": {"heaviness": "int8"}})])
        qat.prepare(nets.Residual(), torch.randn(2, 1, 16, 16), wrong)


@pytest.mark.parametrize("mode", ["train", "freeze", "fold"])
def test_batch_normalisation_modes_agree_in_validation(mode: str) -> None:
    x = torch.randn(16, 1, 16, 16)
    net = nets.settled(nets.Residual(), [x])
    model = qat.prepare(net, x, qat.Config(batch_norm=mode))
    torch.testing.assert_close(model(x), net(x), atol=1e-4, rtol=1e-4)
    qat.calibrate(model, [x])
    reference = qat.prepare(net, x, qat.Config(batch_norm="fold"))
    qat.calibrate(reference, [x])
    torch.testing.assert_close(model(x), reference(x))
    assert any("running_mean" in name for name, _ in model.named_buffers()) == (mode != "fold")
    qat.set_state(model, "training")
    before = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    model(x * 2).sum().backward()
    moved = any(not torch.equal(b, dict(model.named_buffers())[n]) for n, b in before.items())
    assert moved == (mode == "train")
    assert all(p.grad is not None for p in model.parameters())


# ---- states


def test_states_are_checked() -> None:
    x = torch.randn(4, 1, 16, 16)
    model = qat.prepare(nets.settled(nets.Residual(), [x]), x)
    assert qat.state_of(model) is qat.State.FLOAT
    with pytest.raises(ConfigError, match="calibrated"):
        qat.set_state(model, "training")
    with pytest.raises(ConfigError, match="float, calibration, training, validation"):
        qat.set_state(model, "trained")
    with pytest.raises(SampleError, match="at least one sample"):
        qat.calibrate(model, [])
    qat.calibrate(model, [x], "training")
    assert model.training and qat.state_of(model) is qat.State.TRAINING
    model.eval()
    with pytest.raises(ConfigError, match="set_state"):
        model(x)
    with pytest.raises(ConfigError, match="validation"):
        qat.export(model)
    qat.set_state(model, "validation")
    scales = [float(q.positive_scale()) for q in quantisers(model)]
    model(x * 10)
    assert scales == [float(q.positive_scale()) for q in quantisers(model)]
    with pytest.raises(ConfigError, match="prepare"):
        qat.set_state(nets.Residual(), "float")


@pytest.mark.parametrize("ranges", ["moving", "learned", "fixed"])
def test_a_checkpoint_goes_round(ranges: str, tmp_path: Path) -> None:
    x = torch.randn(8, 1, 16, 16)
    net = nets.settled(nets.Residual(), [x])
    config = qat.Config(ranges=ranges, weight_scale="learned" if ranges == "learned" else "max")
    model = nets.trained(net, [x], config, steps=2)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = qat.prepare(nets.Residual(), x, config)
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    qat.set_state(other, "validation")
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


# ---- numbers


def test_the_operator_is_onnx() -> None:
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    x = (torch.randn(500) * 40).float()
    scale, zero = torch.tensor(0.3), torch.tensor(-7, dtype=torch.int8)
    got = torch.ops.openbpu.fake_quantize(x, scale, zero, -1, -128, 127)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, t, s) for n, t, s in (("x", 1, [500]), ("s", 1, []), ("z", 3, []))]
    graph = helper.make_graph(nodes, "g", infos, [helper.make_tensor_value_info("y", 1, [500])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    onnx.checker.check_model(model)
    (want,) = ReferenceEvaluator(model).run(None, {"x": x.numpy(), "s": scale.numpy(), "z": zero.numpy()})
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("axis", [-1, 0])
def test_gradients_are_those_of_lsq(axis: int) -> None:
    x = torch.randn(3, 40, dtype=torch.float32).mul_(3).requires_grad_()
    scale = torch.full(() if axis < 0 else (3,), 0.05).requires_grad_()
    zero = torch.full(scale.shape, 3, dtype=torch.int32)
    weight = torch.randn(3, 40)
    (torch.ops.openbpu.fake_quantize(x, scale, zero, axis, -8, 7) * weight).sum().backward()
    s = scale.detach().reshape(-1, 1)
    steps = x.detach() / s
    inside = (steps > -11.5) & (steps < 4.5)
    slope = torch.where(inside, steps.round() - steps, steps.round().clamp(-11, 4))
    torch.testing.assert_close(x.grad, weight * inside)
    want = (slope * weight).sum(1) if axis == 0 else (slope * weight).sum()
    torch.testing.assert_close(scale.grad, want / (7 * (40 if axis == 0 else 120)) ** 0.5)


@pytest.mark.parametrize("name", ["minmax", "moving", "auto", "percentile", "mse", "kl"])
def test_observers_choose_sensible_ranges(name: str) -> None:
    from openbpu.qat.grids import activation_grid
    from openbpu.qat.observers import observer

    random = torch.Generator().manual_seed(1)
    found = observer(name)
    for batch in range(4):
        x = torch.randn(200_000, generator=random).abs()
        x[0] = 100.0 if batch == 0 or name == "moving" else 0.0  # one outlier
        found.observe(x)
    low, high = found.limits(activation_grid("int8"), False)
    assert float(low) == 0 or name == "moving"
    bounds = {"minmax": (100, 100), "moving": (99, 100), "percentile": (3, 8)}
    least, most = bounds.get(name, (2, 60))
    assert least <= float(high) <= most
    found.reset()
    assert int(found.count) == 0


def test_ranges_are_those_of_post_training_quantisation() -> None:
    from openbpu.ptq.calibration import Statistics
    from openbpu.ptq.ranges import PERCENTILE, candidates, squared_error
    from openbpu.qat.grids import activation_grid, parameters
    from openbpu.qat.observers import observer

    x = torch.randn(20_000)
    for name in ("auto", "percentile"):
        found = observer(name)
        found.observe(x)
        scale, zero = parameters(*found.limits(activation_grid("int8"), False), activation_grid("int8"), False)
        counts, _ = np.histogram(x.numpy(), 4096, (float(x.min()), float(x.max())))
        statistics = Statistics(float(x.min()), float(x.max()), counts)
        methods = ("max", "percentile") if name == "auto" else (name,)
        proposed = [q for method in methods for q in candidates(statistics, method, False, PERCENTILE)]
        quant = min(proposed, key=lambda quant: squared_error(statistics, quant))
        assert float(scale) == pytest.approx(quant.s, rel=2e-3) and abs(int(zero) - quant.z) <= 1


def test_another_method_needs_no_data() -> None:
    x = torch.randn(64, 1, 16, 16)
    model = qat.prepare(nets.settled(nets.Residual(), [x]), x)
    qat.calibrate(model, [x**5])
    before = float(sites(model)["x"].quantiser.positive_scale())
    qat.reset_ranges(model, "mse", "x")
    assert float(sites(model)["x"].quantiser.positive_scale()) < before
    with pytest.raises(ConfigError, match="method"):
        qat.reset_ranges(model, "best")
