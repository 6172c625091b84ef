"""Residual branches: layer scale, stochastic depth per sample and per batch; the MLP's kernels."""

import pytest
import torch
from torch import nn

from spikedriven.errors import InputError
from spikedriven.layers import DropPath, Residual, SpikeMLP, block, drop_path_rates
from spikedriven.neurons import LIF


def test_a_branch_is_scaled_per_channel_and_added():
    x = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(Residual(nn.Identity(), 4)(x), 2 * x)
    scaled = Residual(nn.Identity(), 4, layer_scale=0.5)
    assert torch.equal(scaled(x), 1.5 * x)
    with torch.no_grad():
        scaled.scale.copy_(torch.arange(4.0))
    assert torch.equal(scaled(x), x * torch.arange(1.0, 5.0).view(4, 1, 1))


def test_blocks_run_their_branches_in_order():
    double, square = Residual(nn.Identity(), 1), Residual(_Square(), 1)
    x = torch.full((1, 1, 1, 1, 1), 3.0)
    assert block(a=double, b=square)(x).item() == 6 + 36
    assert block(b=square, a=double)(x).item() == 2 * (3 + 9)


class _Square(nn.Module):
    def forward(self, x):
        return x * x


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_paths_drop_per_sample_or_for_the_whole_batch(per):
    drop = DropPath(0.5, per).train()
    ones = torch.ones(3, 64, 2, 2, 2)
    draws = [drop(ones).flatten(2) for _ in range(20)]
    for kept in draws:
        assert set(kept.unique().tolist()) <= {0.0, 2.0}
        assert torch.equal(kept[0], kept[2])  # all time steps of a sample together
    samples_agree = [bool((kept == kept[0, 0, 0]).all()) for kept in draws]
    assert all(samples_agree) if per == "batch" else not any(samples_agree)
    assert len({kept[0, 0, 0].item() for kept in draws}) == 2
    assert torch.equal(drop.eval()(ones), ones)


def test_drop_path_rates_rise_linearly():
    assert drop_path_rates(0.2, 5) == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert drop_path_rates(0.3, 1) == [0.0]
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        DropPath(1.0)
    with pytest.raises(InputError, match="per 'sample' or per 'batch'"):
        DropPath(0.1, per="token")


def test_mlp_kernel_and_bias():
    channels = SpikeMLP(4, 8, LIF, kernel=3, bias=False)
    assert channels.fc1.project.conv.weight.shape == (8, 4, 3, 3)
    assert channels.fc2.project.conv.bias is None
    assert SpikeMLP(4, 8, LIF).fc2.project.conv.bias is not None
    assert channels(torch.randn(2, 1, 4, 6, 6)).shape == (2, 1, 4, 6, 6)
