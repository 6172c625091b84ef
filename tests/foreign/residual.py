"""Residual and classical networks as strangers write them, with our neurons."""

import torch
from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import make_layers

from spikedriven.neurons import LIF, ParametricLIF

STEPS = 2


class OverTime(nn.Module):
    """An image layer over [T, B, C, H, W], time folded into the batch."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        steps, batch = x.shape[:2]
        y = self.layers(x.flatten(0, 1))
        return y.view(steps, batch, *y.shape[1:])


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> OverTime:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return OverTime(conv, nn.BatchNorm2d(outputs))


class MSBlock(nn.Module):
    """Membrane shortcut (Hu et al., 2021): neurons before the convolutions, real sums."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.fire1, self.conv1 = LIF(), conv_bn(inputs, outputs, stride=stride)
        self.fire2, self.conv2 = LIF(), conv_bn(outputs, outputs)
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if stride > 1 else None

    def forward(self, x):
        spikes = self.fire1(x)
        y = self.conv2(self.fire2(self.conv1(spikes)))
        return y + (x if self.shortcut is None else self.shortcut(spikes))


class MSResNet(nn.Module):
    """[B, 3, H, W] -> [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.blocks = nn.Sequential(MSBlock(8, 8, 1), MSBlock(8, 16, 2))
        self.fire, self.fc = LIF(), nn.Linear(16, 5)

    def forward(self, x):
        x = self.blocks(self.stem(x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)))
        return self.fc(self.fire(x).mean([3, 4])).mean(0)


class SEWBlock(nn.Module):
    """Spike-element-wise (Fang et al., NeurIPS 2021): spikes are joined with spikes by ``g``."""

    def __init__(self, width: int, g: str) -> None:
        super().__init__()
        self.conv1, self.fire1 = conv_bn(width, width), ParametricLIF()
        self.conv2, self.fire2 = conv_bn(width, width), ParametricLIF()
        self.g = g

    def forward(self, x):
        y = self.fire2(self.conv2(self.fire1(self.conv1(x))))
        return x + y if self.g == "ADD" else x * y


class SEWResNet(nn.Module):
    """[B, 3, H, W] -> [B, 5]. The head reads every position, so it reads spikes or counts."""

    def __init__(self, g: str) -> None:
        super().__init__()
        self.stem, self.fire = conv_bn(3, 8), LIF(surrogate="atan")
        self.blocks = nn.Sequential(SEWBlock(8, g), SEWBlock(8, g))
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(8 * 8 * 8, 5)

    def forward(self, x):
        batch = len(x)
        x = self.blocks(self.fire(self.stem(x.expand(STEPS, *x.shape))))
        x = self.pool(x.reshape(STEPS * batch, *x.shape[2:]))
        return self.fc(x.reshape(STEPS, batch, -1)).mean(0)


class FoldedLIF(nn.Module):
    """A LIF neuron where an image network had its ReLU: reads [T * B, ...]."""

    def __init__(self, steps: int = STEPS, **options) -> None:
        super().__init__()
        self.steps, self.neuron = steps, LIF(**options)

    def forward(self, x):
        return self.neuron(x.unflatten(0, (self.steps, -1))).flatten(0, 1)


def spiking(module: nn.Module) -> nn.Module:
    """Every ReLU of a network exchanged for a LIF neuron, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU | nn.ReLU6):
            setattr(module, name, FoldedLIF())
        else:
            spiking(child)
    return module


class Repeated(nn.Module):
    """An image network over T copies of the image; the mean of its T outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.repeat(STEPS, 1, 1, 1)).unflatten(0, (STEPS, -1)).mean(0)


def vgg() -> nn.Module:
    """torchvision's feature extractor with batch norms, and a head on all positions."""
    features = make_layers([8, "M", 16, 16, "M"], batch_norm=True)
    first, last = nn.Linear(16 * 4 * 4, 16), nn.Linear(16, 5)
    nn.init.normal_(first.weight, std=0.5)
    head = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Dropout(), last)
    return Repeated(spiking(nn.Sequential(features, head)))


def mobilenet() -> nn.Module:
    """torchvision's MobileNetV2: linear bottlenecks add real values, which the next layer reads."""
    blocks = [[1, 8, 1, 1], [2, 8, 2, 2], [2, 16, 1, 1]]
    return Repeated(spiking(MobileNetV2(5, width_mult=0.25, inverted_residual_setting=blocks)))


def resnet() -> nn.Module:
    """The first half of torchvision's ResNet: a block calls one and the same neuron twice."""
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    network.layer3 = network.layer4 = nn.Identity()
    network.fc = nn.Linear(128, 5)
    return Repeated(spiking(network))


def images(batch: int, size: int = 16) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))
