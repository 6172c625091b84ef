"""Attention as users write it: `einsum` or ``@``, either order, the scale at any place."""

import torch
from torch import nn

from spikedriven.neurons import LIF, IntegerNeuron, NeuronFactory

STEPS, WIDTH, HEADS = 2, 16, 2


class Projection(nn.Module):
    """Linear, batch norm and neuron on tokens [T, B, N, C]."""

    def __init__(self, width: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.linear, self.norm, self.fire = (
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            neuron(),
        )

    def forward(self, x):
        y = self.norm(self.linear(x).flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        return self.fire(y.view(x.shape))


class Attention(nn.Module):
    """Spikes [T, B, N, C] -> real values of the same shape. write: "einsum" or "matmul".

    order: "qk" for (q k^T) v, "kv" for q (k^T v). scale: "before", "between" or "after" them.
    """

    def __init__(self, write: str, order: str, scale: str, neuron: NeuronFactory = LIF) -> None:
        super().__init__()
        self.q, self.k, self.v = (Projection(WIDTH, neuron) for _ in range(3))
        self.fire, self.out = neuron(), nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(self.out.weight, std=1.0)
        self.write, self.order = write, order
        self.scales = [2.0 if place == scale else 1.0 for place in ("before", "between", "after")]

    def forward(self, x):
        q, k, v = (self.heads(project(x)) for project in (self.q, self.k, self.v))
        before, between, after = self.scales
        product = self.by_einsum if self.write == "einsum" else self.by_matmul
        y = product(q * before if before != 1 else q, k, v, between)
        y = y * after if after != 1 else y
        return self.out(self.fire(y.transpose(2, 3).reshape(x.shape)))

    def heads(self, x):
        """[T, B, N, C] -> [T, B, heads, N, C / heads]."""
        return x.unflatten(-1, (HEADS, -1)).transpose(2, 3)

    def by_einsum(self, q, k, v, scale: float):
        if self.order == "qk":
            scores = torch.einsum("tbhnd,tbhmd->tbhnm", q, k)
            return torch.einsum("tbhnm,tbhmd->tbhnd", scores * scale if scale != 1 else scores, v)
        context = torch.einsum("tbhnd,tbhne->tbhde", k, v)
        return torch.einsum("tbhnd,tbhde->tbhne", q, context * scale if scale != 1 else context)

    def by_matmul(self, q, k, v, scale: float):
        if self.order == "qk":
            scores = q @ k.transpose(-2, -1)
            return (scores * scale if scale != 1 else scores) @ v
        context = k.mT @ v
        return q @ (context * scale if scale != 1 else context)


class AttentionNet(nn.Module):
    """[B, 3, 16, 16] -> [B, 5]: patches of 4 x 4, one attention block, a two-layer perceptron."""

    def __init__(
        self,
        write: str = "matmul",
        order: str = "qk",
        scale: str = "after",
        neuron: NeuronFactory = LIF,
    ) -> None:
        super().__init__()
        self.patches, self.norm = (
            nn.Conv2d(3, WIDTH, 4, stride=4, bias=False),
            nn.BatchNorm2d(WIDTH),
        )
        self.fire, self.attention = neuron(), Attention(write, order, scale, neuron)
        self.fire1, self.fc1 = neuron(), nn.Linear(WIDTH, 2 * WIDTH)
        self.fire2, self.fc2 = neuron(), nn.Linear(2 * WIDTH, WIDTH)
        self.head_fire, self.head = neuron(), nn.Linear(WIDTH, 5)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=1.0)

    def forward(self, x):
        x = self.norm(self.patches(x)).flatten(2).transpose(1, 2)
        x = x.unsqueeze(0).repeat(STEPS, 1, 1, 1)
        x = x + self.attention(self.fire(x))
        x = x + self.fc2(self.fire2(self.fc1(self.fire1(x))))
        return self.head(self.head_fire(x).amax(2)).mean(0)


def integer() -> IntegerNeuron:
    return IntegerNeuron(4)


class IntegerNet(nn.Module):
    """[B, 3, H, W] -> [B, 5] on counts 0..4, handed on whole (norm 1) and as quarters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0, self.fire0 = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            IntegerNeuron(4),
        )
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.fire1, self.pool = IntegerNeuron(4, norm=1.0, rounding="half_up"), nn.MaxPool2d(2)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.fire2, self.fc = IntegerNeuron(4), nn.Linear(16 * 8 * 8, 5)

    def forward(self, x):
        x = x.repeat(STEPS, 1, 1, 1)
        x = self.fire0(self.norm0(self.stem(x)))
        x = self.pool(self.fire1(self.norm1(self.conv1(x))))
        x = self.fire2(self.norm2(self.conv2(x)))
        return self.fc(x.flatten(1)).view(STEPS, -1, 5).mean(0)
