"""Batch norm statistics from images."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.layers import DropPath
from tests.graph.networks import Net, conv_bn, images


def test_statistics_are_those_of_the_images():
    model, batch = Net(conv_bn(8, 8)).eval(), images(4) * 3 + 1
    assert sd.calibrate(model, batch) == 2
    before = model.encode.inner[0](batch)  # every time step sees the same
    norm = model.encode.inner[1]
    mean, variance = before.mean((0, 2, 3)), before.var((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, variance, atol=1e-3, rtol=1e-2)
    assert max(sd.firing_rates(model, batch).values()) > 0.05


def test_a_loader_is_averaged_batch_by_batch():
    model, other = Net(), Net()
    other.load_state_dict(model.state_dict())
    first, second = images(4), images(2) + 1
    sd.calibrate(model, [(first, torch.zeros(4)), (second, torch.zeros(2))])
    means = []
    for batch in (first, second):
        sd.calibrate(other, batch)
        means.append(other.encode.inner[1].running_mean.clone())
    torch.testing.assert_close(model.encode.inner[1].running_mean, sum(means) / 2)


def test_modes_momenta_and_weights_stay_and_nothing_is_dropped():
    model = Net(nn.Sequential(conv_bn(8, 8), DropPath(0.9), nn.Dropout(0.9))).train()
    model.fire.eval()
    weights = {name: value.clone() for name, value in model.named_parameters()}
    found = []
    for _ in range(2):
        sd.calibrate(model, images())
        found.append(model.planted[0].inner[1].running_var.clone())
    assert torch.equal(*found)
    assert model.training and not model.fire.training
    assert model.encode.inner[1].momentum == 0.1
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())


def test_without_norms_and_without_images():
    assert sd.calibrate(nn.Linear(2, 2), torch.zeros(1, 2)) == 0
    with pytest.raises(InputError, match="no batch came out of the loader"):
        sd.calibrate(Net(), [])
