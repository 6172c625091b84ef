"""`spikedriven.plot`: what the figures show is what the network did."""

import numpy as np
import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.graph.layer_firing import LayerFirings
from spikedriven.neurons import LIF
from spikedriven.neurons.watch import neuron_outputs

SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 3}


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model(image):
    torch.manual_seed(0)
    made = sd.create_model("sdt_2_256_cifar", **SMALL)
    sd.calibrate(made, image.expand(2, -1, -1, -1))
    return made.eval()


def fired(model, image):
    found = LayerFirings()
    with neuron_outputs(model, found.see), torch.no_grad():
        model(image)
    return found.result()


def test_a_raster_has_a_dot_for_each_spike(model, image):
    name = "stem.2.neuron"
    layer = fired(model, image)[name]
    dots = sd.plot.raster(model, image, name, most=10**6).axes[0].collections[0].get_offsets()
    assert len(dots) == round(float(layer.spikes.sum()) * layer.neurons) > 0
    steps = np.bincount(dots[:, 0].astype(int), minlength=4)[1:]
    assert steps.tolist() == (layer.spikes * layer.neurons).round().int().tolist()
    with pytest.raises(InputError, match=r"did you mean stem\.2\.neuron"):
        sd.plot.raster(model, image, "stem.2.neurn")


def test_a_raster_of_a_network_whose_only_neuron_is_its_heads():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head_neuron = LIF()

        def forward(self, x):
            return self.head_neuron(x.expand(3, *x.shape))

    figure = sd.plot.raster(Headed(), torch.full((1, 2, 4, 4), 9.0))
    assert len(figure.axes[0].collections[0].get_offsets()) == 3 * 2 * 4 * 4


def test_rates_of_each_layer_and_step(model, image):
    layers = fired(model, image)
    shown = sd.plot.rates(model, image).axes[0].images[0].get_array()
    expected = np.stack([layer.spikes.numpy() for layer in layers.values()])
    np.testing.assert_array_equal(shown, expected)


def test_attention_has_a_row_for_each_place(model, image):
    figure = sd.plot.attention(model, image)
    assert len(figure.axes) == 2 * 4  # value and output of one block; the input and three steps
    assert [axis.get_title() for axis in figure.axes[:4]] == ["input", "step 1", "step 2", "step 3"]


def test_the_architecture_is_that_of_the_graph(model, image):
    rates = sd.firing_rates(model, image)
    figure = sd.plot.architecture(model, image, rates=rates)
    texts = [text.get_text() for text in figure.axes[0].texts]
    first = [
        next(i for i, text in enumerate(texts) if text.startswith(name))
        for name in ("stem.0", "blocks.0", "head")
    ]
    assert texts[0] == "input" and first == sorted(first)
    assert f"neuron layer, 3x1x32, rate {rates['head_neuron']:.3f}" in texts
    boxes = {text.get_text(): text.get_bbox_patch() for text in figure.axes[0].texts}
    fired = {name: rates[name] for name in rates if name in boxes}
    most, least = max(fired, key=fired.__getitem__), min(fired, key=fired.__getitem__)
    assert fired[most] > fired[least]
    red = {name: boxes[name].get_facecolor()[0] for name in ("input", least, most)}
    assert red["input"] > red[least] > red[most]  # light brown, light blue, dark blue
    assert sd.plot.architecture(sd.trace(model, image)).axes[0].texts
    with pytest.raises(InputError, match="needs an example input"):
        sd.plot.architecture(model)
