"""Layers that read D binary sub-steps per time step and accumulate them: what runs on spike-driven hardware.

Sub-steps lie on the time axis, [T * D, B, ...]; outputs are [T, B, ...]. Every product has one binary operand.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.layers.attention import linear_attention
from spikedriven.layers.self_attention import SpikingSelfAttention
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.expanded import ExpandedNeuron


def accumulate(x: Tensor, levels: int) -> Tensor:
    """Sum the sub-steps of each time step. [T * D, ...] -> [T, ...]."""
    return x.unflatten(0, (-1, levels)).sum(1)


class Accumulate(nn.Module):
    """A weight layer on binary sub-steps: accumulates ``W s_d`` over d, adds the bias once.

    layer: (transposed) convolution or linear layer that read ``count / norm``; its weights take over 1 / norm.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, levels: int, norm: float) -> None:
        super().__init__()
        self.layer, self.levels = copy.deepcopy(layer), levels
        self.bias, self.layer.bias = self.layer.bias, None
        with torch.no_grad():
            self.layer.weight.div_(norm)

    def forward(self, x: Tensor) -> Tensor:
        total = accumulate(self.layer(x), self.levels)
        if self.bias is None:
            return total
        return total + (self.bias if isinstance(self.layer, nn.Linear) else self.bias.view(-1, 1, 1))


class ExpandedSelfAttention(nn.Module):
    """`SpikingSelfAttention` on binary sub-steps; scale and norms are folded into the thresholds behind the product.

    ``K^T V`` and ``Q (K^T V)`` are accumulated over sub-steps of k and q, so that each product selects and adds.
    """

    def __init__(self, attention: SpikingSelfAttention) -> None:
        super().__init__()
        neuron = attention.q.neuron
        if not isinstance(neuron, IntegerNeuron):
            raise TypeError(f"only attention on integer neurons is expanded, found {type(neuron).__name__}")
        self.num_heads, self.levels = attention.num_heads, neuron.levels
        self.neuron = attention.neuron
        self.q, self.k, self.v, self.out = attention.q, attention.k, attention.v, attention.out
        behind = cast(IntegerNeuron, attention.out.neuron)  # of the kind of q's
        self.out.neuron = ExpandedNeuron.of(behind, attention.scale / neuron.norm**3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        counts = accumulate(v, self.levels)
        q, k = (s.unflatten(0, (-1, self.levels)) for s in (q, k))
        attended = sum(
            linear_attention(q[:, i], k[:, j], counts, self.num_heads, 1.0)
            for i in range(self.levels)
            for j in range(self.levels)
        )
        return self.out(attended)
