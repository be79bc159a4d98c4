"""Small networks of the families that users train, and what the tests do with them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import openbpu
from openbpu import qat


def conv(
    ci: int, co: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: nn.Module | None = None
) -> nn.Module:
    layers = [nn.Conv2d(ci, co, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(co)]
    return nn.Sequential(*layers, *([] if act is None else [act]))


class Residual(nn.Module):
    """A stem, a residual block with depthwise convolution, pooling, a classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = conv(1, 12, act=nn.ReLU())
        self.depthwise = conv(12, 12, groups=12, act=nn.ReLU6())
        self.project = conv(12, 12, 1)
        self.down = conv(12, 24, stride=2, act=nn.ReLU())
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.project(self.depthwise(x)))
        return self.head(self.down(x).mean((2, 3)))


class BasicBlock(nn.Module):
    """Of a ResNet, with one ReLU module for both places, as torchvision writes it."""

    def __init__(self, ci: int, co: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ci, co, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(co)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(co, co, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(co)
        self.downsample = None if stride == 1 and ci == co else conv(ci, co, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """Stem with max pooling, two stages, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 3, 1, act=nn.ReLU(inplace=True)), nn.MaxPool2d(3, 2, 1))
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.layer2(self.layer1(self.stem(x)))), 1))


class SqueezeExcite(nn.Module):
    """A gate per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.up(gate))


class Inverted(nn.Module):
    """Of a MobileNetV3: expansion, depthwise, gate, projection."""

    def __init__(self, ci: int, co: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.expand = conv(ci, 4 * ci, 1, act=act())
        self.depthwise = conv(4 * ci, 4 * ci, 5, stride, 4 * ci, act=act())
        self.gate, self.project = SqueezeExcite(4 * ci), conv(4 * ci, co, 1)
        self.residual = stride == 1 and ci == co

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """MobileNetV3 in small: ReLU6 blocks, then hard-swish ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, 3, 2, act=nn.Hardswish())
        self.blocks = nn.Sequential(Inverted(16, 16, 1, nn.ReLU6), Inverted(16, 24, 2, nn.Hardswish))
        self.head = nn.Sequential(conv(24, 48, 1, act=nn.Hardswish()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(48, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.head(self.blocks(self.stem(x))))


class UNet(nn.Module):
    """One level down with max pooling, one up with a transposed convolution, one up with interpolation; concat."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv(3, 8, act=nn.ReLU()), conv(8, 16, act=nn.ReLU()), conv(16, 16)
        self.up = nn.ConvTranspose2d(16, 16, 2, 2)
        self.join, self.last = conv(32, 8, act=nn.ReLU()), conv(16, 8, act=nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = F.relu(self.third(F.max_pool2d(b, 2)))
        d = self.join(torch.cat([self.up(c), b], 1))
        e = F.interpolate(d, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.last(torch.cat([e, a], 1)))


class Block(nn.Module):
    """Of a vision transformer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.proj(mixed)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """Patches, a class token, position embedding, two blocks."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.blocks = nn.ModuleList([Block(width, 4) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Tagger(nn.Module):
    """A recurrent layer and a class for every step."""

    def __init__(self, kind: type[nn.RNNBase], bidirectional: bool = False) -> None:
        super().__init__()
        self.layer = kind(12, 16, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(32 if bidirectional else 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x)
        return self.head(states)


def trained(
    net: nn.Module, batches: Iterable[Tensor], config: qat.Config | None = None, steps: int = 20, rate: float = 1e-4
) -> torch.fx.GraphModule:
    """The network prepared, calibrated, and trained towards the float network for some steps."""
    batches = list(batches)
    model = qat.prepare(net, batches[0], config)
    with torch.no_grad():
        targets = [net.eval()(x) for x in batches]
    qat.calibrate(model, batches, "training")
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        x, target = batches[step % len(batches)], targets[step % len(batches)]
        optimiser.zero_grad()
        F.mse_loss(model(x), target).backward()
        optimiser.step()
    qat.set_state(model, "validation")
    return model


def settled(net: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """The network with batch statistics of real inputs: untrained ones make logits of no spread."""
    net.train()
    with torch.no_grad():
        for _ in range(10):
            for x in batches:
                net(x)
    return net.eval()


def verified(model: nn.Module, samples: Iterable[Tensor]) -> qat.Verification:
    """Exported, compiled, compared."""
    qdq = qat.export(model)
    return qat.verify(model, openbpu.compile(qdq), samples, qdq)
