"""A loop over time, one-dimensional layers on sequences, a neuron of the user's own."""

import torch
from torch import Tensor, nn

from spikedriven.neurons import LIF, LIFOptions, Neuron, lif
from tests.foreign.residual import FoldedLIF, conv_bn


class EventLoop(nn.Module):
    """Event frames [B, T, 2, H, W] -> [B, 5], step by step; membranes are handed on by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.fc, self.options = nn.Linear(16 * 4 * 4, 5), LIFOptions(tau=1.5)

    def forward(self, frames):
        v1 = v2 = None
        total = 0
        for t in range(frames.shape[1]):
            current = self.norm1(self.conv1(frames[:, t]))
            spikes, v1 = lif(current.unsqueeze(0), v1, options=self.options)
            pooled = nn.functional.max_pool2d(spikes[0], 2)
            spikes, v2 = lif(self.norm2(self.conv2(pooled))[None], v2)
            total = total + self.fc(spikes.squeeze(0).flatten(1))
        return total / frames.shape[1]


class EventSteps(nn.Module):
    """The same function as `EventLoop` with all steps at once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.fire1, self.fire2, self.fc = LIF(tau=1.5), LIF(), nn.Linear(16 * 4 * 4, 5)

    def forward(self, frames):
        batch, steps = frames.shape[:2]
        x = frames.transpose(0, 1).reshape(steps * batch, *frames.shape[2:])
        x = self.fire1(self.norm1(self.conv1(x)).view(steps, batch, 8, 16, 16))
        x = nn.functional.max_pool2d(x.view(steps * batch, 8, 16, 16), 2)
        x = self.fire2(self.norm2(self.conv2(x)).view(steps, batch, 16, 4, 4))
        return self.fc(x.flatten(2)).mean(0)


class Sequence(nn.Module):
    """Sequences [B, 6, L] -> [B, 5]: 1-d convolutions, then linear layers on tokens."""

    def __init__(self, length: int = 24, steps: int = 2) -> None:
        super().__init__()
        self.conv1, self.norm1, self.fire1 = (
            nn.Conv1d(6, 12, 5, padding=2),
            nn.BatchNorm1d(12),
            FoldedLIF(steps),
        )
        self.conv2, self.norm2 = (
            nn.Conv1d(12, 12, 3, stride=2, padding=1, groups=2),
            nn.BatchNorm1d(12),
        )
        self.fire2, self.pool = FoldedLIF(steps), nn.MaxPool1d(2)
        self.mix, self.norm3, self.fire3 = nn.Linear(12, 16), nn.BatchNorm1d(16), FoldedLIF(steps)
        self.head_norm, self.fc, self.steps = (
            nn.BatchNorm1d(16 * length // 4),
            nn.Linear(16 * length // 4, 5),
            steps,
        )

    def forward(self, x):
        x = x.repeat(self.steps, 1, 1)
        x = self.fire1(self.norm1(self.conv1(x)))
        x = self.pool(self.fire2(self.norm2(self.conv2(x))))
        tokens = self.mix(x.transpose(1, 2))
        x = self.fire3(self.norm3(tokens.transpose(1, 2)))
        return self.fc(self.head_norm(x.flatten(1))).unflatten(0, (self.steps, -1)).mean(0)


class Step(torch.autograd.Function):
    """1 where u >= 0; the gradient is that of a triangle of width 2."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, upstream):
        (u,) = ctx.saved_tensors
        return upstream * (1 - u.abs()).clamp(min=0)


class OwnNeuron(Neuron):
    """A user's neuron in plain operators: a learnt leak for each channel, soft reset."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.leak = nn.Parameter(torch.linspace(-1.0, 1.0, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, ...] -> spikes of the same shape."""
        keep = torch.sigmoid(self.leak).view(-1, *[1] * (x.ndim - 3))
        v = torch.zeros_like(x[0]) if self.membrane is None else self.membrane
        spikes = []
        for current in x:
            v = v * keep + current
            fired = Step.apply(v - 1.0)
            v = v - fired.detach()
            spikes.append(fired)
        if self.streaming:
            self.membrane = v
        return torch.stack(spikes)


class OwnNet(nn.Module):
    """[B, 3, H, W] -> [B, 5] with the user's own neuron."""

    def __init__(self, steps: int = 3) -> None:
        super().__init__()
        self.conv1, self.fire1 = conv_bn(3, 8), OwnNeuron(8)
        self.conv2, self.fire2 = conv_bn(8, 12, stride=2), OwnNeuron(12)
        self.fc, self.steps = nn.Linear(12 * 8 * 8, 5), steps

    def forward(self, x):
        x = self.fire1(self.conv1(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)))
        x = self.fire2(self.conv2(x))
        return self.fc(x.flatten(2)).mean(0)
