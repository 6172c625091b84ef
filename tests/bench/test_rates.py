"""Biases moved until neurons fire at a wished rate."""

import pytest
import torch

import spikedriven as sd
from spikedriven.bench.rates import density, set_rates
from spikedriven.bench.rule import load_rule
from spikedriven.bench.subject import smooth_images
from spikedriven.errors import InputError
from spikedriven.neurons import IntegerNeuron
from tests.networks import shrunk


@pytest.mark.parametrize(
    ("name", "rate"),
    [("sdt_2_512_cifar", 0.3), ("spikingformer_4_256_cifar", 0.1), ("e_spikeformer_10m", 0.1),
     pytest.param("meta_spikeformer_15m", 0.2, marks=pytest.mark.slow)],
)  # fmt: skip
def test_neurons_fire_at_the_wished_rate(name, rate):
    model = sd.create_model(name, img_size=64, time_steps=2, **shrunk(name)).eval()
    load_rule(model, name)
    images = smooth_images(model.example_input(2))
    unmoved = set_rates(model, images, rate)
    shares = {n: share(model, n, mean) for n, mean in sd.firing_rates(model, images).items()}
    attention = [
        n for n in shares if ".attn" in n
    ]  # operands are moved away from the wish for the product's sake
    plain = shares.keys() - set(attention) - set(unmoved)
    assert set(unmoved) <= {"head_neuron"} and len(plain) > 5
    # eight channels, most of them without input, cannot fire at just any rate
    assert all(shares[n] == pytest.approx(rate, abs=0.07) for n in plain)
    assert sum(shares[n] for n in plain) / len(plain) == pytest.approx(rate, rel=0.05)
    assert 0.4 * rate < sum(shares[n] for n in attention) / len(attention) < 2 * rate


def share(model, name, mean):
    neuron = model.get_submodule(name)
    return mean * neuron.norm / neuron.levels if isinstance(neuron, IntegerNeuron) else mean


def test_density_is_what_was_fired():
    model = sd.create_model("sdt_2_512_cifar", img_size=32, **shrunk("sdt_2_512_cifar")).eval()
    load_rule(model, "sdt_2_512_cifar")
    images = smooth_images(model.example_input(2))
    fired, seen = [], []
    for module in (m for m in model.modules() if type(m).__name__ == "LIF"):
        module.register_forward_hook(lambda _m, _x, y: fired.append(y.sum().item()))
        module.register_forward_hook(lambda _m, _x, y: seen.append(y.numel()))
    with torch.no_grad():
        model(images)
    expected = sum(fired) / sum(seen)
    found = density(model, images)
    assert found.neurons == pytest.approx(expected, rel=1e-6)
    assert {"stem", "blocks.attn.q", "blocks.mlp.fc1", "head_neuron"} <= found.groups.keys()
    assert 0 < found.additions < 1


def test_a_rate_is_a_share():
    model = sd.create_model("sdt_2_512_cifar", **shrunk("sdt_2_512_cifar")).eval()
    for rate in (0.0, 1.0, -0.2):
        with pytest.raises(InputError, match="between 0 and 1"):
            set_rates(model, torch.zeros(1, 3, 32, 32), rate)
