"""Layers that read D binary sub-steps per time step and accumulate them: what runs on spike-driven hardware.

Sub-steps lie on the time axis, [T * D, B, ...]; outputs are [T, B, ...]. Every product has one binary operand.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.layers.attention import merge_heads, split_heads, tokens_first
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

    def __init__(
        self, layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, levels: int, norm: float
    ) -> None:
        super().__init__()
        self.layer, self.levels = copy.deepcopy(layer), levels
        self.bias, self.layer.bias = self.layer.bias, None
        with torch.no_grad():
            self.layer.weight.div_(norm)

    def forward(self, x: Tensor) -> Tensor:
        total = accumulate(self.layer(x), self.levels)
        if self.bias is None:
            return total
        return total + (
            self.bias if isinstance(self.layer, nn.Linear) else self.bias.view(-1, 1, 1)
        )


def expanded_attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int, levels: int) -> Tensor:
    """``q (k^T v)`` of the counts, in the order that `linear_attention` takes. q, k, v: binary [T * D, B, C, H, W].

    Both products select and add: one operand is binary, the other a count that was accumulated over the sub-steps of
    its time step. Returns counts [T, B, C_v, H, W].
    """
    size = q.shape[-2:]
    q, k, v = (split_heads(x, num_heads) for x in (q, k, v))  # [T * D, B, heads, d, N]
    if tokens_first(tokens=q.shape[-1], d=q.shape[-2], d_v=v.shape[-2]):
        weights = accumulate(k.transpose(-1, -2) @ _at_each_sub_step(q, levels), levels)
        attended = v @ weights.repeat_interleave(levels, 0)
    else:
        values = accumulate(_at_each_sub_step(v, levels) @ k.transpose(-1, -2), levels)
        attended = values.repeat_interleave(levels, 0) @ q
    return merge_heads(accumulate(attended, levels), size)


def _at_each_sub_step(x: Tensor, levels: int) -> Tensor:
    """The count of a time step, at each of its sub-steps. Binary [T * D, ...] -> [T * D, ...]."""
    return accumulate(x, levels).repeat_interleave(levels, 0)


class ExpandedSelfAttention(nn.Module):
    """`SpikingSelfAttention` on binary sub-steps; scale and norms are folded into the thresholds behind the product."""

    def __init__(self, attention: SpikingSelfAttention) -> None:
        super().__init__()
        neuron = attention.q.neuron
        if not isinstance(neuron, IntegerNeuron):
            raise TypeError(
                f"only attention on integer neurons is expanded, found {type(neuron).__name__}"
            )
        self.num_heads, self.levels = attention.num_heads, neuron.levels
        self.neuron = attention.neuron
        self.q, self.k, self.v, self.out = attention.q, attention.k, attention.v, attention.out
        behind = cast(IntegerNeuron, attention.out.neuron)  # of the kind of q's
        self.out.neuron = ExpandedNeuron.of(behind, attention.scale / neuron.norm**3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        return self.out(expanded_attention(q, k, v, self.num_heads, self.levels))
