"""Which neurons of a layer fire when."""

from typing import Any

import torch
from torch import Tensor, nn

from spikedriven import figures
from spikedriven.errors import InputError, did_you_mean
from spikedriven.graph.inputs import Inputs, as_inputs
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import counts, neuron_outputs, neurons_of


def raster(model: nn.Module, sample: Inputs, neuron: str | None = None, most: int = 200) -> Any:
    """Which neurons of one layer fire when, on one sample.

    sample: [1, C, H, W] or [1, T, C, H, W], or a tuple of inputs. neuron: qualified name of the
    layer, a key of `firing_rates`; None: the last one in front of the head. most: how many of its
    neurons are shown, evenly chosen. Raises InputError for an unknown layer.
    """
    found: dict[str, Tensor] = {}

    def see(name: str, one: Neuron, output: Tensor) -> None:
        found[name] = counts(one, output)[:, 0].flatten(1).cpu()

    known = neurons_of(model)
    if neuron is not None and neuron not in known:
        raise InputError(
            f"the network has no neuron {neuron!r}; {did_you_mean(neuron, list(known))}"
        )
    with neuron_outputs(model, see), as_graphed(model), torch.no_grad():
        model(*as_inputs(sample))
    if not found:
        raise InputError(
            f"{type(model).__name__} has no neuron of this package: there is nothing that fires"
        )
    body = [one for one in found if not one.startswith("head")]
    name = neuron or (body or list(found))[-1]
    every = -(-found[name].shape[1] // most)
    chosen = found[name][:, ::every]
    shown = f"{chosen.shape[1]} of {found[name].shape[1]} neurons"
    return figures.raster(chosen.numpy(), f"{name}: {shown}")
