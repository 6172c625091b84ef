"""Firing per layer and time step, counted by hand, and against `firing_rates`."""

import math

import pytest
import torch

import spikedriven as sd
from spikedriven.graph.layer_firing import LayerFiring, LayerFirings, rows
from spikedriven.neurons import LIF, IntegerNeuron, Neuron
from spikedriven.neurons.watch import neuron_outputs
from tests.networks import live_input, live_model, shrunk


def of(neuron: Neuron, *outputs: torch.Tensor) -> LayerFiring:
    found = LayerFirings()
    for output in outputs:
        found.see("layer", neuron, output)
    return found.result()["layer"]


def test_spikes_of_two_steps_by_hand() -> None:
    """Two images, three neurons: [T, B, C]."""
    first = torch.tensor([[[1.0, 0, 0], [1, 0, 0]], [[1, 1, 0], [1, 0, 0]]])
    layer = of(LIF(), first)
    assert (layer.neuron, layer.levels, layer.neurons) == ("LIF", 1, 3)
    assert (
        layer.spikes.tolist()
        == [2 / 6, 3 / 6]
        == layer.mean_output.tolist()
        == layer.share_firing.tolist()
    )
    assert layer.fires_in_an_image == 3 / 6
    assert layer.never_fires == pytest.approx(1 / 3) and layer.always_full == pytest.approx(1 / 3)
    assert not layer.dead and not layer.saturated
    again = of(LIF(), first, first.flip(2))  # the last neuron fires in the second batch only
    assert again.never_fires == 0.0 and again.always_full == 0.0
    assert again.spikes.tolist() == layer.spikes.tolist()


def test_counts_are_spikes_and_outputs_are_divided() -> None:
    neuron = IntegerNeuron(levels=4, norm=8.0)
    layer = of(neuron, torch.tensor([[[0.0, 1, 4, 4]]]) / 8)
    assert layer.spikes.tolist() == [9 / 4] and layer.mean_output.tolist() == [9 / 32]
    assert (
        layer.share_firing.tolist() == [3 / 4] and layer.always_full == 2 / 4 and layer.levels == 4
    )


@pytest.mark.parametrize(
    ("value", "dead", "saturated"), [(0.0, True, False), (1.0, False, True), (0.5, False, False)]
)
def test_dead_and_saturated(value: float, dead: bool, saturated: bool) -> None:
    layer = of(IntegerNeuron(levels=2), torch.full((2, 3, 5), value))
    assert (layer.dead, layer.saturated) == (dead, saturated)
    assert layer.never_fires == float(dead) and layer.always_full == float(saturated)


def test_images_of_several_sizes_have_no_neuron_that_can_be_followed() -> None:
    layer = of(LIF(), torch.ones(1, 1, 2, 4, 4), torch.zeros(1, 1, 2, 4, 6))
    assert layer.neurons is None and layer.never_fires is None and layer.always_full is None
    assert layer.spikes.tolist() == [32 / 80] and layer.fires_in_an_image == 32 / 80


@pytest.mark.parametrize("name", ["sdt_2_256_cifar", "e_spikeformer_3m"])
def test_means_are_the_firing_rates(name: str) -> None:
    model = live_model(name, **shrunk(name))
    batch = live_input(model, batch=2)
    found = LayerFirings()
    with neuron_outputs(model, found.see), torch.no_grad():
        model(batch)
    expected = sd.firing_rates(model, batch)
    layers = found.result()
    assert list(layers) == list(expected)
    for layer_name, layer in layers.items():
        assert float(layer.mean_output.mean()) == pytest.approx(expected[layer_name], rel=1e-12)
        assert (layer.share_firing <= layer.spikes + 1e-12).all() and (
            layer.spikes <= layer.levels
        ).all()
        assert (
            layer.share_firing.max()
            <= layer.fires_in_an_image + 1e-12
            <= 1 - layer.never_fires + 2e-12
        )


def test_rows_have_every_figure_once_a_step() -> None:
    layer = of(LIF(), torch.tensor([[[1.0, 0]], [[0.0, 0]]]))
    found = rows([layer])
    assert [(row["name"], row["step"], row["spikes"]) for row in found] == [
        ("layer", 1, 0.5),
        ("layer", 2, 0.0),
    ]
    assert all(row["never_fires"] == 0.5 and row["neurons"] == 2 for row in found)
    assert not any(
        isinstance(value, float) and math.isnan(value) for row in found for value in row.values()
    )
