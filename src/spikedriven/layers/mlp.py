"""The two-layer spiking MLP that all families share."""

from torch import Tensor, nn

from spikedriven.layers.units import ConvBN, FireProject, in_a_row
from spikedriven.neurons import NeuronFactory


class SpikeMLP(nn.Module):
    """neuron -> conv -> BN -> neuron -> conv -> BN. [T, B, C, H, W] -> the same shape.

    kernel: 1 works per position; 3 is the channel convolution of the conv stages. bias: of both
    convolutions. inner_residual: add the input before the second half as well (SDT with mlp_ratio
    1: two residual units in a row). The caller adds the outer residual.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        neuron: NeuronFactory,
        inner_residual: bool = False,
        kernel: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.fc1 = FireProject(neuron(), ConvBN(dim, hidden, kernel, bias=bias))
        self.fc2 = FireProject(neuron(), ConvBN(hidden, dim, kernel, bias=bias))
        self.inner_residual = inner_residual

    def forward(self, x: Tensor) -> Tensor:
        if not self.inner_residual:
            return in_a_row(x, self.fc1, self.fc2)
        hidden = self.fc1(x)
        return hidden + self.fc2(x + hidden)
