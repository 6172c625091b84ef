"""Chains of linear layers: the padded batch norm and RepConv against the release's figures;
nothing fires inside.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.layers import BatchNormPad2d, RepConvBN, RepPointwise
from tests.golden import rule

UNITS = rule.load("sdtv3_units.json")
#: Ours -> the release's names.
NAMES = {
    "first": "body.0",
    "bn_pad": "body.1.bn",
    "depthwise": "body.2.0",
    "last": "body.2.1",
    "bn_inner": "body.2.2",
}


@pytest.fixture
def repconv():
    """RepConv 6 -> 10 with the file's weights, without the norm that its caller adds."""
    module = RepConvBN(6, 10).double()
    module.bn = nn.Identity()
    weights = rule.weights(UNITS["repconv_6_10"])
    ours = {
        key: f"{NAMES[key.partition('.')[0]]}.{key.partition('.')[2]}"
        for key in module.state_dict()
    }
    module.load_state_dict({key: weights[theirs] for key, theirs in ours.items()})
    assert set(ours.values()) == set(weights)
    return module


@pytest.fixture
def spikes():
    rng = np.random.Generator(np.random.PCG64(5))
    return torch.as_tensor(rng.random((2, 6, 5, 4)) > 0.6).double().unsqueeze(0)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_repconv_computes_what_the_release_computes(repconv, spikes, mode):
    out = repconv.train(mode == "train")(spikes)[0]
    expected = UNITS["repconv_6_10"][f"{mode}_out"]
    assert list(out.shape) == expected["shape"]
    first = torch.tensor(expected["first"], dtype=torch.float64)
    torch.testing.assert_close(out.flatten()[: len(first)], first, rtol=1e-12, atol=1e-12)
    assert out.mean().item() == pytest.approx(expected["mean"], rel=1e-12)
    if mode == "train":
        running = torch.tensor(
            UNITS["repconv_6_10"]["train_running_mean_inner_bn"], dtype=torch.float64
        )
        torch.testing.assert_close(repconv.bn_pad.running_mean, running, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_border_is_the_norms_image_of_zero(spikes, mode):
    norm = BatchNormPad2d(6).double().train(mode == "train")
    keys = [f"bn.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    weights = rule.weights({"state_dict": [[key, (6,)] for key in keys]})
    norm.load_state_dict(
        {key.removeprefix("bn."): value for key, value in weights.items()}, strict=False
    )
    padded = norm(spikes[0])
    assert padded.shape == (2, 6, 7, 6)
    expected = torch.tensor(
        UNITS[f"bnandpad_{mode}"]["out_corner_per_channel"], dtype=torch.float64
    )
    for edge in (padded[..., 0, :], padded[..., -1, :], padded[..., :, 0], padded[..., :, -1]):
        torch.testing.assert_close(
            edge, expected[None, :, None].expand_as(edge), rtol=1e-12, atol=0
        )
    centre = torch.tensor(UNITS[f"bnandpad_{mode}"]["centre"], dtype=torch.float64)
    torch.testing.assert_close(padded[0, :, 2, 2], centre, rtol=1e-12, atol=0)


def test_no_gradient_flows_through_the_border():
    norm = BatchNormPad2d(3).double().train()
    padded = norm(torch.randn(2, 3, 4, 4, dtype=torch.float64))
    interior = torch.zeros_like(padded)
    interior[..., 1:-1, 1:-1] = 1
    (padded * (1 - interior)).sum().backward()
    assert norm.bias.grad.abs().max() == 0
    assert norm.weight.grad.abs().max() == 0


def test_in_evaluation_repconv_is_one_zero_padded_convolution(repconv, spikes):
    repconv.eval()
    with torch.no_grad():
        zero = repconv(torch.zeros_like(spikes))
        bias = torch.tensor(UNITS["repconv_6_10"]["fused_bias"], dtype=torch.float64)
        torch.testing.assert_close(
            zero, bias[:, None, None].expand_as(zero), rtol=1e-12, atol=1e-12
        )  # borders too
        shifted = repconv(torch.roll(spikes, 1, dims=-1)) - zero
        here = repconv(spikes) - zero
    torch.testing.assert_close(shifted[..., 2:-1], here[..., 1:-2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("last_bn", [True, False])
def test_a_pointwise_chain_is_linear_and_has_its_channels(last_bn):
    chain = RepPointwise(4, 6, hidden=9, last_bn=last_bn).double().eval()
    assert isinstance(chain.bn, nn.BatchNorm2d if last_bn else nn.Identity)
    assert chain.first.conv.weight.shape == (9, 4, 1, 1)
    x, y = torch.randn(2, 3, 2, 4, 3, 3, dtype=torch.float64).unbind(0)
    zero = chain(torch.zeros_like(x))
    assert chain(x).shape == (3, 2, 6, 3, 3)
    torch.testing.assert_close(
        chain(x + y) - zero, chain(x) + chain(y) - 2 * zero, rtol=1e-12, atol=1e-12
    )


def test_a_fold_is_rounded_once():
    torch.manual_seed(0)
    chain = RepPointwise(4, 6, hidden=9, last_bn=True).eval()
    for norm in (m for m in chain.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(100.0)
        norm.running_var.zero_()  # channels that were always the same: a factor of 316 each
    x = torch.zeros(2, 1, 4, 3, 3)
    found, exact = (
        sd.fuse(nn.Sequential(form), x)[0] for form in (chain, copy.deepcopy(chain).double())
    )
    assert torch.equal(found.weight, exact.weight.float()) and torch.equal(
        found.bias, exact.bias.float()
    )
