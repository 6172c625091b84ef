"""Norms and factors behind a sum of weight layers: they go back into every layer, or are named."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spikedriven.layers.fold import Idle
from spikedriven.neurons import LIF
from tests.graph.test_folding import fused, left_by, maps, norms


class Branches(nn.Module):
    """``fire(norm(join(one(x), other(x))))`` of spikes; time in the batch."""

    def __init__(self, one, other, join=torch.add, norm=None):
        super().__init__()
        self.first, self.one, self.other = LIF(), one, other
        self.norm, self.fire, self.join = norm or nn.BatchNorm2d(6), LIF(), join

    def forward(self, x):
        spikes = self.first(torch.stack([x, x.abs()])).flatten(0, 1)
        return self.fire(self.norm(self.join(self.one(spikes), self.other(spikes))))


def three(outputs=6, **options):
    return nn.Conv2d(4, outputs, 3, padding=1, **options)


def pooled(a, b):
    return F.avg_pool2d(a + b, 2)


def swapped(a, b):
    return torch.cat([b, a], 1)


class Tokens(nn.Module):
    """A norm over the channels of tokens, moved to the front for it."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return self.norm(x.flatten(2)).transpose(1, 2)


SUMS = {
    "no bias, bias": (three(bias=False), nn.Conv2d(4, 6, 1)),
    "no bias at all": (three(bias=False), nn.Conv2d(4, 6, 1, bias=False)),
    "difference": (
        three(bias=False),
        nn.Conv2d(4, 6, 1, bias=False),
        lambda a, b: torch.rsub(a, b, alpha=2),
    ),
    "with a factor": (
        three(bias=False),
        nn.Conv2d(4, 6, 1),
        lambda a, b: torch.add(a, b, alpha=-3),
    ),
    "norms and chains": (
        nn.Sequential(three(bias=False), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(4, 9, 1, bias=False), nn.Conv2d(9, 6, 3, padding=1)),
    ),
    "broadcast": (three(), nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Conv2d(4, 6, 1))),
    "averaged": (three(), nn.Conv2d(4, 6, 1), pooled),
    "joined": (three(2, bias=False), nn.Conv2d(4, 4, 1), swapped),
    "tokens": (three(), nn.Conv2d(4, 6, 1), torch.add, Tokens()),
    "transposed": (three(bias=False), nn.ConvTranspose2d(4, 6, 3, padding=1, groups=2, bias=False)),
}


@pytest.mark.parametrize("parts", SUMS.values(), ids=SUMS.keys())
def test_a_norm_goes_into_every_layer_of_the_sum(parts):
    result = fused(Branches(*parts), maps(size=8))
    assert not norms(result) and any(isinstance(module, Idle) for module in result.modules())


def test_the_layers_of_a_loop_take_one_norm():
    class Loop(Branches):
        def forward(self, x):
            steps = [
                self.norm(self.one(y) + self.other(y))
                for y in self.first(torch.stack([x, x.abs()]))
            ]
            return self.fire(torch.stack(steps))

    assert not norms(fused(Loop(three(bias=False), nn.Conv2d(4, 6, 1)), maps()))


class Residual(nn.Module):
    """A norm behind a sum that something else takes part in. how: what that is."""

    def __init__(self, how):
        super().__init__()
        self.stem, self.first, self.conv = nn.Conv2d(4, 4, 1), LIF(), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.fire, self.how = nn.BatchNorm2d(4), LIF(), how

    def forward(self, x):
        currents = self.stem(x)
        spikes = self.first(currents[None])[0]
        other = {"stream": currents, "spikes": spikes}[self.how]
        return self.fire(self.norm(self.conv(spikes) + other)[None])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("stream", "what conv in stem gives is read elsewhere too"),
        ("spikes", "what .* gives is read elsewhere too"),
    ],
)
def test_a_sum_that_is_read_elsewhere_is_named(how, why):
    text = left_by(Residual(how), maps())
    assert re.search(
        rf"norm \(batch norm\): it reads a sum, and {why}; give each weight layer in it", text
    )


def test_weights_of_a_forward_without_a_bias_change_nothing():
    """The layer that can take no shift is told, and no other layer is left half edited."""

    class Functional(Branches):
        def __init__(self):
            super().__init__(nn.Identity(), nn.Identity())
            self.kernels = nn.ParameterList(nn.Parameter(torch.ones(6, 4, 1, 1)) for _ in range(2))

        def forward(self, x):
            spikes = self.first(x[None])[0]
            return self.fire(
                self.norm(F.conv2d(spikes, self.kernels[0]) + F.conv2d(spikes, self.kernels[1]))[
                    None
                ]
            )

    assert "no bias for its shift" in left_by(Functional(), maps())
