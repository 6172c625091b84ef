"""What `fuse` folds in networks of a user's own, by the structure of the graph; and what it
says of the rest.
"""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spikedriven as sd
from spikedriven.errors import FoldWarning, InputError, SpikedrivenError
from spikedriven.graph.audit import FOLDS, audit
from spikedriven.graph.fuse import folded_copy
from spikedriven.layers import BatchNormPad2d, Scale
from spikedriven.layers.fold import Idle
from spikedriven.neurons import LIF, IntegerNeuron
from tests.graph.networks import Attention, Net, images
from tests.networks import enliven

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def maps(channels=4, size=9):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1)).double()


def fused(model, x):
    """The folded network, equal to the model, with nothing left to fold."""
    model = enliven(model.double().eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sd.fuse(model, x)
    with torch.no_grad():
        torch.testing.assert_close(result(x), model(x), **CLOSE)
    assert not any(row.verdict == FOLDS for row in audit(result, x).rows)
    return result


def left_by(model, x):
    """What the one warning says of a network that does not fold."""
    model = enliven(model.double().eval())
    with pytest.warns(FoldWarning) as told:
        result = sd.fuse(model, x)
    with torch.no_grad():
        torch.testing.assert_close(result(x), model(x), **CLOSE)
    assert len(told) == 1
    return str(told[0].message)


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


class Fires(nn.Module):
    """Neurons in front, so that what follows reads spikes; time in the batch."""

    def __init__(self, *then):
        super().__init__()
        self.fire, self.then = LIF(), nn.Sequential(*then)

    def forward(self, x):
        return self.then(self.fire(torch.stack([x, x.abs()])).flatten(0, 1))


LAYERS = {
    "bias": nn.Conv2d(4, 6, 3),
    "no bias": nn.Conv2d(4, 6, (1, 3), stride=2, padding=(0, 1), bias=False),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding="same"),
    "circular": nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    "transposed": nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False),
    "transposed in groups": nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_norm_goes_into_every_kind_of_convolution_and_names_stay(layer):
    model = Fires(copy.deepcopy(layer), nn.BatchNorm2d(6), LIF())
    result = fused(model, maps())
    assert {"then.0.weight", "then.0.bias"} == set(result.state_dict())
    assert type(result.then[0]) is type(layer) and isinstance(result.then[1], Idle)


