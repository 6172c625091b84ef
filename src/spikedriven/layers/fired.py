"""Layers whose last step is a neuron: their residual sums add spikes to spikes.

Spikformer and QKFormer are built from them. What enters is a count that grows by one with every sum
behind the stem; what leaves is binary.
"""

from functools import partial

from torch import Tensor, nn

from spikedriven.layers.attention import check_divides, linear_attention
from spikedriven.layers.scale import Scale
from spikedriven.layers.units import ConvBN, ProjectFire
from spikedriven.neurons import NeuronFactory

#: The released networks take the same factor whatever the width of a head.
ATTENTION_SCALE = 0.125


class FiredMLP(nn.Module):
    """conv -> BN -> neuron, twice, per position. [T, B, C, H, W] -> spikes of that shape."""

    def __init__(self, dim: int, hidden: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.fc1 = ProjectFire(ConvBN(dim, hidden, bias=True), neuron())
        self.fc2 = ProjectFire(ConvBN(hidden, dim, bias=True), neuron())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))


class FiredAttention(nn.Module):
    """``fire(project(fire(scale q (k^T v))))`` per head, with q, k and v fired, without softmax.

    Spiking self-attention (Zhou et al., ICLR 2023). [T, B, C, H, W] -> spikes of that shape.
    qkv_bias: a bias in the three first projections. out: the unit behind the product; None: a
    projection and a neuron.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: NeuronFactory,
        scale: float = ATTENTION_SCALE,
        qkv_bias: bool = False,
        out: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_divides(num_heads, dim)
        self.num_heads = num_heads
        project = partial(ConvBN, dim, dim, bias=qkv_bias)
        self.q = ProjectFire(project(), neuron())
        self.k = ProjectFire(project(), neuron())
        self.v = ProjectFire(project(), neuron())
        self.scale = Scale(scale)
        self.attention_neuron = neuron(v_threshold=0.5)
        self.out = out or ProjectFire(ConvBN(dim, dim, bias=True), neuron())

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        product = linear_attention(q, k, v, self.num_heads)
        return self.out(self.attention_neuron(self.scale(product)))
