"""Conv layers that see visible patches only, for masked pre-training (in the manner of SparK, ICLR
2023).

Each takes ``active``, bool [B, h, w] over patches, beside its map; without it, it is the ordinary
layer. Hidden places are 0 before and after, and batch norm, in training and evaluation, sees the
visible ones alone. Parameters have the names and shapes of the ordinary layers, so weights move
between the two.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spikedriven.layers.residual import Residual
from spikedriven.layers.units import ConvBN, FireProject, over_time
from spikedriven.neurons import NeuronFactory


def on_map(active: Tensor, size: Sequence[int]) -> Tensor:
    """Patches [B, h, w] -> positions [B, H, W] of a map with a whole number of positions per
    patch.
    """
    return active.repeat_interleave(size[0] // active.shape[1], 1).repeat_interleave(
        size[1] // active.shape[2], 2
    )


def call_sparse(layer: nn.Module, x: Tensor, active: Tensor | None) -> Tensor:
    """``layer(x, active)``; without visible patches ``layer(x)``, which also a folded or
    expanded layer understands.
    """
    return layer(x) if active is None else layer(x, active)


class SparseConvBN(ConvBN):
    """Convolution, then batch norm over visible positions. [T, B, in, H, W] -> [T, B, out,
    H/stride, W/stride].
    """

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        if active is None:
            return super().forward(x)
        maps = over_time(self.conv, x).movedim(2, -1)  # [T, B, H, W, C]
        visible = on_map(active, maps.shape[2:4])
        normed = self.bn(maps[:, visible].flatten(0, 1)[:, :, None, None])
        result = torch.zeros_like(maps, dtype=normed.dtype)
        result[:, visible] = normed.view(maps.shape[0], -1, maps.shape[-1])
        return result.movedim(-1, 2)


class SparseFireProject(FireProject):
    """Neuron, then a `SparseConvBN`. Nothing fires at hidden places, which hold 0."""

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        return call_sparse(self.project, self.pool(self.neuron(x)), active)


class SparseMLP(nn.Module):
    """`SpikeMLP` of 3x3 convolutions. [T, B, C, H, W] -> the same shape."""

    def __init__(self, dim: int, hidden: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.fc1 = SparseFireProject(neuron(), SparseConvBN(dim, hidden, 3, bias=True))
        self.fc2 = SparseFireProject(neuron(), SparseConvBN(hidden, dim, 3, bias=True))

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        return self.fc2(self.fc1(x, active), active)


class SparseResidual(Residual):
    """``x + branch(x, active)``: no layer scale, no drop path."""

    def __init__(self, branch: nn.Module, dim: int) -> None:
        super().__init__(branch, dim)

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        return x + self.branch(x, active)
