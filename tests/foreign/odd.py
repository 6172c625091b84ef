"""Networks made to be hard: shared weights, writes in place, gates, tokens, no time axis."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.neurons import LIF
from tests.foreign.residual import STEPS


def over_time(neuron: nn.Module, x: Tensor) -> Tensor:
    """A neuron on [T * B, ...]."""
    return neuron(x.unflatten(0, (STEPS, -1))).flatten(0, 1)


class Shared(nn.Module):
    """One weight in two layers, a neuron called twice, `F.conv2d`, writes in place, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.fire1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), LIF()
        self.conv2, self.conv3 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.conv3.weight = self.conv2.weight
        self.kernel, self.bias = nn.Parameter(torch.randn(8, 8, 1, 1)), nn.Parameter(torch.zeros(8))
        self.fire, self.fire2 = LIF(v_threshold=0.2), LIF()
        self.dropout, self.fc = nn.Dropout(), nn.Linear(8 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = over_time(self.fire1, self.norm(self.conv1(x.repeat(STEPS, 1, 1, 1))) * 2)
        y = over_time(self.fire, self.conv3(over_time(self.fire, self.conv2(x))))
        y += x
        y = over_time(
            self.fire2, F.conv2d(F.dropout(y, 0.1, self.training), self.kernel, self.bias)
        )
        out = torch.zeros(STEPS, batch, 8 * 64)
        for t in range(STEPS):
            out[t] = y[t * batch : (t + 1) * batch].flatten(1)
        return self.fc(self.dropout(out)).mean(0)


class Gates(nn.Module):
    """Channel shuffle, a squeeze-and-excite gate, a neuron behind spikes beside real values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.fire1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), LIF()
        self.shuffle, self.conv2 = nn.ChannelShuffle(2), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.fire2, self.fc = LIF(v_threshold=0.3), nn.Linear(16 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        spikes = over_time(self.fire1, self.norm(self.conv1(x.repeat(STEPS, 1, 1, 1))))
        real = self.conv2(self.shuffle(spikes))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(real.mean((2, 3))))))
        joined = torch.cat([spikes, real * gate[:, :, None, None]], 1)
        return self.fc(over_time(self.fire2, joined).flatten(1)).view(STEPS, -1, 5).mean(0)


class Tokens(nn.Module):
    """Words [B, N] through `nn.MultiheadAttention` and layer norm, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.token = nn.Embedding(20, 16), nn.Parameter(torch.randn(1, 1, 16))
        self.fire, self.norm, self.fire2 = LIF(v_threshold=0.2), nn.LayerNorm(16), LIF()
        self.attention, self.fc = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 5)

    def forward(self, words: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(words.shape[0], -1, -1), self.words(words)], 1)
        x = self.fire(x.expand(STEPS, -1, -1, -1)).flatten(0, 1)
        x = over_time(self.fire2, self.norm(x + self.attention(x, x, x, need_weights=False)[0]))
        return self.fc(x.unflatten(0, (STEPS, -1))[:, :, 0]).mean(0)


class WithoutTime(nn.Module):
    """The neuron takes the images of a batch for its time steps: a mistake that must be told."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fire, self.fc = (
            nn.Conv2d(3, 4, 3),
            LIF(v_threshold=0.2),
            nn.Linear(4 * 36, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.fire(self.conv(x)).flatten(1))
