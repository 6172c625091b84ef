"""`expand` on networks that count and that no family has: however their forward treats time and
products.
"""

import copy
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spikedriven as sd
from spikedriven.errors import FoldWarning, InputError
from spikedriven.graph.audit import audit
from spikedriven.graph.kinds import Spike, is_real
from spikedriven.graph.substeps import SubSteps, as_steps, value_of
from spikedriven.graph.trace import trace
from spikedriven.neurons import LIF, IntegerNeuron, Neuron
from spikedriven.neurons.expanded import expand_spike_plain
from tests.networks import enliven

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def maps(channels=4, size=6):
    return (
        2
        * torch.randn(
            2, 3, channels, size, size, generator=torch.Generator().manual_seed(1)
        ).double()
    )


class Counting(nn.Module):
    """Integer neurons of two kinds around two convolutions; subclasses say how time runs. x:
    [B, T, 4, 6, 6].
    """

    def __init__(self):
        super().__init__()
        self.fire, self.fire2 = IntegerNeuron(4), IntegerNeuron(3, norm=2.0, rounding="half_up")
        self.conv, self.norm, self.head = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def step(self, x):
        """[N, 4, 6, 6] -> [N, 6, 4, 4]."""
        return self.fire2(self.norm(self.conv(self.fire(x))))


class Flattened(Counting):
    def forward(self, x):
        y = self.step(x.flatten(0, 1)).view(*x.shape[:2], 6, 4, 4)
        return self.head(y.amax((-1, -2))).mean(1)


class LeadingTime(Counting):
    """Time first, as our families have it; the number of steps is written into the forward."""

    def forward(self, x):
        y = self.fire(x.transpose(0, 1))
        y = self.norm(self.conv(y.reshape(-1, 4, 6, 6))).unflatten(0, (3, -1))
        return self.head(
            F.adaptive_max_pool2d(self.fire2(y).flatten(0, 1), 1).flatten(1).unflatten(0, (3, -1))
        ).sum(0)


class Loop(Counting):
    def forward(self, x):
        seen = [self.step(x[:, t]) for t in range(x.shape[1])]
        return self.head(F.max_pool2d(torch.stack(seen).mean(0), 4).flatten(1))


class Parts(Counting):
    """Slices, concatenations, padding, resizing and sums of counts."""

    def forward(self, x):
        s = self.fire(x.transpose(0, 1)).flatten(0, 1)
        left, right = s.chunk(2, 1)
        s = torch.cat([right, F.pad(left, (1, 1))[..., 1:-1]], 1)
        up = F.interpolate(F.max_pool2d(s, 2), size=(6, 6), mode="nearest")
        y = self.norm(self.conv(s + up))
        return self.head(
            self.fire2(y.unflatten(0, (3, -1)))[:, :, :, 0, ::2].permute(0, 1, 3, 2)
        ).mean((0, 2))


class Residual(Counting):
    """Counts that are added to real values, and read by a layer as well."""

    def forward(self, x):
        s = self.fire(x.transpose(0, 1).flatten(0, 1))
        y = self.norm(self.conv(s)) + s[:, :1, 1:-1, 1:-1]
        return self.head(self.fire2(y).amax((-1, -2))).unflatten(0, (3, -1)).mean(0)


@pytest.mark.parametrize("build", [Flattened, LeadingTime, Loop, Parts, Residual])
def test_however_a_forward_treats_time_the_counts_are_the_same(build):
    model, x = enliven(build().eval()).double(), maps()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spiking = sd.expand(model, x)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(spiking(x), expected, **CLOSE)
        torch.testing.assert_close(spiking(x[:1]), expected[:1], **CLOSE)
    assert expected.std() > 0.1 and type(spiking) is build
    graph = trace(spiking, x)
    reads = {n.module: graph.operands(n)[0].kind for n in graph if n.op in ("conv", "linear")}
    assert reads["conv"] == Spike()
    assert reads["head"] == Spike() or (
        build is Loop and is_real(reads["head"])
    )  # a mean over time, there
    assert set(spiking.state_dict()) == {"conv.weight", "conv.bias", "head.weight", "head.bias"}


