"""The spikes of every layer at every binary step, for one image."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import counts, neuron_outputs


@dataclass(frozen=True)
class LayerSpikes:
    """What one layer of neurons put out.

    fired: int64 [S, height, width], how many neurons of each square fired at each of the S binary
    steps. A square is a position of the feature map, with all its channels; of neurons without
    positions, one channel. neurons: in the whole layer. shape: of the layer's output, without time
    and batch.
    """

    name: str
    shape: tuple[int, ...]
    neurons: int
    fired: Tensor

    @property
    def rates(self) -> list[float]:
        """Share of the layer's neurons that fired, per binary step."""
        return (self.fired.sum((1, 2)).double() / self.neurons).tolist()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; maps flat, row by row."""
        steps, height, width = self.fired.shape
        return {
            "name": self.name,
            "shape": list(self.shape),
            "neurons": self.neurons,
            "height": height,
            "width": width,
            "rates": self.rates,
            "rate": sum(self.rates) / steps,
            "fired": self.fired.flatten(1).tolist(),
        }


@contextmanager
def recorded_spikes(model: nn.Module) -> Iterator[list[LayerSpikes]]:
    """Inside the block, every call of the model on one image appends its layers, in the order
    of their calls.
    """
    found: list[LayerSpikes] = []
    with neuron_outputs(model, lambda *call: found.append(_layer(*call))):
        yield found


def _layer(name: str, neuron: Neuron, output: Tensor) -> LayerSpikes:
    spikes = binary_steps(neuron, output)[:, 0]  # [S, C, H, W], or without positions [S, C]
    if spikes[0, 0].numel() > 1:
        fired = spikes.sum(1)
    else:
        channels = spikes.shape[1]
        height = max(n for n in range(1, math.isqrt(channels) + 1) if channels % n == 0)
        fired = spikes.reshape(len(spikes), height, channels // height)
    return LayerSpikes(name, tuple(spikes.shape[1:]), spikes[0].numel(), fired.to(torch.int64))


def binary_steps(neuron: Neuron, output: Tensor) -> Tensor:
    """A neuron's output [T, ...] as spikes, bool [S, ...]. Binary neurons: S = T. Integer neurons:
    S = T x D, and the count n is a spike at the first n of its D steps, as in the network that
    `expand` makes.
    """
    spikes = counts(neuron, output)
    return torch.stack([spikes >= d for d in range(1, neuron.levels + 1)], dim=1).flatten(0, 1)
