"""`fuse` and `expand` over every registered name: the same function, with the chains gone and
binary operands only.
"""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError, SpikedrivenError
from spikedriven.graph import trace
from spikedriven.graph.expand import expand
from spikedriven.graph.fuse import fuse
from spikedriven.graph.kinds import Spike, is_real
from spikedriven.graph.linear_maps import scaled_outputs
from spikedriven.graph.substeps import as_steps
from spikedriven.layers import ConvBN, FireProject, ProjectFire
from spikedriven.layers.fold import Idle
from spikedriven.neurons import LIF, IntegerNeuron
from tests.networks import (
    blank_model,
    by_kind,
    classifiers,
    enliven,
    live_input,
    live_model,
    shrunk,
)

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
FULL_WIDTH = [False, pytest.param(True, marks=pytest.mark.slow)]


def network(name, full, **keywords):
    return live_model(name, img_size=32, **keywords, **({} if full else shrunk(name)))


@pytest.mark.parametrize("full", FULL_WIDTH)
@pytest.mark.parametrize("name", by_kind(classifiers()))
def test_fused_networks_compute_the_same_without_any_batch_norm(name, full):
    model = network(name, full)
    fused = fuse(model, check=False)
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]  # the original stays
    x = live_input(model)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), **CLOSE)


@pytest.mark.parametrize("full", FULL_WIDTH)
@pytest.mark.parametrize("name", sd.list_models("spike_mae*"))
def test_a_fused_masked_autoencoder_hides_the_same_patches(name, full):
    """Folded norms would put their shift where patches are hidden; those places must stay 0."""
    model = enliven(
        blank_model(name, img_size=64, **({} if full else shrunk(name) | {"decoder_dim": 32}))
    )
    fused = fuse(model)  # compares the encoder on whole images
    assert [n for n, m in fused.named_modules() if isinstance(m, nn.BatchNorm2d)] == ["norm"]
    rng = torch.Generator().manual_seed(3)
    x, noise = torch.randn(2, 3, 64, 64, generator=rng).double(), torch.rand(2, 16, generator=rng)
    with torch.no_grad():
        expected, found = model(x, noise), fused(x, noise)
    torch.testing.assert_close(found.prediction, expected.prediction, **CLOSE)
    assert expected.prediction.std() > 0.1


@pytest.mark.parametrize("full", FULL_WIDTH)
@pytest.mark.parametrize("name", by_kind(sd.list_models("e_spikeformer*")))
def test_expanded_networks_agree_and_feed_binary_spikes_to_every_weight_layer(name, full):
    model = network(name, full, levels=8 if "8" in name else 4)
    spiking = expand(model, check=False)
    assert not [m for m in spiking.modules() if isinstance(m, IntegerNeuron)]
    x = live_input(model)
    seen = watch_operands(spiking)
    with torch.no_grad():
        torch.testing.assert_close(spiking(x), model(x), **CLOSE)
    assert len(seen) > 10
    first, analog_head = "stages.0.down.conv", "head" if model.head_input == "mean" else ""
    for layer, values in seen.items():
        if layer not in (first, analog_head):
            assert values <= {0.0, 1.0}, layer


def watch_operands(model):
    """Qualified name of each weight layer -> the distinct values it read, filled in by the next
    call.
    """
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            key = name
            module.register_forward_pre_hook(
                lambda _m, args, key=key: seen.__setitem__(
                    key, set(as_steps(args[0]).unique().tolist()[:3])
                )
            )
    return seen


@pytest.mark.parametrize("name", ["sdt_2_256_cifar", "spikingformer_4_256_cifar"])
def test_lif_networks_are_binary_already(name):
    model = live_model(name, embed_dim=32, depth=1, num_heads=4)
    x = live_input(model)
    with torch.no_grad():
        torch.testing.assert_close(expand(model)(x), model(x), **CLOSE)


class OwnNetwork(nn.Module):
    """A user's network from our neurons and torch's layers."""

    def __init__(self, neuron):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.fire = neuron
        self.body = ConvBN(8, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.fire(self.stem(x).unsqueeze(0).expand(3, -1, -1, -1, -1))
        return self.head(self.body(x).mean(dim=(0, -2, -1)))


@pytest.mark.parametrize("neuron", [LIF(), IntegerNeuron(3, rounding="half_up")])
def test_a_users_own_network(neuron):
    model = enliven(OwnNetwork(neuron).double().eval())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(InputError, match="give an example input"):
        fuse(model)
    with torch.no_grad():
        torch.testing.assert_close(fuse(model, x)(x), model(x), **CLOSE)
        torch.testing.assert_close(expand(model, x)(x), model(x), **CLOSE)
    graph = trace(expand(model, x), x)
    kinds = {
        node.module: graph.operands(node)[0].kind for node in graph if node.op in ("conv", "linear")
    }
    assert is_real(kinds["stem.0"])
    body = [kind for module, kind in kinds.items() if module.startswith("body")]
    assert body == [Spike()]


def test_a_wrong_fold_is_reported_with_the_first_differing_neuron(monkeypatch):
    model = live_model("sdt_2_256_cifar", embed_dim=32, depth=1, num_heads=4)

    def wrong(layer, factor, shift):
        return scaled_outputs(layer, factor, shift + 0.1)

    monkeypatch.setattr("spikedriven.graph.edit.scaled_outputs", wrong)
    with pytest.raises(SpikedrivenError, match=r"differ at stem\.0\.neuron"):
        fuse(model)


def test_attention_scale_moves_into_the_threshold():
    model = live_model("spikingformer_4_256_cifar", embed_dim=32, depth=1, num_heads=4)
    attention = fuse(model).blocks[0].attn
    assert isinstance(attention.scale, Idle)
    assert attention.out.neuron.options.v_threshold == 4.0
    assert model.blocks[0].attn.out.neuron.options.v_threshold == 0.5


def test_units_keep_their_neurons():
    row = nn.Sequential(ProjectFire(ConvBN(2, 4), LIF()), FireProject(LIF(), ConvBN(4, 2)))
    x = torch.randn(2, 1, 2, 4, 4)
    assert len([m for m in fuse(row, x).modules() if isinstance(m, LIF)]) == 2
