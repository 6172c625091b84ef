"""Separable convolutions of the conv stages: widen, filter each channel over space, narrow."""

from torch import Tensor, nn

from spikedriven.kernels.depthwise import DepthwiseConv2d
from spikedriven.layers.units import ConvBN, FireProject, in_a_row, over_time
from spikedriven.neurons import NeuronFactory


class SeparableConvBN(nn.Module):
    """Depthwise convolution, 1x1 convolution, BN, nothing in between. [T, B, in, H, W] -> [T, B,
    out, H, W].

    It reads spikes and is worth one dense convolution of the same kernel after folding.
    """

    def __init__(self, in_chans: int, out_chans: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(in_chans, kernel)
        self.pointwise = ConvBN(in_chans, out_chans)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(over_time(self.depthwise, x))


class SepConv(nn.Module):
    """Meta-SpikeFormer's: two neurons; the 1x1 convolution reads the real output of the depthwise
    one.

    Real-valued [T, B, C, H, W] in and out; the caller adds the residual.
    """

    def __init__(
        self, dim: int, neuron: NeuronFactory, kernel: int = 7, expansion: int = 2
    ) -> None:
        super().__init__()
        hidden = expansion * dim
        self.expand = FireProject(neuron(), ConvBN(dim, hidden))
        self.contract = FireProject(neuron(), SeparableConvBN(hidden, dim, kernel))

    def forward(self, x: Tensor) -> Tensor:
        return in_a_row(x, self.expand, self.contract)


class SpikeSepConv(nn.Module):
    """E-SpikeFormer's spike separable convolution: a neuron in front of each of its three layers.

    Real-valued [T, B, C, H, W] in and out; the caller adds the residual.
    """

    def __init__(
        self, dim: int, neuron: NeuronFactory, kernel: int = 7, expansion: int = 2
    ) -> None:
        super().__init__()
        hidden = expansion * dim
        self.expand = FireProject(neuron(), ConvBN(dim, hidden))
        self.depthwise = FireProject(neuron(), ConvBN(hidden, hidden, kernel, groups=hidden))
        self.contract = FireProject(neuron(), ConvBN(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        return in_a_row(x, self.expand, self.depthwise, self.contract)