class Tokens(nn.Module):
    """A linear layer on [B, N, C], its norm on [B, C, N]."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.fire = nn.Linear(4, 6), nn.BatchNorm1d(6), LIF()

    def forward(self, x):
        return self.fire(
            self.norm(self.linear(x.flatten(2).transpose(1, 2)).transpose(1, 2)).permute(2, 0, 1)
        )


def test_a_norm_of_tokens_finds_its_channels_behind_transpositions():
    assert not norms(fused(Tokens(), maps()))


def test_sequences_and_vectors():
    row = nn.Sequential(
        nn.Conv1d(4, 6, 3),
        nn.BatchNorm1d(6),
        LIF(),
        nn.Flatten(),
        nn.Linear(42, 5),
        nn.BatchNorm1d(5),
    )
    assert not norms(fused(row, maps()[..., 0]))


class Loop(nn.Module):
    """The same layers at each step. shared: the norm too; else one for each step."""

    def __init__(self, shared):
        super().__init__()
        self.conv, self.fire = nn.Conv2d(4, 6, 3), LIF()
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(1 if shared else 2))

    def forward(self, x):
        return torch.cat(
            [self.fire(self.norms[t % len(self.norms)](self.conv(x * (t + 1)))) for t in range(2)]
        )


def test_a_layer_that_is_called_at_each_step_folds_once():
    assert not norms(fused(Loop(shared=True), maps()))


def test_a_layer_with_two_norms_keeps_them_and_says_so():
    text = left_by(Loop(shared=False), maps())
    assert (
        "norms.0 (batch norm)" in text and "norms.1 (batch norm)" in text and text.count("\n") == 2
    )


def padded_chain(norm):
    """1x1, norm with a border, depthwise 3x3, 1x1, norm: as RepConv."""
    return nn.Sequential(
        nn.Conv2d(4, 6, 1, bias=False),
        norm,
        nn.Conv2d(6, 6, 3, groups=6, bias=False),
        nn.Conv2d(6, 5, 1),
        nn.BatchNorm2d(5),
    )


CHAINS = {
    "separable": nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)
    ),
    "with a stride": nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 1, stride=2)
    ),
    "two 1x1": nn.Sequential(
        nn.Conv2d(4, 9, 1), nn.BatchNorm2d(9), nn.Conv2d(9, 5, 1), nn.BatchNorm2d(5)
    ),
    "padded": padded_chain(BatchNormPad2d(6)),
    "widened first": nn.Sequential(nn.Conv2d(4, 9, 1, bias=False), nn.Conv2d(9, 5, 3, padding=1)),
    "in groups": nn.Sequential(
        nn.Conv2d(4, 6, 1, groups=2, bias=False), nn.Conv2d(6, 4, 3, padding=2, groups=2)
    ),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_a_chain_that_fills_a_module_becomes_one_convolution_under_its_name(chain):
    result = fused(Fires(copy.deepcopy(chain), LIF()), maps())
    assert isinstance(result.then[0], nn.Conv2d) and set(result.state_dict()) == {
        "then.0.weight",
        "then.0.bias",
    }


class Siblings(nn.Module):
    """The members of a chain, called in a forward that does other things as well."""

    def __init__(self):
        super().__init__()
        self.fire, self.depthwise, self.pointwise = (
            LIF(),
            nn.Conv2d(4, 4, 3, groups=4),
            nn.Conv2d(4, 6, 1),
        )
        self.norm, self.fire2 = nn.BatchNorm2d(6), LIF()

    def forward(self, x):
        y = self.norm(self.pointwise(self.depthwise(self.fire(x[None]).flatten(0, 1))))
        return self.fire2(y.view(1, -1, 6, 7, 7)).sum(0)


def test_a_chain_of_siblings_becomes_its_first_member():
    result = fused(Siblings(), maps())
    assert result.depthwise.weight.shape == (6, 4, 3, 3) and isinstance(result.pointwise, Idle)


def test_a_depthwise_convolution_can_stay_apart():
    model = enliven(Siblings().double().eval())
    result = folded_copy(model, maps(), depthwise="apart")
    assert result.depthwise.weight.shape == (4, 1, 3, 3) and not norms(result)
    with torch.no_grad():
        torch.testing.assert_close(result(maps()), model(maps()), **CLOSE)
    with pytest.raises(InputError, match="depthwise must be one of"):
        folded_copy(model, maps(), depthwise="no")


def test_no_layer_goes_into_one_whose_border_would_differ():
    """A shift in front of zero padding is not seen by the border: the two stay two."""
    chain = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5))
    model = enliven(Fires(chain, LIF()).double().eval())
    result = sd.fuse(model, maps())
    assert result.then[0][1].weight.shape == (5, 6, 3, 3) and not norms(result)


class WrongBorder(BatchNormPad2d):
    def _image_of_zero(self):
        return super()._image_of_zero() + 0.5


def test_a_border_that_is_not_the_image_of_zero_is_told():
    text = left_by(Fires(padded_chain(WrongBorder(6)), LIF()), maps())
    assert "then.0.0 (chain of convolutions): the border" in text and "BatchNormPad2d" in text


class Before(nn.Module):
    """A norm in front of convolutions, behind a sum that no layer takes it into."""

    def __init__(self, padding):
        super().__init__()
        self.norm, self.one, self.two = (
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 6, 3, padding=padding),
            nn.Conv2d(4, 6, 1),
        )
        self.fire = LIF()

    def forward(self, x):
        y = self.norm(x + x.abs())
        return self.fire(self.one(y)).sum() + self.fire(self.two(y)).sum()


def test_a_norm_goes_forward_into_every_layer_that_reads_it():
    assert not norms(fused(Before(padding=0), maps()))
    assert "norm (batch norm): neither a weight layer" in left_by(Before(padding=1), maps())


class Averaged(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.norm = nn.Conv2d(4, 6, 3), nn.AvgPool2d(2), nn.BatchNorm2d(6)
        self.fire = LIF()

    def forward(self, x):
        return self.fire(self.norm(self.pool(self.conv(x))))


def test_a_norm_passes_an_average_pool():
    assert not norms(fused(Averaged(), maps()))


class Functional(nn.Module):
    """Parameters that a forward uses itself."""

    def __init__(self, bias):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.ones(6, 4, 3, 3)),
            nn.Parameter(torch.ones(6)) if bias else None,
        )
        self.norm, self.fire = nn.BatchNorm2d(6), LIF()

    def forward(self, x):
        return self.fire(self.norm(F.conv2d(x, self.weight, self.bias)))


def test_parameters_of_a_forward_take_a_norm_where_there_is_a_bias():
    assert not norms(fused(Functional(bias=True), maps()))
    assert "no bias for its shift" in left_by(Functional(bias=False), maps())


def test_a_weight_that_two_layers_share_is_left_alone():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.norm = (
                nn.Conv2d(4, 4, 3),
                nn.Conv2d(4, 4, 3),
                nn.BatchNorm2d(4),
            )
            self.two.weight = self.one.weight
            self.fire = LIF()

        def forward(self, x):
            return self.fire(self.norm(self.one(x))) + self.fire(self.two(x))

    assert "norm (batch norm)" in left_by(Tied(), maps())


class Scaled(Attention):
    """Attention with its factor as a module, or as an attribute of an attention as users write
    it.
    """

    def __init__(self, how, **options):
        super().__init__(**options)
        if how == "module":
            self.factor, self.scale = Scale(self.scale), 1.0

    def forward(self, x):
        q, k, v = (
            fire(project(x)).flatten(3).unflatten(2, (self.heads, -1)).transpose(-1, -2)
            for fire, project in zip(self.fire, self.project, strict=True)
        )
        y = q @ (k.transpose(-1, -2) @ v) * self.scale
        y = self.factor(y) if hasattr(self, "factor") else y
        return x + self.out(
            self.attn_fire(y.transpose(-1, -2).flatten(2, 3).unflatten(3, x.shape[-2:]))
        )


@pytest.mark.parametrize("how", ["module", "attribute"])
@pytest.mark.parametrize("neuron", [LIF, lambda: IntegerNeuron(4)])
def test_a_factor_of_attention_moves_into_the_threshold_behind_it(how, neuron):
    model = enliven(Net(Scaled(how, neuron=neuron), neuron=neuron).double().eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sd.fuse(model, images().double())
    assert not [row for row in audit(result, images().double()).rows if row.op == "scale"]
    threshold = result.planted.attn_fire.spec().threshold
    assert threshold == 8.0 and model.planted.attn_fire.spec().threshold == 1.0


def test_a_factor_in_a_forward_is_named_with_what_to_write():
    class Literal(Scaled):
        def forward(self, x):
            self.scale, kept = 0.125, self.scale
            y = super().forward(x)
            self.scale = kept
            return y

    text = left_by(Net(Literal("attribute", scale=0.5)), images().double())
    assert "planted (constant factor): the threshold of planted.attn_fire would take it" in text
    assert "spikedriven.layers.Scale" in text


def test_what_the_audit_calls_foldable_folds():
    """One knowledge: after `fuse` no row is left that the audit says folds, where nothing was
    warned of.
    """
    model = enliven(Net(Scaled("module")).double().eval())
    before = audit(model, images().double())
    assert before.folded and not audit(sd.fuse(model, images().double()), images().double()).folded


def test_a_wrong_example_is_an_error_before_anything_else():
    with pytest.raises((InputError, SpikedrivenError)):
        sd.fuse(Averaged(), torch.zeros(0, 4, 9, 9))


def test_a_scale_is_positive():
    with pytest.raises(InputError, match="positive"):
        Scale(0.0)
