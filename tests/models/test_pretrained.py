"""Weights that ship: found by name, put in strictly, refused where they do not fit."""

import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.models import pretrained
from spikedriven.runs.target import Target, load_target

NAME = "e_spikeformer_fashion"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of weights with one file, whose model is returned."""
    torch.manual_seed(5)
    model = sd.create_model(NAME)
    safetensors.torch.save_file(model.state_dict(), tmp_path / f"{NAME}.safetensors")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    return model.eval()


def test_the_same_network_comes_back(shipped):
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(sd.create_model(NAME, pretrained=True).eval()(x), shipped(x))
    assert pretrained.pretrained_names() == [NAME]


def test_feature_maps_of_the_trained_network(shipped):
    x = torch.rand(1, 1, 28, 28)
    maps = sd.create_model(NAME, pretrained=True, features_only=True, out_indices=(1, 2)).eval()(x)
    expected = shipped.forward_intermediates(x, indices=(1, 2), intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_other_shapes_are_refused(shipped):
    with pytest.raises(InputError, match="are for its own widths"):
        sd.create_model(NAME, pretrained=True, embed_dims=(32, 64, 128, 128))


def test_names_without_weights_say_what_to_do(shipped):
    with pytest.raises(InputError, match=f"load_official.*Weights ship of: {NAME}"):
        sd.create_model("sdt_2_256_cifar", pretrained=True)


def test_commands_take_the_trained_weights(shipped):
    x = torch.rand(1, 1, 28, 28)
    loaded = load_target(Target(NAME))
    assert loaded.trained and torch.equal(loaded.model(x), shipped(x))
    assert not load_target(Target(NAME, num_classes=3)).trained
    assert not load_target(Target("sdt_2_256_cifar")).trained