class Products(nn.Module):
    """q k^T v of tokens [T, B, N, C] in several spellings; scale: applied at one of three
    places.
    """

    def __init__(self, write, place):
        super().__init__()
        self.embed, self.write, self.place, self.scale = nn.Linear(4, 8), write, place, 0.25
        self.fire = nn.ModuleList(IntegerNeuron(4) for _ in range(5))
        self.project, self.out = nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 5)

    def forward(self, x):
        x = self.embed(x.flatten(3).permute(1, 0, 3, 2))
        s = self.fire[0](x)
        q, k, v = (
            fire(layer(s)).unflatten(-1, (2, 4)).transpose(2, 3)
            for fire, layer in zip(self.fire[1:4], self.project, strict=True)
        )
        q = q * self.scale if self.place == "before" else q
        y = self.attend(q, k, v)
        y = y * self.scale if self.place == "after" else y
        return self.out(self.fire[4](y.transpose(2, 3).flatten(3))).mean((0, 2))

    def attend(self, q, k, v):
        c = self.scale if self.place == "between" else 1.0
        if self.write == "einsum":
            return torch.einsum(
                "tbhnm,tbhmd->tbhnd", torch.einsum("tbhnd,tbhmd->tbhnm", q, k) * c, v
            )
        if self.write == "matmul":
            return torch.matmul(torch.matmul(q, k.transpose(-1, -2)) * c, v)
        if self.write == "bmm":
            q, k, v = (x.flatten(0, 2) for x in (q, k, v))
            return (q @ (torch.bmm(k.mT, v) * c)).view(3, -1, 2, q.shape[-2], 4)
        return q * ((k * v).sum(-2, keepdim=True) * c)  # mask and add


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("write", ["einsum", "matmul", "bmm", "mask"])
def test_products_keep_one_binary_operand(write, place):
    model, x = enliven(Products(write, place).eval()).double(), maps()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spiking = sd.expand(model, x)
    with torch.no_grad():
        torch.testing.assert_close(spiking(x), model(x), **CLOSE)
    report = audit(spiking, x)
    assert report.ok_as_released and not report.folded
    assert all("spike" in row.operands for row in report.rows if row.op in ("matmul", "multiply"))


def test_a_function_of_counts_in_front_of_a_layer_is_named():
    class Rectified(Flattened):
        def step(self, x):
            return self.fire2(
                self.norm(self.conv(self.fire(x).clamp(max=0.5) + self.fire(x).square()))
            )

    class Summed(Flattened):
        def step(self, x):
            return self.fire2(
                self.norm(self.conv(self.fire(x).sum(1, keepdim=True).expand(-1, 4, -1, -1)))
            )

    model = enliven(Summed().eval()).double()
    with pytest.raises(InputError, match=r"(?s)call weight layers .* conv: conv reads count 0..16"):
        sd.expand(model, maps())
    unlike = enliven(
        Rectified().eval()
    ).double()  # no longer counts: the audit calls it real, so nothing is promised
    with torch.no_grad(), pytest.warns(FoldWarning, match="constant factor"):
        torch.testing.assert_close(sd.expand(unlike, maps())(maps()), unlike(maps()), **CLOSE)


def test_a_layer_that_reads_two_kinds_of_counts_is_named():
    class Shared(Counting):
        def forward(self, x):
            x = x.flatten(0, 1)
            return (self.conv(self.fire(x)) + self.conv(self.fire2(x))).mean((-1, -2))

    with pytest.raises(InputError, match=r"conv: reads counts worth \['0.25', '0.5'\]"):
        sd.expand(enliven(Shared().eval()).double(), maps())


class Halves(Neuron):
    """Counts 0..2, each worth a half, in PyTorch's own operators."""

    levels, unit = 2, 0.5

    def forward(self, x):
        return x.clamp(0, 2).round() / 2


class HalvesInSteps(Neuron):
    def forward(self, x):
        return expand_spike_plain(x, 2, 1.0, "half_even")


def test_neurons_of_ones_own():
    model = Flattened()
    model.fire = Halves()
    model = enliven(model.eval()).double()
    with pytest.raises(
        InputError, match=r"(?s)cannot be expanded.*fire: Halves counts to 2 .*no expansion"
    ):
        sd.expand(model, maps())
    Halves.expanded = lambda self: HalvesInSteps()
    try:
        spiking = sd.expand(model, maps())
    finally:
        del Halves.expanded
    with torch.no_grad():
        torch.testing.assert_close(spiking(maps()), model(maps()), **CLOSE)


def test_an_expanded_network_is_copied_saved_and_measured_as_any_other():
    model, x = enliven(Flattened().eval()).double(), maps()
    spiking = sd.expand(model, x)
    for other in (copy.deepcopy(spiking), pickle.loads(pickle.dumps(spiking))):
        with torch.no_grad():
            assert torch.equal(other(x), spiking(x))
    rates, counts = sd.firing_rates(spiking, x), sd.firing_rates(model, x)
    assert rates == pytest.approx({"fire": counts["fire"], "fire2": counts["fire2"] * 2 / 3})


def test_sub_steps_stand_for_a_count():
    steps = expand_spike_plain(torch.tensor([0.0, 1.0, 4.0]).view(3, 1), 3, 1.0, "half_even")
    x = SubSteps.put_out(steps, (3, 1), 3, 0.5)
    assert x.shape == (3, 1) and torch.equal(as_steps(x), steps)
    assert (
        value_of(x).flatten().tolist() == [0.0, 0.5, 1.5] == value_of(x.flatten().view(3)).tolist()
    )
    assert value_of(2 * x + x * 2).flatten().tolist() == [0.0, 2.0, 6.0]
    assert torch.equal(torch.exp(x), value_of(x).exp())
    assert not isinstance(torch.exp(x), SubSteps)
    assert "levels=3" in repr(x)


def test_a_network_of_binary_neurons_is_only_folded():
    class Binary(Flattened):
        def __init__(self):
            super().__init__()
            self.fire, self.fire2 = LIF(), LIF()

    model, x = enliven(Binary().eval()).double(), maps()
    spiking = sd.expand(model, x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in spiking.modules())
    with torch.no_grad():
        torch.testing.assert_close(spiking(x), model(x), **CLOSE)
