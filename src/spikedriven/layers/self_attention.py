"""The attention layer that Spikingformer, Meta-SpikeFormer and E-SpikeFormer share, up to what
projects.
"""

from collections.abc import Callable

from torch import Tensor, nn

from spikedriven.layers.attention import check_divides, linear_attention
from spikedriven.layers.scale import Scale
from spikedriven.layers.units import FireProject, ProjectFire
from spikedriven.neurons import NeuronFactory

#: (in channels, out channels) -> a layer on maps.
Projection = Callable[[int, int], nn.Module]


class SpikingSelfAttention(nn.Module):
    """``project_out(fire(scale q (k^T v)))`` with q, k, v fired from one fired input. No softmax.

    Real-valued [T, B, C, H, W] in and out; the caller adds the residual. attention_neuron: the one
    behind the product; v_ratio: v has this many times the channels of q and k.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: NeuronFactory,
        attention_neuron: nn.Module,
        scale: float,
        project: Projection,
        project_out: Projection,
        v_ratio: int = 1,
    ) -> None:
        super().__init__()
        check_divides(num_heads, dim)
        self.num_heads = num_heads
        self.neuron = neuron()
        self.q = ProjectFire(project(dim, dim), neuron())
        self.k = ProjectFire(project(dim, dim), neuron())
        self.v = ProjectFire(project(dim, v_ratio * dim), neuron())
        self.scale = Scale(scale)
        self.out = FireProject(attention_neuron, project_out(v_ratio * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        return self.out(self.scale(linear_attention(q, k, v, self.num_heads)))
