"""Prepare, calibrate, 20 steps, export, compile: what runs equals what was trained."""

from __future__ import annotations

import pytest
import torch

import openbpu
from openbpu import qat
from qat import nets

MODELS = {
    "residual": (lambda: nets.Residual(), (1, 16, 16)),
    "resnet": (lambda: nets.ResNet(), (3, 24, 24)),
    "mobilenet": (lambda: nets.MobileNet(), (3, 24, 24)),
    "unet": (lambda: nets.UNet(), (3, 16, 16)),
    "vit": (lambda: nets.ViT(), (3, 16, 16)),
    "lstm": (lambda: nets.Tagger(torch.nn.LSTM), (4, 12)),
    "gru": (lambda: nets.Tagger(torch.nn.GRU, bidirectional=True), (3, 12)),
}


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", MODELS)
def test_what_runs_equals_what_was_trained(name: str) -> None:
    make, shape = MODELS[name]
    batches = [torch.randn(16, *shape) for _ in range(4)]
    net = nets.settled(make(), batches)
    model = nets.trained(net, batches)
    result = nets.verified(model, [torch.randn(24, *shape)])
    print(result)
    assert result.ok, str(result)
    assert all(row.executable.equal == row.executable.elements for row in result.layers)  # to the last bit
    assert not openbpu.check(qat.export(model)).on_cpu


class Rest(torch.nn.Module):
    """Operators whose instructions QAT does not compute: fake quantisation alone stands for them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        likelihood = torch.log_softmax(y, dim=1)
        best = torch.logsumexp(y, dim=1, keepdim=True)
        places = torch.tensor([3, 0, 2], device=x.device).reshape(1, 3, 1, 1).expand(x.shape[0], 3, 12, 12)
        picked = torch.gather(likelihood, 1, places)
        return torch.cat([torch.cumsum(torch.tril(y), dim=3), picked, best], dim=1)


def test_operators_without_a_law_run_on_the_bpu() -> None:
    batches = [torch.randn(8, 3, 12, 12) for _ in range(4)]
    model = nets.trained(nets.settled(Rest(), batches), batches)
    assert not openbpu.check(qat.export(model)).on_cpu
    result = nets.verified(model, [torch.randn(8, 3, 12, 12)])
    assert all(row.executable.largest <= 2 for row in result.layers), str(result)  # steps
