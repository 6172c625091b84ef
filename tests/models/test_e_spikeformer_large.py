"""Checkpoints of the Large models: the 83M file with and without its further branch, 196
against 192 channels.
"""

import pytest
import torch

import spikedriven as sd
from spikedriven.errors import CheckpointError
from spikedriven.models import official_state_dict
from tests.networks import enliven

SMALL = {"embed_dims": (8, 16, 32), "depths": (1, 1, 2, 2), "num_classes": 5}


def network(name="e_spikeformer_83m", seed=0, **keywords):
    return enliven(sd.create_model(name, **{**SMALL, **keywords}).double().eval(), seed)


@pytest.fixture
def first_public_file():
    """As reported of the trained 83M file: the branch's inner norm has 1.5 times the channels of
    its convolution, so that this branch never ran.
    """
    weights = official_state_dict(network(seed=3))
    for key, value in weights.items():
        if "rep_conv.conv1.1." in key and value.ndim:
            weights[key] = torch.ones(48)
    return weights


def test_the_further_branch_counts():
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model = network()
    assert [type(b).__name__ for b in model.stages[3].blocks[0]] == ["Residual"] * 3
    calls = []
    model.stages[3].blocks[1].rep.branch.neuron.register_forward_hook(lambda *_: calls.append(1))
    with_branch = model(x)
    assert calls
    for block in model.stages[3].blocks:
        del block.rep
    assert not torch.allclose(model(x), with_branch)
    without = network(rep_branch=False)
    without.load_state_dict(model.state_dict())
    assert torch.equal(without(x), model(x))


def test_a_file_of_the_83m_model_that_ran_without_its_branch(first_public_file):
    with pytest.raises(
        CheckpointError, match=r"block3.0.rep_conv.conv1.1.bias: expected \[32\], found \[48\]"
    ):
        sd.load_official(network(), first_public_file)
    model = network(rep_branch=False, seed=4)
    report = sd.load_official(model, first_public_file)
    assert len(report.ignored) == 2 * 2 * 6
    assert all("rep_conv" in key for key in report.ignored)
    assert f"{len(report.ignored)} left out" in str(report)
    assert report.missing == report.unexpected == report.misshapen == []
    for key, value in official_state_dict(model).items():
        assert torch.equal(value, first_public_file[key])


def test_nothing_is_ignored_that_the_model_has():
    report = sd.load_official(network(seed=4), official_state_dict(network()))
    assert report.ignored == []
    assert "left out" not in str(report)


def test_other_channels_are_named_with_both_shapes():
    """The release's classifier has 196 channels where its pre-training has 192; here 12 and 8."""
    wider = official_state_dict(network(embed_dims=(12, 16, 32)))
    with pytest.raises(CheckpointError) as error:
        sd.load_official(network(), wider)
    message = str(error.value)
    assert "downsample1_1.encode_conv.weight: expected [4, 3, 7, 7], found [6, 3, 7, 7]" in message
    assert "downsample2.encode_conv.weight: expected [16, 8, 3, 3], found [16, 12, 3, 3]" in message
    assert "nothing was loaded" in message
    assert "37 misshapen" in message  # as many as the reference counts for the full models
    sd.load_official(network(embed_dims=(12, 16, 32), seed=4), wider)


def test_the_full_models_differ_in_those_channels():
    with torch.device("meta"):
        assert sd.create_model("e_spikeformer_171m").stages[1].down.project.conv.weight.shape[
            :2
        ] == (196, 98)
        assert sd.create_model("spike_mae_12_768").stages[1].down.project.conv.weight.shape[:2] == (
            192,
            96,
        )
        narrow = sd.create_model("e_spikeformer_171m", embed_dims=(192, 384, 768), distilled=True)
        assert sum(p.numel() for p in narrow.parameters()) == 171_579_824
        bare = sd.create_model("e_spikeformer_83m", rep_branch=False)
        assert sum(p.numel() for p in bare.parameters()) == 76_186_920
