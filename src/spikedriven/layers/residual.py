"""Residual branches on real-valued tensors ("membrane shortcut"), and blocks as rows of them."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from spikedriven.layers.drop import DropPath


class Residual(nn.Module):
    """``x + drop_path(scale * branch(x))``. [T, B, C, H, W].

    layer_scale: initial value of a learned factor for each of the ``dim`` channels; 0: no factor.
    """

    def __init__(
        self,
        branch: nn.Module,
        dim: int,
        layer_scale: float = 0.0,
        drop_path: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.branch = branch
        self.scale = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.drop_path = drop_path or DropPath()

    def forward(self, x: Tensor) -> Tensor:
        update = self.branch(x)
        if self.scale is not None:
            update = update * self.scale.view(-1, 1, 1)
        return x + self.drop_path(update)


def block(**branches: nn.Module) -> nn.Sequential:
    """Residual branches one after the other, under the given names."""
    return nn.Sequential(OrderedDict(branches))
