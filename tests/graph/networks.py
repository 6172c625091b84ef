"""Small networks that no family has: what a user may build from our neurons, and what the audit
must catch.
"""

import torch
from torch import nn

from spikedriven.neurons import LIF, IntegerNeuron

STEPS = 3


class Fold(nn.Module):
    """A [N, C, H, W] module over [T, B, C, H, W]."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return self.inner(x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))


def conv_bn(inputs: int, outputs: int, kernel: int = 1) -> Fold:
    return Fold(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Net(nn.Module):
    """Encoding layer, neuron, whatever a test plants, neuron, spatial mean, neuron, classifier."""

    def __init__(
        self, planted: nn.Module | None = None, width: int = 8, neuron=LIF, head_neuron: bool = True
    ) -> None:
        super().__init__()
        self.encode, self.fire = conv_bn(3, width, 3), neuron()
        self.planted = planted or nn.Identity()
        self.fire2, self.head = neuron(), nn.Linear(width, 5)
        head_fire = (
            LIF(v_threshold=0.1) if neuron is LIF else neuron()
        )  # a mean of spikes never reaches 1
        self.head_fire = head_fire if head_neuron else nn.Identity()
        self.never_called = LIF()

    def forward(self, x):
        x = self.fire(self.encode(x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)))
        x = self.fire2(self.planted(x))
        return self.head(self.head_fire(x.mean(dim=(3, 4)))).mean(0)


class Attention(nn.Module):
    """q (k^T v) x scale, or softmax(q k^T) v, on spikes [T, B, C, H, W]."""

    def __init__(
        self,
        width: int = 8,
        heads: int = 2,
        scale: float = 0.125,
        softmax: bool = False,
        neuron=LIF,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(conv_bn(width, width) for _ in range(3))
        self.fire = nn.ModuleList(neuron() for _ in range(3))
        self.heads, self.scale, self.softmax = heads, scale, softmax
        self.attn_fire, self.out = neuron(), conv_bn(width, width)

    def forward(self, x):
        q, k, v = (
            fire(project(x)).flatten(3).unflatten(2, (self.heads, -1)).transpose(-1, -2)
            for fire, project in zip(self.fire, self.project, strict=True)
        )
        if self.softmax:
            y = torch.softmax((q @ k.transpose(-1, -2)) * self.scale, dim=-1) @ v
        else:
            y = q @ (k.transpose(-1, -2) @ v) * self.scale
        y = y.transpose(-1, -2).flatten(2, 3).unflatten(3, x.shape[-2:])
        return x + self.out(self.attn_fire(y))


class Mask(nn.Module):
    """q * fire(sum over tokens of k * v)."""

    def __init__(self) -> None:
        super().__init__()
        self.fire = LIF(v_threshold=0.5)

    def forward(self, x):
        summed = (x * x.flip(2)).sum(dim=(3, 4), keepdim=True)
        return x * self.fire(summed)


def integer(norm: float | None = None):
    return lambda: IntegerNeuron(4, norm)


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
