"""ResNet-20, trained here for a few minutes on Fashion-MNIST: the network of the kind for which no package has weights.

    pip install torch; apt-get install dataset-fashion-mnist
    python -m bench.accuracy.trained --output resnet20.onnx

The shape of He et al. 2016, section 4.2 (three stages of three blocks, 16 to 64 channels) for images of 28 x 28. It is
seeded, but weights depend on the build of PyTorch all the same, so figures of two machines differ a little.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from bench.accuracy.inputs import Feed

_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package
_TRAINED, _EPOCHS, _BATCH, _RATE = 15_000, 4, 128, 0.01


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 1, 28, 28] from -1 to 1, and class indices, of "train" or "t10k"."""

    def content(kind: str, offset: int) -> np.ndarray:
        path = next(iter(_FASHION.glob(f"{part}-{kind}*")), None)
        if path is None:
            raise SystemExit(f"{part}-{kind} is not in {_FASHION}: apt-get install dataset-fashion-mnist")
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.frombuffer(data, np.uint8, offset=offset)

    images = content("images", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 128 - 1
    return images, content("labels", 8).astype(np.int64)


def feeds(count: int, seed: int) -> Iterator[Feed]:
    """Seed 1: images of the training set; others: of the test set."""
    images = read("train" if seed == 1 else "t10k")[0]
    for index in np.random.default_rng(seed).permutation(len(images))[:count]:
        yield {"image": images[index : index + 1]}


def network() -> torch.nn.Module:
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
            )  # fmt: skip
            direct: nn.Module = nn.Identity()
            if inputs != outputs:
                direct = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            self.direct = direct

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x) + self.direct(x)
            return y.relu()

    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            layers.append(Block(width, outputs, stride if index == 0 else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def train(seed: int = 0) -> torch.nn.Module:
    """The trained network, in eval mode."""
    import torch

    torch.manual_seed(seed)
    images, labels = (torch.from_numpy(array[:_TRAINED].copy()) for array in read("train"))
    images = images.to(memory_format=torch.channels_last)
    net = network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    steps = _EPOCHS * -(-len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(images)).split(_BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output: Path = parser.parse_args().output
    net = train()
    images, labels = (torch.from_numpy(array[:2000].copy()) for array in read("t10k"))
    with torch.no_grad():
        right = (net(images).argmax(1) == labels).float().mean()
    print(f"{100 * float(right):.1f} % of 2000 test images")
    example = torch.zeros(1, 1, 28, 28)
    torch.onnx.export(net, (example,), str(output), input_names=["image"], output_names=["logits"], dynamo=False)


if __name__ == "__main__":
    main()
