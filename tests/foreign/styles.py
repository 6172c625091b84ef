"""More styles: norms behind sums, dense blocks, a mixer, token gates, attention without a neuron
behind it."""

import torch
from torch import nn

from spikedriven.neurons import LIF
from tests.foreign.residual import STEPS, FoldedLIF


class SumNorms(nn.Module):
    """[B, 3, 16, 16] -> [B, 5]. One norm reads two layers: their sum, their difference, the two
    side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fire = nn.Conv2d(3, 8, 3, padding=1), FoldedLIF()
        nn.init.normal_(self.stem.weight, std=0.5)
        self.wide1, self.near1 = nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.Conv2d(8, 12, 1)
        self.wide2 = nn.Sequential(
            nn.Conv2d(12, 12, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(12)
        )
        self.near2 = nn.Conv2d(12, 12, 1, bias=False)
        self.left, self.right = nn.Conv2d(12, 5, 1), nn.Conv2d(12, 7, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(12) for _ in range(3))
        self.fires = nn.ModuleList(FoldedLIF() for _ in range(3))
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(12 * 64, 5)

    def forward(self, x):
        x = self.fire(self.stem(x.repeat(STEPS, 1, 1, 1)))
        x = self.fires[0](self.norms[0](self.wide1(x) + self.near1(x)))
        x = self.fires[1](self.norms[1](self.wide2(x) - self.near2(x)))
        x = self.fires[2](self.norms[2](torch.cat([self.left(x), self.right(x)], 1)))
        return self.fc(self.pool(x).flatten(1)).view(STEPS, -1, 5).mean(0)


class DenseBlocks(nn.Module):
    """[B, 3, 16, 16] -> [B, 5], as DenseNet: each norm reads the maps of all layers before, which
    others read too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(self.layer(8 + 4 * i, 4) for i in range(2))
        self.transition, self.pool = self.layer(16, 10, 1), nn.AvgPool2d(2)
        self.norm, self.fire, self.fc = nn.BatchNorm2d(10), FoldedLIF(), nn.Linear(10 * 64, 5)

    def layer(self, inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        return nn.Sequential(nn.BatchNorm2d(inputs), FoldedLIF(), conv)

    def forward(self, x):
        maps = [self.stem(x.repeat(STEPS, 1, 1, 1))]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, 1)))
        x = self.norm(self.pool(self.transition(torch.cat(maps, 1))))
        return self.fc(self.fire(x).flatten(1)).view(STEPS, -1, 5).mean(0)


class Mixer(nn.Module):
    """[B, 3, 16, 16] -> [B, 5]: a linear layer over tokens, then one over channels; a mask of two
    maps by `maximum`."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.fire1, self.tokens = nn.Conv2d(3, 16, 4, 4), LIF(), nn.Linear(16, 16)
        self.fire2, self.channels, self.norm = LIF(), nn.Linear(16, 16), nn.BatchNorm1d(16)
        self.fire3, self.fire4, self.gate, self.head = (
            LIF(),
            LIF(),
            LIF(v_threshold=2.5),
            nn.Linear(16, 5),
        )
        nn.init.normal_(self.patches.weight, std=0.3)

    def forward(self, x):
        x = self.patches(x).flatten(2)[None].expand(STEPS, -1, -1, -1)  # [T, B, C, N]
        x = (x + self.tokens(self.fire1(x))).transpose(2, 3)
        y = self.channels(self.fire2(x)).flatten(0, 1).transpose(1, 2)
        x = x + self.norm(y).transpose(1, 2).unflatten(0, (STEPS, -1))
        spikes = self.fire3(x)
        gate = self.gate(spikes.sum(2, keepdim=True))
        return self.head(torch.maximum(spikes * gate, self.fire4(x)).amax(2)).mean(0)


class PlainAttention(nn.Module):
    """[B, 3, 16, 16] -> [B, 5]: q, k and v out of one layer; what they give goes into a linear
    layer as it is."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.patches, self.fire = nn.Conv2d(3, width, 4, stride=4), LIF()
        self.position = nn.Parameter(0.1 * torch.randn(1, 16, width))
        self.qkv, self.norm, self.qkv_fire = (
            nn.Linear(width, 3 * width),
            nn.BatchNorm1d(3 * width),
            LIF(),
        )
        self.project, self.heads, self.scale = (
            nn.Linear(width, width),
            heads,
            (width // heads) ** -0.5,
        )
        self.head_fire, self.head = LIF(), nn.Linear(width, 5)
        nn.init.normal_(self.patches.weight, std=0.3)
        nn.init.normal_(self.project.weight, std=0.5)

    def forward(self, x):
        x = (self.patches(x).flatten(2).transpose(1, 2) + self.position).expand(STEPS, -1, -1, -1)
        steps, batch, tokens, width = x.shape
        qkv = self.norm(self.qkv(self.fire(x)).flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        spikes = self.qkv_fire(qkv.reshape(steps, batch, tokens, 3 * width))
        q, k, v = (
            spikes.reshape(steps, batch, tokens, 3, self.heads, -1)
            .permute(3, 0, 1, 4, 2, 5)
            .unbind(0)
        )
        y = (q @ k.transpose(-2, -1)) @ v * self.scale
        x = x + self.project(y.transpose(2, 3).reshape(x.shape))
        return self.head(self.head_fire(x).amax(2)).mean(0)
