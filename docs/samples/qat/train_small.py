"""A small network with residual and depthwise blocks: float, PTQ, QAT, each measured on its executable.

    pip install 'openbpu[qat]' scikit-learn
    python train_small.py                          # digits of scikit-learn, one seed
    apt-get install dataset-fashion-mnist
    python train_small.py --data fashion --seeds 0 1 2 --weights int8 int3

Prints one row per seed and type of weights; PTQ and QAT are executables run by the engine, not simulations.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import openbpu
from openbpu import qat

_FASHION = Path("/usr/share/datasets/fashion-mnist")


class Block(nn.Module):
    """Expansion, depthwise convolution, projection, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6())
        depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(wide), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


class Net(nn.Module):
    """Images [n, 1, h, w] to scores of ten classes."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.first = Block(width)
        self.down = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True)
        )
        self.second = nn.Sequential(Block(2 * width), Block(2 * width))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.down(self.first(self.stem(x)))).mean((2, 3)))


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: 1797 digits of 8 x 8."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    images = torch.tensor(data.images[order, None] / 8 - 1, dtype=torch.float32)
    labels = torch.tensor(data.target[order])
    return images[:1200], labels[:1200], images[1200:], labels[1200:]


def fashion(count: int = 20_000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same of Fashion-MNIST: `count` training images, 10 000 test images of 28 x 28."""

    def read(name: str, offset: int) -> np.ndarray:
        path = next(_FASHION.glob(f"{name}*"))
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.frombuffer(data, np.uint8, offset=offset)

    images = [torch.tensor(read(f"{part}-images", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 128 - 1)
              for part in ("train", "t10k")]  # fmt: skip
    labels = [torch.tensor(read(f"{part}-labels", 8).astype(np.int64)) for part in ("train", "t10k")]
    return images[0][:count], labels[0][:count], images[1], labels[1]


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, rate: float, seed: int) -> None:
    """An ordinary training loop; it does not know whether the model is quantised."""
    steps = epochs * -(-len(images) // 128)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(128):
            optimiser.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Per cent right of a model in eval mode."""
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in images.split(500)])
    return 100 * float((found == labels).float().mean())


def executable_accuracy(executable: openbpu.Executable, images: Tensor, labels: Tensor) -> float:
    """Per cent right of the compiled program."""
    session = openbpu.Session(executable)
    right = sum(
        int(next(iter(session.run(image[None].numpy()).values())).argmax() == label)
        for image, label in zip(images, labels, strict=True)
    )
    return 100 * right / len(images)


def one_seed(seed: int, options: argparse.Namespace) -> None:
    """Trains in float, then prints for each type of weights the accuracies in float, after PTQ, after QAT."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    images, labels, test_images, test_labels = fashion() if options.data == "fashion" else digits()
    stride, epochs, more = (2, 3, 2) if options.data == "fashion" else (1, 30, 15)
    net = Net(16, stride).to(memory_format=torch.channels_last)  # quicker on CPUs
    images = images.to(memory_format=torch.channels_last)
    train(net, images, labels, epochs, 0.01, seed)
    float_accuracy = accuracy(net.eval(), test_images, test_labels)
    for weights in options.weights:
        config = qat.Config(weights=weights, ranges="learned", weight_scale=options.weight_scale)
        model = qat.prepare(net, images[:2], config)
        qat.calibrate(model, images[:512].split(64))
        ptq = executable_accuracy(openbpu.compile(qat.export(model)), test_images, test_labels)

        qat.set_state(model, "training")
        train(model, images, labels, more, 0.002, seed + 1)
        qat.set_state(model, "validation")
        executable = openbpu.compile(qat.export(model))
        trained = executable_accuracy(executable, test_images, test_labels)
        seconds = time.perf_counter() - start
        print(f"{seed:4} {weights:>8} {float_accuracy:8.2f} {ptq:8.2f} {trained:8.2f} {seconds:8.1f}", flush=True)
        if options.verify:
            print(qat.verify(model, executable, test_images[:200].split(100)))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "fashion"), default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--weights", nargs="+", default=["int8"], help="int8, or fewer bits: int3 is the hard setting")
    parser.add_argument("--weight-scale", default="max", help="max, mse or learned")
    parser.add_argument("--verify", action="store_true", help="compare PyTorch, ONNX Runtime and the executable")
    options = parser.parse_args()
    print(f"{'seed':>4} {'weights':>8} {'float':>8} {'PTQ':>8} {'QAT':>8} {'seconds':>8}")
    for seed in options.seeds:
        one_seed(seed, options)


if __name__ == "__main__":
    main()
